"""The statistics behind verdicts, against explicit computations, scipy, and simulation."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lmc.claims.statistics import (
    Estimate,
    Observation,
    by_width,
    design_factor,
    difference,
    disjoint_pairs,
    estimate,
    mean_estimate,
    one_sided_p_value,
)

quick = settings(deadline=None, max_examples=40, derandomize=True)
seeds = st.integers(0, 2**31 - 1)


def widened(values: np.ndarray, factor: float) -> np.ndarray:
    """The values with their spread times ``factor``: a plain test of them is the design's test of the values."""
    return values.mean() + factor * (values - values.mean())


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
    factor = design_factor(models * (models - 1) // 2, shared=True)
    assert found.error == pytest.approx(factor * math.sqrt(variance), rel=1e-9)
    assert found.freedom == models - 1


@quick
@given(seeds, st.integers(3, 8))
def test_without_pair_noise_the_error_is_that_of_the_models_mean(seed: int, models: int) -> None:
    """The pairs' mean is then 2 ū, whose standard error is 2 s/√n exactly."""
    table = pair_means(np.random.default_rng(seed), models, 0.0)
    found = estimate(all_pairs(table))
    u = np.diag(table) / 2
    assert found.mean == pytest.approx(2 * u.mean(), abs=1e-12)
    factor = design_factor(models * (models - 1) // 2, shared=True)
    assert found.error == pytest.approx(factor * 2 * u.std(ddof=1) / math.sqrt(models), rel=1e-9)
    plain = stats.ttest_1samp(widened(2 * u, factor), 0.0)
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
    values = widened(values, design_factor(len(groups), shared=False))
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
    jackknife = math.sqrt(4 / 5 * np.square(left - left.mean()).sum())
    assert found.error == pytest.approx(design_factor(3, shared=True) * jackknife, rel=1e-9)
    assert found.freedom == 4


def test_three_pairs_of_disjoint_models_cover_the_truth_as_often_as_they_say() -> None:
    rng, rounds, covered, plainly = np.random.default_rng(5), 600, 0, 0
    for _ in range(rounds):
        u = rng.standard_normal(6)
        pairs = [Observation(1.0, (i, i + 1), float(u[i] + u[i + 1])) for i in (0, 2, 4)]
        found = estimate(pairs)
        low, high = found.interval(0.95)
        covered += low <= 0 <= high
        plainly += abs(found.mean) <= (high - low) / 2 / design_factor(3, shared=False)
    assert covered / rounds >= 0.98, "as much wider as skewed noise needs"
    assert 0.92 <= plainly / rounds <= 0.98  # without that exact: 0.95, three sigma of 600 rounds are 0.027


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("models", [6, 10])
def test_before_it_is_widened_the_interval_covers_the_truth_as_often_as_it_says(models: int, noise: float) -> None:
    rng, rounds = np.random.default_rng(models), 600
    covered = 0
    for _ in range(rounds):
        found = estimate(all_pairs(pair_means(rng, models, noise)))
        low, high = found.interval(0.95)
        covered += abs(found.mean) <= (high - low) / 2 / design_factor(models * (models - 1) // 2, shared=True)
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


@pytest.mark.parametrize("mean", [0, 1, 2])
@pytest.mark.parametrize("above", [True, False])
def test_a_mean_without_spread_is_no_certainty(mean: float, above: bool) -> None:
    assert one_sided_p_value(Estimate(mean, 0.0, 5), 1.0, above=above) == 1
    assert one_sided_p_value(Estimate(mean, math.inf, 5), 1.0, above=above) == 1


def test_few_images_leave_an_error_that_does_not_average_out() -> None:
    """Values that are equal have the images' error alone, which many degrees of freedom go with."""
    equal = [Observation(1.0, (2 * index, 2 * index + 1), 0.1, error=0.02) for index in range(3)]
    found = estimate(equal)
    assert (found.mean, found.error, found.images) == (pytest.approx(0.1), 0.0, pytest.approx(0.02))
    assert one_sided_p_value(found, 0.05, above=True) == pytest.approx(stats.norm.sf(2.5), rel=1e-6)
    spread = [Observation(1.0, (index,), float(index), error=0.5) for index in range(6)]
    found = estimate(spread)
    alone = estimate([Observation(1.0, (index,), float(index)) for index in range(6)])
    assert (found.error, found.images) == (alone.error, 0.5)
    assert found.total == pytest.approx(math.hypot(alone.error, 0.5))
    assert found.total_freedom == pytest.approx(5 * found.total**4 / alone.error**4)


def test_images_are_shared_by_means_of_one_sign_and_apart_in_differences() -> None:
    one, other = Estimate(2.0, 0.3, 5, 0.03), Estimate(1.0, 0.3, 5, 0.05)
    assert mean_estimate([one, other]).images == pytest.approx(0.04)
    assert difference(one, other).images == pytest.approx(math.hypot(0.03, 0.05))


def test_draws_of_a_pair_are_averaged_first() -> None:
    """A pair with many draws counts as much as one with few."""
    rng = np.random.default_rng(2)
    values = {pair: rng.standard_normal(4) for pair in combinations(range(6), 2)}
    drawn = [
        Observation(1.0, pair, float(v), draw=at) for pair, all_of in values.items() for at, v in enumerate(all_of)
    ]
    found = estimate(drawn)
    means = estimate([Observation(1.0, pair, float(all_of.mean())) for pair, all_of in values.items()])
    assert found.mean == pytest.approx(means.mean)
    ratio = design_factor(60, shared=True) / design_factor(15, shared=True)
    assert found.error == pytest.approx(means.error * ratio)
    uneven = estimate([*drawn, *(Observation(1.0, (0, 1), float(values[0, 1].mean()), draw=at) for at in range(4, 40))])
    assert uneven.mean == pytest.approx(found.mean)


@pytest.mark.parametrize("shared", [True, False])
def test_the_error_is_widened_the_less_the_more_merges_there_are(shared: bool) -> None:
    factors = [design_factor(merges, shared=shared) for merges in range(3, 500)]
    assert all(before >= after for before, after in pairwise(factors))
    assert factors[-1] == 1.0
    assert factors[0] > 3.5


@pytest.mark.parametrize(
    ("seeds", "count"),
    [
        ([(0, 1), (2, 3), (4, 5)], 3),
        (list(combinations(range(6), 2)), 3),
        ([(0, other) for other in range(1, 6)], 1),  # a star
        ([(0, 1), (0, 1)], 1),
        ([(0,), (1,)], 2),
        ([], 0),
    ],
)
def test_pairs_that_share_a_model_are_not_counted_twice(seeds: list[tuple[int, ...]], count: int) -> None:
    assert disjoint_pairs(seeds) == count


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


def test_what_rests_on_a_mean_without_spread_has_an_unknown_error() -> None:
    for other in (Estimate(1.0, 0.0, 5), Estimate(1.0, 0.2, 5)):
        found = difference(Estimate(3.0, 0.0, 5), other)
        assert (found.mean, found.error) == (2.0, math.inf)
        assert one_sided_p_value(mean_estimate([found, other]), 0.0, above=True) == 1
    known = difference(Estimate(3.0, 0.0, 5, 0.1), Estimate(1.0, 0.2, 5))
    assert (known.error, known.images, known.freedom) == (pytest.approx(0.2), pytest.approx(0.1), pytest.approx(5))


def test_mean_of_estimates() -> None:
    assert mean_estimate([Estimate(2.0, 0.3, 5)]) == Estimate(2.0, pytest.approx(0.3), pytest.approx(5))  # type: ignore[arg-type]
    equal = mean_estimate([Estimate(value, 0.3, 5) for value in (1.0, 2.0, 6.0)])
    assert equal == Estimate(pytest.approx(3.0), pytest.approx(0.3 / math.sqrt(3)), pytest.approx(15))  # type: ignore[arg-type]
    uneven = mean_estimate([Estimate(1.0, 0.3, 5), Estimate(2.0, 1e-9, 5)])  # one part's noise, one part's freedom
    assert uneven == Estimate(pytest.approx(1.5), pytest.approx(0.15), pytest.approx(5))  # type: ignore[arg-type]
    half = mean_estimate([Estimate(1.0, 0.3, 5), Estimate(-4.0, 0.2, 7)])  # (x - (-y)) / 2 is half a difference
    whole = difference(Estimate(1.0, 0.3, 5), Estimate(4.0, 0.2, 7))
    assert half == Estimate(whole.mean / 2, pytest.approx(whole.error / 2), pytest.approx(whole.freedom))  # type: ignore[arg-type]


def test_by_width_groups_in_increasing_order() -> None:
    observations = [Observation(width, seeds, width) for seeds in ((0, 1), (2, 3)) for width in (2.0, 0.5, 1.0)]
    groups = by_width(observations)
    assert list(groups) == [0.5, 1.0, 2.0]
    assert all([each.seeds for each in group] == [(0, 1), (2, 3)] for group in groups.values())
    assert all(each.width == width for width, group in groups.items() for each in group)
