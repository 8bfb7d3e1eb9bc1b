"""Power laws: a planted exponent is found again, and where the data support no law none is reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmc.claims.asked import Asked
from lmc.claims.scaling import PowerLaw, PowerLawFit, fit_power_law
from lmc.claims.statistics import Estimate, Observation, by_width, estimate
from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE

WIDTHS = (1 / 16, 1 / 4, 1.0, 2.0)
LAW = PowerLaw(exponent=0.25, tolerance=0.1)
quick = settings(deadline=None, max_examples=60, derandomize=True)


def observations(
    mean: Callable[[float], float],
    noise: Callable[[float], float],
    *,
    seed: int = 1,
    widths: tuple[float, ...] = WIDTHS,
    models: int = 6,
) -> list[Observation]:
    """All pairs of ``models`` per width: the width's mean plus a deviation of either model."""
    rng, found = np.random.default_rng(seed), []
    for width in widths:
        u = noise(width) * rng.standard_normal(models)
        found += [
            Observation(width, (i, j), float(mean(width) + u[i] + u[j]), j == i + 1 and i % 2 == 0)
            for i, j in combinations(range(models), 2)
        ]
    return found


def planted(exponent: float, scale: float = 0.5, share: float = 0.03, **more: object) -> list[Observation]:
    """scale · width^(-exponent), with models that scatter by a share of it."""

    def law(width: float) -> float:
        return scale * width**-exponent

    return observations(law, lambda width: share * law(width), **more)  # type: ignore[arg-type]


def fitted(found: list[Observation]) -> PowerLawFit:
    return fit_power_law({width: estimate(group) for width, group in by_width(found).items()})


def exact(values: Mapping[float, float], error: float = 1e-3) -> dict[float, Estimate]:
    return {width: Estimate(value, error * value, 5) for width, value in values.items()}


@quick
@given(st.floats(0.1, 3), st.floats(0.01, 10), st.lists(st.integers(-6, 5), min_size=3, max_size=7, unique=True))
def test_an_exact_law_is_found_exactly(exponent: float, scale: float, powers: list[int]) -> None:
    found = fit_power_law(exact({2.0**power: scale * 2.0 ** (-exponent * power) for power in sorted(powers)}))
    assert found.problem == ""
    assert found.exponent.mean == pytest.approx(exponent, rel=1e-9, abs=1e-9)
    assert found.scale == pytest.approx(scale, rel=1e-9)
    assert found.misfit_p == pytest.approx(1.0)


@quick
@given(st.floats(0.1, 3), st.floats(0.01, 10), st.floats(0.01, 10))
def test_width_at_inverts_the_law(exponent: float, scale: float, tolerance: float) -> None:
    found = PowerLawFit(Estimate(exponent, 0.1, 5), scale, 1.0)
    width = found.width_at(tolerance)
    assert scale * width**-exponent == pytest.approx(tolerance, rel=1e-9)


@pytest.mark.parametrize("exponent", [0.0, -0.5, math.nan])
def test_what_does_not_fall_never_reaches_a_tolerance(exponent: float) -> None:
    assert PowerLawFit(Estimate(exponent, 0.1, 5), 1.0, 1.0).width_at(0.1) == math.inf


@pytest.mark.parametrize("exponent", [1e-3, 1e-6, 5e-324])
def test_a_barrier_that_hardly_falls_reaches_a_tolerance_at_no_width_a_float_can_hold(exponent: float) -> None:
    found = PowerLawFit(Estimate(exponent, 0.1, 5), 1.0, 1.0)
    assert found.width_at(0.1) == math.inf
    assert found.width_at(10.0) == 0.0


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_the_interval_covers_a_planted_exponent_as_often_as_it_says(share: float) -> None:
    """Noise that is small beside the barrier, where the delta method is good."""
    rounds, covered, errors = 200, 0, []
    for seed in range(rounds):
        found = fitted(planted(0.8, share=share, seed=seed))
        low, high = found.exponent.interval()
        covered += low <= 0.8 <= high
        errors.append(found.exponent.mean - 0.8)
    assert 0.85 <= covered / rounds <= 1.0  # 0.95 expected, three sigma of 200 rounds are 0.046
    assert abs(float(np.mean(errors))) < 4 * float(np.std(errors)) / math.sqrt(rounds), "biased"


def test_the_fit_weighs_every_point_by_its_error() -> None:
    """Moving a point by a small share of its error moves the exponent as the delta method of the fit says."""
    points = {width: Estimate(0.5 * width**-0.7, 0.02 * (1 + width), 5) for width in WIDTHS}
    share = 1e-3
    moves = [
        (
            fit_power_law(points | {width: replace(each, mean=each.mean + share * each.error)}).exponent.mean
            - fit_power_law(points).exponent.mean
        )
        / share
        for width, each in points.items()
    ]
    found = fit_power_law(points)
    assert found.exponent.mean == pytest.approx(0.7, rel=1e-6)
    assert found.exponent.error == pytest.approx(math.sqrt(np.square(moves).sum()), rel=1e-2)


