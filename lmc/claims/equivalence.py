"""Expectations of likeness: equivalence and non-inferiority, where no difference is what is claimed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmc.claims.asked import Asked
from lmc.claims.comparisons import compare, none_beyond, part_opposed
from lmc.claims.expectations import at_end, level
from lmc.claims.parts import ALPHA, Conjunction, Judgement, beyond, judge_tests, of_every_part, of_their_mean, too_few
from lmc.claims.statistics import Observation, estimate


@dataclass(frozen=True)
class Similar:
    """Two groups' means differ by less than a margin: two one-sided tests (Schuirmann 1987).

    A width where they significantly differ by more fails it.

    Args:
        one: a group.
        other: the group it is compared with.
        within: the margin, in the claim's unit.
        pooled: asked of the mean over layers; a layer where they significantly differ by more fails it.
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
        return judge_tests(self, observations)

    def tests(self, observations: Sequence[Observation]) -> Conjunction:
        """See `lmc.claims.parts.Tested`."""
        if self.pooled:
            return of_their_mean(observations, self._of_mean, self._opposed)
        return of_every_part(observations, self._of_mean)

    def _of_mean(self, observations: Sequence[Observation]) -> Conjunction:
        found = compare(observations, self.one, self.other)
        if isinstance(found, str):
            return Conjunction(missing=found)
        ends = [
            beyond(found.whole, bound, above=above, say=found.say)
            for bound, above in ((-self.within, True), (self.within, False))
        ]
        return Conjunction(ends, none_beyond(found, at_least=-self.within, at_most=self.within))

    def _opposed(self, observations: Sequence[Observation]) -> Conjunction:
        found = compare(observations, self.one, self.other)
        if isinstance(found, str):
            return Conjunction(missing=found)
        return Conjunction((), part_opposed(found, observations[0].part, at_least=-self.within, at_most=self.within))


@dataclass(frozen=True)
class NonInferior:
    """A group's mean is not larger than another's by as much as a margin.

    A width where it is, significantly, fails it.

    Args:
        one: the group that should do as well, its values the smaller the better.
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
        return judge_tests(self, observations)

    def tests(self, observations: Sequence[Observation]) -> Conjunction:
        """See `lmc.claims.parts.Tested`."""
        return of_every_part(observations, self._of_part)

    def _of_part(self, observations: Sequence[Observation]) -> Conjunction:
        found = compare(observations, self.one, self.other)
        if isinstance(found, str):
            return Conjunction(missing=found)
        asked = beyond(found.whole, self.margin, above=False, say=found.say)
        return Conjunction([asked], none_beyond(found, at_most=self.margin))


@dataclass(frozen=True)
class Near:
    """The mean at the widest is within a margin of what theory gives: two one-sided tests.

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
        return judge_tests(self, observations)

    def tests(self, observations: Sequence[Observation]) -> Conjunction:
        """See `lmc.claims.parts.Tested`."""
        return of_every_part(observations, self._of_part)

    def _of_part(self, observations: Sequence[Observation]) -> Conjunction:
        width, group = at_end(observations, "widest")
        if few := too_few(group):
            return Conjunction(missing=few)
        found = estimate(group)
        ends = (self.target - self.within, True), (self.target + self.within, False)
        return Conjunction(
            [beyond(found, bound, above=above, say=lambda: level(found, width)) for bound, above in ends]
        )
