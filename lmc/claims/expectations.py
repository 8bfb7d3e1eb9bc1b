"""What a claim expects of its numbers along widths and at one of them, each a conjunction of one-sided tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from lmc.claims.asked import Asked
from lmc.claims.parts import (
    ALPHA,
    Conjunction,
    Judgement,
    OneSided,
    beyond,
    judge_tests,
    of_every_part,
    of_their_mean,
    too_few,
    unfit_to_judge,
)
from lmc.claims.statistics import Estimate, Observation, by_width, difference, estimate
from lmc.claims.verdicts import FAILS, HOLDS
from lmc.errors import SpecError


@dataclass(frozen=True)
class Trend:
    """The value rises (or falls) by at least so much from the narrowest width to the widest, and does not turn back.

    Tested is the change of the mean between the ends against ``by``, and that no step between neighbouring widths goes
    back by as much. A step that significantly goes back at all fails it. That every step advances is `Monotone`.

    Args:
        increasing: the direction.
        by: the least change of the mean from the narrowest to the widest, in the claim's unit.
        pooled: asked of the mean over the layers; a layer that significantly goes the other way, between the ends or
            at any step, fails it.
        slack: by how much a layer may go the other way, where ``pooled``; at most ``by``.
    """

    increasing: bool
    by: float
    pooled: bool = False
    slack: float = 0.0

    def __post_init__(self) -> None:
        check_slack(self, self.slack, self.by, pooled=self.pooled)

    @property
    def asked(self) -> Asked:
        """Of the change of the mean from the narrowest to the widest."""
        low, high = (self.by, None) if self.increasing else (None, -self.by)
        return Asked(quantity="change", low=low, high=high, pooled=self.pooled, slack=self.slack, alpha=ALPHA)

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.parts.Expectation`."""
        return judge_tests(self, observations)

    def tests(self, observations: Sequence[Observation]) -> Conjunction:
        """See `lmc.claims.parts.Tested`."""
        if self.pooled:
            return of_their_mean(observations, self._of_mean, self._opposed)
        return of_every_part(observations, self._of_mean)

    def _of_mean(self, observations: Sequence[Observation]) -> Conjunction:
        points, missing = _points(observations)
        if missing:
            return Conjunction(missing=missing)
        sign = 1 if self.increasing else -1
        asked = beyond(_change(points), sign * self.by, above=self.increasing, say=lambda: _means(points))
        return Conjunction([asked, *self._steps(points, -sign * abs(self.by), 0.0, "the step to width")])

    def _opposed(self, observations: Sequence[Observation]) -> Conjunction:
        points, missing = _points(observations)
        if missing:
            return Conjunction(missing=missing)
        other_way = f"{observations[0].part} goes the other way"
        slack = -self.slack if self.increasing else self.slack
        ends = beyond(_change(points), slack, above=self.increasing, say=lambda: f"{_means(points)}; {other_way}")
        return Conjunction((), [ends, *self._steps(points, slack, slack, f"{other_way} at the step to width")])

    def _steps(self, points: Mapping[float, Estimate], bound: float, refuted: float, what: str) -> list[OneSided]:
        """That every step goes beyond ``bound``, and that none is significantly short of ``refuted``."""
        change = _change(points)
        return [
            beyond(
                difference(after, before),
                bound,
                above=self.increasing,
                say=lambda width=width: f"{_means(points)}; {what} {width:g}",  # type: ignore[misc]
                shown=change,
                refuted=refuted,
            )
            for (_, before), (width, after) in pairwise(points.items())
        ]


def check_slack(expectation: object, slack: float, by: float, *, pooled: bool) -> None:
    """Refuse a slack without a mean, or one by which a layer could lose more than the mean must gain.

    Raises:
        SpecError: it is one of these, or negative.
    """
    if slack and not (pooled and 0 < slack <= by):
        raise SpecError(f"{expectation} has a slack of {slack:g}; give it at most `by`, and only where it is pooled")


