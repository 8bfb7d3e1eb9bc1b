"""Where claims about models get their numbers: arms of a study, each a measurement of a family of models."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lmc.claims.claim import Records, Study
from lmc.claims.statistics import Observation
from lmc.datasets import size_of
from lmc.measuring.measurements import (
    FULL_PATH,
    MIDPOINT,
    FlatnessMeasurement,
    LayerFitMeasurement,
    Measurement,
    MergeMeasurement,
    ModelMeasurement,
    PairMeasurement,
    PruneMeasurement,
)
from lmc.specs import RunSpec
from lmc.tiers import Family, Setting

Values = dict[str, float | None]
"""Numbers of one measurement by part (layer); the part is empty where there is only one number."""

Extract = Callable[[dict[str, Any]], Values]
"""Takes numbers from a record, which holds what `lmc.measuring.records.measure` gives, and ``size``, the
`lmc.datasets.Size` of the dataset it was measured on."""


@dataclass(frozen=True)
class Imprecise:
    """An extract of one number whose error, due to the finite test set, is known.

    Args:
        read: gives the number of a record.
        error: gives its standard error.
    """

    read: Callable[[dict[str, Any]], float | None]
    error: Callable[[dict[str, Any]], float]

    def __call__(self, record: dict[str, Any]) -> Values:
        """See `Extract`."""
        return {"": self.read(record)}


KEEPS = (1 / 2, 1 / 3, 1 / 4)
"""Shares of its channels that a model is cut down to, as many as two, three and four models have of one width."""

Samples = Iterator[tuple[bool, Measurement]]
"""Measurements of a family at one width, each with whether it is one of the independent ones."""


Sample = Callable[[Family, float], Samples]
"""What is measured of a family at one width."""


def pairs(family: Family, width: float) -> Samples:
    """Every pair of models: the whole path for independent pairs, else the midpoint."""
    for independent, a, b in _specs(family, family.pairs, width):
        yield independent, PairMeasurement(a, b, FULL_PATH if independent else MIDPOINT)


def permuted(family: Family, width: float) -> Samples:
    """The midpoint of every pair, one of its models permuted at random (F.4), once at least."""
    for draw in range(1, max(2, family.draws)):
        for independent, a, b in _specs(family, family.pairs, width):
            yield independent, PairMeasurement(a, b, MIDPOINT, draw=draw)


def draws(family: Family, width: float) -> Samples:
    """Every pair as it is, and as many permutations of it as the family has."""
    yield from pairs(family, width)
    if family.draws > 1:
        yield from permuted(family, width)


def whole_paths(family: Family, width: float) -> Samples:
    """The whole path between neighbours, where they are not independent without their layers."""
    for independent, a, b in _specs(family, family.neighbours, width):
        yield independent, PairMeasurement(a, b, FULL_PATH, layers=independent)


def affordable(family: Family) -> list[tuple[int, int]]:
    """Pairs for what takes long or has no draws: all of them in a family that is measured in draws, else neighbours."""
    return family.pairs if family.draws > 1 else family.neighbours


def _specs(family: Family, chosen: Sequence[tuple[int, int]], width: float) -> Iterator[tuple[bool, RunSpec, RunSpec]]:
    for seeds in chosen:
        a, b = (family.spec(width, seed) for seed in seeds)
        yield seeds in family.independent, a, b


def aligned(alignment: str) -> Sample:
    """The midpoint of pairs, one of whose models was brought into an order that depends on the other's."""

    def sample(family: Family, width: float) -> Samples:
        for independent, a, b in _specs(family, affordable(family), width):
            yield independent, PairMeasurement(a, b, MIDPOINT, alignment)

    return sample


def merged(rule: str, alignment: str, *, few: bool = False) -> Sample:
    """Pairs merged after an alignment, by a rule, without their layers; neighbours alone where a ``few`` will do."""

    def sample(family: Family, width: float) -> Samples:
        for independent, a, b in _specs(family, family.neighbours if few else affordable(family), width):
            yield independent, MergeMeasurement((a, b), (), alignment, rule, layers=False)

    return sample


def fits(lam: float, alignment: str = "unpermuted") -> Sample:
    """Pairs merged at λ, each beside the next model of the family, which is not merged."""

    def sample(family: Family, width: float) -> Samples:
        for independent, a, b in _specs(family, affordable(family), width):
            around = [*family.seeds[family.seeds.index(b.seed) :], *family.seeds]
            third = next(seed for seed in around if seed not in (a.seed, b.seed))
            yield independent, LayerFitMeasurement(a, b, family.spec(width, third), lam, alignment)

    return sample


def models(family: Family, width: float) -> Samples:
    """Every model by itself."""
    for seed in family.seeds:
        yield True, ModelMeasurement(family.spec(width, seed))


def pruned(family: Family, width: float) -> Samples:
    """Every model by itself, cut down to a half, a third and a quarter of its channels."""
    for seed in family.seeds:
        yield True, PruneMeasurement(family.spec(width, seed), KEEPS)


