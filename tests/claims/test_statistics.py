"""The statistics behind verdicts, against explicit computations, scipy, and simulation."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lmc.claims.statistics import (
    Estimate,
    Observation,
    by_width,
    difference,
    estimate,
    mean_estimate,
    one_sided_p_value,
    slope,
)

quick = settings(deadline=None, max_examples=40, derandomize=True)
seeds = st.integers(0, 2**31 - 1)


def all_pairs(table: np.ndarray) -> list[Observation]:
    """One observation per pair of models; ``table[i, j]`` is its value."""
    return [Observation(1.0, (i, j), float(table[i, j])) for i, j in combinations(range(len(table)), 2)]


def pair_means(rng: np.random.Generator, models: int, noise: float) -> np.ndarray:
    """u_i + u_j + noise, with unit-variance u: mean 0."""
    u = rng.standard_normal(models)
    return u[:, None] + u + noise * rng.standard_normal((models, models))


@quick
@given(seeds, st.integers(3, 8))
def test_estimate_is_the_jackknife_over_models(seed: int, models: int) -> None:
    table = pair_means(np.random.default_rng(seed), models, 1.0)
    found = estimate(all_pairs(table))
    pseudo = []
    for left_out in range(models):
        rest = [table[i, j] for i, j in combinations(range(models), 2) if left_out not in (i, j)]
        pseudo.append(sum(rest) / len(rest))
    centre = sum(pseudo) / models
    variance = (models - 1) / models * sum((value - centre) ** 2 for value in pseudo)
    assert found.mean == pytest.approx(table[np.triu_indices(models, 1)].mean(), rel=1e-12)
    assert found.error == pytest.approx(math.sqrt(variance), rel=1e-9)
    assert found.freedom == models - 1


@quick
@given(seeds, st.integers(3, 8))
def test_without_pair_noise_the_error_is_that_of_the_models_mean(seed: int, models: int) -> None:
    """The pairs' mean is then 2 ū, whose standard error is 2 s/√n exactly."""
    table = pair_means(np.random.default_rng(seed), models, 0.0)
    found = estimate(all_pairs(table))
    u = np.diag(table) / 2
    assert found.mean == pytest.approx(2 * u.mean(), abs=1e-12)
    assert found.error == pytest.approx(2 * u.std(ddof=1) / math.sqrt(models), rel=1e-9)
    plain = stats.ttest_1samp(2 * u, 0.0)
    for level in (0.95, 0.8):
        expected = plain.confidence_interval(level)
        assert found.interval(level) == pytest.approx((expected.low, expected.high), rel=1e-9)


GROUPS: list[list[tuple[int, ...]]] = [  # that share no model, of one, two, three and of mixed sizes
    [(seed,) for seed in range(6)],
    [(0, 1), (2, 3), (4, 5)],
    [(10, 11), (1, 0), (12, 13), (14, 15)],
    [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)],
    [tuple(8 * group + seed for seed in range(8)) for group in range(3)],
]


@quick
@given(seeds, st.sampled_from(GROUPS))
def test_groups_that_share_no_model_have_the_usual_standard_error(seed: int, groups: list[tuple[int, ...]]) -> None:
    values = np.random.default_rng(seed).standard_normal(len(groups))
    found = estimate([Observation(1.0, group, float(v)) for group, v in zip(groups, values, strict=True)])
    expected = stats.ttest_1samp(values, 0.0)
    assert found.mean == pytest.approx(values.mean(), abs=1e-12)
    assert found.error == pytest.approx(values.std(ddof=1) / math.sqrt(len(groups)), rel=1e-9)
    assert found.freedom == expected.df == len(groups) - 1
    interval = expected.confidence_interval(0.95)
    assert found.interval() == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_several_values_of_one_group_are_left_out_together() -> None:
    """Twice the same pair is not twice the evidence."""
    groups = ((0, 1), (2, 3), (4, 5))
    once = [Observation(1.0, group, float(v)) for group, v in zip(groups, (1.0, 2.0, 6.0), strict=True)]
    found, again = estimate(once), estimate(once * 2)
    assert again == Estimate(found.mean, pytest.approx(found.error), found.freedom)  # type: ignore[arg-type]


