"""A multilayer perceptron with GELU, built by width."""

from __future__ import annotations

from torch import nn

from lmc.nets.sizes import Shape, whole_units

BASE_UNITS = 128
"""Units of a hidden layer at width 1."""


def build(width: float, shape: Shape, classes: int, *, bias: bool) -> nn.Sequential:
    """Two hidden layers of ``width`` times 128 units on the flattened image, each with GELU."""
    pixels, units = shape[0] * shape[1] * shape[2], whole_units(width, BASE_UNITS)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(pixels, units, bias=bias),
        nn.GELU(),
        nn.Linear(units, units, bias=bias),
        nn.GELU(),
        nn.Linear(units, classes, bias=bias),
    )
