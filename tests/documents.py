"""Results documents small enough to read, and edits of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

PAIRS = ("6-7", "8-9", "10-11")
Edit = Callable[[dict[str, Any]], None]


def setting(name: str, threshold: str = "below 0.2 at the widest width, p <= 0.05", **changes: Any) -> dict[str, Any]:
    values = [
        {"width": 1.0, "pair": pair, "value": 0.1, "part": "", "group": "strong", "independent": True} for pair in PAIRS
    ]
    base = {
        "name": name,
        "verdict": "holds",
        "reason": "0.1 [0.05, 0.15] at width 1, p = 0.01",
        "known_gap": "",
        "effect": 0.1,
        "interval": [0.05, 0.15],
        "p_value": 0.01,
        "threshold": threshold,
        "values": values,
    }
    return base | changes


def claim(name: str, *settings: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "unit": "nats", "verdict": "holds", "settings": list(settings)}


def document() -> dict[str, Any]:
    """Claim ``a`` on two settings, claim ``b`` on one, claim ``c`` exact and without an interval."""
    return {
        "schema": "lmc-results/1",
        "tier": "quick",
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 100.0,
        "commit": "abc",
        "machine": {"processor": "P", "cores": 2, "memory_gib": 8.0, "device": "cpu", "workers": 2},
        "versions": {"python": "3.11.7", "torch": "2.15.0"},
        "claims": [
            claim("a", setting("mlp"), setting("vgg")),
            claim("b", setting("mlp", "rises by at least 0.1, p <= 0.05")),
            claim("c", setting("theory", "within 0.1 of 0", effect=0.01, interval=None)),
        ],
    }


def edited(*edits: Edit) -> dict[str, Any]:
    made = copy.deepcopy(document())
    for edit in edits:
        edit(made)
    return made


def on(claim_at: int, setting_at: int, **changes: Any) -> Edit:
    return lambda made: made["claims"][claim_at]["settings"][setting_at].update(changes)


def top(**changes: Any) -> Edit:
    return lambda made: made.update(changes)


def machine(**changes: Any) -> Edit:
    return lambda made: made["machine"].update(changes)


def other_seeds(made: dict[str, Any]) -> None:
    for each in made["claims"]:
        for one in each["settings"]:
            one["values"] = [{**value, "pair": f"1{value['pair']}"} for value in one["values"]]


def without(claim_at: int, setting_at: int | None = None) -> Edit:
    def edit(made: dict[str, Any]) -> None:
        if setting_at is None:
            del made["claims"][claim_at]
        else:
            del made["claims"][claim_at]["settings"][setting_at]

    return edit
