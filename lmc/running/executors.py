"""Executors make cells; the local one in worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from lmc.errors import LmcError
from lmc.running.cells import Cell, Workplace, make_cell, prepare_process

OnDone = Callable[[Cell], None]
_ATTEMPTS = 2


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
        workers: how many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, cells: Sequence[Cell], workplace: Workplace, on_done: OnDone) -> None:
        """See `Executor`."""
        if not cells:
            return
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve the other workers
        waiting = sorted(cells, key=lambda cell: -cell.cost)
        unfinished = {key for cell in cells for key in cell.makes}
        attempts: dict[str, int] = {}
        running: dict[Future[object], Cell] = {}
        pool = self._pool()
        try:
            while waiting or running:
                for cell in [each for each in waiting if not unfinished & set(each.needs)]:
                    if len(running) >= self.workers:
                        break
                    waiting.remove(cell)
                    running[pool.submit(make_cell, cell, workplace)] = cell
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                lost: list[Cell] = []
                for future in done:
                    cell = running.pop(future)
                    try:
                        future.result()
                    except BrokenProcessPool:
                        lost.append(cell)
                        continue
                    unfinished.difference_update(cell.makes)
                    on_done(cell)
                if lost:
                    lost += running.values()
                    running.clear()
                    self._stop(pool)
                    _count_attempts(lost, attempts)
                    waiting = sorted([*waiting, *lost], key=lambda cell: -cell.cost)
                    pool = self._pool()
        finally:
            self._stop(pool)

    def _pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["lmc.running.preload"])
        return ProcessPoolExecutor(self.workers, context, initializer=prepare_process, initargs=(1,))

    @staticmethod
    def _stop(pool: ProcessPoolExecutor) -> None:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


def _count_attempts(lost: Sequence[Cell], attempts: dict[str, int]) -> None:
    for cell in lost:
        name = cell.makes[0]
        attempts[name] = attempts.get(name, 0) + 1
        if attempts[name] >= _ATTEMPTS:
            raise LmcError(
                f"a worker process was killed {attempts[name]} times while making {cell.describe()}; "
                "if memory ran out, use fewer workers (--lmc-workers); everything finished is kept"
            )
