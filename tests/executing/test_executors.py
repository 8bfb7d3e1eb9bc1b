"""The local executor: devices, and workers that hang, die or run out of memory."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_claim import RECIPE

from lmc.errors import DataError, LmcError
from lmc.executing import supervising, worker
from lmc.executing.jobs import Job, TrainingJob
from lmc.executing.local import LocalExecutor
from lmc.executing.making import Workplace
from lmc.executing.process import out_of_memory

Make = Callable[[Job, Workplace], None]


@dataclass(frozen=True)
class Doing(TrainingJob):
    """A job that does something else than training."""

    do: Make

    def make(self, workplace: Workplace) -> None:
        self.do(self, workplace)


def jobs(do: Make) -> list[Doing]:
    return [Doing((RECIPE.with_seed(seed),), 1.0 + seed, do) for seed in range(4)]


NAMES = [RECIPE.with_seed(seed).key for seed in range(4)]


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path / "store", tmp_path / "data", "cpu")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are looked at often, and taken for hung after a second and a half."""
    monkeypatch.setattr(supervising, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(worker, "SILENT_LOOKS", 15)


def made(place: Workplace, do: Make, executor: LocalExecutor) -> list[str]:
    """What was reported as made, in order, where ``do`` is done."""
    done: list[str] = []
    executor.run(jobs(do), place, lambda job: done.append(job.makes[0]))
    assert sorted(done) == sorted(NAMES)
    return done


def note(job: Job, place: Workplace) -> None:
    """Leave a line in the place's journal."""
    with open(place.store.parent / "journal", "a") as file:
        file.write(f"{job.makes[0]} {place.device} {os.getpid()}\n")


def journal(place: Workplace) -> list[list[str]]:
    return [line.split() for line in (place.store.parent / "journal").read_text().splitlines()]


def for_the_first(job: Job, place: Workplace) -> bool:
    """Whether this is the first attempt at the last job."""
    note(job, place)
    return job.makes[0] == NAMES[-1] and sum(name == job.makes[0] for name, *_ in journal(place)) == 1


def stopped_once(job: Job, place: Workplace) -> None:
    if for_the_first(job, place):
        os.kill(os.getpid(), signal.SIGSTOP)


def always_asleep(job: Job, place: Workplace) -> None:
    note(job, place)
    time.sleep(60)


def slow_but_alive(job: Job, place: Workplace) -> None:
    """Computes for three seconds, twice as long as a hung worker is left."""
    note(job, place)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        sum(range(10**5))


def killed_once(job: Job, place: Workplace) -> None:
    if for_the_first(job, place):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)


def out_of_memory_once(job: Job, place: Workplace) -> None:
    if for_the_first(job, place):
        raise MemoryError


def refused(job: Job, place: Workplace) -> None:
    raise DataError("no such data")


def broken(job: Job, place: Workplace) -> None:
    {}["missing"]


def waiting(job: Job, place: Workplace) -> None:
    """Long enough for every worker to get a job."""
    note(job, place)
    time.sleep(3)


def alone(job: Job, place: Workplace) -> None:
    """Fails where another job is being made."""
    mark = place.store.parent / "busy"
    mark.touch(exist_ok=False)
    time.sleep(0.2)
    mark.unlink()


def gone(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.usefixtures("soon")
def test_a_hung_worker_is_killed_and_its_job_made_again(place: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    made(place, stopped_once, LocalExecutor(2))
    lines = [each for each in journal(place) if each[0] == NAMES[-1]]
    assert len(lines) == 2
    assert lines[0][2] != lines[1][2]
    assert len(journal(place)) == len(NAMES) + 1, "what other workers were making is not made again"
    assert all(gone(process) for _, _, process in journal(place))
    assert "hung and was killed while making mlp x0.015625" in capsys.readouterr().err


@pytest.mark.usefixtures("soon")
def test_what_always_hangs_is_an_error(place: Workplace) -> None:
    with pytest.raises(LmcError, match=r"a worker process hung and was killed 2 times while making mlp"):
        made(place, always_asleep, LocalExecutor(1))
    assert len(journal(place)) == 2
    assert all(gone(process) for _, _, process in journal(place))


@pytest.mark.usefixtures("soon")
def test_a_worker_that_computes_is_left_alone(place: Workplace) -> None:
    made(place, slow_but_alive, LocalExecutor(4))
    assert len(journal(place)) == len(NAMES)


def test_a_suspended_machine_makes_no_worker_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """However late a look is, it is one look."""
    process = worker.Worker.__new__(worker.Worker)
    process._computed, process._silent = 0.0, 0
    process.process = type("Gone", (), {"pid": 2**22 + 1})()  # type: ignore[assignment]
    assert [process.hangs() for _ in range(worker.SILENT_LOOKS)] == [False] * (worker.SILENT_LOOKS - 1) + [True]


def test_a_killed_worker_takes_no_other_along(place: Workplace) -> None:
    made(place, killed_once, LocalExecutor(4))
    assert len(journal(place)) == len(NAMES) + 1


def test_a_job_that_runs_out_of_memory_is_made_again(place: Workplace) -> None:
    made(place, out_of_memory_once, LocalExecutor(2))
    assert len(journal(place)) == len(NAMES) + 1


def test_errors_of_a_job_end_the_run(place: Workplace) -> None:
    with pytest.raises(DataError, match="no such data"):
        made(place, refused, LocalExecutor(1))
    with pytest.raises(RuntimeError, match=r"failed while making mlp(.|\n)*in broken(.|\n)*KeyError"):
        made(place, broken, LocalExecutor(1))


def test_what_counts_as_out_of_memory() -> None:
    import torch

    assert out_of_memory(MemoryError())
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(raised.value)
    assert out_of_memory(RuntimeError("can't start new thread"))
    assert not out_of_memory(RuntimeError("shape"))


def test_workers_compute_on_every_gpu(place: Workplace) -> None:
    made(place, waiting, LocalExecutor(4, gpus={"cuda:0": 80e9, "cuda:1": 80e9}))
    assert sorted(device for _, device, _ in journal(place)) == ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]


def test_a_gpu_with_memory_for_one_job_makes_one_at_a_time(place: Workplace) -> None:
    made(place, alone, LocalExecutor(4, gpus={"cuda:0": 1e9}))