def _points(observations: Sequence[Observation]) -> tuple[dict[float, Estimate], str]:
    """The mean at each width; and why they show no trend, else nothing."""
    missing = too_few(observations)
    widths = by_width(observations)
    if not missing and len(widths) < 3:
        missing = f"{len(widths)} widths are too few for a trend"
    return ({} if missing else {width: estimate(group) for width, group in widths.items()}), missing


def _change(points: Mapping[float, Estimate]) -> Estimate:
    first, *_, last = points.values()
    return difference(last, first)


def _means(points: Mapping[float, Estimate]) -> str:
    return " -> ".join(f"{point.mean:.4g}" for point in points.values())


@dataclass(frozen=True)
class Monotone:
    """The value rises (or falls) at every step from one width to the next.

    Every step is tested. It says nothing of how much the value changes: a `Trend` does.

    Args:
        increasing: the direction.
        slack: by how much a step may go the other way, in the claim's unit.
    """

    increasing: bool
    slack: float = 0.0

    @property
    def asked(self) -> Asked:
        """Of the step that advances least."""
        low, high = (-self.slack, None) if self.increasing else (None, self.slack)
        return Asked(quantity="step", low=low, high=high, alpha=ALPHA)

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.parts.Expectation`."""
        return judge_tests(self, observations)

    def tests(self, observations: Sequence[Observation]) -> Conjunction:
        """See `lmc.claims.parts.Tested`."""
        return of_every_part(observations, self._of_part)

    def _of_part(self, observations: Sequence[Observation]) -> Conjunction:
        points, missing = _points(observations)
        bound = -self.slack if self.increasing else self.slack
        steps = [
            beyond(
                difference(after, before),
                bound,
                above=self.increasing,
                say=lambda width=width: f"{_means(points)}, at width {width:g}",  # type: ignore[misc]
            )
            for (_, before), (width, after) in pairwise(points.items())
        ]
        return Conjunction(steps, missing=missing)


@dataclass(frozen=True)
class Level:
    """The mean lies above (or below) a threshold at one end of the widths.

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
        return judge_tests(self, observations)

    def tests(self, observations: Sequence[Observation]) -> Conjunction:
        """See `lmc.claims.parts.Tested`."""
        return of_every_part(observations, self._of_part)

    def _of_part(self, observations: Sequence[Observation]) -> Conjunction:
        width, group = at_end(observations, self.at)
        if few := too_few(group):
            return Conjunction(missing=few)
        found, above = estimate(group), self.above is not None
        bound = self.above if self.above is not None else self.below
        assert bound is not None

        def say() -> str:
            bad = sum(each.value <= bound if above else each.value >= bound for each in group if each.value is not None)
            return f"{level(found, width)}, {bad} of {len(group)} not {'above' if above else 'below'} {bound:g}"

        return Conjunction([beyond(found, bound, above=above, say=say)])


def at_end(observations: Sequence[Observation], at: str) -> tuple[float, list[Observation]]:
    """The widest or the narrowest width, and what was observed there."""
    widths = by_width(observations)
    width = (max if at == "widest" else min)(widths)
    return width, widths[width]


def level(found: Estimate, width: float) -> str:
    """A mean with its interval, and where it was taken."""
    low, high = found.interval()
    return f"{found.mean:.4g} [{low:.4g}, {high:.4g}] at width {width:g}"


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
        if unfit := unfit_to_judge(observations):
            return Judgement(unfit.verdict, unfit.reason, asked=self.asked)
        deviations = {each: float(each.value or 0.0) - self.target for each in observations}
        far = max(deviations, key=lambda each: abs(deviations[each]))
        parts = {each.part for each in observations}
        same = [each for each in observations if each.part == far.part]
        return Judgement(
            HOLDS if abs(deviations[far]) <= self.tolerance else FAILS,
            f"the farthest of {len(same)} values is {far.value:.6g}",
            deviations[far],
            asked=self.asked,
            part=far.part if len(parts) > 1 or far.part else "",
        )
