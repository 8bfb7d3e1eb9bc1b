"""The statistics behind verdicts: estimates over pairs of models, trends, contrasts.

The unit of replication is the model, not the pair: all pairs of n models serve the estimate (a
U-statistic), and its standard error comes from leaving out one model at a time (the delete-one jackknife;
Efron & Stein 1981), with n - 1 degrees of freedom. Where pairs (or larger groups) share no model, each of them
is left out as a whole, which gives the usual standard error of a mean.

scipy is imported by the two functions that need it, so that reading a results file loads none of it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


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
    seeds: tuple[int, ...]
    value: float | None
    independent: bool = True
    part: str = ""
    group: str = "strong"
    draw: int = 0
    error: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """A mean over pairs with its jackknife standard error.

    Args:
        mean: over all pairs.
        error: standard error.
        freedom: degrees of freedom, the number of units that were left out in turn less one.
    """

    mean: float
    error: float
    freedom: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided t interval."""
        from scipy.special import stdtrit

        half = float(stdtrit(self.freedom, (1 + level) / 2)) * self.error
        return self.mean - half, self.mean + half


def estimate(observations: Sequence[Observation]) -> Estimate:
    """Mean over pairs and its jackknife error over models, or over groups of models that share none.

    Raises:
        ValueError: fewer than three units to leave out, or an undefined value.
    """
    values = [(frozenset(each.seeds), _defined(each.value)) for each in observations]
    units = _units([models for models, _ in values])
    if len(units) < 3:
        raise ValueError(f"{len(units)} independent units are too few for an interval")
    mean = float(np.mean([value for _, value in values]))
    left_out = []
    for unit in units:
        rest = [value for models, value in values if not unit & models]
        left_out.append(float(np.mean(rest)) if rest else mean)
    n = len(units)
    spread = sum((value - np.mean(left_out)) ** 2 for value in left_out)
    return Estimate(mean, math.sqrt((n - 1) / n * spread), n - 1)


def _units(measured: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """What is left out in turn: groups of models that no other group shares, else single models."""
    groups = list(dict.fromkeys(measured))
    models = sorted(frozenset().union(*groups))
    disjoint = sum(map(len, groups)) == len(models)
    return groups if disjoint else [frozenset([model]) for model in models]


def slope(points: Mapping[float, Estimate]) -> Estimate:
    """Least-squares slope of independent estimates against log2 of their width.

    The unit is that of the estimates per doubling of the width. Models of different widths share nothing,
    so the errors are independent; the degrees of freedom are Welch-Satterthwaite's.

    Args:
        points: an estimate for each of at least two widths.
    """
    position = np.log2(list(points))
    weights = (position - position.mean()) / np.square(position - position.mean()).sum()
    return _combined(list(points.values()), weights.tolist())


def one_sided_p_value(found: Estimate, threshold: float, *, above: bool) -> float:
    """p-value of "the mean is not above (below) ``threshold``", by a t-test on the jackknife error."""
    from scipy.special import stdtr

    gap = found.mean - threshold if above else threshold - found.mean
    if found.error == 0:
        return 0.0 if gap > 0 else 1.0
    return float(stdtr(found.freedom, -gap / found.error))


def difference(larger: Estimate, smaller: Estimate) -> Estimate:
    """larger - smaller of two independent estimates."""
    return _combined([larger, smaller], [1.0, -1.0])


def mean_estimate(parts: Sequence[Estimate]) -> Estimate:
    """Mean of independent estimates (one per width)."""
    return _combined(parts, [1 / len(parts)] * len(parts))


def _combined(parts: Sequence[Estimate], weights: Sequence[float]) -> Estimate:
    """A weighted sum of independent estimates, with Welch-Satterthwaite degrees of freedom."""
    variances = [(weight * part.error) ** 2 for part, weight in zip(parts, weights, strict=True)]
    total = sum(variances)
    spread = sum(variance**2 / part.freedom for part, variance in zip(parts, variances, strict=True))
    mean = sum(weight * part.mean for part, weight in zip(parts, weights, strict=True))
    return Estimate(mean, math.sqrt(total), total**2 / spread if spread else 1.0)


def by_width(observations: Iterable[Observation]) -> dict[float, list[Observation]]:
    """Observations grouped by width, widths increasing."""
    groups: dict[float, list[Observation]] = defaultdict(list)
    for each in observations:
        groups[each.width].append(each)
    return dict(sorted(groups.items()))


def _defined(value: float | None) -> float:
    if value is None or not math.isfinite(value):
        raise ValueError("a value is undefined")
    return value
