"""What a results file keeps besides verdicts: recipes, training logs, paths, histograms, random steps.

Enough to redraw the paper's figures without the store. Numbers are rounded to six significant digits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmc.claims.claim import Records
from lmc.claims.judging import Case, needed
from lmc.measuring.measurements import MIDPOINT, FlatnessMeasurement, Measurement, ModelMeasurement, PairMeasurement
from lmc.specs import RunSpec
from lmc.tiers import Setting

_POINT = ("accuracy", "loss", "beta", "calibrated_loss")
OUTPUTS = ("norm_merged", "norm_endpoints", "endpoint_cosine")
"""What is kept of every layer's output, see `lmc.measuring.layers.measure_layers`."""


def evidence(cases: Iterable[Case], records: Records, logs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """JSON-ready record of what the cases rest on.

    Args:
        cases: the judged cases.
        records: measured records by measurement key.
        logs: training logs by spec key, see `lmc.training.engine.TrainedModel`.

    Returns:
        Lists of rows by name:

        - ``families``: setting, role, recipe (the spec without width and seeds), widths and seeds;
        - ``models``: setting, role, width, seed, status, parameters, steps, decay_horizon, seconds, loss by epoch;
        - ``paths``: of every pair: setting, role, width, pair, alignment, lams, for each of accuracy, loss, beta and
          calibrated_loss its values along the path, and ``ensemble``; of independent pairs as finely as they were
          measured, of the others at λ = 0, ½ and 1;
        - ``outputs``: of independent pairs of strongly decayed models as they are: setting, role, width, pair, layers,
          and for each of ``OUTPUTS`` its value by layer;
        - ``random_steps``: setting, role, width, pair, alphas, accuracy and loss along a random direction;
        - ``histograms``: of one model per width: setting, role, width, seed and per ReLU the counts of its
          channels' root second moments over 50 bins up to the largest.

        A model that several families share stands in the first of them.
    """
    kinds = ("families", "models", "paths", "outputs", "random_steps", "histograms")
    found: dict[str, Any] = {kind: [] for kind in kinds}
    homes: dict[str, dict[str, Any]] = {}
    for setting in _settings(cases):
        for role, family in setting.families.items():
            recipe = dataclasses.asdict(family.recipe)
            for name in ("width", "init_seed", "data_seed"):
                del recipe[name]
            found["families"].append(
                {
                    "setting": setting.name,
                    "role": role,
                    "recipe": recipe,
                    "widths": list(family.widths),
                    "seeds": list(family.seeds),
                }
            )
            for width in family.widths:
                for seed in family.seeds:
                    spec = family.spec(width, seed)
                    homes.setdefault(spec.key, {"setting": setting.name, "role": role, "width": width})
    measured = needed(cases)
    for spec in _trained(measured):
        if spec.key in logs:
            found["models"].append({**homes[spec.key], "seed": spec.init_seed, **_log(logs[spec.key])})
    for measurement in measured:
        record = records[measurement.key]
        if record["status"] == "measured":
            home = homes[measurement.specs[0].key]
            _add(found, home, measurement, record)
    rounded: dict[str, Any] = _rounded(found)
    return rounded


def _settings(cases: Iterable[Case]) -> list[Setting]:
    return list({case.setting.name: case.setting for case in cases if case.setting and not case.skip}.values())


def _trained(measurements: Iterable[Measurement]) -> Iterator[RunSpec]:
    yield from {spec.key: spec for each in measurements for spec in each.specs}.values()


def _log(log: Mapping[str, Any]) -> dict[str, Any]:
    names = ("status", "parameters", "steps", "decay_horizon", "seconds", "loss")
    return {name: log[name] for name in names}


def _add(found: dict[str, Any], home: dict[str, Any], measurement: Measurement, record: Mapping[str, Any]) -> None:
    pair = "-".join(str(spec.init_seed) for spec in measurement.specs)
    if isinstance(measurement, PairMeasurement):
        path = record["path"]
        along = {name: [point[name] for point in path["points"]] for name in _POINT}
        ensemble = {"lams": path["lams"], **along, "ensemble": path["ensemble"]}
        found["paths"].append({**home, "pair": pair, "alignment": measurement.alignment, **ensemble})
        if home["role"] == "strong" and measurement.alignment == "none" and len(measurement.lams) > len(MIDPOINT):
            outputs = record["layers"]["outputs"]
            by_layer = {name: [values[name] for values in outputs.values()] for name in OUTPUTS}
            found["outputs"].append({**home, "pair": pair, "layers": list(outputs), **by_layer})
    elif isinstance(measurement, FlatnessMeasurement):
        along = {name: [point[name] for point in record["points"]] for name in ("accuracy", "loss")}
        found["random_steps"].append({**home, "pair": pair, "alphas": record["alphas"], **along})
    elif isinstance(measurement, ModelMeasurement):
        drawn = {(each["setting"], each["role"], each["width"]) for each in found["histograms"]}
        if tuple(home.values()) not in drawn:
            counts = {name: values["histogram"]["counts"] for name, values in record["activations"].items()}
            found["histograms"].append({**home, "seed": measurement.spec.init_seed, "relus": counts})


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value
