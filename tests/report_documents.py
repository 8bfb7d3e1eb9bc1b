"""A complete results document for tests of the report: every claim, every setting, all kinds of evidence."""

from __future__ import annotations

import dataclasses
import random
from functools import cache
from typing import Any

from msgspec.structs import replace

from lmc.claims.claim import Claim
from lmc.claims.explanation import Explanation
from lmc.claims.paper import CLAIMS
from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE, INVALID, NOT_RUN, Verdict
from lmc.measuring.measurements import MergeMeasurement, ModelMeasurement
from lmc.results import document as made
from lmc.results import recorded, scalars
from lmc.specs import classes_in_words
from lmc.tiers import Setting, load_tier

LAYERS = {
    "mlp": tuple(f"hidden.{at}.relu" for at in range(3)),
    "vgg": tuple(f"features.{at}" for at in range(4)),
    "resnet": tuple(f"stages.{at // 2}.{at % 2}.relu" for at in range(7)),
}
LAMS = tuple(step / 10 for step in range(11))
ENDS_AND_MIDDLE = (0.0, 0.5, 1.0)
INDEPENDENT = ((6, 7), (8, 9), (10, 11))
DEPENDENT = tuple((a, b) for a in range(6, 12) for b in range(a + 1, 12) if (a, b) not in INDEPENDENT)
LAYERED = {"Figure 4", "Figure 21"}
"""Items whose claims speak of every layer without asking for a mean over them."""


@cache
def complete(tier: str = "quick", seed: int = 0) -> made.Document:
    """Every claim on every setting of a tier, with random numbers of the right shape, always the same."""
    rng = random.Random(seed)
    settings = load_tier(tier).settings
    return made.Document(
        tier=tier,
        started="2026-01-02T03:04:05+00:00",
        seconds=4321.5,
        commit="0123456789abcdef0123456789abcdef01234567",
        machine={"processor": "P", "cores": 2, "memory_gib": 8.0, "system": "Linux", "device": "cpu", "workers": 2},
        versions={"python": "3.11.7", "lmc": "0.1.0", "torch": "2.15.0"},
        made=made.MadeCounts(models=300, measurements=1500),
        claims=tuple(_claim(claim, settings, rng) for claim in CLAIMS),
        evidence=_evidence(settings, rng),
    )


@cache
def few(*ids: str) -> made.Document:
    """The same with the claims called ``ids`` alone, and of each kind of evidence the first rows: quick to draw."""
    document = complete()
    claims = tuple(claim for claim in document.claims if claim.id in ids)
    assert len(claims) == len(ids), f"no claim is called one of {ids}"
    evidence = document.evidence
    first = {name: getattr(evidence, name)[:4] for name in evidence.__struct_fields__}
    return replace(document, claims=claims, evidence=recorded.Evidence(**first))


@cache
def nothing_run(tier: str = "quick") -> made.Document:
    """The same where every claim was left out for want of models."""
    document = complete(tier)
    left_out = (_judged("not-run", NOT_RUN, f"tier {tier} has no models for it"),)
    evidence = recorded.Evidence(**dict.fromkeys(recorded.Evidence.__struct_fields__, ()))
    claims = tuple(replace(claim, verdict=NOT_RUN, settings=left_out) for claim in document.claims)
    return replace(document, claims=claims, evidence=evidence)


