"""What chance alone does to a run's verdicts: how many fail, are inconclusive, or flip on fresh seeds.

A p-value is turned into a normal score. A run on fresh seeds measures the same truth with an error of its own, so its
score lies around this one's with the variance of two errors, 2; that of the contrary likewise. Only the standard
library is needed, so that reading a results file stays light.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import cache
from importlib.resources import files
from math import sqrt
from statistics import NormalDist
from typing import TypeVar

from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE, INVALID, NOT_RUN, Verdict
from lmc.results.document import Document, Judged

ALPHA = 0.05
"""The chance that a run in which all is as claimed is red for its failures; as large for its inconclusive cases."""

SHARED = 0.1
"""Correlation of the scores of two cases on one setting, which rest on the same models. It is 0.05 to 0.11 in the mean
over 1,266 pairs of cases of the quick tier, by how their effects move when one of twelve models is left out."""

Key = TypeVar("Key", bound=Hashable)
Case = tuple[str, str]
_NORMAL = NormalDist()
_LEAST = 1e-300  # of a p-value, whose score is still finite
_STEPS = 21
_FACTORS = [_NORMAL.inv_cdf((step + 0.5) / _STEPS) for step in range(_STEPS)]


def holm(p_values: Mapping[Key, float], alpha: float = ALPHA) -> set[Key]:
    """Which hypotheses are rejected where a chance of ``alpha`` is shared by all of them (Holm 1979)."""
    rejected = set()
    for left, key in zip(range(len(p_values), 0, -1), sorted(p_values, key=p_values.__getitem__), strict=True):
        if p_values[key] * left > alpha:
            break
        rejected.add(key)
    return rejected


def failures_beyond_chance(judged: Mapping[Key, Judged]) -> set[Key]:
    """The failures that survive `holm` over all that was judged; where nothing is random, every failure does.

    A failure without a p-value, such as an undefined number, is certain.
    """
    p_values = {
        key: (float(each.verdict != FAILS) if each.p_contrary is None else each.p_contrary)
        for key, each in judged.items()
        if each.verdict not in (INVALID, NOT_RUN)
    }
    return {key for key in holm(p_values) if judged[key].verdict == FAILS}


def on_fresh_seeds(judged: Judged) -> dict[Verdict, float] | None:
    """The chance of every verdict on fresh seeds; ``None`` where nothing is random or nothing was judged."""
    if judged.p_value is None or judged.p_contrary is None or judged.verdict in (INVALID, NOT_RUN):
        return None
    alpha = judged.asked.alpha if judged.asked and judged.asked.alpha else ALPHA
    needed = _score(alpha)
    holds, fails = (_NORMAL.cdf((_score(p) - needed) / sqrt(2)) for p in (judged.p_value, judged.p_contrary))
    holds = min(holds, 1 - fails)  # of several things that are asked some may be so and one the contrary, which fails
    return {HOLDS: holds, FAILS: fails, INCONCLUSIVE: 1 - holds - fails}


def _score(p_value: float) -> float:
    return -_NORMAL.inv_cdf(min(max(p_value, _LEAST), 1 - 1e-16))


def expected_flips(document: Document) -> float:
    """How many of a run's verdicts are expected to be others on fresh seeds."""
    found = ((judged.verdict, on_fresh_seeds(judged)) for _, judged in document.judged())
    return sum(1 - chances[verdict] for verdict, chances in found if chances is not None)


def chances_of_inconclusive(document: Document) -> dict[Case, float]:
    """By claim and setting, the chance that a run on fresh seeds is inconclusive there."""
    found = (((claim.id, judged.name), on_fresh_seeds(judged)) for claim, judged in document.judged())
    return {case: chances[INCONCLUSIVE] for case, chances in found if chances is not None}


@cache
def _committed() -> dict[str, dict[str, dict[str, float]]]:
    text = files("lmc.results").joinpath("predicted.json").read_text("utf-8")
    found: dict[str, dict[str, dict[str, float]]] = json.loads(text)
    return found


def committed_chances(tier: str) -> dict[Case, float]:
    """`chances_of_inconclusive` of the committed run of a tier; nothing where there is none."""
    return {(claim, name): chance for claim, on in _committed().get(tier, {}).items() for name, chance in on.items()}


def most_inconclusive(settings: Collection[Collection[float]]) -> int:
    """How many cases may be inconclusive: more than that are so in one run of twenty at most.

    The count is a sum of unlike coins (a Poisson binomial). Cases on one setting share its models: their scores have a
    factor in common, which carries `SHARED` of the variance.

    Args:
        settings: by setting, each case's chance of being inconclusive.
    """
    total = [1.0]
    for chances in settings:
        of_setting = [0.0] * (len(chances) + 1)
        for factor in _FACTORS:
            for count, chance in enumerate(_sum_of_coins([_given(factor)(each) for each in chances])):
                of_setting[count] += chance / _STEPS
        total = _convolved(total, of_setting)
    reached = 0.0
    for count, chance in enumerate(total):
        reached += chance
        if reached >= 1 - ALPHA:
            return count
    return len(total) - 1


def _given(factor: float) -> Callable[[float], float]:
    def chance(alone: float) -> float:
        if not 0 < alone < 1:
            return alone
        return _NORMAL.cdf((_NORMAL.inv_cdf(alone) - sqrt(SHARED) * factor) / sqrt(1 - SHARED))

    return chance


def _sum_of_coins(chances: Collection[float]) -> list[float]:
    found = [1.0]
    for chance in chances:
        found = _convolved(found, [1 - chance, chance])
    return found


def _convolved(one: list[float], other: list[float]) -> list[float]:
    found = [0.0] * (len(one) + len(other) - 1)
    for at, first in enumerate(one):
        for by, second in enumerate(other):
            found[at + by] += first * second
    return found
