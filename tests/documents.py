"""Results documents small enough to read, and edits of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from msgspec.structs import replace

from lmc.claims.asked import Asked
from lmc.results.document import Claim, Document, Judged, MadeCounts, Value
from lmc.results.recorded import Evidence
from lmc.results.scalars import Seeds

PAIRS: tuple[Seeds, ...] = ((6, 7), (8, 9), (10, 11))
BELOW = Asked(quantity="value", high=0.2, at="widest", alpha=0.05)
RISES = Asked(quantity="change", low=0.1, alpha=0.05)
EXACT = Asked(quantity="deviation", low=-0.1, high=0.1, target=0.0)
Edit = Callable[[Document], Document]


def value(number: float | None, width: float = 1.0, seeds: Seeds = (6, 7), **more: Any) -> Value:
    return Value(width=width, seeds=seeds, value=number, **({"group": "strong"} | more))


def setting(name: str, asked: Asked | None = BELOW, **changes: Any) -> Judged:
    base: dict[str, Any] = {
        "verdict": "holds",
        "reason": "0.1 [0.05, 0.15] at width 1, p = 0.01",
        "part": "",
        "mean_of": 0,
        "effect": 0.1,
        "interval": (0.05, 0.15),
        "p_value": 0.01,
        "values": tuple(value(0.1, seeds=seeds) for seeds in PAIRS),
    }
    return Judged(name=name, asked=asked, **(base | changes))


def claim(name: str, *settings: Judged, **changes: Any) -> Claim:
    base: dict[str, Any] = {
        "ref": "Fig. 1",
        "items": (),
        "statement": "It falls.",
        "verdict": "holds",
        "unit": "nats",
        "why": "",
        "history": "",
    }
    return Claim(id=name, settings=settings, **(base | changes))


def evidence(**rows: Any) -> Evidence:
    """Nothing but ``rows``, by kind."""
    return Evidence(**(dict.fromkeys(Evidence.__struct_fields__, ()) | rows))


def document(*claims: Claim, **changes: Any) -> Document:
    """Claim ``a`` on two settings, claim ``b`` on one, claim ``c`` exact and without an interval; or ``claims``."""
    base: dict[str, Any] = {
        "tier": "quick",
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 100.0,
        "commit": "abc",
        "machine": {"processor": "P", "cores": 2, "memory_gib": 8.0, "device": "cpu", "workers": 2},
        "versions": {"python": "3.11.7", "torch": "2.15.0"},
        "made": MadeCounts(),
        "claims": claims
        or (
            claim("a", setting("mlp"), setting("vgg")),
            claim("b", setting("mlp", RISES)),
            claim("c", setting("theory", EXACT, effect=0.01, interval=None)),
        ),
        "evidence": evidence(),
    }
    return Document(**(base | changes))


def edited(*edits: Edit) -> Document:
    return reduce(lambda made, edit: edit(made), edits, document())


def top(**changes: Any) -> Edit:
    return lambda made: replace(made, **changes)


def machine(**changes: Any) -> Edit:
    return lambda made: replace(made, machine=made.machine | changes)


def versions(**changes: str) -> Edit:
    return lambda made: replace(made, versions=made.versions | changes)


def on(claim_at: int, setting_at: int, **changes: Any) -> Edit:
    """Changes of one setting of one claim."""

    def edit(made: Document) -> Document:
        settings = made.claims[claim_at].settings
        return _with_settings(made, claim_at, _put(settings, setting_at, replace(settings[setting_at], **changes)))

    return edit


def without(claim_at: int, setting_at: int | None = None) -> Edit:
    """Leaves out a claim, or one of its settings."""

    def edit(made: Document) -> Document:
        if setting_at is None:
            return replace(made, claims=_put(made.claims, claim_at))
        return _with_settings(made, claim_at, _put(made.claims[claim_at].settings, setting_at))

    return edit


def other_seeds(made: Document) -> Document:
    """The same numbers of other models."""

    def moved(one: Judged) -> Judged:
        values = (replace(each, seeds=tuple(100 + seed for seed in each.seeds)) for each in one.values)
        return replace(one, values=tuple(values))

    return replace(made, claims=tuple(replace(each, settings=tuple(map(moved, each.settings))) for each in made.claims))


def _with_settings(made: Document, claim_at: int, settings: tuple[Judged, ...]) -> Document:
    return replace(made, claims=_put(made.claims, claim_at, replace(made.claims[claim_at], settings=settings)))


def _put(these: tuple[Any, ...], at: int, *instead: Any) -> tuple[Any, ...]:
    return (*these[:at], *instead, *these[at + 1 :])
