"""Made-up merges with a known truth: designs, noises, and claims whose truth lies at their bound or inside of it.

One observation holds the values of all replicates at once; the standard deviation of one merge is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from lmc.claims.comparisons import Contrast, Ordered
from lmc.claims.equivalence import Near, NonInferior, Similar
from lmc.claims.expectations import Level, Monotone, Trend
from lmc.claims.parts import Tested
from lmc.claims.shares import Share
from lmc.claims.statistics import Observation, Seeds

Random = np.random.Generator
Noise = Callable[[Random, list[Seeds], int, int], Any]
"""Of (generator, pairs, draws, replicates): deviations of shape (pairs, draws, replicates), of mean 0."""


@dataclass(frozen=True)
class Design:
    """Which merges are measured.

    Args:
        pairs: the models of each.
        draws: how many permutations of each.
    """

    pairs: list[Seeds]
    draws: int = 1


def ring(models: int, reach: int) -> list[Seeds]:
    """Every model with ``reach`` others to either side, as `lmc.tiers.families.Family` pairs them."""
    return [(i, j) for i, j in combinations(range(models), 2) if min(j - i, models + i - j) <= reach]


def groups(count: int, size: int = 2) -> list[Seeds]:
    return [tuple(range(size * index, size * (index + 1))) for index in range(count)]


DESIGNS: dict[str, Design] = {
    "6 models, 15 pairs": Design(ring(6, 3)),
    "6 models, 15 pairs, 4 draws": Design(ring(6, 3), 4),
    "6 models, 6 pairs": Design(ring(6, 1)),
    "6 models, 6 pairs, 4 draws": Design(ring(6, 1), 4),
    "12 models, 36 pairs": Design(ring(12, 3)),
    "12 models, 36 pairs, 4 draws": Design(ring(12, 3), 4),
    "12 models, 66 pairs": Design(ring(12, 6)),
    "12 models, 66 pairs, 4 draws": Design(ring(12, 6), 4),
    "12 models, 12 pairs": Design(ring(12, 1)),
    "3 groups": Design(groups(3)),
    "3 groups, 4 draws": Design(groups(3), 4),
    "4 groups": Design(groups(4)),
    "6 groups": Design(groups(6)),
    "6 models": Design(groups(6, 1)),
    "6 models, 4 draws": Design(groups(6, 1), 4),
    "12 models": Design(groups(12, 1)),
}

_SKEW = math.sqrt((math.e - 1) * math.e)


def normal(rng: Random, pairs: list[Seeds], draws: int, replicates: int) -> Any:
    return rng.standard_normal((len(pairs), draws, replicates))


def lognormal(rng: Random, pairs: list[Seeds], draws: int, replicates: int) -> Any:
    return (rng.lognormal(0.0, 1.0, (len(pairs), draws, replicates)) - math.exp(0.5)) / _SKEW


def one_in_six(rng: Random, pairs: list[Seeds], draws: int, replicates: int) -> Any:
    """One merge in six carries most of the mean, as in wide VGGs."""
    shape = len(pairs), draws, replicates
    bad = (rng.random(shape) < 1 / 6) * rng.exponential(1.0, shape) + 0.15 * rng.standard_normal(shape)
    return (bad - 1 / 6) / math.sqrt(2 / 6 - 1 / 36 + 0.15**2)


def _of_models(values: Any, pairs: list[Seeds], draws: int) -> Any:
    """The sum over a merge's models of their deviations, scaled to 1; the same in every draw."""
    found = np.stack([values[list(seeds)].sum(axis=0) / math.sqrt(len(seeds)) for seeds in pairs])
    return np.repeat(found[:, None], draws, axis=1)


def normal_models(rng: Random, pairs: list[Seeds], draws: int, replicates: int) -> Any:
    return _of_models(rng.standard_normal((_models(pairs), replicates)), pairs, draws)


def lognormal_models(rng: Random, pairs: list[Seeds], draws: int, replicates: int) -> Any:
    values = (rng.lognormal(0.0, 1.0, (_models(pairs), replicates)) - math.exp(0.5)) / _SKEW
    return _of_models(values, pairs, draws)


def one_model_in_ten(rng: Random, pairs: list[Seeds], draws: int, replicates: int) -> Any:
    """One model in ten is bad with all others."""
    bad = (rng.random((_models(pairs), replicates)) < 0.1) - 0.1
    spread = math.sqrt(0.09 + 0.15**2)
    return (_of_models(bad, pairs, draws) + 0.15 * normal(rng, pairs, draws, replicates)) / spread


def _models(pairs: list[Seeds]) -> int:
    return max(map(max, pairs)) + 1


CALIBRATED: dict[str, Noise] = {
    "normal": normal,
    "normal models": normal_models,
    "lognormal": lognormal,
    "one in six bad": one_in_six,
}
"""At the bound, at most 6 % of the runs may hold under these."""

PRINTED: dict[str, Noise] = {"lognormal models": lognormal_models, "one model in ten bad": one_model_in_ten}
"""Skewed noise of models, which so few of them cannot show."""

WIDTHS = 1.0, 4.0, 16.0
QUIET = 0.1


