"""What measurements and trainings are expected to take, against sums by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lmc.executing.costs import Pace, training_seconds
from lmc.executing.measuring_costs import image_passes, loading_seconds, measuring_seconds
from lmc.measuring.measurements import (
    FULL_PATH,
    FlatnessMeasurement,
    LayerFitMeasurement,
    Measurement,
    MergeMeasurement,
    ModelMeasurement,
    PairMeasurement,
    PruneMeasurement,
)
from lmc.specs import RunSpec

MLP = [RunSpec(dataset="digits", arch="mlp", width=1 / 16).with_seed(seed) for seed in range(3)]
VGG = [replace(spec, arch="vgg-small") for spec in MLP]
NOTHING = Pace(0.0, 0.0)


@pytest.mark.parametrize(
    ("measurement", "expected"),
    [
        (PairMeasurement(MLP[0], MLP[1]), 797 + 5 * 400),
        (PairMeasurement(VGG[0], VGG[1]), 1000 + 797 + 5 * 400),
        (PairMeasurement(VGG[0], VGG[1], lams=FULL_PATH), 9 * (1000 + 797) + 5 * 400),
        (PairMeasurement(VGG[0], VGG[1], alignment="matching"), 1000 + 797 + 5 * 400),
        (PairMeasurement(VGG[0], VGG[1], draw=1, layers=False), 1000 + 797),
        (FlatnessMeasurement(VGG[0], VGG[1]), 4 * 1000 + 7 * 797),
        (LayerFitMeasurement(VGG[0], VGG[1], VGG[2]), 1000 + 4 * 400),
        (PruneMeasurement(VGG[0], (0.5, 0.25)), 2 * (1000 + 797)),
        (ModelMeasurement(VGG[0]), 797),
        (MergeMeasurement(tuple(VGG)), 1000 + 797 + 6 * 400),
        (MergeMeasurement(tuple(VGG), layers=False), 1000 + 797),
    ],
)
def test_forward_passes(measurement: Measurement, expected: int) -> None:
    """1,000 training images reset BatchNorm's statistics at every inner point, 797 test images are evaluated."""
    assert image_passes(measurement, 1000, 797) == expected


def only(measurement: Measurement, pace: Pace = NOTHING) -> float:
    """Seconds of a measurement beside those of its models."""
    _, (seconds,) = measuring_seconds([measurement], pace)
    return seconds


def test_passes_are_priced_by_the_pace() -> None:
    pair = PairMeasurement(VGG[0], VGG[1])
    assert only(pair, Pace(0.0, 1e-3)) - only(pair) == pytest.approx(1e-3 * 3797)
    with_pace, without = (measuring_seconds([pair], each)[0] for each in (Pace(0.0, 1e-3), NOTHING))
    assert with_pace - without == pytest.approx(1e-3 * 797), "each model is evaluated once"
    assert without == loading_seconds(VGG[0])


def test_weight_matching_is_priced_by_its_assignments() -> None:
    """Three starts of five sweeps over three layers of 32 units; of 8,192 units it takes minutes, not nothing."""
    matched, plain = (PairMeasurement(MLP[0], MLP[1], alignment=name) for name in ("matching", "unpermuted"))
    assert only(matched) - only(plain) == pytest.approx(3 * 5 * 3 * (2.4e-4 + 1.4e-7 * 32**2))
    wide = [replace(spec, width=16.0) for spec in MLP[:2]]
    assert 60 < only(PairMeasurement(wide[0], wide[1], alignment="matching")) < 3600


def test_a_matching_that_measurements_share_is_priced_once() -> None:
    """Of a fit of a, b and c after a pair of a and b, only that of a and c is left."""
    pair = PairMeasurement(MLP[0], MLP[1], alignment="matching")
    fit = LayerFitMeasurement(MLP[0], MLP[1], MLP[2], alignment="matching")
    after, fit_alone = measuring_seconds([pair, fit], NOTHING)[1][1], only(fit)
    assert fit_alone - after == pytest.approx(3 * 5 * 3 * (2.4e-4 + 1.4e-7 * 32**2))


def test_ranks_are_priced_by_the_smaller_side() -> None:
    """64 - 32 - 32 - 32 - 10: Gram matrices, and eigenvalues of 32, 32, 32 and 10."""
    extra = only(ModelMeasurement(MLP[0])) - only(FlatnessMeasurement(MLP[0], MLP[1]))
    gram = 2 * (32**2 * 64 + 2 * 32**3 + 10**2 * 32) / 2e10
    assert extra == pytest.approx(gram + 1.5e-10 * (3 * 32**3 + 10**3))


def test_training_is_priced_with_its_start_and_end() -> None:
    """4,522 numbers are drawn and saved for each model, which makes twenty steps."""
    beside = 1e-2 + 4522 / 1e8 + 4 * 4522 / 4e8
    assert training_seconds(MLP, NOTHING) == pytest.approx(3 * beside)
    assert training_seconds(MLP, Pace(0.5, 0.0)) == pytest.approx(3 * (beside + 20 * 0.5))
