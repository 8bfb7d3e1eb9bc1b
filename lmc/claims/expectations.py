"""What a claim expects of its numbers: a handful of tests, each with an effect size and a p-value.

An expectation holds only where the effect reaches its threshold *and* the p-value is at most
`ALPHA`, on at least `MIN_PAIRS` independent pairs. An undefined or non-finite number fails it first.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

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
from lmc.errors import SpecError

ALPHA = 0.05
MIN_PAIRS = 3

HOLDS, FAILS, INCONCLUSIVE, INVALID, NOT_RUN = "holds", "fails", "inconclusive", "invalid", "not-run"
SEVERITY = (HOLDS, NOT_RUN, INCONCLUSIVE, INVALID, FAILS)
"""Verdicts from best to worst; a claim's verdict is the worst of its settings', theirs of their parts'."""


@dataclass(frozen=True)
class Judgement:
    """The outcome of one expectation on one setting.

    Args:
        verdict: one of `SEVERITY`.
        reason: one line with the numbers.
        effect: the effect size, in the claim's unit.
        p_value: of the null hypothesis that there is no such effect.
        threshold: what the effect had to reach, as text.
        interval: 95 % interval of the effect.
    """

    verdict: str
    reason: str
    effect: float | None = None
    p_value: float | None = None
    threshold: str = ""
    interval: tuple[float, float] | None = None


class Expectation(Protocol):
    """Judges the observations of one setting."""

    @property
    def threshold(self) -> str:
        """What is expected, as text."""
        ...

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on all parts together."""
        ...


def worst(judgements: Sequence[Judgement]) -> Judgement:
    """The judgement with the worst verdict; among those that hold, the one with the largest p-value."""
    return max(judgements, key=lambda each: (SEVERITY.index(each.verdict), each.p_value or 0.0))


def _judge_parts(expectation: _PerPart, observations: Sequence[Observation], *, pooled: bool = False) -> Judgement:
    """The worst of the parts' judgements; where ``pooled``, their significance is that of their mean."""
    if not observations:
        return Judgement(FAILS, "nothing was measured", threshold=expectation.threshold)
    undefined = [each for each in observations if each.value is None or not math.isfinite(each.value)]
    if undefined:
        first = undefined[0]
        return Judgement(
            FAILS,
            f"{len(undefined)} of {len(observations)} values are undefined, the first at "
            f"width {first.width:g}, pair {first.pair}, {first.part or first.group}",
            threshold=expectation.threshold,
        )
    judged = {}
    for part in dict.fromkeys(each.part for each in observations):
        found = expectation.judge_part([each for each in observations if each.part == part])
        judged[part] = replace(
            found, reason=f"{part}: {found.reason}" if part else found.reason, threshold=expectation.threshold
        )
    if not pooled or len(judged) == 1:
        return worst(list(judged.values()))
    if decided := [each for each in judged.values() if each.verdict == FAILS or each.p_value is None]:
        return worst(decided)
    together = expectation.judge_part(_mean_over_parts(observations))
    reason = f"mean of {len(judged)} layers: {together.reason}"
    return replace(together, reason=reason, threshold=expectation.threshold)


def _mean_over_parts(observations: Sequence[Observation]) -> list[Observation]:
    groups: dict[Observation, list[float]] = defaultdict(list)
    for each in observations:
        groups[replace(each, part="", value=None)].append(float(each.value or 0.0))
    return [replace(each, value=sum(values) / len(values)) for each, values in groups.items()]


class _PerPart(Protocol):
    @property
    def threshold(self) -> str: ...

    def judge_part(self, observations: Sequence[Observation]) -> Judgement: ...


def _conclude(reached: bool, p_value: float, reason: str, effect: Estimate) -> Judgement:
    if not reached:
        verdict = FAILS
    elif p_value <= ALPHA:
        verdict = HOLDS
    else:
        verdict, reason = INCONCLUSIVE, f"{reason}; p exceeds {ALPHA:g}"
    return Judgement(verdict, reason, effect.mean, p_value, interval=effect.interval())


def _too_few(observations: Sequence[Observation]) -> Judgement | None:
    for width, group in by_width(observations).items():
        pairs = len({each.pair for each in group if each.independent})
        if pairs < MIN_PAIRS:
            reason = f"{pairs} independent pairs at width {width:g} are fewer than {MIN_PAIRS}"
            return Judgement(INCONCLUSIVE, reason)
    return None