@quick
@given(seeds)
def test_one_shared_model_is_enough_to_resample_models(seed: int) -> None:
    """A chain 0-1, 1-2, 3-4: leaving out model 1 leaves out two of the three pairs."""
    values = np.random.default_rng(seed).standard_normal(3)
    groups = ((0, 1), (1, 2), (3, 4))
    found = estimate([Observation(1.0, group, float(v)) for group, v in zip(groups, values, strict=True)])
    rests = [values[[1, 2]], values[[2]], values[[0, 2]], values[[0, 1]], values[[0, 1]]]  # without 0, 1, 2, 3, 4
    left = np.array([rest.mean() for rest in rests])
    assert found.error == pytest.approx(math.sqrt(4 / 5 * np.square(left - left.mean()).sum()), rel=1e-9)
    assert found.freedom == 4


def test_three_pairs_of_disjoint_models_cover_the_truth_as_often_as_they_say() -> None:
    rng, rounds, covered = np.random.default_rng(5), 600, 0
    for _ in range(rounds):
        u = rng.standard_normal(6)
        pairs = [Observation(1.0, (i, i + 1), float(u[i] + u[i + 1])) for i in (0, 2, 4)]
        low, high = estimate(pairs).interval(0.95)
        covered += low <= 0 <= high
    assert 0.92 <= covered / rounds <= 0.98  # exact: 0.95, three sigma of 600 rounds are 0.027


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("models", [6, 10])
def test_the_interval_covers_the_truth_as_often_as_it_says(models: int, noise: float) -> None:
    rng, rounds = np.random.default_rng(models), 600
    covered = 0
    for _ in range(rounds):
        low, high = estimate(all_pairs(pair_means(rng, models, noise))).interval(0.95)
        covered += low <= 0 <= high
    # 0.95 without pair noise, somewhat more with it (Efron & Stein 1981); three sigma of 600 rounds are 0.027.
    assert 0.9 <= covered / rounds <= 0.99


def test_treating_pairs_as_independent_would_not_cover() -> None:
    """Why models are resampled: fifteen pairs of six models hold six models' worth of evidence."""
    rng, rounds, covered = np.random.default_rng(0), 600, 0
    for _ in range(rounds):
        values = pair_means(rng, 6, 0.0)[np.triu_indices(6, 1)]
        interval = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
        covered += interval.low <= 0 <= interval.high
    assert covered / rounds < 0.85


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        ([], "0 independent units are too few"),
        ([Observation(1.0, (0, 1), 0.5)], "1 independent units are too few"),
        ([Observation(1.0, (0, 1), 0.5), Observation(1.0, (2, 3), 0.5)], "2 independent units are too few"),
        ([Observation(1.0, (0,), 0.5), Observation(1.0, (1,), 0.5)], "2 independent units are too few"),
        ([Observation(1.0, (0, 1, 2), 0.5)] * 5, "1 independent units are too few"),
        ([Observation(1.0, (seed,), None) for seed in range(3)], "undefined"),
        ([Observation(1.0, (0, 1), 0.5), Observation(1.0, (0, 2), None)], "undefined"),
        ([Observation(1.0, (0, 1), 0.5), Observation(1.0, (0, 2), math.nan)], "undefined"),
        ([Observation(1.0, (0, 1), 0.5), Observation(1.0, (0, 2), math.inf)], "undefined"),
    ],
)
def test_what_cannot_be_estimated_is_refused(observations: list[Observation], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate(observations)


@quick
@given(seeds, st.lists(st.sampled_from([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2]), min_size=2, max_size=6, unique=True))
def test_slope_is_the_least_squares_line_through_the_means(seed: int, widths: list[float]) -> None:
    rng = np.random.default_rng(seed)
    points = {width: Estimate(float(rng.standard_normal()), float(rng.uniform(0.1, 1)), 5) for width in widths}
    position, means = np.log2(widths), np.array([point.mean for point in points.values()])
    found = slope(points)
    assert found.mean == pytest.approx(np.polyfit(position, means, 1)[0], abs=1e-9)
    # the error of a linear function of independent means: move each by its own error
    moved = [
        np.polyfit(position, means + np.eye(len(means))[index] * point.error, 1)[0] - found.mean
        for index, point in enumerate(points.values())
    ]
    assert found.error == pytest.approx(math.sqrt(np.square(moved).sum()), rel=1e-6)
    assert 5 - 1e-9 <= found.freedom <= 5 * len(widths) + 1e-9


def test_slope_finds_no_trend_where_there_is_none() -> None:
    rng = np.random.default_rng(1)
    rejected = 0
    for _ in range(400):
        points = {width: plain(rng.standard_normal(6)) for width in (0.25, 0.5, 1.0)}
        rejected += one_sided_p_value(slope(points), 0.0, above=True) <= 0.05
    assert 0.025 <= rejected / 400 <= 0.08  # 0.05 expected, three standard errors of 400 runs


def plain(sample: np.ndarray) -> Estimate:
    """The estimate of an independent sample's mean."""
    return Estimate(float(sample.mean()), float(sample.std(ddof=1) / math.sqrt(len(sample))), len(sample) - 1)


@quick
@given(seeds, st.floats(-1, 1))
def test_one_sided_p_value_is_the_one_sample_t_test(seed: int, threshold: float) -> None:
    sample = np.random.default_rng(seed).standard_normal(7)
    for above, alternative in ((True, "greater"), (False, "less")):
        expected = stats.ttest_1samp(sample, threshold, alternative=alternative).pvalue
        assert one_sided_p_value(plain(sample), threshold, above=above) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("mean", "above", "expected"), [(2, True, 0), (2, False, 1), (0, True, 1), (1, True, 1)])