def _claim(claim: Claim, settings: tuple[Setting, ...], rng: random.Random) -> made.Claim:
    found = []
    for setting in settings:
        on = claim.dataset in ("", setting.families["strong"].recipe.dataset)
        if setting.kind in claim.kinds and on and set(claim.study.groups) <= set(setting.families):
            found.append(_on(claim, setting, rng))
    if not claim.kinds:
        parts = ("λ = 0.1", "λ = 0.5") if claim.expect.asked.quantity == "deviation" else ("slope",)
        values = tuple(made.Value(width=0.0, seeds=(), value=0.5 + rng.random() / 100, part=part) for part in parts)
        found = [_judged("theory", HOLDS, "exact", effect=0.001, asked=claim.expect.asked, values=values)]
    if not found:
        found = [_judged("not-run", NOT_RUN, "the tier has no models for it")]
    return made.Claim(
        id=claim.id,
        ref=claim.ref,
        items=claim.items,
        statement=claim.statement,
        verdict=found[0].verdict,
        unit=claim.unit,
        why=claim.why,
        history=claim.history,
        settings=tuple(found),
        null=claim.null.text,
        role=claim.role,
    )


def _explained(found: Explanation | None) -> made.Explained | None:
    return made.Explained(found.why, found.refuted_by.what, found.refuted_by.result) if found else None


def _on(claim: Claim, setting: Setting, rng: random.Random) -> made.Judged:
    explained = _explained(claim.explanations.get(setting.name))
    verdicts: list[Verdict] = [HOLDS, FAILS, INCONCLUSIVE, INVALID]
    verdict = rng.choices(verdicts, [8, 1, 1, 0.4])[0]
    if verdict == INVALID:
        return _judged(
            setting.name, INVALID, "seed 6 reaches an accuracy of 0.3", explained=explained, kind=setting.kind
        )
    values = tuple(value for at in range(len(claim.study.groups)) for value in _values(claim, setting, at, rng))
    effect = rng.uniform(-0.2, 1.0)
    return _judged(
        setting.name,
        verdict,
        f"{len(values)} values: {effect:.3g}, p = 0.01",
        mean_of=len(LAYERS[setting.kind]) if claim.expect.asked.pooled else 0,
        explained=explained,
        effect=effect,
        interval=(effect - 0.1, effect + 0.15),
        p_value=0.01,
        p_contrary=0.001 if verdict == FAILS else 0.99,
        asked=claim.expect.asked,
        kind=setting.kind,
        values=values,
    )


def _values(claim: Claim, setting: Setting, group: int, rng: random.Random) -> list[made.Value]:
    role = claim.study.groups[group]
    family = setting.families[role]
    layered = claim.expect.asked.pooled or not LAYERED.isdisjoint(claim.items)
    parts = LAYERS[setting.kind] if layered else ("",)
    archs = {dataclasses.replace(family.spec(width, 6), width=1.0).with_seed(0) for width in family.widths}
    found = []
    for measurement in claim.study.needs(setting):
        first = measurement.specs[0]
        if dataclasses.replace(first, width=1.0).with_seed(0) not in archs:
            continue
        seeds = tuple(spec.init_seed for spec in measurement.specs)
        alone = isinstance(measurement, ModelMeasurement | MergeMeasurement)
        independent = alone or (len(seeds) == 2 and seeds[0] % 2 == 0)
        for depth, part in enumerate(parts):
            value = 1.2 / (1 + first.width) + 0.1 * group + 0.02 * depth + rng.gauss(0, 0.04)
            found.append(made.Value(first.width, seeds, value, part=part, group=role, independent=independent))
    return found


def _judged(name: str, verdict: Verdict, reason: str, **more: Any) -> made.Judged:
    nothing: dict[str, Any] = dict.fromkeys(("effect", "interval", "p_value", "asked"))
    nothing |= {"part": "", "mean_of": 0, "values": ()}
    return made.Judged(name=name, verdict=verdict, reason=reason, **(nothing | more))


