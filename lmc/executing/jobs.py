"""What a run still has to make, in pieces of work that a worker makes at a time."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from lmc.executing import costs, making, measuring_costs
from lmc.executing.costs import PaceOf, Work, assumed_pace
from lmc.executing.making import Workplace, training_block
from lmc.executing.process import aside
from lmc.measuring.families import families_of
from lmc.measuring.measurements import Measurement
from lmc.references import Modules
from lmc.specs import RunSpec
from lmc.store.leases import POLL, Leases, describe
from lmc.store.store import Store

MEASURED_AT_ONCE = 200
"""A job has at most so many measurements. It claims them all before it starts, and every claim is an open file."""


class Job(Protocol):
    """A piece of work, which makes records of the store."""

    @property
    def cost(self) -> float:
        """Expected seconds on one processor, for the order of work and the progress."""
        ...

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        """The models it trains or measures, each once."""
        ...

    @property
    def makes(self) -> tuple[str, ...]:
        """Keys of the records."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the models that must be finished first."""
        ...

    @property
    def work(self) -> Work:
        """How much it computes and holds."""
        ...

    def describe(self) -> str:
        """One line for logs and error messages."""
        ...

    def parts(self, most: int, /) -> Sequence[Job]:
        """The same work in at most so many jobs, each priced by what it does itself."""
        ...

    def waits(self, busy: Collection[str]) -> bool:
        """Whether nothing of it can be made as long as others are making what ``busy`` names by its keys."""
        ...

    def make(self, workplace: Workplace) -> None:
        """Make what the store lacks and no other run is making.

        Raises:
            LmcError: data, store or device problems.
        """
        ...


@dataclass(frozen=True)
class TrainingJob:
    """Models that are trained side by side.

    Args:
        specs: of the models, equal up to their seeds.
        cost: see `Job`.
    """

    specs: tuple[RunSpec, ...]
    cost: float

    @property
    def makes(self) -> tuple[str, ...]:
        """See `Job`."""
        return tuple(spec.key for spec in self.specs)

    @property
    def needs(self) -> tuple[str, ...]:
        """See `Job`."""
        return ()

    @property
    def work(self) -> Work:
        """See `Job`."""
        return costs.training_work(self.specs)

    def describe(self) -> str:
        """See `Job`."""
        return self.specs[0].describe() + _and_more(len(self.specs) - 1, "seeds")

    def parts(self, _: int) -> Sequence[Job]:
        """See `Job`: the same neighbours give the same bits, so it stays whole."""
        return [self]

    def waits(self, busy: Collection[str]) -> bool:
        """See `Job`."""
        return any(key in busy for key in self.makes)

    def make(self, workplace: Workplace) -> None:
        """See `Job`."""
        making.train_missing(self.specs, workplace)


