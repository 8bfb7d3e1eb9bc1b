"""Which channels an axis of a tensor holds: all of one group in order, or a mixture."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Axis(NamedTuple):
    """An axis ordered by a channel group: index = channel · ``repeat`` + position within the channel.

    ``repeat`` is 1 but behind a flatten of (C, H, W), where it is H·W, and where channels move in blocks: a
    depthwise multiplier, the dimension of an attention head.
    """

    group: str
    repeat: int = 1


class Part(NamedTuple):
    """The places that one group has on an axis: row c holds the indices of channel c, in an order of their own."""

    group: str
    places: tuple[tuple[int, ...], ...]


class Mixed(NamedTuple):
    """An axis of ``size`` elements that several groups share, or that is fixed in part.

    Concatenated branches, packed queries, keys and values, shuffled channels and padded shortcuts are read by such
    axes. What no part places is fixed.
    """

    size: int
    parts: tuple[Part, ...]


Labels = tuple[Axis | Mixed | None, ...]
"""An `Axis`, a `Mixed`, or None for a fixed order, per axis of a tensor."""


def groups_of(axis: Axis | Mixed | None) -> tuple[str, ...]:
    """The groups that order an axis."""
    if isinstance(axis, Mixed):
        return tuple(part.group for part in axis.parts)
    return () if axis is None else (axis.group,)


def places_of(axis: Axis | Mixed, group: str, channels: int) -> Tensor:
    """Where the channels of a group lie on an axis: int64 (channels, places of each)."""
    if isinstance(axis, Axis):
        return torch.arange(channels * axis.repeat).view(channels, axis.repeat)
    return torch.tensor(next(part.places for part in axis.parts if part.group == group))