def _evidence(settings: tuple[Setting, ...], rng: random.Random) -> recorded.Evidence:
    found: dict[str, list[Any]] = {name: [] for name in recorded.Evidence.__struct_fields__}
    for setting in settings:
        for role, family in setting.families.items():
            recipe = dataclasses.asdict(family.recipe)
            for name in ("width", "init_seed", "data_seed"):
                del recipe[name]
            recipe["classes"] = classes_in_words(family.recipe.classes)
            facts = {"kind": setting.kind, "dataset": family.recipe.dataset, "arch": family.recipe.arch}
            widths, seeds = tuple(family.widths), tuple(family.seeds)
            found["families"].append(
                recorded.Family(setting=setting.name, role=role, recipe=recipe, widths=widths, seeds=seeds, **facts)
            )
            for width in widths:
                at = recorded.Home(setting.name, role, width)
                found["models"] += [_model(at, seed, family.recipe.epochs, rng) for seed in seeds]
                for alignment in ("unpermuted", "matching"):
                    found["paths"] += [_path(at, pair, alignment, rng) for pair in INDEPENDENT]
                if role == "strong":
                    found["outputs"] += [_outputs(at, pair, LAYERS[setting.kind], rng) for pair in INDEPENDENT]
                    found["random_steps"] += [_step(at, pair, rng) for pair in INDEPENDENT]
                    counts = {name: tuple(rng.randrange(9) for _ in range(50)) for name in LAYERS[setting.kind]}
                    found["histograms"].append(recorded.Histogram(*_home(at), seed=6, activations=counts))
    for path in list(found["paths"]):
        if path.seeds == INDEPENDENT[0]:
            found["paths"] += [_path(path, pair, path.alignment, rng, ENDS_AND_MIDDLE) for pair in DEPENDENT]
    return recorded.Evidence(**{name: tuple(rows) for name, rows in found.items()})


def _home(at: recorded.Home) -> tuple[str, str, float]:
    return at.setting, at.role, at.width


def _model(at: recorded.Home, seed: int, epochs: int, rng: random.Random) -> recorded.Model:
    return recorded.Model(
        *_home(at),
        seed=seed,
        status="trained",
        parameters=int(70_000 * at.width),
        steps=20 * epochs,
        decay_horizon=0.5,
        seconds=2.5,
        loss=tuple(2.3 / (1 + at.width * epoch) + 0.05 * rng.random() for epoch in range(epochs)),
    )


def _outputs(at: recorded.Home, seeds: scalars.Seeds, layers: tuple[str, ...], rng: random.Random) -> recorded.Outputs:
    ends = tuple(10 + rng.random() for _ in layers)
    return recorded.Outputs(
        *_home(at),
        seeds=seeds,
        layers=layers,
        norm_merged=tuple(end * 0.5 ** (depth * at.width) for depth, end in enumerate(ends)),
        norm_endpoints=ends,
        endpoint_cosine=tuple(0.3 + 0.1 * rng.random() for _ in layers),
    )


def _path(
    at: recorded.Home, seeds: scalars.Seeds, alignment: str, rng: random.Random, lams: tuple[float, ...] = LAMS
) -> recorded.Path:
    bump = [4 * lam * (1 - lam) / (1 + 4 * at.width) for lam in lams]
    noise = rng.random() * 0.1
    return recorded.Path(
        *_home(at),
        seeds=seeds,
        alignment=alignment,
        lams=lams,
        accuracy=tuple(0.97 - 0.8 * each - noise * each for each in bump),
        loss=tuple(0.1 + 2 * each + noise * each for each in bump),
        beta=tuple(1 + each for each in bump),
        calibrated_loss=tuple(0.1 + each + noise * each for each in bump),
        ensemble=recorded.Ensemble(accuracy=0.98, loss=0.09, beta=1.2, calibrated_loss=0.08),
    )


def _step(at: recorded.Home, seeds: scalars.Seeds, rng: random.Random) -> recorded.RandomStep:
    alphas = (0.0, 0.25, 0.5, 0.75, 1.0)
    fall = (0.3 + 0.1 * rng.random()) / (1 + at.width)
    return recorded.RandomStep(
        *_home(at),
        seeds=seeds,
        alphas=alphas,
        accuracy=tuple(0.97 - fall * alpha for alpha in alphas),
        loss=tuple(0.1 + 3 * fall * alpha for alpha in alphas),
    )
