"""What making something costs, before it is made: the one place that prices time, a share of a GPU, and memory.

The price of a piece of `Work` is its amount, counted on the networks themselves, at the `Pace` of a processor. That
pace is assumed for the order of work and the progress of a run, and where a schedule is simulated for GPUs that are
elsewhere; ``lmc plan`` measures it on the machine at hand (see `lmc.planning.probe`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmc.datasets import size_of
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
SAVE_SECONDS, SAVED_BYTES_PER_SECOND = 1e-2, 4e8
"""Of a model that is saved, until it is on the disk."""
INITIAL_PER_SECOND = 1e8
"""Initial weights that are drawn."""
PER_GPU = 4
"""At most so many jobs share a GPU, for their kernels run in turn, and only the gaps between them are won."""


@dataclass(frozen=True)
class Processor:
    """What computes a job: a GPU, or a core of a CPU.

    Args:
        bytes: its memory.
        bf16_flops: FLOP per second reached in training in bf16.
        fp32_flops: likewise in fp32.
        layer_seconds: least time of a layer in a training step, whatever its width.
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

    def pace(self, spec: RunSpec) -> Pace:
        """How fast it trains and evaluates the network of ``spec``."""
        from lmc.measuring.inputs import BATCH

        cost = cost_of_net(spec)
        rate = self.bf16_flops if spec.precision == "bf16" else self.fp32_flops
        launches = cost.layers * self.layer_seconds
        step = launches + cost.training_flops * spec.batch_size / rate
        return Pace(step, launches / 3 / BATCH + cost.training_flops / 3 / self.fp32_flops)  # a third of a step


ASSUMED = Processor()
"""An H100 as it is assumed to be, not measured."""
CORE = Processor(math.inf, bf16_flops=1e11, fp32_flops=3e10)
"""A core of an x86 CPU with AMX; by it, every training of the quick tier is estimated within a factor of 2.4."""


@dataclass(frozen=True)
class Pace:
    """How fast a network is computed somewhere.

    Args:
        step: seconds of an optimizer step of one model.
        image: seconds of the forward pass of one image, in batches as measurements take them.
    """

    step: float
    image: float


PaceOf = Callable[[RunSpec], Pace]


def assumed_pace(device: str) -> PaceOf:
    """The pace of what ``device`` names, as it is assumed to be."""
    return CORE.pace if device == "cpu" else ASSUMED.pace


@dataclass(frozen=True)
class Work:
    """How much a job computes and holds.

    Args:
        spec: of its networks, equal up to their seeds.
        steps: optimizer steps, of all its models together.
        images: forward passes of one image.
        weights: tensors as large as a model's weights that it holds at once.
        batch: images whose activations it holds at once.
    """

    spec: RunSpec
    steps: int
    images: float
    weights: int
    batch: int

    def seconds(self, pace: Pace) -> float:
        """Its time on one processor."""
        return self.steps * pace.step + self.images * pace.image

    @property
    def flops(self) -> float:
        """Floating-point operations of its optimizer steps."""
        return float(cost_of_net(self.spec).training_flops) * self.spec.batch_size * self.steps

    @property
    def bytes(self) -> float:
        """Memory of its tensors, where they are computed on, the dataset among them."""
        cost = cost_of_net(self.spec)
        return _dataset_bytes(self.spec) + 4.0 * (self.weights * cost.parameters + self.batch * cost.activations)


def training_work(specs: Sequence[RunSpec]) -> Work:
    """Of models trained side by side: weights, gradients, an optimizer's two moments and what is in passing."""
    spec, models = specs[0], len(specs)
    _, _, train_images, _ = shape_of(spec)
    return Work(spec, models * spec.steps(train_images), 0.0, 5 * models, spec.batch_size * models)


def training_seconds(specs: Sequence[RunSpec], pace: Pace) -> float:
    """Time on one processor to train models side by side: their initial weights, their steps, their files."""
    numbers = cost_of_net(specs[0]).parameters
    beside = SAVE_SECONDS + numbers / INITIAL_PER_SECOND + 4 * numbers / SAVED_BYTES_PER_SECOND
    return training_work(specs).seconds(pace) + len(specs) * beside


def gpu_share(work: Work, gpu: Processor = ASSUMED) -> float:
    """The part of a GPU that a job takes: of its memory or of its time, whichever is more; at least 1/`PER_GPU`."""
    busy = 1 - cost_of_net(work.spec).layers * gpu.layer_seconds / gpu.pace(work.spec).step
    return min(1.0, max(1 / PER_GPU, busy, gpu_bytes(work) / gpu.bytes))


def gpu_bytes(work: Work) -> float:
    """Memory that a job takes of a GPU."""
    return CONTEXT_BYTES + work.bytes


def host_bytes(works: Iterable[Work], device: str) -> float:
    """Memory of a machine, not of its GPUs, that jobs take at once, each in a process of its own.

    Libraries count once. A process whose models are on a GPU keeps the dataset, and three models to save or load.
    """
    return SHARED_BYTES + sum(OWN_BYTES + _beside(work, device) for work in works)


def _beside(work: Work, device: str) -> float:
    if device == "cpu":
        return work.bytes
    return CONTEXT_BYTES + _dataset_bytes(work.spec) + 4 * 3 * cost_of_net(work.spec).parameters


def shape_of(spec: RunSpec) -> tuple[tuple[int, int, int], int, int, int]:
    """(C, H, W), labels, training images and test images of a spec's dataset, of the classes that are kept.

    Raises:
        SpecError: its size is unknown, or it lacks a class.
    """
    size = size_of(spec.dataset, spec.classes)
    return size.shape, size.classes, spec.train_size or size.train_images, size.test_images


def cost_of_net(spec: RunSpec) -> NetCost:
    """Size of a spec's network; imports torch."""
    shape, classes, *_ = shape_of(spec)
    return _cost(spec.arch, spec.width, shape, classes, spec.bias, spec.depth)


@functools.cache
def _cost(arch: str, width: float, shape: tuple[int, int, int], classes: int, bias: bool, depth: int) -> NetCost:
    from lmc.nets.costs import net_cost

    return net_cost(arch, width, shape, classes, bias=bias, depth=depth)


def _dataset_bytes(spec: RunSpec) -> float:
    (channels, height, width), _, train_images, test_images = shape_of(spec)
    return float(channels * height * width * (train_images + test_images))
