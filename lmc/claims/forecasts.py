"""What one model says of two: merged with a permutation of itself, the barrier that an independent twin would show.

After Entezari et al. (ICLR 2022), who found the two strikingly similar. A permuted copy lacks another function: the
gain of an ensemble is in the barrier of a pair, not in the forecast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lmc.claims.claim import Claim, Records, Study
from lmc.claims.comparisons import Contrast
from lmc.claims.equivalence import Similar
from lmc.claims.extracts import barrier
from lmc.claims.null import Null
from lmc.claims.statistics import Observation, Seeds
from lmc.claims.studies import draws
from lmc.claims.verdicts import FOUND_HERE
from lmc.measuring.measurements import MIDPOINT, Measurement, PairMeasurement
from lmc.tiers import Family, Setting

_DRAWS = (1, 2, 3)
"""Permutations of each model that it is merged with."""

LEAST = 0.1
"""Nats. Where pairs show less on average, there is little to forecast."""


def _own(family: Family, width: float) -> dict[int, list[PairMeasurement]]:
    """By seed, a model merged with permutations of itself."""
    specs = {seed: family.spec(width, seed) for seed in family.seeds}
    return {
        seed: [PairMeasurement(spec, spec, MIDPOINT, draw=draw, layers=False) for draw in _DRAWS]
        for seed, spec in specs.items()
    }


@dataclass(frozen=True)
class _Width:
    """Calibrated barriers at one width, nats.

    Args:
        width: where.
        pairs: of pairs, by draw.
        own: of models with permutations of themselves, likewise.
        independent: the pairs that share no model.
    """

    width: float
    pairs: Mapping[Seeds, Sequence[float]]
    own: Mapping[int, Sequence[float]]
    independent: frozenset[Seeds]

    @property
    def mean(self) -> float:
        """Of the pairs."""
        return fmean(fmean(drawn) for drawn in self.pairs.values())

    @property
    def unit(self) -> float:
        """What barriers are shares of: the pairs' mean, `LEAST` at least."""
        return max(self.mean, LEAST)


def _telling(widths: Sequence[_Width]) -> list[_Width]:
    """Those at which pairs show more than `LEAST`; all of them where none does."""
    return [each for each in widths if each.mean > LEAST] or list(widths)


def _needs(setting: Setting) -> list[Measurement]:
    family = setting.families["strong"]
    pairs = [measurement for width in family.widths for _, measurement in draws(family, width)]
    return [*pairs, *(each for width in family.widths for some in _own(family, width).values() for each in some)]


def _widths(setting: Setting, records: Records) -> list[_Width]:
    family, barrier_of = setting.families["strong"], barrier("calibrated_loss")

    def value(measurement: Measurement) -> float:
        found = barrier_of(records[measurement.key])[""]
        return math.nan if found is None else found

    found = []
    for width in family.widths:
        pairs: dict[Seeds, list[float]] = {}
        for _, each in draws(family, width):
            pairs.setdefault(tuple(spec.seed for spec in each.specs), []).append(value(each))
        own = {seed: [value(each) for each in some] for seed, some in _own(family, width).items()}
        found.append(_Width(width, pairs, own, frozenset(family.independent)))
    return found


def _shares(widths: Sequence[_Width]) -> Iterator[Observation]:
    """Barriers of pairs, and what their two models forecast, as shares of the pairs' mean at that width."""
    for each in _telling(widths):
        for seeds, drawn in each.pairs.items():
            forecasts = [fmean(both) for both in zip(*(each.own[seed] for seed in seeds), strict=True)]
            for group, values in (("pairs", drawn), ("forecast", forecasts)):
                for draw, value in enumerate(values):
                    independent, share = seeds in each.independent, value / each.unit
                    yield Observation(each.width, seeds, share, independent, group=group, draw=draw)


def _errors(widths: Sequence[_Width]) -> Iterator[Observation]:
    """How far a pair's barrier is from one model's forecast, and from the mean at the better neighbouring width.

    Both as shares of the pairs' mean. The neighbour is the one that is nearer, which only somebody could choose who
    knew the answer.
    """
    for each in _telling(widths):
        place = widths.index(each)
        around = [widths[at].mean for at in (place - 1, place + 1) if 0 <= at < len(widths)]
        neighbour = min(around, key=lambda mean: abs(mean - each.mean), default=math.nan)
        for seeds, drawn in each.pairs.items():
            value = fmean(drawn)
            forecast = fmean(abs(fmean(each.own[seed]) - value) for seed in seeds)
            independent = seeds in each.independent
            yield Observation(each.width, seeds, forecast / each.unit, independent, group="forecast")
            yield Observation(each.width, seeds, abs(neighbour - value) / each.unit, independent, group="neighbour")


def _study(tell: Callable[[Sequence[_Width]], Iterator[Observation]]) -> Study:
    return Study(_needs, lambda setting, records: list(tell(_widths(setting, records))))


FORECASTS: tuple[Claim, ...] = (
    Claim(
        id="self-permutation-forecasts-pairs",
        role=FOUND_HERE,
        ref="Fig. 2(b), F.4 (forecast)",
        statement="Merged with random permutations of themselves, models show the calibrated barrier of independent "
        "pairs within 20 %, on average over the widths where pairs show more than 0.1 nats.",
        unit="share of the pairs' barrier",
        study=_study(_shares),
        expect=Similar("forecast", "pairs", within=0.2),
        null=Null("A model merges with itself: no barrier.", {"forecast": 0.0, "pairs": 1.0}),
        why="A fifth: what a width more or less changes several times over.",
        history="Pilots of an earlier recipe: within the error in 12 of 13 settings, but not of narrow ResNets. The "
        "permutations of each model became three, of two, after seeds 120 to 125 were seen.",
        core=False,
    ),
    Claim(
        id="forecast-beats-the-neighbouring-width",
        role=FOUND_HERE,
        ref="Fig. 2(b), F.4 (forecast)",
        statement="One model's forecast is nearer to the barrier of a pair than the mean of pairs at the better of the "
        "neighbouring widths.",
        unit="share of the pairs' barrier",
        study=_study(_errors),
        expect=Contrast("neighbour", "forecast", by=0.1),
        null=Null("It is as wrong as the neighbour is.", {"neighbour": 0.5, "forecast": 0.5}),
        why="Half of the fifth that the forecast may be off by.",
        core=False,
    ),
)
