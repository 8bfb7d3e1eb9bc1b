"""Executors make cells; the local one in worker processes on this machine."""

from __future__ import annotations

import functools
import multiprocessing.connection
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from lmc.errors import LmcError
from lmc.executing import worker
from lmc.executing.costs import PER_GPU, Gpu, gpu_share
from lmc.executing.jobs import Cell, Workplace, make_cell
from lmc.executing.schedule import Queue
from lmc.executing.worker import LostError, Worker

OnDone = Callable[[Cell], None]
ATTEMPTS = 2
"""A cell whose worker is lost is made again, once."""


class Executor(Protocol):
    """Makes cells, models before the measurements that need them."""

    def run(self, cells: Sequence[Cell], workplace: Workplace, on_done: OnDone) -> None:
        """Make every cell, calling ``on_done`` after each.

        Raises:
            LmcError: a cell cannot be made; what is finished stays in the store.
        """
        ...


class LocalExecutor:
    """Worker processes on this machine, one thread each, so that a result never depends on their number.

    Args:
        workers: how many; on GPUs at most `lmc.executing.costs.PER_GPU` each.
        gpus: memory of every GPU in bytes; empty to compute on the CPU.
    """

    def __init__(self, workers: int, gpus: Sequence[float] = ()) -> None:
        self.workers, self.gpus = workers, list(gpus)

    def run(self, cells: Sequence[Cell], workplace: Workplace, on_done: OnDone) -> None:
        """See `Executor`."""
        if not cells:
            return
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve the other workers
        devices = assigned(self.workers, len(self.gpus))
        share = functools.partial(gpu_share, gpu=Gpu(bytes=min(self.gpus))) if self.gpus else _whole
        queue = Queue(cells, devices, share)
        names = [f"cuda:{device}" if self.gpus else workplace.device for device in devices]
        lost: Counter[str] = Counter()
        workers: dict[int, Worker] = {}
        look = time.monotonic() + worker.LOOK_EVERY
        try:
            while True:
                while (found := queue.take()) is not None:
                    number, cell = found
                    if number not in workers:
                        workers[number] = Worker(names[number])
                    workers[number].start(make_cell, cell, workplace)
                if not queue.running:
                    return
                busy = {workers[number].connection: number for number in queue.running}
                heard = multiprocessing.connection.wait(list(busy), max(0.0, look - time.monotonic()))
                hung: list[int] = []
                if time.monotonic() >= look:
                    hung = [number for link, number in busy.items() if link not in heard and workers[number].hangs()]
                    look = time.monotonic() + worker.LOOK_EVERY
                for number in [*(busy[link] for link in heard), *hung]:  # type: ignore[index]
                    try:
                        if number in hung:
                            raise LostError("a worker process hung and was killed")
                        workers[number].answer()
                    except LostError as error:
                        workers.pop(number).stop()
                        note_lost(queue.put_back(number), str(error), lost)
                    else:
                        on_done(queue.done(number))
        finally:
            for each in workers.values():
                each.stop()


def assigned(workers: int, gpus: int) -> list[int]:
    """The device of every worker: GPUs in turn, or a core for each where there is none."""
    if gpus == 0:
        return list(range(workers))
    return [number % gpus for number in range(min(workers, PER_GPU * gpus))]


def note_lost(cell: Cell, why: str, lost: Counter[str], attempts: int = ATTEMPTS) -> None:
    """Count a worker lost with ``cell``, in ``lost`` by the cell's name.

    Raises:
        LmcError: it was the last attempt.
    """
    name = cell.makes[0]
    lost[name] += 1
    if lost[name] >= attempts:
        raise LmcError(
            f"{why} {lost[name]} times while making {cell.describe()}; "
            "if memory ran out, use fewer workers (--lmc-workers); everything finished is kept"
        )
    print(f"lmc: {why} while making {cell.describe()}; it is made again", file=sys.stderr, flush=True)


def _whole(_: Cell) -> float:
    return 1.0
