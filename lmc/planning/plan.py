"""What a tier costs before it starts, from a short probe of this machine, or on GPUs that are elsewhere."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lmc.claims.cases import needed
from lmc.errors import SpecError
from lmc.executing.costs import (
    ASSUMED,
    OWN_BYTES,
    PER_GPU,
    cost_of_net,
    gpu_share,
    host_bytes,
    image_passes,
    shape_of,
    step_times,
)
from lmc.executing.jobs import Cell, missing_cells, training_block
from lmc.executing.local import assigned
from lmc.executing.schedule import Schedule, simulate
from lmc.executing.session import selected_cases
from lmc.executing.settings import Settings
from lmc.specs import RunSpec
from lmc.store.store import Store

PROBE_FLOPS = 2e11
"""A training step of more than this is not probed but extrapolated from the largest one that was."""
STARTUP_SECONDS = 8.0


@dataclass(frozen=True)
class Row:
    """One model size of a plan."""

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
        memory_bytes: expected peak of the main process and all workers on this machine.
        schedules: what it takes on so many GPUs; empty where none were asked for.
        assumed: whether the times are those of the assumed GPU, and not probed here.
    """

    settings: Settings
    rows: tuple[Row, ...]
    finished: int
    memory_bytes: float
    schedules: tuple[Schedule, ...] = ()
    assumed: bool = False

    @property
    def seconds(self) -> float:
        """Expected wall time with the settings' workers."""
        if not self.rows:
            return STARTUP_SECONDS
        work = [(row.models, row.train_seconds) for row in self.rows if row.models]
        work += [(row.measurements, row.measure_seconds) for row in self.rows]
        total = sum(count * each for count, each in work)
        return STARTUP_SECONDS + max(total / self.settings.workers, max(each for _, each in work))

    @property
    def disk_bytes(self) -> int:
        """Expected growth of the store."""
        return sum(row.models * 4 * row.parameters + row.measurements * 10_000 for row in self.rows)

    def lines(self) -> Iterator[str]:
        """The plan as text."""
        where = (
            f"assumed GPUs ({ASSUMED})" if self.assumed else f"{self.settings.device}, {self.settings.workers} workers"
        )
        yield f"tier {self.settings.tier} on {where}"
        for row in self.rows:
            yield (
                f"  {row.spec.dataset:<14} {row.spec.arch:<10} x{row.spec.width:<7g} "
                f"decay {row.spec.weight_decay:<7g} {row.models:>3} models of {row.parameters / 1e6:.2f} M, "
                f"{row.flops / 1e12:.3g} TFLOP and about {row.train_seconds:.1f} s each; "
                f"{row.measurements} measurements, {row.measure_seconds:.1f} s each"
            )
        models = sum(row.models for row in self.rows)
        measurements = sum(row.measurements for row in self.rows)
        flops = sum(row.models * row.flops for row in self.rows)
        yield f"to train: {models} models, {flops / 1e12:.4g} TFLOP; {measurements} measurements"
        yield f"already stored: {self.finished} measurements"
        if self.schedules:
            yield f"disk about {self.disk_bytes / 2**20:.0f} MiB in {self.settings.store}"
        else:
            yield (
                f"time about {_duration(self.seconds)}, memory about {self.memory_bytes / 2**30:.1f} GiB, "
                f"disk about {self.disk_bytes / 2**20:.0f} MiB in {self.settings.store}"
            )
        for each in self.schedules:
            yield (
                f"on {each.devices} GPU{'s' if each.devices > 1 else ''}: {_duration(each.makespan)}, "
                f"utilisation {each.utilisation:.0%}, longest chain {_duration(each.critical_path)}"
            )


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
    measurements = needed(selected_cases(settings))
    missing = missing_cells(measurements, Store(settings.store), settings.device)
    groups: dict[RunSpec, list[Cell]] = {}
    for cell in missing:
        groups.setdefault(cell.specs[0].with_seed(0), []).append(cell)
    timed = step_times if assumed else _Prober(settings.device).times
    rows = {spec: _row(spec, cells, timed(spec)) for spec, cells in groups.items()}
    open_measurements = sum(cell.measures is not None for cell in missing)
    schedules = tuple(_schedule(missing, rows, number) for number in gpus)
    finished = len(measurements) - open_measurements
    return Plan(settings, tuple(rows.values()), finished, _peak_bytes(missing, settings), schedules, assumed)