def flatness(family: Family, width: float) -> Samples:
    """The first model of a pair, along a random direction as long as the pair's distance."""
    for independent, a, b in _specs(family, affordable(family), width):
        yield independent, FlatnessMeasurement(a, b)


def merges(*weights: float, models: int = 0) -> Sample:
    """Averages of disjoint groups of models, with these weights or with equal ones of ``models`` models."""

    def sample(family: Family, width: float) -> Samples:
        for seeds in family.groups(models or len(weights)):
            yield True, MergeMeasurement(tuple(family.spec(width, seed) for seed in seeds), weights)

    return sample


@dataclass(frozen=True)
class Arm:
    """One side of a study.

    Args:
        extract: the numbers of one record.
        family: role of the family that is measured.
        sample: what is measured of it at one width.
        label: group of the observations; empty for the family's role.
    """

    extract: Extract
    family: str = "strong"
    sample: Sample = draws
    label: str = ""

    def observations(
        self, record: dict[str, Any], width: float, measurement: Measurement, *, independent: bool
    ) -> Iterator[Observation]:
        """The numbers of one record, with what they are of."""
        merged = measurement.specs[:2] if isinstance(measurement, LayerFitMeasurement) else measurement.specs
        seeds = tuple(spec.seed for spec in merged)  # a third model that is not merged stands for any
        record = {**record, "size": size_of(measurement.specs[0].dataset, measurement.specs[0].classes)}
        error = self.extract.error(record) if isinstance(self.extract, Imprecise) else 0.0
        draw = measurement.draw if isinstance(measurement, PairMeasurement) else 0
        for part, value in self.extract(record).items():
            group = self.label or self.family
            yield Observation(width, seeds, value, independent, part, group, draw=draw, error=error)


@functools.cache
def _sampled(sample: Sample, family: Family, width: float) -> tuple[tuple[bool, Measurement], ...]:
    """What ``sample`` gives, made once: claims on one family share its measurements, and a key takes long to make."""
    return tuple(sample(family, width))


def study(*arms: Arm, widest: bool = False, past_narrowest: bool = False) -> Study:
    """A study of one or more arms, at the widths that all arms' families have.

    Args:
        arms: what is measured.
        widest: at the widest of those widths alone.
        past_narrowest: at all of them but the narrowest.
    """

    def chosen(setting: Setting) -> Iterator[tuple[Arm, float, bool, Measurement]]:
        families = [setting.families[arm.family] for arm in arms]
        shared = [width for width in families[0].widths if all(width in each.widths for each in families)]
        shared = shared[-1:] if widest else shared[int(past_narrowest) :]
        for arm, family in zip(arms, families, strict=True):
            for width in shared:
                for independent, measurement in _sampled(arm.sample, family, width):
                    yield arm, width, independent, measurement

    def needs(setting: Setting) -> list[Measurement]:
        return [measurement for *_, measurement in chosen(setting)]

    def observe(setting: Setting, records: Records) -> list[Observation]:
        return [
            observation
            for arm, width, independent, measurement in chosen(setting)
            for observation in arm.observations(records[measurement.key], width, measurement, independent=independent)
        ]

    return Study(needs, observe, tuple(dict.fromkeys(arm.family for arm in arms)))


def over_pairs(extract: Extract, *families: str, widest: bool = False) -> Study:
    """A study that takes ``extract(record)`` of every pair of the named families (default: strong)."""
    return study(*(Arm(extract, family) for family in families or ("strong",)), widest=widest)


def over_aligned(extract: Extract, *alignments: str, widest: bool = False) -> Study:
    """Pairs merged after ``matching`` or ``random`` permutations, or ``unpermuted``; groups of that name."""
    samples = {"unpermuted": draws, "random": permuted}
    arms = [Arm(extract, sample=samples.get(each, aligned(each)), label=each) for each in alignments]
    return study(*arms, widest=widest)


def self_merge() -> Study:
    """The barriers of models merged with themselves, three at every width."""

    def chosen(setting: Setting) -> list[PairMeasurement]:
        family = setting.families["strong"]
        specs = [family.spec(width, seed) for width in family.widths for seed in family.seeds[:3]]
        return [PairMeasurement(spec, spec, MIDPOINT) for spec in specs]

    def observe(setting: Setting, records: Records) -> list[Observation]:
        return [
            Observation(each.a.width, (each.a.seed, each.b.seed), value, part=name)
            for each in chosen(setting)
            for name, value in records[each.key]["path"]["barriers"].items()
            if name.endswith("midpoint")
        ]

    return Study(chosen, observe)


def computed(compute: Callable[[], Sequence[tuple[str, float]]]) -> Study:
    """A study that trains nothing: named numbers computed on the spot, from a fixed seed."""

    def observe(setting: Setting, records: Records) -> list[Observation]:
        return [Observation(0.0, (), value, part=part) for part, value in compute()]

    return Study(lambda _: [], observe, ())
