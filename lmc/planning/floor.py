"""The least time that training could take: its matrix products and nothing else, timed where it would be trained."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from lmc.executing.costs import PaceOf, cost_of_net, training_seconds, training_work
from lmc.executing.process import prepare_arithmetic
from lmc.planning.probe import clock
from lmc.specs import RunSpec

_LARGEST, _SECONDS = 1 << 24, 5e-3
"""Numbers that an operand has at most, as more rows are no faster; and how long, at least, a product is timed."""


@dataclass(frozen=True)
class Floor:
    """What training models costs, beside what its matrix products alone would.

    Args:
        models: how many.
        flops: floating-point operations of their forward and backward passes.
        seconds: of as many in matrix products of the same shapes, on one processor.
        training: expected of training them, on one processor.
    """

    models: int
    flops: float
    seconds: float
    training: float

    @property
    def rate(self) -> float:
        """FLOP per second of the products."""
        return self.flops / self.seconds


def floor_of(specs: Iterable[RunSpec], pace_of: PaceOf, device: str) -> Floor:
    """The floor under training ``specs``.

    Args:
        specs: of the models.
        pace_of: how fast they are trained on ``device``.
        device: where their products are timed; on a CPU, by one thread.
    """
    prepare_arithmetic(1)
    models, flops, seconds, training = 0, 0.0, 0.0, 0.0
    for spec in specs:
        work = training_work([spec])
        models += 1
        flops += work.flops
        seconds += work.flops / _product_rate(spec.with_seed(0), device)
        training += training_seconds([spec], pace_of(spec))
    return Floor(models, flops, seconds, training)


@functools.cache
def _product_rate(spec: RunSpec, device: str) -> float:
    """FLOP per second of the products in a step of ``spec``, of its forward pass and the two of its backward pass."""
    flops = seconds = 0.0
    for rows, inputs, outputs in cost_of_net(spec).products:
        images = rows * spec.batch_size
        for shape in ((images, inputs, outputs), (inputs, images, outputs), (images, outputs, inputs)):
            flops += 2 * images * inputs * outputs
            seconds += _product_seconds(*shape, spec.precision, device)
    return flops / seconds


@functools.cache
def _product_seconds(rows: int, inner: int, columns: int, precision: str, device: str) -> float:
    """Of (rows, inner) times (inner, columns); the longer of the first two is cut where an operand would be large."""
    cut = min(max(rows, inner), max(1, _LARGEST // max(columns, min(rows, inner))))
    share = cut / max(rows, inner)
    rows, inner = (cut, inner) if rows >= inner else (rows, cut)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    one = torch.rand(rows, inner, dtype=dtype, device=device)
    other = torch.rand(inner, columns, dtype=dtype, device=device)
    product = one @ other
    least, spent = float("inf"), 0.0
    while spent < _SECONDS:
        started = clock(device)
        for _ in range(4):
            torch.mm(one, other, out=product)
        took = clock(device) - started
        least, spent = min(least, took / 4), spent + took
    return least / share
