"""Numbers in float64, also of a device that has none: there they go to the CPU, never a shorter type."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LACKING = frozenset({"mps"})
"""Kinds of devices, as torch calls them, that do not compute in float64, which are Apple's GPUs."""


def has_float64(device: str) -> bool:
    """Whether a device computes in float64.

    Args:
        device: its name, with or without an index.
    """
    return device.partition(":")[0] not in LACKING


def where_float64(tensor: Tensor) -> Tensor:
    """The tensor as it is, on a device that has float64: its own, or the CPU."""
    return tensor if has_float64(tensor.device.type) else tensor.cpu()


def double(tensor: Tensor) -> Tensor:
    """The tensor in float64, on its own device or, where that has no float64, on the CPU.

    It is copied first and converted there: the device could not hold the result even for a moment.
    """
    return where_float64(tensor).double()
