"""A results document as it was before what was asked was kept as data: sentences, and pairs as text."""

from __future__ import annotations

from typing import Any

OPTIONS = ("arch", "dataset", "max_width", "precision")


def old_document() -> dict[str, Any]:
    """Of schema lmc-results/2, with a claim for every form of threshold and a row of every kind of evidence."""
    return {
        "schema": "lmc-results/2",
        "tier": "quick",
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 100.5,
        "commit": "abc",
        "machine": {"processor": "P", "cores": 2, "memory_gib": 8.0, "device": "cpu", "workers": 2},
        "versions": {"python": "3.11.7"},
        "made": {"models": 2, "measurements": 3},
        "selection": {"pilot": False, "claims": ["fig"], **dict.fromkeys(OPTIONS)},
        "claims": _claims(),
        "evidence": _evidence(),
    }


def _claims() -> list[dict[str, Any]]:
    return [
        _claim("fig2b-falls", _setting("0.9 -> 0.2, p = 0.01", "falls by at least 0.3, p <= 0.05")),
        _claim(
            "fig3-rises",
            _setting(
                "mean of 2 layers: 0.2 -> 0.3, p = 0.2; p exceeds 0.05; b goes the other way, p = 0.002: 0.9 -> 0.8",
                "rises by at least 0.01 on average over layers, none falls significantly by more than 0.03, p <= 0.05",
                ("a", "b"),
            ),
        ),
        _claim(
            "fig22-overlap",
            _setting(
                "mean of 2 layers: matching 0.5, none 0.4 at width 1, p = 0.01",
                "matching exceeds none by at least 0.01 on average over layers, none significantly at none, p <= 0.05",
                ("a", "b"),
                group="none",
            ),
        ),
        _claim(
            "table1-needless",
            _setting(
                "none 0.1, matching 0.05 at width 1, p = 0.01",
                "none exceeds matching by less than 0.2, p <= 0.05",
                group="none",
            ),
        ),
        _claim(
            "fig4-additivity-exceeds",
            _setting(
                "b: 0.95 [0.94, 0.96] at width 1, p = 0.01", "above 0.93044 at the widest width, p <= 0.05", ("b",)
            ),
            _setting("pair 6-7: diverged", "", ()) | {"verdict": "invalid", "effect": None, "interval": None},
        ),
        _claim(
            "fig27-alike", _setting("x", "strong and bn differ by less than 0.07 on average over layers, p <= 0.05")
        ),
        _claim("fig23-order", _setting("x", "rises by at least 0.05 along zero, weak, strong, p <= 0.05")),
        _claim("appC-norms", _setting("x", "within 0.25 of -1 at the widest width, p <= 0.05")),
        _claim("scaling-law", _setting("no fit is supported: too few", "width^-a with a above 0.25, p <= 0.05")),
        _claim(
            "thm5.4-limit",
            _setting(
                "d = 9: the farthest of 1 values is 0.5",
                "within 0.0005 of 0.93044",
                ("d = 9",),
                width=0.0,
                pair="0-0",
            ),
        ),
    ]


def _evidence() -> dict[str, Any]:
    home = {"setting": "vgg-digits", "role": "strong", "width": 0.5}
    point = {"accuracy": 0.97, "loss": 0.1, "beta": None, "calibrated_loss": 0.09}
    numbers = {name: [value] * 3 for name, value in point.items()}
    recipe = {"dataset": "digits", "arch": "vgg", "lr": 0.2, "augment": False, "train_size": None}
    log = {"status": "trained", "parameters": 9, "steps": 8, "decay_horizon": 6.5, "seconds": 1.5, "loss": [2.3, None]}
    layers = {"layers": ["a", "logits"], "norm_merged": [1.0, None], "norm_endpoints": [2.0, 3.0]}
    return {
        "families": [{"setting": "vgg-digits", "role": "strong", "recipe": recipe, "widths": [0.5], "seeds": [6, 7]}],
        "models": [{**home, "seed": 6, **log}],
        "paths": [
            {**home, "pair": "6-7", "alignment": alignment, "lams": [0.0, 0.5, 1.0], **numbers, "ensemble": point}
            for alignment in ("none", "matching")
        ],
        "outputs": [{**home, "pair": "6-7", **layers, "endpoint_cosine": [0.3, 0.4]}],
        "random_steps": [{**home, "pair": "6-7", "alphas": [0.0, 1.0], "accuracy": [0.9, 0.8], "loss": [0.1, 0.2]}],
        "histograms": [{**home, "seed": 6, "relus": {"a": [3, 4], "b": [5, 6]}}],
    }


def _claim(name: str, *settings: dict[str, Any]) -> dict[str, Any]:
    said = {"ref": "Fig. 1", "statement": "It falls.", "verdict": "holds", "reason": settings[0]["reason"]}
    return {"id": name, **said, "unit": "nats", "why": "It was 0.2 before.", "settings": list(settings)}


def _setting(
    reason: str,
    threshold: str,
    parts: tuple[str, ...] = ("",),
    *,
    group: str = "strong",
    width: float = 0.5,
    pair: str = "6-7",
) -> dict[str, Any]:
    named = {"width": width, "pair": pair, "value": 0.1, "group": group, "independent": False}
    return {
        "name": "vgg-digits",
        "verdict": "holds",
        "reason": reason,
        "known_gap": "",
        "effect": 0.1,
        "interval": [0.05, None],
        "p_value": 0.01,
        "threshold": threshold,
        "values": [{**named, "part": part} for part in parts],
    }
