"""Which channel axes must be ordered alike: a union-find over groups of channels."""

from __future__ import annotations

from typing import NamedTuple


class Axis(NamedTuple):
    """An axis ordered by a channel group: index = channel · ``repeat`` + position within the channel.

    ``repeat`` is 1 but behind a flatten of (C, H, W), where it is H·W, and a depthwise multiplier.
    """

    group: str
    repeat: int = 1


Labels = tuple[Axis | None, ...]
"""One `Axis`, or None for a fixed order, per axis of a tensor."""


class ChannelGroups:
    """Union-find over channel groups: a merged group points to the `Axis` it equals, or to None where fixed."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self._parents: dict[str, Axis | None] = {}

    def new(self, name: str, size: int) -> Axis:
        """An axis of its own, as long as nothing unites it with another."""
        while name in self.sizes:
            name += "'"
        self.sizes[name] = size
        return Axis(name)

    def find(self, axis: Axis | None) -> Axis | None:
        """What an axis is after all unions so far."""
        while axis is not None and axis.group in self._parents:
            parent = self._parents[axis.group]
            axis = parent and Axis(parent.group, parent.repeat * axis.repeat)
        return axis

    def unite(self, one: Axis | None, other: Axis | None) -> Axis | None:
        """Demand one order for two axes of one length; both are fixed where they have no common one."""
        first, second = self.find(one), self.find(other)
        if first == second:
            return first
        if first is not None and second is not None:
            names = list(self.sizes)
            first, second = sorted((first, second), key=lambda axis: (-axis.repeat, names.index(axis.group)))
            if first.repeat % second.repeat == 0:
                self._parents[second.group] = Axis(first.group, first.repeat // second.repeat)
                return first
        self._parents |= {axis.group: None for axis in (first, second) if axis is not None}
        return None