@dataclass(frozen=True)
class MeasuringJob:
    """Measurements that share models, so that each model is loaded and evaluated once.

    Args:
        measurements: of one family, see `lmc.measuring.families.families_of`; `MEASURED_AT_ONCE` at most.
        costs: of each, expected seconds beside those of its models.
        model_cost: expected seconds of evaluating one model, which is done once.
    """

    measurements: tuple[Measurement, ...]
    costs: tuple[float, ...]
    model_cost: float = 0.0

    @functools.cached_property
    def cost(self) -> float:
        """See `Job`."""
        return self.model_cost * len(self.specs) + sum(self.costs)

    @functools.cached_property
    def specs(self) -> tuple[RunSpec, ...]:
        """See `Job`."""
        return tuple(dict.fromkeys(spec for each in self.measurements for spec in each.specs))

    @property
    def makes(self) -> tuple[str, ...]:
        """See `Job`."""
        return tuple(each.key for each in self.measurements)

    @property
    def needs(self) -> tuple[str, ...]:
        """See `Job`."""
        return tuple(spec.key for spec in self.specs)

    @property
    def work(self) -> Work:
        """See `Job`."""
        return measuring_costs.measuring_work(self.measurements)

    def describe(self) -> str:
        """See `Job`."""
        return self.measurements[0].describe() + _and_more(len(self.measurements) - 1, "measurements")

    def parts(self, most: int) -> Sequence[Job]:
        """See `Job`: consecutive measurements stay together, as they share most models. Each part evaluates its own."""
        whole = len(self.measurements)
        count = min(whole, most)
        ends = [whole * number // count for number in range(count + 1)]
        return [
            dataclasses.replace(self, measurements=self.measurements[start:end], costs=self.costs[start:end])
            for start, end in itertools.pairwise(ends)
        ]

    def waits(self, busy: Collection[str]) -> bool:
        """See `Job`."""
        return all(any(key in busy for key in (each.key, *_keys(each.specs))) for each in self.measurements)

    def make(self, workplace: Workplace) -> None:
        """See `Job`."""
        making.measure_missing(self.measurements, workplace)


class Missing(NamedTuple):
    """What the store lacks for a run."""

    trainings: list[TrainingJob]
    measurings: list[MeasuringJob]

    @property
    def jobs(self) -> list[Job]:
        """All there is to make."""
        return [*self.trainings, *self.measurings]

    @property
    def models(self) -> int:
        """How many models are to be trained."""
        return sum(len(job.specs) for job in self.trainings)

    @property
    def measurements(self) -> list[Measurement]:
        """Those to be carried out."""
        return [each for job in self.measurings for each in job.measurements]

    @property
    def pieces(self) -> int:
        """How many records are to be made."""
        return sum(len(job.makes) for job in self.jobs)


def missing_jobs(
    measurements: Iterable[Measurement],
    store: Store,
    device: str,
    pace_of: PaceOf | None = None,
    modules: Modules | None = None,
) -> Missing:
    """The measurements the store lacks, and the models they need that it lacks.

    Args:
        measurements: what a run needs.
        store: where it may stand already.
        device: where all else is made.
        pace_of: how fast networks are computed there; ``None`` for what is assumed of the device.
        modules: somebody else's that the models come from.
    """
    missing: dict[str, Measurement] = {}
    blocks: dict[tuple[RunSpec, ...], None] = {}
    for measurement in measurements:
        if measurement.key in missing or store.has("measurements", measurement.key):
            continue
        missing[measurement.key] = measurement
        for spec in measurement.specs:
            block = training_block(spec, device)
            if block not in blocks and not store.has("models", spec.key):
                blocks[block] = None
    trainings = [TrainingJob(block, 0.0) for block in blocks]
    measurings = [
        MeasuringJob(family[start : start + MEASURED_AT_ONCE], ())
        for family in families_of(missing.values())
        for start in range(0, len(family), MEASURED_AT_ONCE)
    ]
    if not measurings:
        return Missing([], [])
    modules = modules or Modules()
    if pace_of:
        return _priced(trainings, measurings, pace_of, modules)
    return aside(_priced, trainings, measurings, assumed_pace(device), modules)


def _priced(
    trainings: Sequence[TrainingJob], measurings: Sequence[MeasuringJob], pace_of: PaceOf, modules: Modules
) -> Missing:
    modules.load()
    prices = [
        measuring_costs.measuring_seconds(job.measurements, pace_of(job.measurements[0].specs[0])) for job in measurings
    ]
    return Missing(
        [dataclasses.replace(job, cost=costs.training_seconds(job.specs, pace_of(job.specs[0]))) for job in trainings],
        [
            dataclasses.replace(job, costs=each, model_cost=model)
            for job, (model, each) in zip(measurings, prices, strict=True)
        ],
    )


def wait_for_others(jobs: Sequence[Job], leases: Leases) -> None:
    """Return as soon as something of ``jobs`` can be made, because no other run is making it or what it needs."""
    said = False
    while True:
        others = leases.others()
        busy = {*others, *(key for job in jobs if job.waits(others) for key in job.makes)}
        if not all(job.waits(busy) for job in jobs):
            return
        if not said:
            makers = sorted({describe(content) for content in others.values()})
            pieces = sum(len(job.makes) for job in jobs)
            print(f"lmc: waiting for {', '.join(makers)} to make {pieces} pieces", file=sys.stderr, flush=True)
            said = True
        time.sleep(POLL)


def _keys(specs: Iterable[RunSpec]) -> list[str]:
    return [spec.key for spec in specs]


def _and_more(count: int, what: str) -> str:
    return f" and {count} more {what}" if count else ""
