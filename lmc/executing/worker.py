"""A worker process of the local executor: what it is sent, what it answers, whether it is alive."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import traceback
from dataclasses import replace

import psutil

from lmc.errors import LmcError
from lmc.executing.jobs import Job
from lmc.executing.making import Workplace
from lmc.executing.process import LostError, out_of_memory, prepare_process, starting

SILENT_LOOKS = 60
"""A worker that computes nothing for so many looks hangs. Looks are counted, not seconds, because a machine that was
suspended, or a run that was stopped, has no worker to blame."""
_SIGN_OF_LIFE = 0.05
"""Seconds of processor time. A job takes that within a second, whatever it does; the beat of a hung one's lease
takes less in an hour."""


class Worker:
    """A process that makes one job after another, with one thread.

    Args:
        device: where it computes.
    """

    def __init__(self, device: str) -> None:
        context = starting()
        self.connection, theirs = context.Pipe()
        self.device = device
        self.process = context.Process(target=_serve, args=(theirs, device), daemon=True)
        self.process.start()
        theirs.close()
        self._computed, self._silent = 0.0, 0

    def start(self, job: Job, workplace: Workplace) -> None:
        """Have it make ``job``; `answer` tells how that ended."""
        self._silent = 0
        with contextlib.suppress(OSError):  # a dead worker's answer is that it is dead
            self.connection.send((job, replace(workplace, device=self.device)))

    def answer(self) -> None:
        """Return when the job is made.

        Raises:
            LostError: the process died or ran out of memory.
            LmcError: the job cannot be made.
            RuntimeError: an error of another kind, with its traceback.
        """
        try:
            error = self.connection.recv()
        except (EOFError, OSError):
            raise LostError("a worker process was killed") from None
        if isinstance(error, Exception):
            raise error

    def hangs(self) -> bool:
        """Whether it has computed nothing for long; to be asked at every look while it is busy."""
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(self.process.pid).cpu_times()
            computed = times.user + times.system
            if abs(computed - self._computed) >= _SIGN_OF_LIFE:
                self._computed, self._silent = computed, 0
                return False
        self._silent += 1
        return self._silent >= SILENT_LOOKS

    def stop(self) -> None:
        """End it, even where it is stopped or deadlocked."""
        self.connection.close()
        self.process.kill()
        self.process.join(1.0)  # no longer: one that waits for a dead disk cannot even be killed


def _serve(connection: multiprocessing.connection.Connection, device: str) -> None:
    prepare_process(1, device)
    while True:
        try:
            job, workplace = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(_outcome(job, workplace))


def _outcome(job: Job, workplace: Workplace) -> Exception | None:
    try:
        job.make(workplace)
    except LmcError as error:
        return error
    except Exception as error:
        if out_of_memory(error):
            return LostError(f"{workplace.device} ran out of memory")
        return RuntimeError(f"a worker process failed while making {job.describe()}:\n{traceback.format_exc()}")
    return None
