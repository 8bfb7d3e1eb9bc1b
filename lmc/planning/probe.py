"""The pace of this machine, from a few steps and forward passes of every size of network."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from lmc.executing.costs import Pace, cost_of_net, shape_of
from lmc.executing.making import training_block
from lmc.executing.process import prepare_arithmetic
from lmc.specs import RunSpec

if TYPE_CHECKING:
    from lmc.data import Dataset

PROBE_FLOPS = 2e11
"""A training step of more than this is not probed but extrapolated from the largest one that was."""
PROBE_SECONDS = 0.2
"""So long, about, a network trains and is evaluated for a probe, and at least three steps or batches."""


@functools.cache
def prober(device: str) -> Prober:
    """What times networks on ``device``, each once."""
    return Prober(device)


class Prober:
    """Times a few training steps and forward passes of each model size, once.

    Args:
        device: where.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._known: dict[RunSpec, Pace] = {}
        self._rates: list[tuple[float, float]] = []  # (FLOP per step, FLOP per second) of probed sizes

    def pace(self, spec: RunSpec) -> Pace:
        """How fast the network of ``spec`` is trained beside its neighbours, and evaluated."""
        size = spec.with_seed(0)
        if size not in self._known:
            self._known[size] = self._new_pace(size)
        return self._known[size]

    def _new_pace(self, spec: RunSpec) -> Pace:
        step_flops = float(cost_of_net(spec).training_flops * spec.batch_size)
        if step_flops > PROBE_FLOPS and self._rates:
            rate = max(self._rates)[1]
            return Pace(step_flops / rate, step_flops / spec.batch_size / 3 / rate)
        found = probe(training_block(spec, self.device), self.device)
        self._rates.append((step_flops, step_flops / found.step))
        return found


def probe(block: tuple[RunSpec, ...], device: str) -> Pace:
    """Time training steps of a block of models, per model, and a forward pass of one, on random images."""
    import torch

    from lmc.measuring.inputs import BATCH
    from lmc.nets import memory_format_of
    from lmc.training.engine import initial_model, train, train_stack

    prepare_arithmetic(1)
    spec = block[0]
    short = [dataclasses.replace(each, epochs=3, shared_epochs=0, train_size=None, classes=()) for each in block]

    def epochs(count: int) -> list[float]:
        images, ends = _random_images(spec, count * spec.batch_size), []

        def note(done: int, of: int) -> None:
            ends.append(clock(device))

        if len(short) > 1:
            train_stack(short, images, device, on_epoch=note)
        else:
            train(short[0], images, device, on_epoch=note)
        return ends

    memory_format = memory_format_of(spec.arch)
    model = initial_model(short[0], _random_images(spec, 10)).to(device).to(memory_format=memory_format).eval()
    images = torch.rand(BATCH, *shape_of(spec)[0], device=device).to(memory_format=memory_format)

    def batches(count: int) -> None:
        with torch.no_grad():
            for _ in range(count):
                model(images)

    return Pace(_steady(epochs) / len(block), _each(batches, device) / BATCH)


def _steady(epochs: Callable[[int], Sequence[float]]) -> float:
    """Seconds of one training step once all is set up: images uploaded, kernels chosen, steps recorded.

    Args:
        epochs: trains for epochs of so many steps, and gives the time at the end of each; what comes before the end of
            the first counts for nothing.
    """
    few = 5  # a step is recorded after the fourth

    def step(count: int) -> float:
        ends = epochs(count)
        return min(after - before for before, after in pairwise(ends)) / count

    found = step(few)
    more = min(100, int(PROBE_SECONDS / max(found, 1e-9)))
    return max(step(more) if more > few else found, 1e-9)


def _each(work: Callable[[int], None], device: str) -> float:
    """Seconds of one of so many as ``work`` is told to do; what it does beside them counts for nothing."""
    few = 3

    def seconds(count: int) -> float:
        started = clock(device)
        work(count)
        return clock(device) - started

    work(few)  # warm-up
    whole = seconds(few)
    more = min(100, few + max(few, int(PROBE_SECONDS * few / max(whole, 1e-9))))
    rounds = [(seconds(few), seconds(more)) for _ in range(2)]
    found = (min(many for _, many in rounds) - min(least for least, _ in rounds)) / (more - few)
    return max(found, 1e-9)


def clock(device: str) -> float:
    """Seconds, by when all work on ``device`` so far is done; on a CPU those of this process, whatever else runs."""
    if device == "cpu":
        return time.process_time()
    import torch

    torch.accelerator.synchronize(torch.device(device))
    return time.perf_counter()


def _random_images(spec: RunSpec, count: int) -> Dataset:
    import torch

    from lmc.data import Dataset

    shape, classes, *_ = shape_of(spec)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % classes
    names = tuple(map(str, range(classes)))
    return Dataset(spec.dataset, pixels, labels, pixels[:10], labels[:10], names, "random")
