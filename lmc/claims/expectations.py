"""What a claim expects of its numbers: a handful of tests, each with an effect size and a p-value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from lmc.claims.asked import Asked
from lmc.claims.parts import ALPHA, Judgement, conclude, judge_mean, judge_parts, too_few
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
from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE, Verdict
from lmc.errors import SpecError


@dataclass(frozen=True)
class Trend:
    """The value rises (or falls) with width: t-test of the slope, and a least change over the widths.

    A step between neighbouring widths that significantly goes the other way fails it.

    Args:
        increasing: the direction.
        by: the least change of the mean from the narrowest to the widest, in the claim's unit.
        pooled: asked of the mean over the layers; a layer that significantly goes the other way fails it.
        slack: by how much a layer may go the other way, where ``pooled``.
    """

    increasing: bool
    by: float
    pooled: bool = False
    slack: float = 0.0

    @property
    def asked(self) -> Asked:
        """Of the change of the mean from the narrowest to the widest."""
        low, high = (self.by, None) if self.increasing else (None, -self.by)
        return Asked(quantity="change", low=low, high=high, pooled=self.pooled, slack=self.slack, alpha=ALPHA)

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.parts.Expectation`."""
        return judge_mean(self, observations, self._opposed) if self.pooled else judge_parts(self, observations)

    def _opposed(self, observations: Sequence[Observation]) -> float:
        first, *_, last = [estimate(group) for group in by_width(observations).values()]
        slack = -self.slack if self.increasing else self.slack
        return one_sided_p_value(difference(last, first), slack, above=not self.increasing)

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        if few := too_few(observations):
            return few
        points = {width: estimate(group) for width, group in by_width(observations).items()}
        if len(points) < 3:
            return Judgement(INCONCLUSIVE, f"{len(points)} widths are too few for a trend")
        p_value = one_sided_p_value(slope(points), 0.0, above=self.increasing)
        first, *_, last = points.values()
        change = difference(last, first)
        means = " -> ".join(f"{point.mean:.4g}" for point in points.values())
        reached = change.mean >= self.by if self.increasing else change.mean <= -self.by
        found = conclude(reached, p_value, f"{means}, p = {p_value:.2g}", change)
        backwards = [
            width
            for (_, before), (width, after) in pairwise(points.items())
            if one_sided_p_value(difference(after, before), 0.0, above=not self.increasing) <= ALPHA
        ]
        if backwards:
            return replace(found, verdict=FAILS, reason=f"{found.reason}; turns back at width {backwards[0]:g}")
        return found


