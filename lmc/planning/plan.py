"""What a tier lacks and what that costs, before it starts: by a short probe of this machine, or on GPUs elsewhere."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lmc.claims.cases import needed
from lmc.errors import SpecError
from lmc.executing.costs import (
    OWN_BYTES,
    PER_GPU,
    PaceOf,
    assumed_pace,
    cost_of_net,
    gpu_share,
    host_bytes,
    training_seconds,
    training_work,
)
from lmc.executing.jobs import Missing, missing_jobs
from lmc.executing.local import assigned
from lmc.executing.making import training_block
from lmc.executing.schedule import Schedule, simulate
from lmc.executing.session import selected_cases
from lmc.executing.settings import Settings
from lmc.planning.probe import prober
from lmc.specs import RunSpec
from lmc.store.store import Store

if TYPE_CHECKING:
    from lmc.planning.floor import Floor

STARTUP_SECONDS = 4.0
"""Of a run that has everything in its store, for start, judging and report."""


@dataclass(frozen=True)
class Row:
    """One model size of a plan.

    Args:
        spec: of its models, but for the seeds.
        models: to be trained.
        measurements: to be carried out.
        parameters: of one model.
        flops: of training one model.
        train_seconds: of one model.
        measure_seconds: of one measurement, on average.
    """

    spec: RunSpec
    models: int
    measurements: int
    parameters: int
    flops: float
    train_seconds: float
    measure_seconds: float


@dataclass(frozen=True)
class Plan:
    """What is missing of a tier, and what it costs.

    Args:
        settings: of the run.
        rows: one per model size with something missing.
        finished: measurements that the store already has.
        seconds: expected wall time with the settings' workers.
        memory_bytes: expected peak of the main process and all workers on this machine.
        schedules: what it takes on so many GPUs; empty where none were asked for.
        assumed: whether the times are those of the assumed GPU, and not probed here.
    """

    settings: Settings
    rows: tuple[Row, ...]
    finished: int
    seconds: float
    memory_bytes: float
    schedules: tuple[Schedule, ...] = ()
    assumed: bool = False

    @property
    def disk_bytes(self) -> int:
        """Expected growth of the store."""
        return sum(row.models * 4 * row.parameters + row.measurements * 10_000 for row in self.rows)


def make_plan(settings: Settings, gpus: Sequence[int] = ()) -> Plan:
    """Plan a tier: what its claims need and the store lacks, timed by probing a few steps of each size.

    Args:
        settings: of the run.
        gpus: numbers of GPUs to simulate the schedule on; on a machine without one, times are then those of
            `lmc.executing.costs.ASSUMED` and nothing is probed.

    Raises:
        SpecError: the tier is unknown, or its dataset's size is.
    """
    assumed = bool(gpus) and settings.device == "cpu"
    if gpus:
        settings = replace(settings, device="cuda")
    pace_of = assumed_pace(settings.device) if assumed else prober(settings.device).pace
    measurements = needed(selected_cases(settings))
    missing = missing_jobs(measurements, Store(settings.store), settings.device, pace_of)
    schedules = [
        simulate(missing.jobs, assigned(PER_GPU * number, number), lambda job: gpu_share(job.work)) for number in gpus
    ]
    here = simulate(missing.jobs, range(settings.workers), lambda _: 1.0)
    return Plan(
        settings,
        _rows(missing, pace_of),
        len(measurements) - len(missing.measurements),
        STARTUP_SECONDS + here.makespan,
        _peak_bytes(missing, settings),
        tuple(schedules),
        assumed,
    )


def _rows(missing: Missing, pace_of: PaceOf) -> tuple[Row, ...]:
    sizes: dict[RunSpec, Missing] = {}
    for training in missing.trainings:
        sizes.setdefault(training.specs[0].with_seed(0), Missing([], [])).trainings.append(training)
    for measuring in missing.measurings:
        sizes.setdefault(measuring.specs[0].with_seed(0), Missing([], [])).measurings.append(measuring)
    return tuple(_row(spec, of_size, pace_of) for spec, of_size in sizes.items())


def _row(spec: RunSpec, missing: Missing, pace_of: PaceOf) -> Row:
    models, measurements = missing.models, len(missing.measurements)
    work = training_work([spec])
    return Row(
        spec,
        models,
        measurements,
        cost_of_net(spec).parameters,
        work.flops,
        training_seconds([spec], pace_of(spec)),
        sum(job.cost for job in missing.measurings) / max(1, measurements),
    )


def _peak_bytes(missing: Missing, settings: Settings) -> float:
    """Memory of the main process and of the workers, which are all making the largest jobs at once."""
    works = [job.work for job in missing.jobs]
    largest = heapq.nlargest(settings.workers, works, key=lambda work: host_bytes([work], settings.device))
    return OWN_BYTES + host_bytes(largest, settings.device)


def make_floor(settings: Settings) -> Floor:
    """What training every model of a tier would take at least, whatever the store has of them.

    Args:
        settings: of the run.

    Raises:
        SpecError: the tier is unknown, or its dataset's size is.
    """
    from lmc.planning.floor import floor_of

    needs = dict.fromkeys(spec for each in needed(selected_cases(settings)) for spec in each.specs)
    blocks = dict.fromkeys(training_block(spec, settings.device) for spec in needs)
    specs = dict.fromkeys(spec for block in blocks for spec in block)
    return floor_of(specs, prober(settings.device).pace, settings.device)


def gpu_counts(text: str) -> list[int]:
    """Numbers of GPUs, separated by commas.

    Raises:
        SpecError: one is no whole number of at least 1.
    """
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise SpecError(f"gpus is {text!r}; it must be a whole number of at least 1, or several: 1,8,64")
    return [int(part) for part in parts]
