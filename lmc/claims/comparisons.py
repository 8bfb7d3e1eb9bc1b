"""What a claim expects of groups beside each other: a contrast, an order, likeness.

Groups that measured the same models are compared pair by pair, see `lmc.claims.statistics.gap`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lmc.claims.asked import Asked
from lmc.claims.expectations import check_slack
from lmc.claims.parts import (
    ALPHA,
    MIN_PAIRS,
    Conjunction,
    Judgement,
    OneSided,
    beyond,
    judge_tests,
    of_every_part,
    of_their_mean,
)
from lmc.claims.statistics import Estimate, Gap, Observation, by_width, gap, mean_estimate


@dataclass(frozen=True)
class Compared:
    """Two groups over the widths that both have.

    Args:
        names: of the groups.
        gaps: the first group's mean less the second's, by width.
        whole: the mean of the differences over the widths.
        means: of the groups, over the widths.
    """

    names: tuple[str, str]
    gaps: dict[float, Gap]
    whole: Estimate
    means: tuple[float, float]

    def say(self) -> str:
        """The means, and where they were taken."""
        said = ", ".join(f"{name} {mean:.4g}" for name, mean in zip(self.names, self.means, strict=True))
        return f"{said} at width {', '.join(f'{width:g}' for width in self.gaps)}"

    def at_each(self, test: Callable[[Estimate, Callable[[], str]], OneSided]) -> list[OneSided]:
        """A test at every width, where there are several."""
        if len(self.gaps) == 1:
            return []
        return [
            test(each.estimate, lambda width=width, each=each: self._say_at(width, each))  # type: ignore[misc]
            for width, each in self.gaps.items()
        ]

    def _say_at(self, width: float, found: Gap) -> str:
        one, other = (f"{name} {mean:.4g}" for name, mean in zip(self.names, found.means, strict=True))
        return f"{self.say()}; {one}, {other} at width {width:g}"


def compare(observations: Sequence[Observation], one: str, other: str, among: Sequence[str] = ()) -> Compared | str:
    """Two groups at the widths that they, and the groups ``among``, have; or why they cannot be compared."""
    names = tuple(dict.fromkeys([*among, one, other]))
    groups = {name: by_width(each for each in observations if each.group == name) for name in names}
    widths = [width for width in groups[one] if all(width in group for group in groups.values())]
    if not widths:
        return f"{', '.join(names[:-1])} and {names[-1]} have no width in common"
    gaps: dict[float, Gap] = {}
    for width in widths:
        arms = [groups[name][width] for name in (one, other)]
        found = gap(*arms)
        if isinstance(found, int):
            return f"{found} independent pairs at width {width:g} are fewer than {MIN_PAIRS}"
        gaps[width] = found
    first, second = (sum(each.means[at] for each in gaps.values()) / len(gaps) for at in (0, 1))
    return Compared((one, other), gaps, mean_estimate([each.estimate for each in gaps.values()]), (first, second))


@dataclass(frozen=True)
class Contrast:
    """One group's mean exceeds another's by at least so much, averaged over the widths both have.

    A width where ``smaller`` significantly exceeds fails it.

    Args:
        larger: the group expected to have the larger values.
        smaller: the other.
        by: the least difference of the means, in the claim's unit.
        pooled: asked of the mean over the layers; a layer where ``smaller`` significantly exceeds fails it.
        slack: by how much ``smaller`` may exceed in a layer, where ``pooled``; at most ``by``.
    """

    larger: str
    smaller: str
    by: float
    pooled: bool = False
    slack: float = 0.0

    def __post_init__(self) -> None:
        check_slack(self, self.slack, self.by, pooled=self.pooled)

    @property
    def asked(self) -> Asked:
        """Of the difference of the two means."""
        groups, pooled, slack = (self.larger, self.smaller), self.pooled, self.slack
        return Asked(quantity="difference", low=self.by, groups=groups, pooled=pooled, slack=slack, alpha=ALPHA)

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.parts.Expectation`."""
        return judge_tests(self, observations)

    def tests(self, observations: Sequence[Observation]) -> Conjunction:
        """See `lmc.claims.parts.Tested`."""
        if self.pooled:
            return of_their_mean(observations, self._of_mean, self._opposed)
        return of_every_part(observations, self._of_mean)

    def _of_mean(self, observations: Sequence[Observation]) -> Conjunction:
        found = compare(observations, self.larger, self.smaller)
        if isinstance(found, str):
            return Conjunction(missing=found)
        asked = beyond(found.whole, self.by, above=True, say=found.say)
        return Conjunction([asked], none_beyond(found, at_least=min(0.0, self.by)))

    def _opposed(self, observations: Sequence[Observation]) -> Conjunction:
        found = compare(observations, self.larger, self.smaller)
        if isinstance(found, str):
            return Conjunction(missing=found)
        return Conjunction((), part_opposed(found, observations[0].part, at_least=-self.slack))


def none_beyond(found: Compared, *, at_least: float | None = None, at_most: float | None = None) -> list[OneSided]:
    """That the difference is not beyond these at any width."""
    ends = [(bound, above) for bound, above in ((at_least, True), (at_most, False)) if bound is not None]
    return [
        each
        for bound, above in ends
        for each in found.at_each(
            lambda at, say, bound=bound, above=above: beyond(at, bound, above=above, say=say, shown=found.whole)  # type: ignore[misc]
        )
    ]


def part_opposed(
    found: Compared, part: str, *, at_least: float | None = None, at_most: float | None = None
) -> list[OneSided]:
    """That the difference of a part is not beyond these, over the widths and at any of them."""
    ends = [(bound, above) for bound, above in ((at_least, True), (at_most, False)) if bound is not None]
    whole = [
        beyond(found.whole, bound, above=above, say=lambda: f"{part} goes the other way: {found.say()}")
        for bound, above in ends
    ]
    return [*whole, *none_beyond(found, at_least=at_least, at_most=at_most)]


@dataclass(frozen=True)
class Ordered:
    """The mean rises along an order of groups, averaged over the widths all have.

    Every step from one group to the next must be shown to rise, and the whole rise to be large enough.

    Args:
        families: in the order of rising values.
        by: the least rise from the first to the last, in the claim's unit.
    """

    families: tuple[str, ...]
    by: float

    @property
    def asked(self) -> Asked:
        """Of the rise from the first group to the last."""
        return Asked(quantity="rise", low=self.by, groups=self.families, alpha=ALPHA)

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.parts.Expectation`."""
        return judge_tests(self, observations)

    def tests(self, observations: Sequence[Observation]) -> Conjunction:
        """See `lmc.claims.parts.Tested`."""
        return of_every_part(observations, self._of_part)

    def _of_part(self, observations: Sequence[Observation]) -> Conjunction:
        rise = compare(observations, self.families[-1], self.families[0], self.families)
        if isinstance(rise, str):
            return Conjunction(missing=rise)
        steps: list[Compared] = []
        for before, after in pairwise(self.families):
            step = compare(observations, after, before, self.families)
            if isinstance(step, str):
                return Conjunction(missing=step)
            steps.append(step)

        def say() -> str:
            means = [steps[0].means[1], *(step.means[0] for step in steps)]
            return ", ".join(f"{name} {mean:.4g}" for name, mean in zip(self.families, means, strict=True))

        def say_step(step: Compared) -> Callable[[], str]:
            return lambda: f"{say()}; from {step.names[1]} to {step.names[0]}"

        whole = beyond(rise.whole, self.by, above=True, say=say)
        return Conjunction(
            [whole, *(beyond(each.whole, 0.0, above=True, say=say_step(each), shown=rise.whole) for each in steps)]
        )
