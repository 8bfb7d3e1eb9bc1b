"""What expectations have in common: tests, how parts of a claim come together, and the outcome.

Every expectation is a conjunction of one-sided tests against what was asked. It holds where every one is significant
at `ALPHA` (an intersection-union test: no correction is needed), and fails where the contrary of one is significant
at `ALPHA` shared by all of them (Bonferroni). Else it is inconclusive. An undefined or non-finite number fails it
first.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from lmc.claims.asked import Asked
from lmc.claims.statistics import Estimate, Observation, by_width, disjoint_pairs, one_sided_p_value
from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE, Verdict

ALPHA = 0.05
"""The largest p-value that counts as significant."""

MIN_PAIRS = 3
"""The fewest independent pairs a verdict may rest on."""


@dataclass(frozen=True)
class Judgement:
    """The outcome of one expectation on one setting.

    Args:
        verdict: one of `lmc.claims.verdicts.SEVERITY`.
        reason: the numbers, in words.
        effect: the effect size, in the claim's unit.
        p_value: of the hypothesis that the effect does not lie where it was asked to; holds where at most `ALPHA`.
        p_contrary: of the hypothesis that it does; fails where at most `ALPHA`. Corrected for the number of tests.
        interval: 95 % interval of the effect; ``None`` where nothing is known of its error.
        asked: of the effect; ``None`` where nothing was judged.
        part: the part (layer) that decided; empty where there is one or where their mean did.
        mean_of: how many parts the effect is the mean of; 0 where it is of one.
    """

    verdict: Verdict
    reason: str
    effect: float | None = None
    p_value: float | None = None
    p_contrary: float | None = None
    interval: tuple[float, float] | None = None
    asked: Asked | None = None
    part: str = ""
    mean_of: int = 0


@dataclass(frozen=True)
class OneSided:
    """One thing that is asked.

    Args:
        p_value: of the hypothesis that it is not so.
        p_contrary: of the hypothesis that it is so.
        effect: what is shown beside it.
        interval: of the effect.
        say: the numbers in words, made when they are shown.
        part: the part it is asked of; empty where there is one, or for their mean.
    """

    p_value: float
    p_contrary: float
    effect: float
    interval: tuple[float, float]
    say: Callable[[], str]
    part: str = ""


def beyond(
    found: Estimate,
    bound: float,
    *,
    above: bool,
    say: Callable[[], str],
    shown: Estimate | None = None,
    refuted: float | None = None,
) -> OneSided:
    """The test that ``found`` lies above (below) ``bound``.

    Args:
        found: what is tested.
        bound: beyond which it must lie.
        above: whether beyond is above.
        say: see `OneSided`.
        shown: the effect that is shown, if that is another.
        refuted: short of which it is refuted, if that is not the bound itself.
    """
    shown = shown or found
    return OneSided(
        one_sided_p_value(found, bound, above=above),
        one_sided_p_value(found, bound if refuted is None else refuted, above=not above),
        shown.mean,
        shown.interval(),
        say,
    )


@dataclass(frozen=True)
class Conjunction:
    """What is asked together.

    Args:
        must: has to be shown, all of it.
        may_not: must not be refuted, none of it; need not be shown.
        missing: why something could not be tested, else empty.
        mean_of: how many parts ``must`` is asked of the mean of; 0 where it is asked of each.
    """

    must: Sequence[OneSided] = ()
    may_not: Sequence[OneSided] = ()
    missing: str = ""
    missing_part: str = ""
    mean_of: int = 0
    everything: Sequence[OneSided] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "everything", [*self.must, *self.may_not])

    @property
    def p_value(self) -> Any:
        """Of all that must be shown, together."""
        return 1.0 if self.missing else np.max([each.p_value for each in self.must], axis=0)

    @property
    def p_contrary(self) -> Any:
        """Of the hypothesis that all is as asked."""
        if not self.everything:
            return 1.0
        least = np.min([each.p_contrary for each in self.everything], axis=0)
        return np.minimum(1.0, len(self.everything) * least)

    def verdict(self) -> Verdict:
        """What follows."""
        if self.p_contrary <= ALPHA:
            return FAILS
        return HOLDS if self.p_value <= ALPHA else INCONCLUSIVE


class Expectation(Protocol):
    """Judges the observations of one setting."""

    @property
    def asked(self) -> Asked:
        """What is expected."""
        ...

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on all parts together."""
        ...


class Tested(Protocol):
    """An expectation that is a conjunction of tests."""

    @property
    def asked(self) -> Asked:
        """What is expected."""
        ...

    def tests(self, observations: Sequence[Observation]) -> Conjunction:
        """What is asked of the observations of all parts, which are defined and at least one."""
        ...