@dataclass(frozen=True)
class Level:
    """The mean lies above (or below) a threshold at one end of the widths: t-test over models.

    Args:
        above: a lower bound, or ``None``.
        below: an upper bound, or ``None``; exactly one of the two is given.
        at: ``"widest"`` or ``"narrowest"``.
    """

    above: float | None = None
    below: float | None = None
    at: Literal["widest", "narrowest"] = "widest"

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None) or self.at not in ("widest", "narrowest"):
            raise SpecError(f"{self} needs one of above and below, at the widest or the narrowest width")

    @property
    def asked(self) -> Asked:
        """Of the mean at that width."""
        return Asked(quantity="value", low=self.above, high=self.below, at=self.at, alpha=ALPHA)

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.parts.Expectation`."""
        return judge_parts(self, observations)

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        widths = by_width(observations)
        width = (max if self.at == "widest" else min)(widths)
        if few := too_few(widths[width]):
            return few
        found = estimate(widths[width])
        bound = self.above if self.above is not None else self.below
        assert bound is not None
        p_value = one_sided_p_value(found, bound, above=self.above is not None)
        reached = found.mean > bound if self.above is not None else found.mean < bound
        low, high = found.interval()
        reason = f"{found.mean:.4g} [{low:.4g}, {high:.4g}] at width {width:g}, p = {p_value:.2g}"
        return conclude(reached, p_value, reason, found)


@dataclass(frozen=True)
class Contrast:
    """One family's mean exceeds another's, averaged over the widths both have: Welch's t-test over models.

    Args:
        larger: the family expected to have the larger values.
        smaller: the other.
        by: the least difference of the means, in the claim's unit.
        pooled: asked of the mean over the layers; a layer where ``smaller`` significantly exceeds fails it.
    """

    larger: str
    smaller: str
    by: float
    pooled: bool = False

    @property
    def asked(self) -> Asked:
        """Of the difference of the two means."""
        groups = self.larger, self.smaller
        return Asked(quantity="difference", low=self.by, groups=groups, pooled=self.pooled, alpha=ALPHA)

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.parts.Expectation`."""
        return judge_mean(self, observations, self._opposed) if self.pooled else judge_parts(self, observations)

    def _opposed(self, observations: Sequence[Observation]) -> float:
        arms = grouped(observations, self.larger, self.smaller)
        return 1.0 if isinstance(arms, Judgement) else one_sided_p_value(difference(*arms[1]), 0.0, above=False)

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        arms = grouped(observations, self.larger, self.smaller)
        if isinstance(arms, Judgement):
            return arms
        widths, (large, small) = arms
        gap = difference(large, small)
        p_value = one_sided_p_value(gap, 0.0, above=True)
        reason = both_means(self.asked.groups, (large, small), widths, p_value)
        return conclude(gap.mean >= self.by, p_value, reason, gap)


def both_means(groups: Sequence[str], means: Sequence[Estimate], widths: Sequence[float], p_value: float) -> str:
    """The means of compared groups, where they were taken, and how sure their difference is."""
    said = ", ".join(f"{group} {mean.mean:.4g}" for group, mean in zip(groups, means, strict=True))
    return f"{said} at width {', '.join(f'{width:g}' for width in widths)}, p = {p_value:.2g}"


def grouped(observations: Sequence[Observation], *names: str) -> tuple[list[float], list[Estimate]] | Judgement:
    """The widths that all groups have, then each group's mean over them; a judgement where that cannot be had."""
    groups = [by_width(each for each in observations if each.group == name) for name in names]
    widths = [width for width in groups[0] if all(width in group for group in groups)]
    if not widths:
        return Judgement(INCONCLUSIVE, f"{', '.join(names[:-1])} and {names[-1]} have no width in common")
    for group in groups:
        for width in widths:
            if few := too_few(group[width]):
                return few
    return widths, [mean_estimate([estimate(group[width]) for width in widths]) for group in groups]


@dataclass(frozen=True)
class Ordered:
    """The mean rises along an order of families, averaged over the widths all have: t-test of the slope.

    Args:
        families: in the order of rising values.
        by: the least rise from the first to the last, in the claim's unit.
    """

    families: tuple[str, ...]
    by: float

    @property
    def asked(self) -> Asked:
        """Of the rise from the first family to the last."""
        return Asked(quantity="rise", low=self.by, groups=self.families, alpha=ALPHA)

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.parts.Expectation`."""
        return judge_parts(self, observations)

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        groups = grouped(observations, *self.families)
        if isinstance(groups, Judgement):
            return groups
        _, points = groups
        p_value = one_sided_p_value(slope({2.0**step: each for step, each in enumerate(points)}), 0.0, above=True)
        rise = difference(points[-1], points[0])
        means = ", ".join(f"{name} {each.mean:.4g}" for name, each in zip(self.families, points, strict=True))
        return conclude(rise.mean >= self.by, p_value, f"{means}, p = {p_value:.2g}", rise)


@dataclass(frozen=True)
class Within:
    """Every value is within a tolerance of its target: for exact statements, where nothing is random.

    Args:
        target: what theory gives.
        tolerance: the largest deviation allowed.
    """

    target: float
    tolerance: float

    @property
    def asked(self) -> Asked:
        """Of the farthest value's deviation."""
        return Asked(quantity="deviation", low=-self.tolerance, high=self.tolerance, target=self.target)

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.parts.Expectation`."""
        return judge_parts(self, observations)

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        values = [float(each.value or 0.0) for each in observations]
        far = max(values, key=lambda value: abs(value - self.target))
        verdict: Verdict = HOLDS if abs(far - self.target) <= self.tolerance else FAILS
        return Judgement(verdict, f"the farthest of {len(values)} values is {far:.6g}", far - self.target)
