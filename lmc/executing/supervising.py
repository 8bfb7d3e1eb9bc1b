"""The loop that supervises workers: ready jobs are started, lost ones and those that hang are made again."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from lmc.errors import LmcError
from lmc.executing.jobs import Job
from lmc.executing.making import Workplace
from lmc.executing.process import LostError
from lmc.executing.schedule import Queue, shared_out

OnJob = Callable[[Job], None]
"""Is told of a job."""


def unheeded(_job: Job) -> None:
    """Nobody is told."""


LOOK_EVERY = 5.0
"""Seconds between two looks at whether what is being made hangs."""


class Executor(Protocol):
    """Makes jobs, models before the measurements that need them."""

    def run(self, jobs: Sequence[Job], workplace: Workplace, on_done: OnJob, on_start: OnJob = unheeded) -> None:
        """Make every job, calling ``on_start`` before and ``on_done`` after each of the parts that it is divided into.

        Raises:
            LmcError: a job cannot be made; what is finished stays in the store.
        """
        ...


class Backend(Protocol):
    """Numbered workers that make one job each at a time, wherever they are."""

    @property
    def devices(self) -> Sequence[int]:
        """Of every worker, the number of its device."""
        ...

    @property
    def attempts(self) -> int:
        """So often a job may be begun whose worker is lost."""
        ...

    def share(self, job: Job, /) -> float:
        """The part of a device that a job takes, above 0 and up to 1."""
        ...

    def start(self, number: int, job: Job) -> None:
        """Have a worker make ``job``."""
        ...

    def wait(self, busy: Collection[int], seconds: float) -> Collection[int]:
        """Those of the ``busy`` workers that ended, once there are any, or none after so many seconds."""
        ...

    def finish(self, number: int) -> None:
        """Return where a worker that ended has made its job.

        Raises:
            LostError: the worker was lost with it; another may make it.
            LmcError: it cannot be made.
        """
        ...

    def hangs(self, number: int) -> str:
        """Why a busy worker is taken for hung, or nothing; asked every `LOOK_EVERY` seconds."""
        ...

    def give_up(self, number: int) -> None:
        """Stop a worker that hangs or is lost; its number may be given another job."""
        ...

    def close(self) -> None:
        """Stop all workers."""
        ...


def supervise(jobs: Sequence[Job], backend: Backend, on_done: OnJob, on_start: OnJob) -> None:
    """Make ``jobs`` by the workers of ``backend``, and stop them; see `Executor.run`."""
    queue = Queue(shared_out(jobs, len(backend.devices)), backend.devices, backend.share)
    lost: Counter[str] = Counter()
    look = time.monotonic() + LOOK_EVERY
    try:
        while True:
            while (found := queue.take()) is not None:
                backend.start(*found)
                on_start(found[1])
            if not queue.running:
                return
            ended = backend.wait(queue.running, max(0.0, look - time.monotonic()))
            hung: dict[int, str] = {}
            if time.monotonic() >= look:
                hung = {each: why for each in queue.running if each not in ended and (why := backend.hangs(each))}
                look = time.monotonic() + LOOK_EVERY
            for number in [*ended, *hung]:
                try:
                    if number in hung:
                        raise LostError(hung[number])
                    backend.finish(number)
                except LostError as error:
                    backend.give_up(number)
                    _note_lost(queue.put_back(number), str(error), lost, backend.attempts)
                else:
                    on_done(queue.done(number))
    finally:
        backend.close()


def _note_lost(job: Job, why: str, lost: Counter[str], attempts: int) -> None:
    """Count a worker lost with ``job``, in ``lost`` by the job's name.

    Raises:
        LmcError: it was the last attempt.
    """
    name = job.makes[0]
    lost[name] += 1
    if lost[name] >= attempts:
        raise LmcError(
            f"{why} {lost[name]} times while making {job.describe()}; "
            "if memory ran out, use fewer workers (--lmc-workers); everything finished is kept"
        )
    print(f"lmc: {why} while making {job.describe()}; it is made again", file=sys.stderr, flush=True)
