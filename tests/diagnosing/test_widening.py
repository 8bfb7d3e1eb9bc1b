"""The width at which a barrier is gone: closed forms, and the command's own words."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from diagnosed import digits, fitted, mlp

from lmc.diagnosing.forecasting import forecast
from lmc.diagnosing.widening import crossing_width, forecast_width
from lmc.errors import LmcError, MergeError, SpecError

INPUTS, LABELS = digits()[1]


def test_a_power_law_is_continued_to_where_it_passes_the_tolerance() -> None:
    found = crossing_width({width: [[6.4 / width, 6.4 / width]] for width in (8.0, 16.0, 32.0)}, 0.1)
    assert found == pytest.approx((64.0, 64.0, 64.0))  # draws that are all alike leave no doubt


def test_between_two_widths_the_barrier_is_linear_in_the_logarithm() -> None:
    by_width = {16.0: [[0.8, 1.0]], 64.0: [[-0.1, 0.1]], 256.0: [[-0.05, -0.05]]}
    width, low, high = crossing_width(by_width, 0.3)
    assert width == pytest.approx(16 * 4 ** (0.6 / 0.9))
    least, most = ((above - 0.3) / (above - below) for above, below in ((0.8, -0.1), (1.0, 0.1)))
    assert (low, high) == pytest.approx((16 * 4**least, 16 * 4**most), rel=0.02)


def test_the_interval_covers_the_width_of_a_known_law() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(40):
        by_width = {
            width: [list(3.2 / width * (1 + 0.3 * generator.standard_normal(20)))] for width in (4.0, 8.0, 16.0)
        }
        _, low, high = crossing_width(by_width, 0.1, seed)
        covered += low <= 32 <= high
    assert 33 <= covered <= 40  # P(fewer than 33 of 40 at 95 %) is 0.1 %


def test_models_that_differ_widen_the_interval() -> None:
    alike = {width: [[3.2 / width] * 8] * 3 for width in (8.0, 16.0)}
    apart = {width: [[factor * 3.2 / width] * 8 for factor in (0.5, 1.0, 1.5)] for width in (8.0, 16.0)}
    assert crossing_width(alike, 0.1)[1:] == pytest.approx((32.0, 32.0))
    _, low, high = crossing_width(apart, 0.1)
    assert low < 25
    assert high > 40


def test_a_barrier_that_may_not_fall_has_no_upper_limit() -> None:
    _, low, high = crossing_width({8.0: [[0.2, 0.8]], 16.0: [[0.1, 0.4]]}, 0.1)
    assert math.isfinite(low)
    assert high == math.inf


@pytest.mark.parametrize(
    ("barriers", "message"),
    [
        ((0.5, 0.5), "does not fall with width"),
        ((0.4, 0.5), "does not fall with width .0.400 at width 8, 0.500 at width 16."),
        ((0.05, -0.02), "below 0.1 at every width already"),
        ((0.5, 0.49), "falls too slowly"),
    ],
)
def test_what_names_no_width(barriers: tuple[float, float], message: str) -> None:
    with pytest.raises(MergeError, match=message):
        crossing_width({width: [[each] * 2] for width, each in zip((8.0, 16.0), barriers, strict=True)}, 0.1)


NETS = [fitted(lambda: mlp(6), 0), fitted(lambda: mlp(24), 0)]


def test_the_barriers_are_those_of_the_forecasts() -> None:
    found = forecast_width(NETS, (6, 24), (INPUTS, LABELS), 1.4, draws=4, seed=3)
    alone = [forecast(net, (INPUTS, LABELS), 4, 3).calibrated_loss for net in NETS]
    assert [each.calibrated_loss for each in found.forecasts] == alone
    above, below = (each.mean for each in alone if each is not None)
    assert above > 1.4 > below
    assert found.width == pytest.approx(6 * 4 ** ((above - 1.4) / (above - below)))
    assert found.seen
    assert found.low <= found.width <= found.high
    assert found.quantity == "calibrated loss barrier"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: forecast_width(NETS, (6,), (INPUTS, LABELS)), SpecError, "1 widths for 2 models; give one each"),
        (lambda: forecast_width(NETS, (6, 6), (INPUTS, LABELS)), SpecError, "all models are of width 6"),
        (lambda: forecast_width(NETS, (0, 6), (INPUTS, LABELS)), SpecError, "they must be positive numbers"),
        (lambda: forecast_width(NETS, (6, 24), (INPUTS, LABELS), 0.0), SpecError, "the tolerance is 0.0"),
    ],
)
def test_arguments(call: Callable[[], object], error: type[LmcError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
