"""A diagnosis of a reader's own models as one HTML page: recommendation, ways to merge, path and layers in pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lmc.reporting.curves import SHARES
from lmc.reporting.figures import Axis, Figure, Mean, Panel, Point, Series, categories, finite
from lmc.reporting.report import environment

if TYPE_CHECKING:
    from lmc.diagnosing.candidates import LinearPath
    from lmc.diagnosing.diagnosis import Diagnosis
    from lmc.diagnosing.scoring import Score

_HALF = 1.96  # of a 95 % interval, in standard errors

_LAYERS = {
    "outputs": {"lewc_cosine": "LEWC cosine", "endpoint_cosine": "cosine of models 1 and 2"},
    "activations": {"additivity_cosine": "additivity cosine", "overlap_ratio": "overlap of active neurons"},
    "weights": {"orthogonality_ratio": "orthogonality ratio", "recovery_cosine": "recovery cosine"},
}
"""What is drawn of layers, by the group of records that has it."""


def diagnosis_page(found: Diagnosis) -> str:
    """The diagnosis as one HTML page, which needs nothing else.

    Args:
        found: what `lmc.diagnosing.diagnose.diagnose` gives.
    """
    from lmc.diagnosing.report import lines

    page = environment().get_template("diagnosis.html.j2")
    return page.render(
        found=found,
        rows=_rows(found),
        path=_path_figure(found),
        layers=_layer_figure(found),
        text="\n".join(lines(found)),
    )


def _rows(found: Diagnosis) -> list[tuple[str, Score, bool]]:
    """Models, their ensemble and every way to merge, each with whether it is the recommended one."""
    rows = [(f"Model {number}", model, False) for number, model in enumerate(found.models, start=1)]
    rows += [
        (f"Model {number}, BatchNorm statistics reset", model, False)
        for number, model in enumerate(found.reset_models, start=1)
    ]
    rows.append(
        (f"Ensemble: mean of the models' {'logits' if found.task.has_beta else 'outputs'}", found.ensemble, False)
    )
    chosen = found.conclusion.candidate
    return rows + [(f"Merged {each.name}", each.merged, each.name == chosen) for each in found.candidates]


def _path_figure(found: Diagnosis) -> Figure | None:
    """What lies between the models, a line for each way to align them; ``None`` for more than two models."""
    unit = f" ({found.task.loss_unit})" if found.task.loss_unit else ""
    quantities = {"metric": found.task.metric_name, "loss": f"loss{unit}", "calibrated_loss": f"calibrated loss{unit}"}
    panels = []
    for name, label in quantities.items():
        drawn = tuple(Series(way, means=means) for way, path in found.paths.items() if (means := _along(path, name)))
        if drawn:
            panels.append(Panel(label, Axis("λ, the weight of model 1", SHARES), Axis(label), drawn))
    caption = (
        "Models averaged with weights λ and 1 - λ. A hump of the loss, or a dip of what is the better the higher, is "
        "the barrier. Bars are 95 % intervals of the distance from the line between the ends."
    )
    return Figure("path", "Between the models", caption, tuple(panels)) if panels else None


def _along(path: LinearPath, name: str) -> tuple[Mean, ...]:
    errors = path.errors.get(name, ())
    means = []
    for at, (lam, point) in enumerate(zip(path.lams, path.points, strict=True)):
        value = getattr(point, name)
        if not finite([value]):
            continue
        half = _HALF * errors[at] if at < len(errors) and finite([errors[at]]) else 0.0
        means.append(Mean(lam, value, value - half, value + half) if half else Mean(lam, value))
    return tuple(means)


def _layer_figure(found: Diagnosis) -> Figure | None:
    """Every quantity by layer, a line for the models as they are and one for permuted ones."""
    notes: list[str] = []
    panels = []
    for group, quantities in _LAYERS.items():
        for name, label in quantities.items():
            by_way = {which: _by_layer(records[group], name) for which, records in found.layers.items()}
            layers = list(dict.fromkeys(layer for numbers in by_way.values() for layer in numbers))
            drawn = tuple(Series(which, means=_means(numbers, layers)) for which, numbers in by_way.items() if numbers)
            if drawn:
                panels.append(Panel(label, categories("layer", layers, label, notes), Axis(label), drawn))
    caption = (
        "Merged at equal weights. Averaging works where the merged net's layers point along the sum of the models' "
        "(LEWC near 1); for that, additivity is to be near 1 and the orthogonality ratio near 0."
    )
    return Figure("layers", "Layer by layer", caption, tuple(panels), tuple(notes)) if panels else None


def _by_layer(records: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, float]:
    return {layer: each[name] for layer, each in records.items() if finite([each.get(name)])}


def _means(numbers: Mapping[str, float], layers: Sequence[str]) -> tuple[Mean, ...]:
    points: list[Point] = [(float(at), numbers[layer]) for at, layer in enumerate(layers) if layer in numbers]
    return tuple(Mean(x, y) for x, y in points)
