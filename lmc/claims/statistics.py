"""The statistics behind verdicts: estimates over merges of models, contrasts, and how sure they are.

The unit of replication is the model, not the pair: all pairs of n models serve the estimate (a
U-statistic), and its standard error comes from leaving out one model at a time (the delete-one jackknife;
Efron & Stein 1981), with n - 1 degrees of freedom. Where pairs (or larger groups) share no model, each of them
is left out as a whole, which gives the usual standard error of a mean. Draws of a pair are averaged first.

Merging's numbers are heavy-tailed: one pair in six may carry most of the mean, and few pairs then look better and
surer than they are. `design_factor` widens the standard error by as much as the design needs for a nominal 5 % to
be 5 % under such noise of pairs; ``tox -e calibration`` shows that it is. Noise of *models* cannot be calibrated with
six or twelve of them.

Every function takes arrays of replicates in place of single numbers, so that the calibration judges with this code.
scipy is imported by the functions that need it, so that reading a results file loads none of it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np

Seeds = tuple[int, ...]


@dataclass(frozen=True)
class Observation:
    """One number of one pair of models, or of as many as it was measured on.

    Args:
        width: width multiplier.
        seeds: of the models it was measured on: one, a pair or more; empty where it rests on none.
        value: the number; ``None`` where it is undefined.
        independent: whether the pair is one of the disjoint ones.
        part: the layer, where a claim is about every layer.
        group: the family, where a claim compares two.
        draw: which random permutation of the pair's second model was merged; 0 where it was left as it is.
        error: standard error of the value that the finite test set leaves; 0 where unknown.
    """

    width: float
    seeds: Seeds
    value: float | None
    independent: bool = True
    part: str = ""
    group: str = "strong"
    draw: int = 0
    error: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """A mean over merges with its standard error.

    Args:
        mean: over all pairs, each the mean of its draws.
        error: standard error over models by the jackknife, times `design_factor`; 0 where the values do not
            differ, infinite where it rests on such an estimate.
        freedom: degrees of freedom, the number of units that were left out in turn less one.
        images: standard error that the finite test set leaves. All merges share the images: it does not average out.
    """

    mean: float
    error: float
    freedom: float
    images: float = 0.0

    @property
    def total(self) -> float:
        """The standard error over models and images."""
        found: float = np.hypot(self.error, self.images)
        return found

    @property
    def vague(self) -> bool:
        """Whether nothing is known of the error, as of values without spread, which are no certainty."""
        found: bool = (self.total == 0) | np.isinf(self.total)
        return found

    @property
    def total_freedom(self) -> float:
        """Degrees of freedom of `total`; the images are many."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self.freedom * (np.square(self.total) / np.square(self.error)) ** 2
        return cast(float, np.minimum(np.where(np.isnan(found), self.freedom, found), 1e9))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided t interval."""
        from scipy.special import stdtrit

        half = stdtrit(self.total_freedom, (1 + level) / 2) * self.total
        return self.mean - half, self.mean + half


def estimate(observations: Sequence[Observation]) -> Estimate:
    """Mean over pairs and its error over models, or over groups of models that share none.

    Raises:
        ValueError: fewer than three units to leave out, or an undefined value.
    """
    return _estimate(_over_draws(observations))


@dataclass(frozen=True)
class _Pair:
    """The mean over the draws of one pair."""

    value: Any
    error: float
    draws: int


def _over_draws(observations: Iterable[Observation]) -> dict[Seeds, _Pair]:
    pairs: dict[Seeds, dict[int, list[Observation]]] = defaultdict(lambda: defaultdict(list))
    for each in observations:
        pairs[each.seeds][each.draw].append(each)
    return {
        seeds: _Pair(
            _mean([_mean([_defined(each.value) for each in group]) for group in draws.values()]),
            _mean_error([each.error for group in draws.values() for each in group]),
            len(draws),
        )
        for seeds, draws in pairs.items()
    }


def _mean_error(errors: Sequence[float]) -> float:
    return float(np.mean(errors)) if any(errors) else 0.0  # most are 0, and there are tens of thousands


def _mean(values: Sequence[Any]) -> Any:
    return sum(values[1:], start=values[0]) / len(values)


def _estimate(pairs: Mapping[Seeds, _Pair]) -> Estimate:
    weights, shared = _left_out(tuple(pairs))
    n = len(weights)
    if n < 3:
        raise ValueError(f"{n} independent units are too few for an interval")
    values = np.array([each.value for each in pairs.values()], dtype=float)
    left_out = np.tensordot(weights, values, axes=1)
    spread = np.sqrt((n - 1) / n * np.square(left_out - left_out.mean(axis=0)).sum(axis=0))
    spread = np.where(spread <= 1e-12 * np.abs(values).max(axis=0), 0.0, spread)  # rounding is no spread
    merges = len(pairs) ** 2 / sum(1 / each.draws for each in pairs.values())
    images = float(np.mean([each.error for each in pairs.values()]))
    error = cast(float, (spread * design_factor(merges, shared=shared))[()])
    return Estimate(values.mean(axis=0), error, n - 1, images)


@cache
def _left_out(measured: tuple[Seeds, ...]) -> tuple[Any, bool]:
    """For every unit the weights of the mean without it, shape (units, groups); and whether groups share models.

    Left out in turn are groups of models that no other group shares, else single models.
    """
    groups = [frozenset(each) for each in measured]
    models = sorted(frozenset[int]().union(*groups))
    shared = sum(map(len, groups)) > len(models)
    weights = []
    for unit in [frozenset([model]) for model in models] if shared else groups:
        kept = np.array([not unit & group for group in groups], dtype=float)
        weights.append(kept / kept.sum() if kept.any() else np.full(len(groups), 1 / len(groups)))
    return np.array(weights), shared


_MERGES_OF_SHARED_MODELS = {3: 3.7, 6: 1.95, 15: 1.75, 24: 1.75, 36: 1.46, 48: 1.3, 66: 1.12, 90: 1.0}
_INDEPENDENT_VALUES = {3: 3.75, 4: 3.3, 6: 2.85, 12: 2.75, 16: 2.6, 24: 2.5, 48: 1.9, 96: 1.5, 400: 1.0}


def design_factor(merges: float, *, shared: bool) -> float:
    """By how much the jackknife's standard error is widened, for a limit of 5 % to be one under skewed noise of pairs.

    Simulated: the ratio of the critical value that keeps false holds at 5 % to that of Student's t, the larger of
    those for lognormal noise and for noise where one pair in six is bad. It hardly depends on the level (5 %, 1 % and
    0.1 % differ by a tenth), and on the number of models only through the number of merges. Where models are shared the
    jackknife is too wide by √2 under noise of pairs (Efron & Stein 1981), which makes up for a part of it.

    Args:
        merges: how many single merges the mean is taken of, draws counted.
        shared: whether they share models.
    """
    table = _MERGES_OF_SHARED_MODELS if shared else _INDEPENDENT_VALUES
    return float(np.interp(math.log(merges), np.log(list(table)), list(table.values())))


def disjoint_pairs(seeds: Iterable[Seeds]) -> int:
    """How many of these groups of models share none with one counted before."""
    used: set[int] = set()
    count = 0
    for each in sorted(set(seeds)):
        if used.isdisjoint(each):
            used.update(each)
            count += 1
    return count


def one_sided_p_value(found: Estimate, threshold: float, *, above: bool) -> float:
    """p-value of "the mean is not above (below) ``threshold``", by a t-test; 1 where nothing is known of the error."""
    from scipy.special import stdtr

    gap = found.mean - threshold if above else threshold - found.mean
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = np.where(found.vague, 1.0, stdtr(found.total_freedom, -gap / found.total))
    return cast(float, p_value[()])


def difference(larger: Estimate, smaller: Estimate) -> Estimate:
    """larger - smaller of two independent estimates."""
    return _combined([larger, smaller], [1.0, -1.0])


def mean_estimate(parts: Sequence[Estimate]) -> Estimate:
    """Mean of independent estimates (one per width)."""
    return _combined(parts, [1 / len(parts)] * len(parts))


def _combined(parts: Sequence[Estimate], weights: Sequence[float]) -> Estimate:
    """A weighted sum of independent estimates, with Welch-Satterthwaite degrees of freedom.

    The parts see the same images: with weights of one sign their errors of the images add up, between the signs they
    are taken as independent, which is too much rather than too little.
    """
    if len(parts) == 1 and weights[0] == 1:
        return parts[0]
    terms = list(zip(weights, parts, strict=True))
    vague = np.any([part.vague for part in parts], axis=0)
    variances = [np.where(vague, 1.0, (weight * part.error) ** 2) for weight, part in terms]
    total = _sum(variances)
    spread = _sum([variance**2 / part.freedom for part, variance in zip(parts, variances, strict=True)])
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(spread > 0, total**2 / spread, 1.0)
    signs = [sum(abs(weight) * part.images for weight, part in terms if (weight > 0) == up) for up in (True, False)]
    mean = _sum([weight * part.mean for weight, part in terms])
    error = cast(float, np.where(vague, math.inf, np.sqrt(total))[()])
    return Estimate(mean, error, cast(float, freedom[()]), math.hypot(*signs))


def _sum(values: Sequence[Any]) -> Any:
    return sum(values[1:], start=values[0])


@dataclass(frozen=True)
class Gap:
    """One group's mean less another's.

    Args:
        estimate: of the difference.
        means: of the two groups, over what is compared.
        pairs: how many disjoint pairs it rests on.
    """

    estimate: Estimate
    means: tuple[float, float]
    pairs: int


def gap(one: Sequence[Observation], other: Sequence[Observation]) -> Gap | int:
    """The difference of two groups at one width, pair by pair where they share pairs.

    What two groups measure of the same models is not independent, and what both share drops out of the difference
    of a pair. Where no pair is in both, the groups count as independent.

    Returns:
        The difference, or how few disjoint pairs it would rest on where there are fewer than three.
    """
    pairs = [_over_draws(group) for group in (one, other)]
    both = [seeds for seeds in pairs[0] if seeds in pairs[1]]
    count = disjoint_pairs(both) if both else min(map(disjoint_pairs, pairs))
    if count < 3:
        return count
    if not both:
        first, second = map(_estimate, pairs)
        return Gap(difference(first, second), (first.mean, second.mean), count)
    found = _estimate({seeds: _less(pairs[0][seeds], pairs[1][seeds]) for seeds in both})
    means = [_mean([group[seeds].value for seeds in both]) for group in pairs]
    return Gap(found, (means[0], means[1]), count)


def _less(one: _Pair, other: _Pair) -> _Pair:
    return _Pair(one.value - other.value, math.hypot(one.error, other.error), min(one.draws, other.draws))


def by_width(observations: Iterable[Observation]) -> dict[float, list[Observation]]:
    """Observations grouped by width, widths increasing."""
    groups: dict[float, list[Observation]] = defaultdict(list)
    for each in observations:
        groups[each.width].append(each)
    return dict(sorted(groups.items()))


def _defined(value: float | None) -> float:
    if value is None or not (math.isfinite(value) if isinstance(value, float) else np.isfinite(value).all()):
        raise ValueError("a value is undefined")
    return value
