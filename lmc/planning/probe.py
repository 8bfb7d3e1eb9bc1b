"""The pace of this machine, from a few steps and forward passes of every size of network."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from lmc.executing.costs import Pace, cost_of_net, shape_of
from lmc.executing.making import training_block
from lmc.executing.process import prepare_arithmetic
from lmc.specs import RunSpec

if TYPE_CHECKING:
    from lmc.data import Dataset

PROBE_FLOPS = 2e11
"""A training step of more than this is not probed but extrapolated from the largest one that was."""
_STEPS, _EVALUATED = 6, 200


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

    from lmc.training.engine import initial_model, train, train_stack

    prepare_arithmetic(1)
    spec = block[0]

    def timed(steps: int) -> float:
        short = [dataclasses.replace(each, epochs=1, train_size=None) for each in block]
        images = _random_images(spec, steps * spec.batch_size)
        trained = train_stack(short, images, device)[0] if len(short) > 1 else train(short[0], images, device)
        return float(trained.log["seconds"]) / steps

    timed(2)  # warm-up
    seconds = timed(_STEPS)
    model = initial_model(spec, _random_images(spec, 10)).to(device).eval()
    images = torch.rand(_EVALUATED, *shape_of(spec)[0], device=device)
    with torch.no_grad():
        model(images)
        started = time.perf_counter()
        model(images)
    return Pace(seconds, (time.perf_counter() - started) / _EVALUATED)


def _random_images(spec: RunSpec, count: int) -> Dataset:
    import torch

    from lmc.data import Dataset

    shape, classes, *_ = shape_of(spec)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % classes
    names = tuple(map(str, range(classes)))
    return Dataset(spec.dataset, pixels, labels, pixels[:10], labels[:10], names, "random")
