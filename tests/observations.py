"""Observations made up for tests of expectations, and expectations that judge them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from lmc.claims.comparisons import Contrast
from lmc.claims.expectations import Level, Trend, Within
from lmc.claims.statistics import Observation

DISJOINT = ((0, 1), (2, 3), (4, 5))
WIDTHS = (1.0, 2.0, 4.0)


def family(
    means: Mapping[float, float], *, spread: float = 0.01, models: int = 6, group: str = "strong", part: str = ""
) -> list[Observation]:
    """All pairs of ``models`` per width: the width's mean plus a fixed deviation of either model."""
    found = []
    for seed, (width, mean) in enumerate(means.items()):
        deviation = np.random.default_rng([seed, *group.encode()]).standard_normal(models)
        deviation = spread * (deviation - deviation.mean())
        for i, j in combinations(range(models), 2):
            value = float(mean + deviation[i] + deviation[j])
            found.append(Observation(width, (i, j), value, (i, j) in DISJOINT, part, group))
    return found


def disjoint(rows: Sequence[Sequence[float]]) -> list[Observation]:
    """Independent pairs only: one row per pair, one column per width."""
    return [
        Observation(width, (2 * index, 2 * index + 1), value)
        for index, row in enumerate(rows)
        for width, value in zip((1.0, 2.0, 4.0, 8.0), row, strict=False)
    ]


def contrast(strong: Mapping[float, float], weak: Mapping[float, float], spread: float = 0.01) -> list[Observation]:
    return family(strong, spread=spread) + family(weak, spread=spread, group="weak")


def in_part(observations: Iterable[Observation], part: str) -> list[Observation]:
    return [replace(each, part=part) for each in observations]


RISING = dict(zip(WIDTHS, (0.2, 0.5, 0.9), strict=True))
FALLING = dict(zip(WIDTHS, (0.9, 0.5, 0.2), strict=True))
RISES, FALLS = Trend(increasing=True, by=0.5), Trend(increasing=False, by=0.5)
ABOVE, BELOW = Level(above=0.5), Level(below=0.5)
STRONGER = Contrast(larger="strong", smaller="weak", by=0.1)
EXACT = Within(target=8.0, tolerance=0.1)
SPREAD = [[0.1, 0.41, 0.79], [0.09, 0.39, 0.8], [0.11, 0.4, 0.81]]
SCRAMBLED = [[0.0, 2.0, 1.0], [0.4, 0.3, 0.2], [0.0, 2.0, 1.9]]  # rises by 0.9 on average, p > 0.05
TWO_PAIRS = [each for each in family(RISING) if each.seeds != (4, 5)]
