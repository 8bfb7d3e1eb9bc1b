"""From cases to verdicts with real worker processes, on a tier small enough for a test."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny_claim import CLAIM, RECIPE, TIER

from lmc.claims.cases import cases, judge, needed
from lmc.claims.verdicts import HOLDS
from lmc.errors import LmcError
from lmc.executing.jobs import Job, TrainingJob, missing_jobs
from lmc.executing.local import LocalExecutor
from lmc.executing.making import Workplace, training_block
from lmc.executing.session import make_missing
from lmc.executing.settings import Settings
from lmc.executing.supervising import OnJob, unheeded
from lmc.store.store import Store


def settings_in(folder: Path, **changes: object) -> Settings:
    base = Settings.resolve({"LMC_HOME": str(folder)}, device="cpu", workers=2)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with all that the tiny tier needs, made by two worker processes."""
    folder = tmp_path_factory.mktemp("home")
    make_missing(cases([CLAIM], TIER), settings_in(folder))
    return folder


def test_a_rerun_makes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("what is finished was made again")

    monkeypatch.setattr(LocalExecutor, "run", refuse)
    (case,) = cases([CLAIM], TIER)
    made = make_missing([case], settings_in(home))
    assert made.counts == {"models": 0, "measurements": 0}
    assert len(made.logs) == 6
    assert all(log["status"] == "trained" for log in made.logs.values())
    result = judge(case, made.records)
    assert result.judgement.verdict == HOLDS
    assert len(result.observations) == 15
    assert sum(each.independent for each in result.observations) == 3


def test_what_is_damaged_is_made_again_with_the_same_numbers(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (case,) = cases([CLAIM], TIER)
    settings = settings_in(home)
    before = make_missing([case], settings).records
    store, measurement = Store(settings.store), needed([case])[0]
    weights = store.weights_path(measurement.specs[0].key)
    original = weights.read_bytes()
    weights.write_bytes(original[:-1])
    store.record_path("measurements", measurement.key).write_text("{", "utf-8")
    again = make_missing([case], settings)
    assert again.counts == {"models": 0, "measurements": 1}
    after = again.records
    assert "is damaged" in capsys.readouterr().err
    assert weights.read_bytes() == original
    without_time = [{**record, "seconds": 0} for record in (before[measurement.key], after[measurement.key])]
    assert without_time[0] == without_time[1]


def test_what_is_needed_is_counted_once(tmp_path: Path) -> None:
    measurements = needed(cases([CLAIM, dataclasses.replace(CLAIM, id="again")], TIER))
    assert len(measurements) == 15
    missing = missing_jobs(measurements * 2, Store(tmp_path), "cpu")
    assert (missing.models, len(missing.measurements), missing.pieces) == (6, 15, 21)
    assert (len(missing.trainings), len(missing.measurings)) == (1, 1)  # six seeds side by side, and all their pairs
    assert len(missing_jobs(measurements, Store(tmp_path), "cuda").trainings) == 6


@dataclasses.dataclass(frozen=True)
class Killed(TrainingJob):
    """A training whose worker is killed, at the first attempts or always."""

    times: int

    def make(self, workplace: Workplace) -> None:
        mark = workplace.store.parent / "killed"
        killed = len(mark.read_bytes()) if mark.exists() else 0
        if killed < self.times:
            mark.parent.mkdir(exist_ok=True)
            mark.write_bytes(b"." * (killed + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        super().make(workplace)


class Killing(LocalExecutor):
    """Has every training's worker killed so many times."""

    def __init__(self, times: int) -> None:
        super().__init__(2)
        self.times = times

    def run(self, jobs: Sequence[Job], workplace: Workplace, on_done: OnJob, on_start: OnJob = unheeded) -> None:
        trainings = [Killed(each.specs, each.cost, self.times) for each in jobs if isinstance(each, TrainingJob)]
        super().run([*trainings, *(each for each in jobs if each.needs)], workplace, on_done, on_start)


def test_a_killed_worker_is_replaced_then_reported(tmp_path: Path) -> None:
    (case,) = cases([CLAIM], TIER)
    settings = settings_in(tmp_path)
    made = make_missing([case], settings, Killing(1))
    assert len(made.records) == 15
    assert made.counts == {"models": 6, "measurements": 15}
    assert (settings.home / "killed").read_bytes() == b"."
    with pytest.raises(LmcError, match=r"killed 2 times while making .*fewer workers"):
        make_missing([case], settings_in(tmp_path / "other"), Killing(9))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_run_loses_nothing_finished_and_leaves_no_orphan(tmp_path: Path, number: int) -> None:
    words = ["run", "--arch", "mlp", "--max-width", "1/16", "--device", "cpu"]  # its first cell is not its last by far
    command = [sys.executable, "-m", "lmc.commands.cli", *words]
    environ = {**os.environ, "LMC_HOME": str(tmp_path)}
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, start_new_session=True)
    store, deadline = tmp_path / "store", time.monotonic() + 400
    while not list(store.glob("models/*/*.json")) and time.monotonic() < deadline:
        time.sleep(0.2)
    finished = {path: path.read_bytes() for path in store.glob("models/*/*.json")}
    assert finished
    process.send_signal(number)
    assert process.wait(30) != 0
    deadline = time.monotonic() + 20
    while _in_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _in_session(process.pid), "worker processes outlive the run"
    assert all(path.read_bytes() == content for path, content in finished.items())


def _in_session(leader: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def test_training_blocks() -> None:
    block = training_block(RECIPE.with_seed(4), "cpu")
    assert [spec.init_seed for spec in block] == list(range(6))
    assert training_block(RECIPE.with_seed(4), "cuda") == (RECIPE.with_seed(4),)