def test_an_exact_mean_is_certain(mean: float, above: bool, expected: float) -> None:
    assert one_sided_p_value(Estimate(mean, 0.0, 5), 1.0, above=above) == expected


@quick
@given(seeds, st.integers(3, 9), st.integers(3, 9))
def test_difference_is_welchs_test(seed: int, large: int, small: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.normal(1, 2, large), rng.normal(0, 1, small)
    found, welch = difference(plain(one), plain(other)), stats.ttest_ind(one, other, equal_var=False)
    assert found.mean / found.error == pytest.approx(welch.statistic, rel=1e-9)
    assert found.freedom == pytest.approx(welch.df, rel=1e-9)
    interval = welch.confidence_interval(0.95)
    assert found.interval() == pytest.approx((interval.low, interval.high), rel=1e-9)
    greater = stats.ttest_ind(one, other, equal_var=False, alternative="greater").pvalue
    assert one_sided_p_value(found, 0.0, above=True) == pytest.approx(greater, rel=1e-9)


def test_difference_of_exact_means_is_exact() -> None:
    found = difference(Estimate(3.0, 0.0, 5), Estimate(1.0, 0.0, 5))
    assert (found.mean, found.error) == (2.0, 0.0)
    assert found.interval() == (2.0, 2.0)


def test_mean_of_estimates() -> None:
    assert mean_estimate([Estimate(2.0, 0.3, 5)]) == Estimate(2.0, pytest.approx(0.3), pytest.approx(5))  # type: ignore[arg-type]
    equal = mean_estimate([Estimate(value, 0.3, 5) for value in (1.0, 2.0, 6.0)])
    assert equal == Estimate(pytest.approx(3.0), pytest.approx(0.3 / math.sqrt(3)), pytest.approx(15))  # type: ignore[arg-type]
    uneven = mean_estimate([Estimate(1.0, 0.3, 5), Estimate(2.0, 0.0, 5)])  # one part's noise, one part's freedom
    assert uneven == Estimate(pytest.approx(1.5), pytest.approx(0.15), pytest.approx(5))  # type: ignore[arg-type]
    assert mean_estimate([Estimate(1.0, 0.0, 5), Estimate(2.0, 0.0, 5)]).error == 0
    half = mean_estimate([Estimate(1.0, 0.3, 5), Estimate(-4.0, 0.2, 7)])  # (x - (-y)) / 2 is half a difference
    whole = difference(Estimate(1.0, 0.3, 5), Estimate(4.0, 0.2, 7))
    assert half == Estimate(whole.mean / 2, pytest.approx(whole.error / 2), pytest.approx(whole.freedom))  # type: ignore[arg-type]


def test_by_width_groups_in_increasing_order() -> None:
    observations = [Observation(width, seeds, width) for seeds in ((0, 1), (2, 3)) for width in (2.0, 0.5, 1.0)]
    groups = by_width(observations)
    assert list(groups) == [0.5, 1.0, 2.0]
    assert all([each.seeds for each in group] == [(0, 1), (2, 3)] for group in groups.values())
    assert all(each.width == width for width, group in groups.items() for each in group)
