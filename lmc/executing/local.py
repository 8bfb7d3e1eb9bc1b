"""The local executor: worker processes on this machine."""

from __future__ import annotations

import multiprocessing.connection
from collections.abc import Collection, Mapping, Sequence

from lmc.executing.costs import PER_GPU, Processor, gpu_share
from lmc.executing.jobs import Job
from lmc.executing.making import Workplace
from lmc.executing.supervising import OnJob, supervise, unheeded
from lmc.executing.worker import Worker


class LocalExecutor:
    """Worker processes on this machine, one thread each, so that a result never depends on their number.

    Args:
        workers: how many; on GPUs at most `lmc.executing.costs.PER_GPU` each.
        gpus: memory in bytes of every accelerator, by its name; empty to compute on the CPU.
    """

    def __init__(self, workers: int, gpus: Mapping[str, float] | None = None) -> None:
        self.workers, self.gpus = workers, dict(gpus or {})

    def run(self, jobs: Sequence[Job], workplace: Workplace, on_done: OnJob, on_start: OnJob = unheeded) -> None:
        """See `lmc.executing.supervising.Executor`."""
        supervise(jobs, _Processes(self.workers, self.gpus, workplace), on_done, on_start)


class _Processes:
    """Workers that are started when they are first needed, see `lmc.executing.supervising.Backend`."""

    attempts = 2

    def __init__(self, workers: int, gpus: Mapping[str, float], workplace: Workplace) -> None:
        self.devices = assigned(workers, len(gpus))
        self._names = list(gpus)
        self._gpu = Processor(bytes=min(gpus.values())) if gpus else None
        self._workplace = workplace
        self._workers: dict[int, Worker] = {}

    def share(self, job: Job) -> float:
        return gpu_share(job.work, self._gpu) if self._gpu else 1.0

    def start(self, number: int, job: Job) -> None:
        if number not in self._workers:
            self._workers[number] = Worker(self._names[self.devices[number]] if self._gpu else self._workplace.device)
        self._workers[number].start(job, self._workplace)

    def wait(self, busy: Collection[int], seconds: float) -> Collection[int]:
        links = {self._workers[number].connection: number for number in busy}
        heard = multiprocessing.connection.wait(list(links), seconds)
        return [number for link, number in links.items() if link in heard]

    def finish(self, number: int) -> None:
        self._workers[number].answer()

    def hangs(self, number: int) -> str:
        return "a worker process hung and was killed" if self._workers[number].hangs() else ""

    def give_up(self, number: int) -> None:
        self._workers.pop(number).stop()

    def close(self) -> None:
        for worker in self._workers.values():
            worker.stop()


def assigned(workers: int, gpus: int) -> list[int]:
    """The device of every worker: GPUs in turn, or a core for each where there is none."""
    if gpus == 0:
        return list(range(workers))
    return [number % gpus for number in range(min(workers, PER_GPU * gpus))]