def judge_tests(expectation: Tested, observations: Sequence[Observation]) -> Judgement:
    """The verdict, and the numbers of the test that decides it."""
    if unfit := unfit_to_judge(observations):
        return replace(unfit, asked=expectation.asked)
    tests = expectation.tests(observations)
    p_value, p_contrary, verdict = float(tests.p_value), float(tests.p_contrary), tests.verdict()
    if verdict == FAILS:
        decisive = min(tests.everything, key=lambda each: each.p_contrary)
        reason = f"{decisive.say()}, p of the contrary = {p_contrary:.2g}"
    elif tests.missing:
        found = Judgement(verdict, tests.missing, asked=expectation.asked, part=tests.missing_part)
        return found if p_contrary == 1 else replace(found, p_contrary=p_contrary)
    else:
        decisive = max(tests.must, key=lambda each: each.p_value)
        reason = f"{decisive.say()}, p = {p_value:.2g}"
        if verdict == INCONCLUSIVE:
            reason += f", of the contrary {p_contrary:.2g}"
    low, high = map(float, decisive.interval)
    return Judgement(
        verdict,
        reason,
        float(decisive.effect),
        p_value,
        p_contrary,
        (low, high) if low < high and math.isfinite(high - low) else None,
        expectation.asked,
        decisive.part,
        tests.mean_of,
    )


OfPart = Callable[[Sequence[Observation]], Conjunction]
"""What is asked of one part, or of the mean over parts."""


def of_every_part(observations: Sequence[Observation], of_part: OfPart) -> Conjunction:
    """What is asked, of each part."""
    found = {part: _of(part, of_part(group)) for part, group in _by_part(observations).items()}
    missing = {part: tests.missing for part, tests in found.items() if tests.missing}
    return Conjunction(
        [each for tests in found.values() for each in tests.must],
        [each for tests in found.values() for each in tests.may_not],
        *(missing[part := next(iter(missing))], part) if missing else (),
    )


def of_their_mean(observations: Sequence[Observation], of_mean: OfPart, opposed: OfPart) -> Conjunction:
    """What is asked, of the mean over the parts, and what no part may do.

    Args:
        observations: of all parts.
        of_mean: what is asked of the mean.
        opposed: what each part may not do, as ``may_not``.
    """
    parts = _by_part(observations)
    if len(parts) == 1:
        return of_every_part(observations, of_mean)
    found = of_mean(_mean_over_parts(observations))
    against = of_every_part(observations, opposed)
    missing = (against.missing, against.missing_part) if against.missing else (found.missing, "")
    return Conjunction(found.must, [*found.may_not, *against.may_not], *missing, mean_of=len(parts))


def _of(part: str, tests: Conjunction) -> Conjunction:
    return replace(
        tests,
        must=[replace(each, part=part) for each in tests.must],
        may_not=[replace(each, part=part) for each in tests.may_not],
    )


def unfit_to_judge(observations: Sequence[Observation]) -> Judgement | None:
    """The failure of observations that are missing or undefined."""
    if not observations:
        return Judgement(FAILS, "nothing was measured")
    undefined = [each for each in observations if each.value is None or not math.isfinite(each.value)]
    if not undefined:
        return None
    first = undefined[0]
    models = f"width {first.width:g}, seed {' and '.join(map(str, first.seeds))}, " if first.seeds else ""
    where = f"{models}{first.part or first.group}"
    return Judgement(FAILS, f"{len(undefined)} of {len(observations)} values are undefined, the first at {where}")


def _by_part(observations: Iterable[Observation]) -> dict[str, list[Observation]]:
    parts: dict[str, list[Observation]] = defaultdict(list)
    for each in observations:
        parts[each.part].append(each)
    return parts


def _mean_over_parts(observations: Sequence[Observation]) -> list[Observation]:
    """The layers of one merge see the same images: the mean's error is the mean of theirs."""
    groups: dict[Observation, list[Observation]] = defaultdict(list)
    for each in observations:
        groups[replace(each, part="", value=None, error=0.0)].append(each)
    return [
        replace(
            key,
            value=sum(each.value for each in group if each.value is not None) / len(group),
            error=sum(each.error for each in group) / len(group),
        )
        for key, group in groups.items()
    ]


def too_few(observations: Sequence[Observation]) -> str:
    """Why a width has fewer than `MIN_PAIRS` independent pairs (or models), else nothing."""
    for width, group in by_width(observations).items():
        pairs = disjoint_pairs(each.seeds for each in group if each.independent)
        if pairs < MIN_PAIRS:
            return f"{pairs} independent pairs at width {width:g} are fewer than {MIN_PAIRS}"
    return ""
