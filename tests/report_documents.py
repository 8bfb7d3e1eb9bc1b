"""A complete results document for tests of the report: every claim, every setting, all kinds of evidence."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from typing import Any

from lmc.claims.claim import Claim
from lmc.claims.paper import CLAIMS
from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE, INVALID, NOT_RUN
from lmc.measuring.measurements import MergeMeasurement, ModelMeasurement
from lmc.tiers import Setting, load_tier

LAYERS = {
    "mlp": [f"hidden.{at}.relu" for at in range(3)],
    "vgg": [f"features.{at}" for at in range(4)],
    "resnet": [f"stages.{at // 2}.{at % 2}.relu" for at in range(7)],
}
LAMS = [step / 10 for step in range(11)]
INDEPENDENT = ("6-7", "8-9", "10-11")
DEPENDENT = [f"{a}-{b}" for a in range(6, 12) for b in range(a + 1, 12) if f"{a}-{b}" not in INDEPENDENT]
NAMES = ("accuracy", "loss", "beta", "calibrated_loss")


def complete(tier: str = "quick", seed: int = 0) -> dict[str, Any]:
    """Every claim on every setting of a tier, with random numbers of the right shape, always the same."""
    rng = random.Random(seed)
    settings = load_tier(tier).settings
    claims = [_claim(claim, settings, rng) for claim in CLAIMS]
    return {
        "schema": "lmc-results/2",
        "tier": tier,
        "started": "2026-01-02T03:04:05+00:00",
        "seconds": 4321.5,
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "machine": {"processor": "P", "cores": 2, "memory_gib": 8.0, "system": "Linux", "device": "cpu", "workers": 2},
        "versions": {"python": "3.11.7", "lmc": "0.1.0", "torch": "2.15.0"},
        "made": {"models": 300, "measurements": 1500},
        "claims": claims,
        "evidence": _evidence(settings, rng),
    }


def nothing_run(tier: str = "quick") -> dict[str, Any]:
    """The same where every claim was left out for want of models."""
    document = complete(tier)
    for claim in document["claims"]:
        reason = f"tier {tier} has no models for it"
        claim.update(verdict=NOT_RUN, reason=reason, settings=[_setting("not-run", NOT_RUN, reason)])
    document["evidence"] = {name: [] for name in document["evidence"]}
    return document


def _claim(claim: Claim, settings: tuple[Setting, ...], rng: random.Random) -> dict[str, Any]:
    found = []
    for setting in settings:
        on = claim.dataset in ("", setting.families["strong"].recipe.dataset)
        if setting.kind in claim.kinds and on and set(claim.study.groups) <= set(setting.families):
            found.append(_judged(claim, setting, rng))
    if not claim.kinds:
        parts = ["λ = 0.1", "λ = 0.5"] if "lambda" in claim.id else ["slope"]
        values = [_value(0.0, "0-0", 0.5 + rng.random() / 100, part=part) for part in parts]
        found = [_setting("theory", HOLDS, "exact", effect=0.001, threshold=claim.expect.threshold, values=values)]
    if not found:
        found = [_setting("not-run", NOT_RUN, "the tier has no models for it")]
    return {
        "id": claim.id,
        "ref": claim.ref,
        "statement": claim.statement,
        "verdict": found[0]["verdict"],
        "reason": found[0]["reason"],
        "unit": claim.unit,
        "why": claim.why,
        "settings": found,
    }


def _judged(claim: Claim, setting: Setting, rng: random.Random) -> dict[str, Any]:
    gap = claim.known_gaps.get(setting.name, "")
    verdict = rng.choices([HOLDS, FAILS, INCONCLUSIVE, INVALID], [8, 1, 1, 0.4])[0]
    if verdict == INVALID:
        return _setting(setting.name, INVALID, "seed 6 reaches an accuracy of 0.3", known_gap=gap)
    values = [value for at in range(len(claim.study.groups)) for value in _values(claim, setting, at, rng)]
    effect = rng.uniform(-0.2, 1.0)
    return _setting(
        setting.name,
        verdict,
        f"mean of {len(values)} values: {effect:.3g}, p = 0.01",
        known_gap=gap,
        effect=effect,
        interval=[effect - 0.1, effect + 0.15],
        p_value=0.01,
        threshold=claim.expect.threshold,
        values=values,
    )


def _values(claim: Claim, setting: Setting, group: int, rng: random.Random) -> list[dict[str, Any]]:
    role = claim.study.groups[group]
    needed = claim.study.needs(setting)
    layered = "layers" in claim.expect.threshold or getattr(claim.expect, "pooled", False)
    parts = LAYERS[setting.kind] if layered or claim.id.startswith(("fig21", "fig4")) else [""]
    found = []
    specs = {setting.families[role].spec(width, seed) for width in setting.families[role].widths for seed in (6,)}
    archs = {dataclasses.replace(spec, width=1.0).with_seed(0) for spec in specs}
    for measurement in needed:
        first = measurement.specs[0]
        if dataclasses.replace(first, width=1.0).with_seed(0) not in archs:
            continue
        pair = "-".join(str(spec.init_seed) for spec in measurement.specs)
        alone = isinstance(measurement, ModelMeasurement | MergeMeasurement)
        independent = alone or (len(measurement.specs) == 2 and measurement.specs[0].init_seed % 2 == 0)
        for depth, part in enumerate(parts):
            value = 1.2 / (1 + first.width) + 0.1 * group + 0.02 * depth + rng.gauss(0, 0.04)
            found.append(_value(first.width, pair, value, part=part, group=role, independent=independent))
    return found


def _value(width: float, pair: str, value: float, **more: Any) -> dict[str, Any]:
    return {"width": width, "pair": pair, "value": value, "part": "", "group": "strong", "independent": True} | more


def _setting(name: str, verdict: str, reason: str, **more: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": name,
        "verdict": verdict,
        "reason": reason,
        "known_gap": "",
        "effect": None,
        "interval": None,
        "p_value": None,
        "threshold": "",
        "values": [],
    }
    return base | more


def _evidence(settings: tuple[Setting, ...], rng: random.Random) -> dict[str, Any]:
    kinds = ("families", "models", "paths", "outputs", "random_steps", "histograms")
    found: dict[str, list[Any]] = {name: [] for name in kinds}
    for setting in settings:
        for role, family in setting.families.items():
            recipe = dataclasses.asdict(family.recipe)
            for name in ("width", "init_seed", "data_seed"):
                del recipe[name]
            home = {"setting": setting.name, "role": role}
            widths, seeds = list(family.widths), list(family.seeds)
            found["families"].append({**home, "recipe": recipe, "widths": widths, "seeds": seeds})
            for width in widths:
                at = {**home, "width": width}
                found["models"] += [{**at, "seed": seed, **_log(family.recipe.epochs, width, rng)} for seed in seeds]
                for alignment in ("none", "matching"):
                    found["paths"] += [_path(at, pair, alignment, rng) for pair in INDEPENDENT]
                if role == "strong":
                    found["outputs"] += [_outputs(at, pair, LAYERS[setting.kind], rng) for pair in INDEPENDENT]
                    found["random_steps"] += [_step(at, pair, rng) for pair in ("6-7", "8-9", "10-11")]
                    relus = {name: [rng.randrange(9) for _ in range(50)] for name in LAYERS[setting.kind]}
                    found["histograms"].append({**at, "seed": 6, "relus": relus})
    for path in list(found["paths"]):
        if path["pair"] == INDEPENDENT[0]:
            at = {name: path[name] for name in ("setting", "role", "width")}
            found["paths"] += [_path(at, pair, path["alignment"], rng, [0.0, 0.5, 1.0]) for pair in DEPENDENT]
    return found


def _outputs(at: Mapping[str, Any], pair: str, layers: list[str], rng: random.Random) -> dict[str, Any]:
    ends = [10 + rng.random() for _ in layers]
    merged = [end * 0.5 ** (depth * at["width"]) for depth, end in enumerate(ends)]
    alike = [0.3 + 0.1 * rng.random() for _ in layers]
    names = ("norm_merged", "norm_endpoints", "endpoint_cosine")
    return {**at, "pair": pair, "layers": list(layers), **dict(zip(names, (merged, ends, alike), strict=True))}


def _log(epochs: int, width: float, rng: random.Random) -> dict[str, Any]:
    loss = [2.3 / (1 + width * at) + 0.05 * rng.random() for at in range(epochs)]
    rest = {"status": "trained", "parameters": int(70_000 * width), "steps": 20 * epochs, "decay_horizon": 0.5}
    return {**rest, "seconds": 2.5, "loss": loss}


def _path(
    at: Mapping[str, Any], pair: str, alignment: str, rng: random.Random, lams: list[float] = LAMS
) -> dict[str, Any]:
    bump = [4 * lam * (1 - lam) / (1 + 4 * at["width"]) for lam in lams]
    noise = rng.random() * 0.1
    return {
        **at,
        "pair": pair,
        "alignment": alignment,
        "lams": lams,
        "accuracy": [0.97 - 0.8 * each - noise * each for each in bump],
        "loss": [0.1 + 2 * each + noise * each for each in bump],
        "beta": [1 + each for each in bump],
        "calibrated_loss": [0.1 + each + noise * each for each in bump],
        "ensemble": {"accuracy": 0.98, "loss": 0.09, "beta": 1.2, "calibrated_loss": 0.08},
    }


def _step(at: Mapping[str, Any], pair: str, rng: random.Random) -> dict[str, Any]:
    alphas = [0.0, 0.25, 0.5, 0.75, 1.0]
    fall = (0.3 + 0.1 * rng.random()) / (1 + at["width"])
    accuracy, loss = [0.97 - fall * alpha for alpha in alphas], [0.1 + 3 * fall * alpha for alpha in alphas]
    return {**at, "pair": pair, "alphas": alphas, "accuracy": accuracy, "loss": loss}
