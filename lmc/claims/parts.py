"""What expectations have in common: the outcome, its rules, and how parts of a claim come together.

An expectation holds only where the effect lies where it was asked to *and* the p-value is at most
`ALPHA`, on at least `MIN_PAIRS` independent pairs. An undefined or non-finite number fails it first.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from lmc.claims.asked import Asked
from lmc.claims.statistics import Estimate, Observation, by_width
from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE, SEVERITY, Verdict

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
        p_contrary: of the hypothesis that it does; fails where at most `ALPHA`. Corrected for the number of parts.
        interval: 95 % interval of the effect.
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


Opposed = Callable[[Sequence[Observation]], float]


class Expectation(Protocol):
    """Judges the observations of one setting."""

    @property
    def asked(self) -> Asked:
        """What is expected."""
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
        return replace(unfit, asked=expectation.asked)
    judged = [replace(expectation.judge_part(group), part=part) for part, group in _by_part(observations).items()]
    return replace(worst(judged), asked=expectation.asked)


def judge_mean(expectation: PerPart, observations: Sequence[Observation], opposed: Opposed | None = None) -> Judgement:
    """The judgement on the mean over the parts, unless a part significantly goes the other way.

    Args:
        expectation: judges the mean.
        observations: of all parts.
        opposed: p-value of "this part does not go the other way"; significant at `ALPHA` shared by the parts
            (Bonferroni). ``None`` where no part can oppose.
    """
    if unfit := _unfit(observations):
        return replace(unfit, asked=expectation.asked)
    parts = _by_part(observations)
    if few := [replace(each, part=part) for part, group in parts.items() if (each := too_few(group))]:
        return replace(few[0], asked=expectation.asked)
    found = replace(expectation.judge_part(_mean_over_parts(observations)), asked=expectation.asked)
    if len(parts) == 1:
        return found
    found = replace(found, mean_of=len(parts))
    if opposed is None or found.p_value is None:
        return found
    p_values = {part: opposed(group) for part, group in parts.items()}
    against = min(p_values, key=p_values.__getitem__)
    if p_values[against] > ALPHA / len(parts):
        return found
    contrary = expectation.judge_part(parts[against]).reason
    reason = f"{found.reason}; {against} goes the other way, p = {p_values[against]:.2g}: {contrary}"
    return replace(found, verdict=FAILS, reason=reason, part=against)


def _unfit(observations: Sequence[Observation]) -> Judgement | None:
    if not observations:
        return Judgement(FAILS, "nothing was measured")
    undefined = [each for each in observations if each.value is None or not math.isfinite(each.value)]
    if not undefined:
        return None
    first = undefined[0]
    models = f"width {first.width:g}, seed {' and '.join(map(str, first.seeds))}, " if first.seeds else ""
    where = f"{models}{first.part or first.group}"
    return Judgement(FAILS, f"{len(undefined)} of {len(observations)} values are undefined, the first at {where}")


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
    def asked(self) -> Asked:
        """What is expected."""
        ...

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        ...


def conclude(reached: bool, p_value: float, reason: str, effect: Estimate) -> Judgement:
    """Holds where the effect is reached and significant; inconclusive where it is only reached."""
    verdict: Verdict
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
        pairs = len({each.seeds for each in group if each.independent})
        if pairs < MIN_PAIRS:
            reason = f"{pairs} independent pairs at width {width:g} are fewer than {MIN_PAIRS}"
            return Judgement(INCONCLUSIVE, reason)
    return None