@dataclass(frozen=True)
class Sample:
    """Where numbers come from: one design, one noise, all replicates."""

    rng: Random
    design: Design
    noise: Noise
    replicates: int

    def merges(
        self, mean: float, *, width: float = 1.0, group: str = "a", part: str = "", scale: float = 1.0, sign: int = 1
    ) -> Iterator[Observation]:
        """One observation for each merge."""
        deviations = self.noise(self.rng, self.design.pairs, self.design.draws, self.replicates)
        for seeds, of_pair in zip(self.design.pairs, deviations, strict=True):
            for draw, each in enumerate(of_pair):
                yield Observation(width, seeds, mean + sign * scale * each, part=part, group=group, draw=draw)

    def along(self, means: Mapping[float, float], **more: Any) -> list[Observation]:
        return [each for width, mean in means.items() for each in self.merges(mean, width=width, **more)]

    def beside(self, **means: float) -> list[Observation]:
        return [each for group, mean in means.items() for each in self.merges(mean, group=group)]


@dataclass(frozen=True)
class Kind:
    """A claim, and numbers whose truth lies ``inside`` by so much of its bound; at the bound where that is 0."""

    expect: Tested
    made: Callable[[Sample, float], list[Observation]]
    calibrated: tuple[str, ...] = tuple(CALIBRATED)


def _widths(first: float, second: float, third: float) -> dict[float, float]:
    return dict(zip(WIDTHS, (first, second, third), strict=True))


def _layers(sample: Sample, inside: float) -> list[Observation]:
    return [
        each for part, mean in (("1", 2 - inside), ("2", -2.0), ("3", -2.0)) for each in sample.merges(mean, part=part)
    ]


def _pooled(sample: Sample, inside: float) -> list[Observation]:
    means = _widths(0, 1 + inside / 2, 2 + inside)
    return [each for part in "12" for each in sample.along(means, part=part)]


def _against_quiet(sample: Sample, mean: float, sign: int = 1) -> list[Observation]:
    return [*sample.merges(mean, group="a", sign=sign), *sample.merges(0.0, group="b", scale=QUIET)]


def _with_images(sample: Sample, inside: float) -> list[Observation]:
    """The same images, too few of them, in every merge."""
    shift: Any = 0.5 * sample.rng.standard_normal(sample.replicates)
    return [
        Observation(each.width, each.seeds, shift + each.value, draw=each.draw, error=0.5)
        for each in sample.merges(2 - inside)
    ]


KINDS: dict[str, Kind] = {
    "Level, below 2": Kind(Level(below=2.0), lambda of, inside: list(of.merges(2 - inside))),
    "Level, above 2": Kind(Level(above=2.0), lambda of, inside: list(of.merges(2 + inside))),
    "Level, below 2, each of three layers": Kind(Level(below=2.0), _layers),
    "Level, below 2, few images": Kind(Level(below=2.0), _with_images),
    "Trend, falls by 2": Kind(
        Trend(increasing=False, by=2.0), lambda of, inside: of.along(_widths(2 + inside, 1 + inside / 2, 0))
    ),
    "Trend, rises by 2, pooled": Kind(Trend(increasing=True, by=2.0, pooled=True), _pooled),
    "Monotone, slack 2": Kind(
        Monotone(increasing=True, slack=2.0), lambda of, inside: of.along(_widths(0, 10, 8 + inside))
    ),
    "Contrast, by 2": Kind(Contrast("a", "b", 2.0), lambda of, inside: of.beside(a=2 + inside, b=0)),
    "Contrast, by 2, one quiet": Kind(Contrast("b", "a", 2.0), lambda of, inside: _against_quiet(of, -2 - inside)),
    "Ordered, one step of 0": Kind(Ordered(("a", "b", "c"), by=2.0), lambda of, inside: of.beside(a=0, b=inside, c=10)),
    "Similar, within 2": Kind(Similar("a", "b", 2.0), lambda of, inside: of.beside(a=2 - inside, b=0)),
    "NonInferior, margin 2, one quiet": Kind(
        NonInferior("a", "b", 2.0), lambda of, inside: _against_quiet(of, 2 - inside)
    ),
    "Near, within 2": Kind(Near(5.0, 2.0), lambda of, inside: list(of.merges(7 - inside))),
}
"""What is judged on arrays of replicates."""


def share_kind(at_most: float) -> Kind:
    """A claim on the share above 0; half of it is above where ``inside`` is 1, all of it where it is 0."""

    def made(of: Sample, inside: float) -> list[Observation]:
        values = of.noise(np.random.default_rng(0), [(0,)], 1, 1_000_000).ravel()
        shift = np.quantile(values, 1 - at_most * (1 - inside / 2))
        return [Observation(each.width, each.seeds, each.value - shift, draw=each.draw) for each in of.merges(0.0)]

    of_pairs = tuple(noise for noise in CALIBRATED if noise != "normal models")  # a bad model makes many bad pairs
    return Kind(Share(limit=0.0, at_most=at_most), made, of_pairs)


KINDS["Share, at most a half"] = share_kind(0.5)


def power_law(of: Sample, inside: float) -> list[Observation]:
    """16, 8, 4 along three widths, that is an exponent of a half."""
    return of.along({width: 16 * width ** -(0.5 + inside / 4) for width in WIDTHS})
