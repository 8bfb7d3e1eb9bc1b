"""The order of work: which ready job starts on which worker. Pure, so that a plan simulates what a run does."""

from __future__ import annotations

import bisect
import heapq
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lmc.executing.jobs import Job

_ROUNDING = 1e-9
TAIL = 1 / 8
"""A job that can be divided takes at most this part of every worker's share of the whole, so that no worker waits
longer for the last one. On two cores every family of the quick tier stays in one piece. On 64 GPUs many are divided,
and each part evaluates its models again: by assumed times the paper tier then takes 4,570 s, and undivided 5,760 s."""


def shared_out(jobs: Sequence[Job], workers: int) -> list[Job]:
    """The same work in jobs that ``workers`` can share: none in more parts than there are workers, see `TAIL`."""
    longest = TAIL * sum(job.cost for job in jobs) / workers
    return [part for job in jobs for part in job.parts(_pieces(job, longest, workers))]


def _pieces(job: Job, longest: float, workers: int) -> int:
    return max(1, min(workers, math.ceil(job.cost / longest))) if longest > 0 else 1


class Queue:
    """Jobs, costly ones first, each ready once the models it needs are made.

    A job takes a share of its device. One that fits nowhere yet keeps the emptiest device for itself: nothing
    else starts there, so that small jobs never starve a large one.

    Args:
        jobs: what is to be made.
        devices: of every worker, the number of its device; workers of one device share it.
        share: the part of a device that a job takes, above 0 and up to 1.
    """

    def __init__(self, jobs: Sequence[Job], devices: Sequence[int], share: Callable[[Job], float]) -> None:
        self._free = dict.fromkeys(devices, 1.0)
        self._device_of = list(devices)
        self._idle = list(range(len(devices)))
        self._share = {job.makes[0]: share(job) for job in jobs}
        self._running: dict[int, Job] = {}
        self._ready: list[tuple[float, int, Job]] = []
        self._dependents: dict[str, list[tuple[float, int, Job]]] = {}
        self._lacks: dict[str, int] = {}
        self._number = len(jobs)
        made_here = {key for job in jobs for key in job.makes}
        for number, job in enumerate(jobs):
            entry = (-job.cost, number, job)
            needs = made_here.intersection(job.needs)
            self._lacks[job.makes[0]] = len(needs)
            for key in needs:
                self._dependents.setdefault(key, []).append(entry)
            if not needs:
                bisect.insort(self._ready, entry)

    @property
    def running(self) -> dict[int, Job]:
        """By worker, what it is making."""
        return self._running

    def take(self) -> tuple[int, Job] | None:
        """The next job to start and the worker to start it; ``None`` where none can start now."""
        kept: set[int] = set()
        for place, (_, _, job) in enumerate(self._ready):
            open_workers = [each for each in self._idle if self._device_of[each] not in kept]
            if not open_workers:
                return None
            worker = max(open_workers, key=lambda each: self._free[self._device_of[each]])
            device, share = self._device_of[worker], self._share[job.makes[0]]
            if share <= self._free[device] + _ROUNDING:
                self._free[device] -= share
                self._idle.remove(worker)
                self._running[worker] = job
                del self._ready[place]
                return worker, job
            kept.add(device)
        return None

    def done(self, worker: int) -> Job:
        """The worker's job is made: what needs it may be ready now."""
        job = self._leave(worker)
        for key in job.makes:
            for entry in self._dependents.get(key, ()):
                name = entry[2].makes[0]
                self._lacks[name] -= 1
                if self._lacks[name] == 0:
                    bisect.insort(self._ready, entry)
        return job

    def put_back(self, worker: int) -> Job:
        """The worker's job is not made: it waits again, and for a device of its own."""
        job = self._leave(worker)
        self._share[job.makes[0]] = 1.0
        self._number += 1
        bisect.insort(self._ready, (-job.cost, self._number, job))
        return job

    def _leave(self, worker: int) -> Job:
        job = self._running.pop(worker)
        self._free[self._device_of[worker]] += self._share[job.makes[0]]
        self._idle.append(worker)
        return job


@dataclass(frozen=True)
class Schedule:
    """What a simulated run takes.

    Args:
        devices: how many.
        makespan: seconds from start to end.
        utilisation: the part of all devices' time that is used, up to 1.
        critical_path: seconds of the longest chain of jobs that need each other; no number of devices is faster.
    """

    devices: int
    makespan: float
    utilisation: float
    critical_path: float


def simulate(jobs: Sequence[Job], devices: Sequence[int], share: Callable[[Job], float]) -> Schedule:
    """Run ``jobs`` through the queue of an executor, on a clock that costs nothing.

    Args:
        jobs: what is to be made, at a cost in seconds that its neighbours on a device do not change.
        devices: of every worker, the number of its device.
        share: the part of a device that a job takes.
    """
    shared = shared_out(jobs, len(devices))
    queue, clock, ends = Queue(shared, devices, share), 0.0, list[tuple[float, int]]()
    while True:
        while (found := queue.take()) is not None:
            worker, job = found
            heapq.heappush(ends, (clock + job.cost, worker))
        if not ends:
            break
        clock, worker = heapq.heappop(ends)
        queue.done(worker)
    count = len(set(devices))
    work = sum(job.cost * share(job) for job in shared)
    return Schedule(count, clock, work / (count * clock) if clock else 0.0, _critical_path(jobs))


def _critical_path(jobs: Sequence[Job]) -> float:
    """Seconds of the longest chain, of jobs divided as far as they can be."""
    ends: dict[str, float] = {}
    longest = 0.0
    smallest = [part for job in jobs for part in job.parts(sys.maxsize)]
    for job in sorted(smallest, key=lambda each: bool(each.needs)):  # models need nothing, measurements only models
        end = job.cost + max((ends.get(key, 0.0) for key in job.needs), default=0.0)
        ends |= dict.fromkeys(job.makes, end)
        longest = max(longest, end)
    return longest
