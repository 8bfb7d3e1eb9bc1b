"""Expectations of likeness: equivalence and non-inferiority, where no difference is what is claimed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmc.claims.asked import Asked
from lmc.claims.expectations import both_means, grouped
from lmc.claims.parts import ALPHA, Judgement, conclude, judge_mean, judge_parts, too_few
from lmc.claims.statistics import Estimate, Observation, by_width, difference, estimate, one_sided_p_value


@dataclass(frozen=True)
class Similar:
    """Two families' means differ by less than a margin: two one-sided t-tests (Schuirmann 1987).

    Args:
        one: a family.
        other: the family it is compared with.
        within: the margin, in the claim's unit.
        pooled: the tests are made on the mean over layers, not layer by layer.
    """

    one: str
    other: str
    within: float
    pooled: bool = False

    @property
    def asked(self) -> Asked:
        """Of the difference of the two means."""
        low, high, groups = -self.within, self.within, (self.one, self.other)
        return Asked(quantity="difference", low=low, high=high, groups=groups, pooled=self.pooled, alpha=ALPHA)

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.parts.Expectation`."""
        return judge_mean(self, observations) if self.pooled else judge_parts(self, observations)

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        arms = grouped(observations, self.one, self.other)
        if isinstance(arms, Judgement):
            return arms
        widths, (first, second) = arms
        gap = difference(first, second)
        p_value = equivalence_p_value(gap, 0.0, self.within)
        reason = both_means(self.asked.groups, (first, second), widths, p_value)
        return conclude(abs(gap.mean) < self.within, p_value, reason, gap)


@dataclass(frozen=True)
class NonInferior:
    """A family's mean is not larger than another's by as much as a margin: one-sided t-test over models.

    Args:
        one: the family that should do as well, its values the smaller the better.
        other: the one it is compared with.
        margin: in the claim's unit.
    """

    one: str
    other: str
    margin: float

    @property
    def asked(self) -> Asked:
        """Of the difference of the two means."""
        return Asked(quantity="difference", high=self.margin, groups=(self.one, self.other), alpha=ALPHA)

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.parts.Expectation`."""
        return judge_parts(self, observations)

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        arms = grouped(observations, self.one, self.other)
        if isinstance(arms, Judgement):
            return arms
        widths, (first, second) = arms
        gap = difference(first, second)
        p_value = one_sided_p_value(gap, self.margin, above=False)
        reason = both_means(self.asked.groups, (first, second), widths, p_value)
        return conclude(gap.mean < self.margin, p_value, reason, gap)


@dataclass(frozen=True)
class Near:
    """The mean at the widest is within a margin of what theory gives: two one-sided t-tests.

    Args:
        target: what theory gives.
        within: the margin, in the claim's unit.
    """

    target: float
    within: float

    @property
    def asked(self) -> Asked:
        """Of the mean at the widest."""
        low, high = self.target - self.within, self.target + self.within
        return Asked(quantity="value", low=low, high=high, target=self.target, at="widest", alpha=ALPHA)

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.parts.Expectation`."""
        return judge_parts(self, observations)

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        widths = by_width(observations)
        width = max(widths)
        if few := too_few(widths[width]):
            return few
        found = estimate(widths[width])
        p_value = equivalence_p_value(found, self.target, self.within)
        low, high = found.interval()
        reason = f"{found.mean:.4g} [{low:.4g}, {high:.4g}] at width {width:g}, p = {p_value:.2g}"
        return conclude(abs(found.mean - self.target) < self.within, p_value, reason, found)


def equivalence_p_value(found: Estimate, target: float, margin: float) -> float:
    """p-value of "the mean is not within ``margin`` of ``target``": the larger of two one-sided ones."""
    return max(
        one_sided_p_value(found, target - margin, above=True),
        one_sided_p_value(found, target + margin, above=False),
    )