@dataclass(frozen=True)
class Trend:
    """The value rises (or falls) with width: t-test of the slope, and a least change over the widths.

    A step between neighbouring widths that significantly goes the other way fails it.

    Args:
        increasing: the direction.
        by: the least change of the mean from the narrowest to the widest, in the claim's unit; below zero
            where a layer that has no room left may stay where it is.
        pooled: every layer must change by ``by``, but the p-value is that of the mean over the layers.
    """

    increasing: bool
    by: float
    pooled: bool = False

    @property
    def threshold(self) -> str:
        """The threshold as text."""
        way, back = ("rises", "falls") if self.increasing else ("falls", "rises")
        if self.by < 0:
            return f"{way}, no layer {back} by more than {-self.by:g}, p <= {ALPHA:g}"
        where = " at every layer" if self.pooled else ""
        return f"{way} by at least {self.by:g}{where}, p <= {ALPHA:g}"

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `Expectation`."""
        return _judge_parts(self, observations, pooled=self.pooled)

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        if too_few := _too_few(observations):
            return too_few
        points = {width: estimate(group) for width, group in by_width(observations).items()}
        if len(points) < 3:
            return Judgement(INCONCLUSIVE, f"{len(points)} widths are too few for a trend")
        p_value = one_sided_p_value(slope(points), 0.0, above=self.increasing)
        first, *_, last = points.values()
        change = difference(last, first)
        means = " -> ".join(f"{point.mean:.4g}" for point in points.values())
        reached = change.mean >= self.by if self.increasing else change.mean <= -self.by
        found = _conclude(reached, p_value, f"{means}, p = {p_value:.2g}", change)
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
    at: str = "widest"

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None) or self.at not in ("widest", "narrowest"):
            raise SpecError(f"{self} needs one of above and below, at the widest or the narrowest width")

    @property
    def threshold(self) -> str:
        """The threshold as text."""
        side = f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"
        return f"{side} at the {self.at} width, p <= {ALPHA:g}"

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `Expectation`."""
        return _judge_parts(self, observations)

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        widths = by_width(observations)
        width = (max if self.at == "widest" else min)(widths)
        if too_few := _too_few(widths[width]):
            return too_few
        found = estimate(widths[width])
        bound = self.above if self.above is not None else self.below
        assert bound is not None
        p_value = one_sided_p_value(found, bound, above=self.above is not None)
        reached = found.mean > bound if self.above is not None else found.mean < bound
        low, high = found.interval()
        reason = f"{found.mean:.4g} [{low:.4g}, {high:.4g}] at width {width:g}, p = {p_value:.2g}"
        return _conclude(reached, p_value, reason, found)


@dataclass(frozen=True)
class Contrast:
    """One family's mean exceeds another's, averaged over the widths both have: Welch's t-test over models.

    Args:
        larger: the family expected to have the larger values.
        smaller: the other.
        by: the least difference of the means, in the claim's unit.
        pooled: every layer must differ by ``by``, but the p-value is that of the mean over the layers.
    """

    larger: str
    smaller: str
    by: float
    pooled: bool = False

    @property
    def threshold(self) -> str:
        """The threshold as text."""
        where = " at every layer" if self.pooled else ""
        return f"{self.larger} exceeds {self.smaller} by at least {self.by:g}{where}, p <= {ALPHA:g}"

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `Expectation`."""
        return _judge_parts(self, observations, pooled=self.pooled)

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        groups = [
            by_width(each for each in observations if each.group == name) for name in (self.larger, self.smaller)
        ]
        widths = [width for width in groups[0] if width in groups[1]]
        if not widths:
            return Judgement(INCONCLUSIVE, f"{self.larger} and {self.smaller} have no width in common")
        for group in groups:
            for width in widths:
                if too_few := _too_few(group[width]):
                    return too_few
        large, small = (mean_estimate([estimate(group[width]) for width in widths]) for group in groups)
        gap = difference(large, small)
        p_value = one_sided_p_value(gap, 0.0, above=True)
        reason = (
            f"{self.larger} {large.mean:.4g}, {self.smaller} {small.mean:.4g} "
            f"at width {', '.join(f'{width:g}' for width in widths)}, p = {p_value:.2g}"
        )
        return _conclude(gap.mean >= self.by, p_value, reason, gap)


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
    def threshold(self) -> str:
        """The threshold as text."""
        return f"within {self.tolerance:g} of {self.target:g}"

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `Expectation`."""
        return _judge_parts(self, observations)

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        values = [float(each.value or 0.0) for each in observations]
        far = max(values, key=lambda value: abs(value - self.target))
        verdict = HOLDS if abs(far - self.target) <= self.tolerance else FAILS
        return Judgement(verdict, f"the farthest of {len(values)} values is {far:.6g}", far - self.target)
