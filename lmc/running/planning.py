"""What a tier costs before it starts, from a short probe of this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from lmc.claims.judging import needed
from lmc.errors import SpecError
from lmc.measuring.measurements import FlatnessMeasurement, Measurement, PairMeasurement
from lmc.running.cells import Cell, missing_cells, training_block
from lmc.running.session import selected_cases
from lmc.running.settings import Settings
from lmc.specs import RunSpec
from lmc.training.store import Store

SHAPES = {  # name: (C, H, W), classes, training images, test images
    "digits": ((1, 8, 8), 10, 1_000, 797),
    "mnist": ((1, 28, 28), 10, 60_000, 10_000),
    "fashion-mnist": ((1, 28, 28), 10, 60_000, 10_000),
    "cifar10": ((3, 32, 32), 10, 50_000, 10_000),
    "cifar100": ((3, 32, 32), 100, 50_000, 10_000),
}
PROBE_FLOPS = 2e11
"""A training step of more than this is not probed but extrapolated from the largest one that was."""
STARTUP_SECONDS = 8.0
_BASE_BYTES = 600 << 20


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
    """

    settings: Settings
    rows: tuple[Row, ...]
    finished: int

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
    def memory_bytes(self) -> int:
        """Expected peak over all workers, three models and an optimizer of the largest size each."""
        largest = max((row.parameters for row in self.rows), default=0)
        return int(_BASE_BYTES + self.settings.workers * ((150 << 20) + 4 * 5 * largest))

    @property
    def disk_bytes(self) -> int:
        """Expected growth of the store."""
        return sum(row.models * 4 * row.parameters + row.measurements * 10_000 for row in self.rows)

    def lines(self) -> Iterator[str]:
        """The plan as text."""
        yield f"tier {self.settings.tier} on {self.settings.device}, {self.settings.workers} workers"
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
        yield (
            f"time about {_duration(self.seconds)}, memory about {self.memory_bytes / 2**30:.1f} GiB, "
            f"disk about {self.disk_bytes / 2**20:.0f} MiB in {self.settings.store}"
        )


def make_plan(settings: Settings) -> Plan:
    """Plan a tier: what its claims need and the store lacks, timed by probing a few steps of each size.

    Raises:
        SpecError: the tier is unknown, or its dataset's size is.
    """
    measurements = needed(selected_cases(settings))
    missing = missing_cells(measurements, Store(settings.store), settings.device)
    groups: dict[RunSpec, list[Cell]] = {}
    for cell in missing:
        spec = cell.measures.specs[0] if cell.measures else cell.trains[0]
        groups.setdefault(spec.with_seed(0), []).append(cell)
    prober = _Prober(settings.device)
    rows = tuple(prober.row(spec, cells) for spec, cells in groups.items())
    open_measurements = sum(cell.measures is not None for cell in missing)
    return Plan(settings, rows, len(measurements) - open_measurements)


class _Prober:
    """Times a few training steps and forward passes of each model size."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.rates: list[tuple[float, float]] = []  # (FLOP per step, FLOP per second) of probed sizes

    def row(self, spec: RunSpec, cells: list[Cell]) -> Row:
        from lmc.nets.costs import net_cost

        if spec.dataset not in SHAPES:
            raise SpecError(f"cannot plan for dataset {spec.dataset!r}; known are {', '.join(SHAPES)}")
        shape, classes, train_images, test_images = SHAPES[spec.dataset]
        train_images = spec.train_size or train_images
        cost = net_cost(spec.arch, spec.width, shape, classes, bias=spec.bias, depth=spec.depth)
        step_flops = cost.training_flops * spec.batch_size
        step_seconds, image_seconds = self._probe(spec, step_flops)
        steps = spec.steps(train_images)
        measurements = [cell.measures for cell in cells if cell.measures]
        models = sum(len(cell.trains) for cell in cells)
        passes = sum(_image_passes(each, train_images, test_images) for each in measurements)
        return Row(
            spec,
            models,
            len(measurements),
            cost.parameters,
            float(step_flops) * steps,
            steps * step_seconds,
            passes * image_seconds / len(measurements) if measurements else 0.0,
        )

    def _probe(self, spec: RunSpec, step_flops: float) -> tuple[float, float]:
        """Seconds per training step and per image of a forward pass."""
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
    from lmc.running.cells import prepare_arithmetic
    from lmc.training.engine import initial_model, train, train_stack

    prepare_arithmetic(1)
    spec = block[0]
    shape, classes, *_ = SHAPES[spec.dataset]
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


def _image_passes(measurement: Measurement, train_images: int, test_images: int) -> float:
    """Forward passes of one image that a measurement takes."""
    from lmc.measuring.paths import BN_IMAGES
    from lmc.measuring.records import LAYER_IMAGES

    spec, models = measurement.specs[0], len(measurement.specs)
    layers = 10 * min(LAYER_IMAGES, test_images)  # three models, seven maps
    if isinstance(measurement, PairMeasurement):
        passes, merged = len(measurement.lams), len(measurement.lams) - 2
        layers = 0 if measurement.alignment == "random" else layers
    elif isinstance(measurement, FlatnessMeasurement):
        passes, merged = len(measurement.alphas) + 4, len(measurement.alphas) - 1
    else:
        passes, merged = models + 1, int(models > 1)
    resets = 0 if spec.arch in ("mlp", "mlp-skip") else merged * min(BN_IMAGES, train_images)
    return resets + passes * test_images + layers


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
