"""The supervising loop, on workers that are told what to do: ended, lost, hung, refused."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest
from tiny_claim import RECIPE

from lmc.errors import DataError, LmcError
from lmc.executing import supervising
from lmc.executing.jobs import Job, MeasuringJob, TrainingJob
from lmc.executing.process import LostError
from lmc.executing.supervising import supervise
from lmc.measuring.measurements import PairMeasurement

SPECS = [RECIPE.with_seed(seed) for seed in range(4)]
TRAININGS: list[Job] = [TrainingJob((spec,), 1.0 + number) for number, spec in enumerate(SPECS)]
PAIR = MeasuringJob((PairMeasurement(SPECS[0], SPECS[1]),), (9.0,))


class Scripted:
    """Workers whose jobs end at once, as ``outcome`` of job and attempt says: an error, ``"hangs"`` or nothing."""

    attempts = 3

    def __init__(self, outcome: Callable[[Job, int], object], workers: int = 2) -> None:
        self.devices, self.outcome = list(range(workers)), outcome
        self.busy: dict[int, Job] = {}
        self.begun: list[str] = []
        self.given_up: list[int] = []
        self.closed = 0

    def share(self, _: Job) -> float:
        return 1.0

    def start(self, number: int, job: Job) -> None:
        assert number not in self.busy
        self.busy[number] = job
        self.begun.append(job.makes[0])

    def _of(self, number: int) -> object:
        job = self.busy[number]
        return self.outcome(job, self.begun.count(job.makes[0]))

    def wait(self, busy: Collection[int], seconds: float) -> Collection[int]:
        assert seconds >= 0
        assert set(busy) == set(self.busy)
        return [number for number in busy if self._of(number) != "hangs"][:1]

    def finish(self, number: int) -> None:
        found = self._of(number)
        if isinstance(found, Exception):
            raise found
        del self.busy[number]

    def hangs(self, number: int) -> str:
        return "it hung" if self._of(number) == "hangs" else ""

    def give_up(self, number: int) -> None:
        self.given_up.append(number)
        del self.busy[number]

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "LOOK_EVERY", 0.0)


def run(backend: Scripted, jobs: list[Job]) -> list[str]:
    done: list[str] = []
    begun: list[str] = []
    try:
        supervise(jobs, backend, lambda job: done.append(job.makes[0]), lambda job: begun.append(job.makes[0]))
    finally:
        assert backend.closed == 1, "whatever happens, workers are stopped, once"
        assert begun == backend.begun
    return done


def name(job: Job) -> str:
    return job.makes[0]


def test_everything_is_made_once_and_models_before_what_is_measured_of_them() -> None:
    backend = Scripted(lambda *_: None)
    done = run(backend, [PAIR, *TRAININGS])
    assert sorted(done) == sorted(backend.begun) == sorted(map(name, [PAIR, *TRAININGS]))
    assert done.index(name(PAIR)) > max(done.index(name(each)) for each in TRAININGS[:2])
    assert backend.given_up == []


def test_nothing_to_make() -> None:
    assert run(Scripted(lambda *_: None), []) == []


@pytest.mark.parametrize("outcome", [LostError("it was lost"), "hangs"])
def test_what_is_lost_or_hangs_is_made_again(outcome: object, capsys: pytest.CaptureFixture[str]) -> None:
    first = lambda job, attempt: outcome if job is TRAININGS[1] and attempt == 1 else None  # noqa: E731
    backend = Scripted(first)
    assert sorted(run(backend, TRAININGS)) == sorted(map(name, TRAININGS))
    assert backend.begun.count(name(TRAININGS[1])) == 2
    assert len(backend.begun) == 5
    assert len(backend.given_up) == 1
    why = "it hung" if outcome == "hangs" else "it was lost"
    assert f"{why} while making {TRAININGS[1].describe()}; it is made again" in capsys.readouterr().err


def test_what_is_always_lost_ends_the_run_after_its_attempts() -> None:
    backend = Scripted(lambda job, _: LostError("it was lost") if job is TRAININGS[0] else None)
    with pytest.raises(LmcError, match=r"it was lost 3 times while making .*fewer workers"):
        run(backend, TRAININGS)
    assert backend.begun.count(name(TRAININGS[0])) == 3


def test_what_cannot_be_made_ends_the_run_at_once() -> None:
    backend = Scripted(lambda job, _: DataError("no such data") if job is TRAININGS[3] else None)
    with pytest.raises(DataError, match="no such data"):
        run(backend, TRAININGS)
    assert backend.begun.count(name(TRAININGS[3])) == 1