@pytest.mark.parametrize("widths", [(), (1.0,), (1.0, 2.0)])
def test_fewer_than_three_widths_show_no_law(widths: tuple[float, ...]) -> None:
    found = fit_power_law(exact({width: 1 / width for width in widths}))
    assert found.problem == f"{len(widths)} widths are too few to see a law"
    assert math.isnan(found.exponent.mean)
    assert found.width_at(0.1) == math.inf


def test_a_barrier_near_zero_at_the_widest_tells_of_a_steep_fall() -> None:
    narrow = {0.5: Estimate(1.0, 0.05, 5), 1.0: Estimate(0.3, 0.05, 5)}
    for last in (Estimate(0.0, 0.05, 5), Estimate(-0.02, 0.05, 5), Estimate(0.08, 0.05, 5)):
        found = fit_power_law(narrow | {2.0: last})
        assert found.problem == ""
        assert 1.5 < found.exponent.mean < 2.5
        assert found.misfit_p > 0.05


def test_without_a_narrow_barrier_nothing_is_fitted() -> None:
    found = fit_power_law({0.5: Estimate(0.1, 0.1, 5)} | exact({1.0: 0.5, 2.0: 0.2}))
    assert found.problem == "the barrier at width 0.5 (0.1) is not significantly above zero"
    assert math.isnan(found.exponent.mean)


def test_points_off_a_power_law_are_told_apart() -> None:
    values = {0.25: 1.0, 0.5: 0.9, 1.0: 0.5, 2.0: 0.2}
    assert fit_power_law(exact(values, error=0.01)).misfit_p < 1e-3
    assert fit_power_law(exact(values, error=0.3)).misfit_p > 0.05, "with large errors nothing speaks against it"


def test_a_true_law_is_seldom_called_none() -> None:
    """Errors are themselves estimated, from six models: a test that takes them as known would reject too often."""
    called = [fitted(planted(0.8, share=0.05, seed=seed)).misfit_p <= 0.05 for seed in range(300)]
    assert sum(called) / 300 <= 0.1  # 0.05 expected, three sigma of 300 rounds are 0.038


# -- The expectation. --


def bent(width: float) -> float:
    return {1 / 16: 1.0, 1 / 4: 0.95, 1.0: 0.5, 2.0: 0.05}[width]


VERDICTS = [
    ("steep", planted(0.8), HOLDS, "exponent 0.8"),
    ("just steep enough", planted(0.4), HOLDS, "p = "),
    ("too flat", planted(0.1), FAILS, "exponent 0.1"),
    ("rising", planted(-0.5), FAILS, "0.1 at width inf"),
    ("flat", planted(0.0), FAILS, "exponent "),
    ("steep enough on average, but uncertain", planted(0.35, share=0.16, seed=4), INCONCLUSIVE, "of the contrary "),
    ("without spread", planted(0.8, share=0.0), INCONCLUSIVE, "do not differ"),
    ("two widths", planted(0.8, widths=(1.0, 2.0)), INCONCLUSIVE, "no fit is supported: 2 widths are too few"),
    ("no barrier", observations(lambda _: 0.0, lambda _: 0.1), INCONCLUSIVE, "not significantly above zero"),
    ("below zero", observations(lambda _: -0.5, lambda _: 0.01), INCONCLUSIVE, "not significantly above zero"),
    ("off the law", observations(bent, lambda width: 0.005 * bent(width)), FAILS, "do not lie on a power law"),
    ("four models", planted(0.8, models=4), INCONCLUSIVE, "2 independent pairs at width 0.0625 are fewer than 3"),
]


@pytest.mark.parametrize(
    ("found", "verdict", "reason"), [each[1:] for each in VERDICTS], ids=[each[0] for each in VERDICTS]
)
def test_verdict(found: list[Observation], verdict: str, reason: str) -> None:
    judged = LAW.judge(found)
    assert judged.verdict == verdict, judged
    assert reason in judged.reason
    assert judged.asked == LAW.asked == Asked(quantity="exponent", low=0.25, alpha=0.05)
    again = LAW.judge(found[::-1])
    assert again.verdict == verdict
    assert again.effect == (judged.effect if judged.effect is None else pytest.approx(judged.effect))


def test_a_fit_that_holds_reports_exponent_interval_and_the_width_of_the_tolerance() -> None:
    judged = LAW.judge(planted(0.5, scale=0.4, share=0.001))
    assert judged.effect == pytest.approx(0.5, abs=0.01)
    assert judged.interval is not None
    assert judged.interval[0] < judged.effect < judged.interval[1]
    assert judged.p_value is not None
    assert judged.p_value < 1e-6
    assert "0.1 at width 16" in judged.reason or "0.1 at width 15.9" in judged.reason  # (0.4 / 0.1)²


def test_a_barrier_that_hardly_falls_is_judged() -> None:
    judged = LAW.judge(planted(1e-3, share=1e-6))
    assert judged.verdict == FAILS
    assert judged.effect == pytest.approx(1e-3, abs=1e-4)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_an_undefined_barrier_fails(value: float | None) -> None:
    found = planted(0.8)
    assert LAW.judge(found).verdict == HOLDS
    judged = LAW.judge([*found[:-1], replace(found[-1], value=value)])
    assert judged.verdict == FAILS
    assert "1 of 60 values are undefined" in judged.reason


def test_nothing_measured_fails() -> None:
    assert LAW.judge([]).verdict == FAILS
