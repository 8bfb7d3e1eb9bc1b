"""What a results file keeps besides verdicts: recipes, training logs, paths, histograms, random steps.

Enough to redraw the paper's figures without the store. Numbers are rounded to six significant digits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from lmc.claims.cases import Case, needed
from lmc.claims.claim import Records
from lmc.measuring.measurements import MIDPOINT, FlatnessMeasurement, Measurement, ModelMeasurement, PairMeasurement
from lmc.results.recorded import Ensemble, Evidence, Family, Histogram, Model, Outputs, Path, RandomStep
from lmc.results.rounding import six_digits
from lmc.results.scalars import Seeds
from lmc.specs import RunSpec, classes_in_words
from lmc.tiers import Setting

_POINT = ("accuracy", "loss", "beta", "calibrated_loss")
_OUTPUTS = ("norm_merged", "norm_endpoints", "endpoint_cosine")
_LOG = ("status", "parameters", "steps", "decay_horizon", "seconds", "loss")

_Home = tuple[str, str, float]
"""Setting, role and width."""

_Measured = Sequence[tuple[Measurement, _Home, Mapping[str, Any]]]
"""Measurements, whose models they are of, and their records."""


def evidence(cases: Iterable[Case], records: Records, logs: Mapping[str, Mapping[str, Any]]) -> Evidence:
    """What the cases rest on.

    Paths are kept of every pair whose layers were measured: of independent pairs as finely as they were measured, of
    the others at λ = 0, ½ and 1. Outputs are of independent pairs of strongly decayed models as they are, histograms of
    one model per width.
    A model that several families share stands in the first of them.

    Args:
        cases: the judged cases.
        records: measured records by measurement key.
        logs: training logs by spec key, see `lmc.training.engine.TrainedModel`.
    """
    settings, wanted = _settings(cases), needed(cases)
    homes = _homes(settings)
    measured = [
        (each, homes[each.specs[0].key], record)
        for each in wanted
        if (record := records[each.key])["status"] == "measured"
    ]
    found = Evidence(
        families=tuple(_families(settings)),
        models=tuple(_models(_trained(wanted), homes, logs)),
        paths=tuple(_paths(measured)),
        outputs=tuple(_outputs(measured)),
        random_steps=tuple(_random_steps(measured)),
        histograms=tuple(_histograms(measured)),
    )
    return msgspec.convert(six_digits(msgspec.to_builtins(found)), Evidence)


def _settings(cases: Iterable[Case]) -> list[Setting]:
    return list({case.setting.name: case.setting for case in cases if case.setting and not case.skip}.values())


def _homes(settings: Iterable[Setting]) -> dict[str, _Home]:
    """By the key of each model, the first family that has it."""
    homes: dict[str, _Home] = {}
    for setting in settings:
        for role, family in setting.families.items():
            for width in family.widths:
                for seed in family.seeds:
                    homes.setdefault(family.spec(width, seed).key, (setting.name, role, width))
    return homes


def _trained(measurements: Iterable[Measurement]) -> Iterable[RunSpec]:
    return {spec.key: spec for each in measurements for spec in each.specs}.values()


def _seeds(measurement: Measurement) -> Seeds:
    return tuple(spec.seed for spec in measurement.specs)


def _families(settings: Iterable[Setting]) -> Iterator[Family]:
    for setting in settings:
        for role, family in setting.families.items():
            recipe = dataclasses.asdict(family.recipe)
            for name in ("width", "init_seed", "data_seed"):
                del recipe[name]
            recipe["classes"] = classes_in_words(family.recipe.classes)
            yield Family(
                setting=setting.name,
                kind=setting.kind,
                role=role,
                dataset=family.recipe.dataset,
                arch=family.recipe.arch,
                recipe=recipe,
                widths=tuple(family.widths),
                seeds=tuple(family.seeds),
            )


def _models(
    specs: Iterable[RunSpec], homes: Mapping[str, _Home], logs: Mapping[str, Mapping[str, Any]]
) -> Iterator[Model]:
    for spec in specs:
        if spec.key in logs:
            log = logs[spec.key]
            yield Model(*homes[spec.key], seed=spec.seed, **{name: log[name] for name in _LOG})


def _paths(measured: _Measured) -> Iterator[Path]:
    """One draw of each pair is enough to draw; the barriers of all stand with the claims that rest on them."""
    for measurement, home, record in measured:
        if isinstance(measurement, PairMeasurement) and measurement.draw <= 1 and measurement.layers:
            path = record["path"]
            yield Path(
                *home,
                seeds=_seeds(measurement),
                alignment="random" if measurement.draw else measurement.alignment,
                lams=path["lams"],
                **_along(path["points"], _POINT),
                ensemble=Ensemble(**{name: path["ensemble"][name] for name in _POINT}),
            )


def _outputs(measured: _Measured) -> Iterator[Outputs]:
    for measurement, home, record in measured:
        if (
            isinstance(measurement, PairMeasurement)
            and home[1] == "strong"
            and (measurement.alignment, measurement.draw) == ("unpermuted", 0)
            and len(measurement.lams) > len(MIDPOINT)
            and measurement.layers
        ):
            layers = record["layers"]["outputs"]
            yield Outputs(*home, seeds=_seeds(measurement), layers=tuple(layers), **_along(layers.values(), _OUTPUTS))


def _random_steps(measured: _Measured) -> Iterator[RandomStep]:
    for measurement, home, record in measured:
        if isinstance(measurement, FlatnessMeasurement):
            along = _along(record["points"], ("accuracy", "loss"))
            yield RandomStep(*home, seeds=_seeds(measurement), alphas=record["alphas"], **along)


def _histograms(measured: _Measured) -> Iterator[Histogram]:
    drawn = set[_Home]()
    for measurement, home, record in measured:
        if isinstance(measurement, ModelMeasurement) and home not in drawn:
            drawn.add(home)
            counts = {name: values["histogram"]["counts"] for name, values in record["activations"].items()}
            yield Histogram(*home, seed=measurement.spec.seed, activations=counts)


def _along(points: Iterable[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Every quantity's values, point by point."""
    found = list(points)
    return {name: tuple(point[name] for point in found) for name in names}