def _peak_bytes(cells: Sequence[Cell], settings: Settings) -> float:
    """Memory of the main process and of the workers, which are all making the largest cells at once."""
    largest = heapq.nlargest(settings.workers, cells, key=lambda cell: host_bytes([cell], settings.device))
    return OWN_BYTES + host_bytes(largest, settings.device)


def _schedule(missing: Sequence[Cell], rows: dict[RunSpec, Row], gpus: int) -> Schedule:
    """What an executor with as many workers as the GPUs can share takes, costly cells by these times first."""

    def seconds(cell: Cell) -> float:
        row = rows[cell.specs[0].with_seed(0)]
        return len(cell.trains) * row.train_seconds if cell.trains else row.measure_seconds

    cells = [replace(cell, cost=seconds(cell)) for cell in missing]
    return simulate(cells, assigned(PER_GPU * gpus, gpus), lambda cell: cell.cost, gpu_share)


def _row(spec: RunSpec, cells: Sequence[Cell], times: tuple[float, float]) -> Row:
    *_, train_images, test_images = shape_of(spec)
    cost = cost_of_net(spec)
    step_seconds, image_seconds = times
    steps = spec.steps(train_images)
    measurements = [cell.measures for cell in cells if cell.measures]
    passes = sum(image_passes(each, train_images, test_images) for each in measurements)
    return Row(
        spec,
        sum(len(cell.trains) for cell in cells),
        len(measurements),
        cost.parameters,
        float(cost.training_flops) * spec.batch_size * steps,
        steps * step_seconds,
        passes * image_seconds / len(measurements) if measurements else 0.0,
    )


class _Prober:
    """Times a few training steps and forward passes of each model size."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.rates: list[tuple[float, float]] = []  # (FLOP per step, FLOP per second) of probed sizes

    def times(self, spec: RunSpec) -> tuple[float, float]:
        """Seconds per training step and model, and per image of a forward pass."""
        step_flops = float(cost_of_net(spec).training_flops * spec.batch_size)
        if step_flops > PROBE_FLOPS and self.rates:
            rate = max(self.rates)[1]
            return step_flops / rate, step_flops / spec.batch_size / 3 / rate
        step, image = probe(training_block(spec, self.device), self.device)
        self.rates.append((step_flops, step_flops / step))
        return step, image


def probe(block: tuple[RunSpec, ...], device: str) -> tuple[float, float]:
    """Time training steps of a block of models, and a forward pass of one, on random images.

    Returns:
        Seconds per step and model, and seconds per image of a large forward pass.
    """
    import dataclasses

    import torch

    from lmc.data import Dataset
    from lmc.executing.jobs import prepare_arithmetic
    from lmc.training.engine import initial_model, train, train_stack

    prepare_arithmetic(1)
    spec = block[0]
    shape, classes, *_ = shape_of(spec)
    steps, evaluated = 6, 200

    def dataset(images: int) -> Dataset:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (images, *shape), generator=generator, dtype=torch.uint8)
        labels = torch.arange(images) % classes
        names = tuple(map(str, range(classes)))
        return Dataset(spec.dataset, pixels, labels, pixels[:10], labels[:10], names, "random")

    def timed(steps: int) -> float:
        short = [dataclasses.replace(each, epochs=1, train_size=None) for each in block]
        images = dataset(steps * spec.batch_size)
        trained = train_stack(short, images, device)[0] if len(short) > 1 else train(short[0], images, device)
        return float(trained.log["seconds"]) / steps

    timed(2)  # warm-up
    seconds = timed(steps)
    model = initial_model(spec, dataset(10)).to(device).eval()
    images = torch.rand(evaluated, *shape, device=device)
    with torch.no_grad():
        model(images)
        started = time.perf_counter()
        model(images)
    return seconds, (time.perf_counter() - started) / evaluated


def gpu_counts(text: str) -> list[int]:
    """Numbers of GPUs, separated by commas.

    Raises:
        SpecError: one is no whole number of at least 1.
    """
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise SpecError(f"gpus is {text!r}; it must be a whole number of at least 1, or several: 1,8,64")
    return [int(part) for part in parts]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
