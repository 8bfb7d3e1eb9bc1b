"""What expectations have in common: the outcome, its rules, and how parts of a claim come together.

An expectation holds only where the effect reaches its threshold *and* the p-value is at most
`ALPHA`, on at least `MIN_PAIRS` independent pairs. An undefined or non-finite number fails it first.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from lmc.claims.statistics import Estimate, Observation, by_width
from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE, SEVERITY

ALPHA = 0.05
"""The largest p-value that counts as significant."""

MIN_PAIRS = 3
"""The fewest independent pairs a verdict may rest on."""


@dataclass(frozen=True)
class Judgement:
    """The outcome of one expectation on one setting.

    Args:
        verdict: one of `lmc.claims.verdicts.SEVERITY`.
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


Opposed = Callable[[Sequence[Observation]], float]


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
    """The judgement with the worst verdict; among equals that with the largest p-value, or the largest deviation."""

    def badness(each: Judgement) -> tuple[int, float, float]:
        deviation = abs(each.effect or 0.0) if each.p_value is None else 0.0  # of exact values
        return SEVERITY.index(each.verdict), each.p_value or 0.0, deviation

    return max(judgements, key=badness)


def judge_parts(expectation: PerPart, observations: Sequence[Observation]) -> Judgement:
    """The worst of the parts' judgements."""
    if unfit := _unfit(observations):
        return replace(unfit, threshold=expectation.threshold)
    judged = []
    for part, group in _by_part(observations).items():
        found = expectation.judge_part(group)
        judged.append(replace(found, reason=f"{part}: {found.reason}" if part else found.reason))
    return replace(worst(judged), threshold=expectation.threshold)


def judge_mean(expectation: PerPart, observations: Sequence[Observation], opposed: Opposed | None = None) -> Judgement:
    """The judgement on the mean over the parts, unless a part significantly goes the other way.

    Args:
        expectation: judges the mean.
        observations: of all parts.
        opposed: p-value of "this part does not go the other way"; significant at `ALPHA` shared by the parts
            (Bonferroni). ``None`` where no part can oppose.
    """
    if unfit := _unfit(observations):
        return replace(unfit, threshold=expectation.threshold)
    parts = _by_part(observations)
    if few := [
        Judgement(each.verdict, f"{part}: {each.reason}") for part, group in parts.items() if (each := too_few(group))
    ]:
        return replace(few[0], threshold=expectation.threshold)
    found = expectation.judge_part(_mean_over_parts(observations))
    reason = f"mean of {len(parts)} layers: {found.reason}" if len(parts) > 1 else found.reason
    found = replace(found, reason=reason, threshold=expectation.threshold)
    if opposed is None or len(parts) == 1 or found.p_value is None:
        return found
    p_values = {part: opposed(group) for part, group in parts.items()}
    against = min(p_values, key=p_values.__getitem__)
    if p_values[against] > ALPHA / len(parts):
        return found
    contrary = expectation.judge_part(parts[against])
    return replace(
        found,
        verdict=FAILS,
        reason=f"{reason}; {against} goes the other way, p = {p_values[against]:.2g}: {contrary.reason}",
    )


def _unfit(observations: Sequence[Observation]) -> Judgement | None:
    if not observations:
        return Judgement(FAILS, "nothing was measured")
    undefined = [each for each in observations if each.value is None or not math.isfinite(each.value)]
    if not undefined:
        return None
    first = undefined[0]
    return Judgement(
        FAILS,
        f"{len(undefined)} of {len(observations)} values are undefined, the first at "
        f"width {first.width:g}, pair {first.pair}, {first.part or first.group}",
    )


def _by_part(observations: Sequence[Observation]) -> dict[str, list[Observation]]:
    parts: dict[str, list[Observation]] = defaultdict(list)
    for each in observations:
        parts[each.part].append(each)
    return parts


def _mean_over_parts(observations: Sequence[Observation]) -> list[Observation]:
    groups: dict[Observation, list[float]] = defaultdict(list)
    for each in observations:
        groups[replace(each, part="", value=None)].append(float(each.value or 0.0))
    return [replace(each, value=sum(values) / len(values)) for each, values in groups.items()]


class PerPart(Protocol):
    """Judges the observations of one part (layer)."""

    @property
    def threshold(self) -> str:
        """What is expected, as text."""
        ...

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        ...


def conclude(reached: bool, p_value: float, reason: str, effect: Estimate) -> Judgement:
    """Holds where the effect is reached and significant; inconclusive where it is only reached."""
    if not reached:
        verdict = FAILS
    elif p_value <= ALPHA:
        verdict = HOLDS
    else:
        verdict, reason = INCONCLUSIVE, f"{reason}; p exceeds {ALPHA:g}"
    return Judgement(verdict, reason, effect.mean, p_value, interval=effect.interval())


def too_few(observations: Sequence[Observation]) -> Judgement | None:
    """Inconclusive where a width has fewer than `MIN_PAIRS` independent pairs (or models)."""
    for width, group in by_width(observations).items():
        pairs = len({each.pair for each in group if each.independent})
        if pairs < MIN_PAIRS:
            reason = f"{pairs} independent pairs at width {width:g} are fewer than {MIN_PAIRS}"
            return Judgement(INCONCLUSIVE, reason)
    return None
