"""The order of work: which ready cell starts on which worker. Pure, so that a plan simulates what a run does."""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lmc.executing.jobs import Cell

_ROUNDING = 1e-9


class Queue:
    """Cells, costly ones first, each ready once the models it needs are made.

    A cell takes a share of its device. One that fits nowhere yet keeps the emptiest device for itself: nothing
    else starts there, so that small cells never starve a large one.

    Args:
        cells: what is to be made.
        devices: of every worker, the number of its device; workers of one device share it.
        share: the part of a device that a cell takes, above 0 and up to 1.
    """

    def __init__(self, cells: Sequence[Cell], devices: Sequence[int], share: Callable[[Cell], float]) -> None:
        self._free = dict.fromkeys(devices, 1.0)
        self._device_of = list(devices)
        self._idle = list(range(len(devices)))
        self._share = {cell.makes[0]: share(cell) for cell in cells}
        self._running: dict[int, Cell] = {}
        self._ready: list[tuple[float, int, Cell]] = []
        self._dependents: dict[str, list[tuple[float, int, Cell]]] = {}
        self._lacks: dict[str, int] = {}
        self._number = len(cells)
        made_here = {key for cell in cells for key in cell.makes}
        for number, cell in enumerate(cells):
            entry = (-cell.cost, number, cell)
            needs = made_here.intersection(cell.needs)
            self._lacks[cell.makes[0]] = len(needs)
            for key in needs:
                self._dependents.setdefault(key, []).append(entry)
            if not needs:
                bisect.insort(self._ready, entry)

    @property
    def running(self) -> dict[int, Cell]:
        """By worker, what it is making."""
        return self._running

    def take(self) -> tuple[int, Cell] | None:
        """The next cell to start and the worker to start it; ``None`` where none can start now."""
        kept: set[int] = set()
        for place, (_, _, cell) in enumerate(self._ready):
            open_workers = [each for each in self._idle if self._device_of[each] not in kept]
            if not open_workers:
                return None
            worker = max(open_workers, key=lambda each: self._free[self._device_of[each]])
            device, share = self._device_of[worker], self._share[cell.makes[0]]
            if share <= self._free[device] + _ROUNDING:
                self._free[device] -= share
                self._idle.remove(worker)
                self._running[worker] = cell
                del self._ready[place]
                return worker, cell
            kept.add(device)
        return None

    def done(self, worker: int) -> Cell:
        """The worker's cell is made: what needs it may be ready now."""
        cell = self._leave(worker)
        for key in cell.makes:
            for entry in self._dependents.get(key, ()):
                name = entry[2].makes[0]
                self._lacks[name] -= 1
                if self._lacks[name] == 0:
                    bisect.insort(self._ready, entry)
        return cell

    def put_back(self, worker: int) -> Cell:
        """The worker's cell is not made: it waits again, and for a device of its own."""
        cell = self._leave(worker)
        self._share[cell.makes[0]] = 1.0
        self._number += 1
        bisect.insort(self._ready, (-cell.cost, self._number, cell))
        return cell

    def _leave(self, worker: int) -> Cell:
        cell = self._running.pop(worker)
        self._free[self._device_of[worker]] += self._share[cell.makes[0]]
        self._idle.append(worker)
        return cell


@dataclass(frozen=True)
class Schedule:
    """What a simulated run takes.

    Args:
        devices: how many.
        makespan: seconds from start to end.
        utilisation: the part of all devices' time that is used, up to 1.
        critical_path: seconds of the longest chain of cells that need each other; no number of devices is faster.
    """

    devices: int
    makespan: float
    utilisation: float
    critical_path: float


def simulate(
    cells: Sequence[Cell],
    devices: Sequence[int],
    seconds: Callable[[Cell], float],
    share: Callable[[Cell], float],
) -> Schedule:
    """Run ``cells`` through the queue of an executor, on a clock that costs nothing.

    Args:
        cells: what is to be made.
        devices: of every worker, the number of its device.
        seconds: a cell's time on one device, which its neighbours there do not change.
        share: the part of a device that it takes.
    """
    queue, clock, ends = Queue(cells, devices, share), 0.0, list[tuple[float, int]]()
    while True:
        while (found := queue.take()) is not None:
            worker, cell = found
            heapq.heappush(ends, (clock + seconds(cell), worker))
        if not ends:
            break
        clock, worker = heapq.heappop(ends)
        queue.done(worker)
    count = len(set(devices))
    work = sum(seconds(cell) * share(cell) for cell in cells)
    return Schedule(count, clock, work / (count * clock) if clock else 0.0, _critical_path(cells, seconds))


def _critical_path(cells: Sequence[Cell], seconds: Callable[[Cell], float]) -> float:
    ends: dict[str, float] = {}
    longest = 0.0
    for cell in sorted(cells, key=lambda each: bool(each.needs)):  # models need nothing, measurements only models
        end = seconds(cell) + max((ends.get(key, 0.0) for key in cell.needs), default=0.0)
        ends |= dict.fromkeys(cell.makes, end)
        longest = max(longest, end)
    return longest
