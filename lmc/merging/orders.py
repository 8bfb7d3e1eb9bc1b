"""Which elements of axes must move together: collected as constraints, solved into groups of alike channels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Elements = NDArray[np.int64]


@dataclass(frozen=True)
class Channels:
    """The solution: interchangeable channels, each a block of elements that moves as one.

    Args:
        group: per element the number of its group, -1 where it is fixed; int64 (elements,).
        channel: per element its channel within the group.
        position: per element its position within the channel.
        names: per group, the source of its first element that has one.
        sizes: per group, its number of channels.
    """

    group: Elements
    channel: Elements
    position: Elements
    names: tuple[str, ...]
    sizes: tuple[int, ...]


@dataclass
class Orders:
    """Elements, and what every permutation of them must respect.

    An element is a number that stands for one index of one axis. Elements are made by the axis, freely
    interchangeable; every constraint takes away permutations.
    """

    count: int = 0
    _sources: list[tuple[str, int]] = field(default_factory=list)
    _ties: list[tuple[Elements, Elements, Elements]] = field(default_factory=list)
    _closed: list[Elements] = field(default_factory=list)
    _fixed: list[Elements] = field(default_factory=list)

    def new(self, source: str, *shape: int) -> Elements:
        """New elements of one source, named after it where it is a parameter."""
        first, size = self.count, int(np.prod(shape))
        self.count += size
        self._sources.append((source, size))
        return np.arange(first, self.count).reshape(shape)

    def tie(self, one: Elements, other: Elements) -> None:
        """Demand that both sets are mapped to themselves, and alike: other[i] goes to other[j] where one[i] to one[j].

        Args:
            one: (n,), or one set per column (n, k).
            other: of the same shape.
        """
        columns = np.arange(one.shape[1] if one.ndim == 2 else 1)
        if not np.array_equal(one, other):
            self._ties.append((one.ravel(), other.ravel(), np.tile(columns, len(one))))
        elif one.size:
            self._closed += list(one.reshape(len(one), -1).T)

    def block(self, elements: Elements) -> Elements:
        """Demand that row by row (n, k) moves as a block; returns the first column."""
        first = elements[:, 0]
        if elements.shape[1] > 1:
            self.tie(np.repeat(first[:, None], elements.shape[1] - 1, axis=1), elements[:, 1:])
        return first

    def close(self, elements: Elements) -> None:
        """Demand that the set is mapped to itself."""
        self._closed.append(elements.ravel())

    def fix(self, elements: Elements) -> None:
        """Demand that every one of them stays."""
        self._fixed.append(elements.ravel())

    def solve(self) -> Channels:
        """Groups of channels of which every permutation respects every constraint.

        A channel is a connected component of tied elements. Two channels are of one group where their elements,
        sorted by what sets they are in, are in the same sets and tied in the same way.
        """
        colour = np.repeat(np.arange(len(self._sources)), [size for _, size in self._sources])
        for elements in self._closed:
            _refine(colour, elements, np.zeros(len(elements), dtype=np.int64))
        edges, kinds = [], 0
        for one, other, column in self._ties:
            _refine(colour, one, column)
            _refine(colour, other, column)
            kind = column * (1 + len(one)) ** 2 + _occurrence(one, column) * (1 + len(one)) + _occurrence(other, column)
            kind = np.unique(kind, return_inverse=True)[1]
            edges.append(np.stack([one, other, kind + kinds]))
            kinds += int(kind.max(initial=0)) + 1
        ties = np.concatenate([np.zeros((3, 0), dtype=np.int64), *edges], axis=1)
        graph = coo_array((np.ones(ties.shape[1], dtype=np.int8), (ties[0], ties[1])), shape=(self.count, self.count))
        _, block = connected_components(graph, directed=False)
        block = block.astype(np.int64)
        moving = np.ones(block.max(initial=-1) + 1, dtype=bool)
        for elements in self._fixed:
            moving[block[elements]] = False
        return self._grouped(colour, block, moving, ties)

    def _grouped(self, colour: Elements, block: Elements, moving: NDArray[np.bool_], ties: Elements) -> Channels:
        order = np.lexsort((np.arange(self.count), colour, block))
        starts = np.searchsorted(block[order], np.arange(len(moving) + 1))
        rank = np.empty(self.count, dtype=np.int64)
        rank[order] = np.arange(self.count) - starts[block[order]]
        ties = np.stack([block[ties[0]], ties[2], rank[ties[0]], rank[ties[1]]])
        ties = np.unique(ties[:, moving[ties[0]]], axis=1)
        tied = np.searchsorted(ties[0], np.arange(len(moving) + 1))
        first = np.full(len(moving), self.count)
        np.minimum.at(first, block, np.arange(self.count))
        members: dict[tuple[bytes, bytes], list[int]] = {}
        sorted_colours, links = colour[order], np.ascontiguousarray(ties[1:].T)
        for number in np.argsort(first, kind="stable"):
            if moving[number]:
                key = sorted_colours[starts[number] : starts[number + 1]].tobytes()
                members.setdefault((key, links[tied[number] : tied[number + 1]].tobytes()), []).append(int(number))
        found = [numbers for numbers in members.values() if len(numbers) > 1]
        group, channel = np.full(len(moving), -1), np.zeros(len(moving), dtype=np.int64)
        for index, numbers in enumerate(found):
            group[numbers], channel[numbers] = index, np.arange(len(numbers))
        ends = np.cumsum([size for _, size in self._sources])
        named = np.repeat(np.array([bool(source) for source, _ in self._sources], dtype=bool), np.diff(ends, prepend=0))
        first[:] = self.count
        np.minimum.at(first, block[named], np.flatnonzero(named))
        heads = [min(int(first[numbers[0]]), self.count - 1) for numbers in found]
        names = [self._sources[int(np.searchsorted(ends, head, side="right"))][0] for head in heads]
        return Channels(group[block], channel[block], rank, tuple(names), tuple(map(len, found)))


def _refine(colour: Elements, elements: Elements, column: Elements) -> None:
    """Give new colours to elements of a set (one per column), so that others and those of other sets differ."""
    unique, first, count = np.unique(elements, return_index=True, return_counts=True)
    kinds = np.stack([colour[unique], column[first], count])
    colour[unique] = colour.max(initial=0) + 1 + np.unique(kinds, axis=1, return_inverse=True)[1].reshape(-1)


def _occurrence(elements: Elements, column: Elements) -> Elements:
    """How often each element stood in its column before."""
    order = np.lexsort((np.arange(len(elements)), elements, column))
    sorted_ones = elements[order] + column[order] * (elements.max(initial=0) + 1)
    starts = np.flatnonzero(np.diff(sorted_ones, prepend=-1))
    occurrence = np.empty(len(elements), dtype=np.int64)
    occurrence[order] = np.arange(len(elements)) - np.repeat(starts, np.diff(np.append(starts, len(elements))))
    return occurrence
