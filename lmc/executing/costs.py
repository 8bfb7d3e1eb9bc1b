"""What a cell costs before it is made, from its networks' size alone: time and share of a GPU, memory.

Times are those of an assumed GPU, for simulating a schedule on a machine without one; ``lmc plan`` on a machine
with a GPU probes instead. Memory decides how many narrow models share a GPU.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmc.architectures import architecture
from lmc.datasets import dataset_info
from lmc.executing.jobs import Cell
from lmc.measuring.measurements import FlatnessMeasurement, Measurement, PairMeasurement
from lmc.specs import RunSpec

if TYPE_CHECKING:
    from lmc.nets.costs import NetCost

SHARED_BYTES = 450 << 20
"""Memory of torch and what else is imported, which a machine holds once however many processes use it."""
OWN_BYTES = 250 << 20
"""Memory that a process has for itself beside models and data. It grows with every shape that was computed, and is
chosen to put two workers on the quick tier between the 1,085 MiB that its core claims took and the 1.47 GiB of the
whole."""
CONTEXT_BYTES = 600 << 20
"""Memory of a CUDA context, on its GPU and again beside it."""
PER_GPU = 4
"""At most so many cells share a GPU, for their kernels run in turn, and only the gaps between them are won."""


@dataclass(frozen=True)
class Gpu:
    """The GPU that times are estimated for.

    Args:
        bytes: its memory.
        bf16_flops: FLOP per second reached in training in bf16.
        fp32_flops: likewise in fp32.
        layer_seconds: least time of a layer's kernels in a recorded training step, whatever its width.
    """

    bytes: float = 80e9
    bf16_flops: float = 3e14
    fp32_flops: float = 4e13
    layer_seconds: float = 1e-4

    def __str__(self) -> str:
        return (
            f"{self.bytes / 1e9:.0f} GB, {self.bf16_flops / 1e12:.0f} TFLOP/s in bf16 and {self.fp32_flops / 1e12:.0f} "
            f"in fp32, {self.layer_seconds * 1e3:g} ms a layer and step"
        )


ASSUMED = Gpu()
"""An H100 as it is assumed to be, not measured."""


def step_times(spec: RunSpec, gpu: Gpu = ASSUMED) -> tuple[float, float]:
    """Seconds of a training step, and per image of a large forward pass, on a GPU."""
    cost = cost_of_net(spec)
    rate = gpu.bf16_flops if spec.precision == "bf16" else gpu.fp32_flops
    launches = cost.layers * gpu.layer_seconds
    step = launches + cost.training_flops * spec.batch_size / rate
    image = launches / 3 / 1000 + cost.training_flops / 3 / gpu.fp32_flops  # a third of a step, 1,000 images at once
    return step, image


def gpu_share(cell: Cell, gpu: Gpu = ASSUMED) -> float:
    """The part of a GPU that a cell takes: of its memory or of its time, whichever is more; at least 1/`PER_GPU`."""
    spec = cell.specs[0]
    step, _ = step_times(spec, gpu)
    busy = 1 - cost_of_net(spec).layers * gpu.layer_seconds / step
    return min(1.0, max(1 / PER_GPU, busy, gpu_bytes(cell) / gpu.bytes))


def gpu_bytes(cell: Cell) -> float:
    """Memory that a cell takes of a GPU."""
    return CONTEXT_BYTES + _working_bytes(cell)


def host_bytes(cells: Iterable[Cell], device: str) -> float:
    """Memory of a machine, not of its GPUs, that making ``cells`` at once takes, each in a process of its own.

    Libraries count once. A process whose models are on a GPU keeps the dataset, and three models to save or load.
    """
    return SHARED_BYTES + sum(OWN_BYTES + _beside(cell, device) for cell in cells)


def _beside(cell: Cell, device: str) -> float:
    if device == "cpu":
        return _working_bytes(cell)
    spec = cell.specs[0]
    return CONTEXT_BYTES + _dataset_bytes(spec) + 4 * 3 * cost_of_net(spec).parameters


def image_passes(measurement: Measurement, train_images: int, test_images: int) -> float:
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
    resets = merged * min(BN_IMAGES, train_images) if architecture(spec.arch).normalised else 0
    return resets + passes * test_images + layers


def shape_of(spec: RunSpec) -> tuple[tuple[int, int, int], int, int, int]:
    """(C, H, W), classes, training images and test images of a spec's dataset.

    Raises:
        SpecError: its size is unknown.
    """
    size = dataset_info(spec.dataset).size
    return size.shape, size.classes, spec.train_size or size.train_images, size.test_images


def cost_of_net(spec: RunSpec) -> NetCost:
    """Size of a spec's network; imports torch."""
    shape, classes, *_ = shape_of(spec)
    return _cost(spec.arch, spec.width, shape, classes, spec.bias, spec.depth)


@functools.cache
def _cost(arch: str, width: float, shape: tuple[int, int, int], classes: int, bias: bool, depth: int) -> NetCost:
    from lmc.nets.costs import net_cost

    return net_cost(arch, width, shape, classes, bias=bias, depth=depth)


def _working_bytes(cell: Cell) -> float:
    """Models, gradients, optimizer and activations, or the models and activations of a measurement; the dataset."""
    spec = cell.specs[0]
    cost = cost_of_net(spec)
    models = max(1, len(cell.trains))
    return _dataset_bytes(spec) + models * 4 * (5 * cost.parameters + spec.batch_size * cost.activations)


def _dataset_bytes(spec: RunSpec) -> float:
    (channels, height, width), _, train_images, test_images = shape_of(spec)
    return float(channels * height * width * (train_images + test_images))
