"""What measurements cost, and what loading, permuting and decomposing models does beside their forward passes."""

from __future__ import annotations

from collections.abc import Sequence

from lmc.architectures import architecture
from lmc.executing.costs import Pace, Work, cost_of_net, shape_of
from lmc.measuring.measurements import (
    MATCHING_STARTS,
    FlatnessMeasurement,
    LayerFitMeasurement,
    Measurement,
    MergeMeasurement,
    ModelMeasurement,
    PairMeasurement,
    PruneMeasurement,
)
from lmc.specs import RunSpec

MEASUREMENT_SECONDS = 6e-3
"""Of any measurement, whose record is written and reaches the disk."""
MODEL_SECONDS, MODEL_BYTES_PER_SECOND = 2e-3, 1e9
"""Of a model that is loaded, its network built, its file read, its checksum taken."""
PRODUCT_FLOPS, EIGEN_SECONDS = 2e10, 1.5e-10
"""FLOP per second of a Gram matrix in double precision, and seconds of its eigenvalues by rows cubed, for ranks."""
SWEEPS, SWEEP_SECONDS, ASSIGNMENT_SECONDS = 5, 2.4e-4, 1.4e-7
"""Sweeps of weight matching from one start, seconds of a layer in one, and of its assignment by units squared. Cubed it
would be on noise; on weights, wide layers are assigned faster than narrow ones let fear."""


def measuring_work(measurements: Sequence[Measurement]) -> Work:
    """Of measurements that share models: each model is evaluated once, all else for each measurement.

    Models and their activations are kept as `lmc.measuring.endpoints` keeps them; three more are in passing. To compare
    the layers of models and their average, those of all of them are held for a whole batch.
    """
    from lmc.measuring.endpoints import MODEL_BYTES, SEEN_BYTES
    from lmc.measuring.inputs import BATCH
    from lmc.measuring.records import LAYER_IMAGES

    spec, models = measurements[0].specs[0], len({spec for each in measurements for spec in each.specs})
    _, _, train_images, test_images = shape_of(spec)
    images = sum(image_passes(each, train_images, test_images) for each in measurements)
    cost, at_once = cost_of_net(spec), max(len(each.specs) for each in measurements)
    kept = max(at_once, min(models, MODEL_BYTES // (4 * cost.parameters)))
    seen = min(models * LAYER_IMAGES, SEEN_BYTES // (4 * cost.activations))
    compared = any(isinstance(each, (PairMeasurement, MergeMeasurement)) for each in measurements)
    passing = (at_once + 1 if compared else 1) * BATCH
    return Work(spec, 0, images + models * test_images, kept + 3, passing + seen)


def measuring_seconds(measurements: Sequence[Measurement], pace: Pace) -> tuple[float, tuple[float, ...]]:
    """Time on one processor to load and evaluate one model, and to carry out each measurement beside that."""
    spec = measurements[0].specs[0]
    _, _, train_images, test_images = shape_of(spec)
    each, matched = [], set[tuple[RunSpec, RunSpec]]()
    for measurement in measurements:
        new = _matchings(measurement) - matched
        matched |= new
        each.append(
            MEASUREMENT_SECONDS
            + image_passes(measurement, train_images, test_images) * pace.image
            + len(new) * _matching_seconds(spec)
            + (_rank_seconds(spec) if isinstance(measurement, ModelMeasurement) else 0.0)
        )
    return loading_seconds(spec) + test_images * pace.image, tuple(each)


def image_passes(measurement: Measurement, train_images: int, test_images: int) -> float:
    """Forward passes of one image that a measurement takes, beside those of its models over the test set."""
    from lmc.measuring.paths import BN_IMAGES
    from lmc.measuring.records import LAYER_IMAGES

    spec, models = measurement.specs[0], len(measurement.specs)
    layers = (3 + models) * min(LAYER_IMAGES, test_images)  # every model, the merged one, and what is mapped
    if isinstance(measurement, PairMeasurement):
        passes = merged = len(measurement.lams) - 2
        layers = layers if measurement.layers else 0
    elif isinstance(measurement, LayerFitMeasurement):
        passes, merged, layers = 0, 1, (1 + models) * min(LAYER_IMAGES, test_images)
    elif isinstance(measurement, PruneMeasurement):
        passes, merged, layers = len(measurement.keeps), len(measurement.keeps), 0
    elif isinstance(measurement, FlatnessMeasurement):
        passes, merged, layers = len(measurement.alphas) + 2, len(measurement.alphas) - 1, 0
    elif isinstance(measurement, ModelMeasurement):
        passes, merged, layers = 1, 0, 0
    else:
        passes, merged = 1, int(models > 1)
        layers = layers if getattr(measurement, "layers", True) else 0
    resets = merged * min(BN_IMAGES, train_images) if architecture(spec.arch).normalised else 0
    return resets + passes * test_images + layers


def loading_seconds(spec: RunSpec) -> float:
    """Time to load a model, or to save one."""
    return MODEL_SECONDS + 4 * cost_of_net(spec).parameters / MODEL_BYTES_PER_SECOND


def _matchings(measurement: Measurement) -> set[tuple[RunSpec, RunSpec]]:
    """Models that are matched, each with the first: a family's measurements share what is found."""
    if getattr(measurement, "alignment", None) != "matching":
        return set()
    first, *others = measurement.specs
    return {(first, each) for each in others}


def _matching_seconds(spec: RunSpec) -> float:
    """Of weight matching: in every sweep from every start, an assignment for each layer but the last."""
    layers = [rows for rows, _ in cost_of_net(spec).matrices[:-1]]
    return MATCHING_STARTS * SWEEPS * sum(SWEEP_SECONDS + ASSIGNMENT_SECONDS * rows**2 for rows in layers)


def _rank_seconds(spec: RunSpec) -> float:
    """Of the singular values of every weight, by the eigenvalues of the smaller Gram matrix."""
    sides = [(min(each), max(each)) for each in cost_of_net(spec).matrices]
    return sum(2 * less**2 * more / PRODUCT_FLOPS + EIGEN_SECONDS * less**3 for less, more in sides)
