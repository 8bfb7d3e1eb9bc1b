"""Runs that share a store: nothing is made twice, nothing waited for while there is other work."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from serial_runs import Serial, settings_in
from tiny_claim import CLAIM, RECIPE, SETTING, TIER

import lmc.executing.jobs as jobs_module
from lmc.claims.cases import cases, needed
from lmc.errors import LmcError
from lmc.executing.jobs import MeasuringJob, missing_jobs
from lmc.executing.making import Workplace, training_block
from lmc.executing.session import make_missing
from lmc.store import leases
from lmc.store.leases import Leases
from lmc.store.store import Store
from lmc.tiers import VERDICT_SEEDS, Family, Tier
from lmc.training import engine

RUN = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import lmc.measuring.records as records, lmc.training.engine as engine
from serial_runs import Serial, settings_in
from tiny_claim import CLAIM, TIER
from lmc.claims.cases import cases, needed
from lmc.executing.session import make_missing
journal = os.open(sys.argv[1] + "/journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def noting(function, name):
    def noted(what, *arguments, **options):
        os.write(journal, (name(what) + "\\n").encode())
        return function(what, *arguments, **options)
    return noted

def noting_each(function):
    def noted(*arguments):
        for measurement, record in function(*arguments):
            os.write(journal, (measurement.key + "\\n").encode())
            yield measurement, record
    return noted

engine.train_stack = noting(engine.train_stack, lambda block: " ".join(spec.key for spec in block))
records.measure_all = noting_each(records.measure_all)
print("ready", flush=True)
sys.stdin.readline()
made = make_missing(cases([CLAIM], TIER), settings_in(Path(sys.argv[1])), Serial())
print(sorted((key, str(record)) for key, record in made.records.items()))
"""


def test_two_runs_make_everything_once_and_read_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, str(tmp_path), str(Path(__file__).parents[1])]
    with ExitStack() as stack:
        runs = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(2)
        ]
        for run in runs:
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
        for run in runs:
            assert run.stdin is not None
            run.stdin.write("\n")
            run.stdin.flush()
        printed = [run.communicate(timeout=120)[0] for run in runs]
    assert printed[0] == printed[1]
    assert len(printed[0]) > 1000
    measured = {each.key for each in needed(cases([CLAIM], TIER))}
    block = " ".join(spec.key for spec in training_block(RECIPE.with_seed(VERDICT_SEEDS[0]), "cpu"))
    assert Counter((tmp_path / "journal").read_text().splitlines()) == Counter({block: 1, **dict.fromkeys(measured, 1)})


def test_what_another_run_makes_is_waited_for_last_and_picked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, executor, other = settings_in(tmp_path), Serial(), ExitStack()
    store, place = Store(settings.store), Workplace(settings.store, settings.data, "cpu")
    missing = missing_jobs(needed(cases([CLAIM], TIER)), store, "cpu")
    (training,), held = missing.trainings, missing.measurements[7]
    training.make(place)
    assert store.has("models", training.makes[0])
    other.enter_context(Leases(store.root).claim([held.key]))
    made_before_waiting: list[bool] = []

    def other_run_finishes(_: float) -> None:
        others = [each for each in missing.measurements if each != held]
        made_before_waiting.extend(store.has("measurements", each.key) for each in others)
        store.write("measurements", held.key, {"status": "made elsewhere"})
        other.close()

    monkeypatch.setattr("time.sleep", other_run_finishes)
    made = make_missing(cases([CLAIM], TIER), settings, executor)
    assert made_before_waiting == [True] * 14
    assert made.records[held.key] == {"status": "made elsewhere"}
    assert [[len(job.makes) for job in jobs] for jobs in executor.rounds] == [[15], [1]]
    assert "waiting for" in capsys.readouterr().err


def test_a_model_that_another_run_trains_is_not_trained_to_measure_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, executor, other = settings_in(tmp_path), Serial(), ExitStack()
    place = Workplace(settings.store, settings.data, "cpu")
    (training,) = missing_jobs(needed(cases([CLAIM], TIER)), Store(settings.store), "cpu").trainings
    other.enter_context(Leases(settings.store).claim(training.makes[-1:]))  # one of six is enough
    trained: list[object] = []
    train_stack = engine.train_stack

    def noted(block: Any, *arguments: Any, **options: Any) -> Any:
        trained.append(block)
        return train_stack(block, *arguments, **options)

    monkeypatch.setattr(engine, "train_stack", noted)
    training.make(place)
    assert trained == []

    def other_run_dies(_: float) -> None:
        assert trained == []
        other.close()

    monkeypatch.setattr("time.sleep", other_run_dies)
    made = make_missing(cases([CLAIM], TIER), settings, executor)
    assert len(made.records) == 15
    assert trained == [training.specs]


def singly_trained() -> Tier:
    """The tiny tier, of models in blocks of one each."""
    recipe = replace(RECIPE, precision="bf16")
    return replace(TIER, settings=(replace(SETTING, families={"strong": Family(recipe, (recipe.width,))}),))


def test_one_model_that_another_run_trains_keeps_no_other_pair_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, executor, other, chosen = settings_in(tmp_path), Serial(), ExitStack(), cases([CLAIM], singly_trained())
    store, place = Store(settings.store), Workplace(settings.store, settings.data, "cpu")
    missing = missing_jobs(needed(chosen), store, "cpu")
    assert [len(job.specs) for job in missing.trainings] == [1] * 6
    held = missing.trainings[2]
    other.enter_context(Leases(store.root).claim(held.makes))
    lacking: list[tuple[int, set[str]]] = []

    def other_run_finishes(_: float) -> None:
        left = missing_jobs(needed(chosen), store, "cpu")
        lacking.append((len(left.measurements), {key for job in left.trainings for key in job.makes}))
        other.close()
        held.make(place)

    monkeypatch.setattr("time.sleep", other_run_finishes)
    made = make_missing(chosen, settings, executor)
    assert lacking == [(5, set(held.makes))], "ten of fifteen pairs do without that model"
    assert {record["status"] for record in made.records.values()} == {"measured"}
    assert [[len(job.makes) for job in jobs] for jobs in executor.rounds] == [[1] * 6 + [15], [1, 5]]


def test_one_damaged_model_that_another_run_trains_again_keeps_no_other_pair_waiting(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    store, place = Store(settings.store), Workplace(settings.store, settings.data, "cpu")
    missing = missing_jobs(needed(cases([CLAIM], singly_trained())), store, "cpu")
    for training in missing.trainings:
        training.make(place)
    (measuring,), damaged = missing.measurings, missing.trainings[2].specs[0]
    weights = store.weights_path(damaged.key)
    weights.write_bytes(weights.read_bytes()[:-1])
    with Leases(store.root).claim([damaged.key]):
        measuring.make(place)
    left = [each for each in measuring.measurements if not store.has("measurements", each.key)]
    assert left == [each for each in measuring.measurements if damaged in each.specs]
    assert len(left) == 5
    measuring.make(place)
    assert all(store.has("measurements", key) for key in measuring.makes)


def test_what_is_finished_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking and claiming, another run may have finished it."""
    settings = settings_in(tmp_path)
    store, place = Store(settings.store), Workplace(settings.store, settings.data, "cpu")
    missing = missing_jobs(needed(cases([CLAIM], TIER)), store, "cpu")
    (training,), (measuring,) = missing.trainings, missing.measurings
    one = MeasuringJob(measuring.measurements[:1], (1.0,))
    for job in (training, one):
        job.make(place)
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*.*")}
    assert len(before) == 13
    for job in (training, one):
        job.make(place)
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*.*")} == before
    store.weights_path(training.makes[2]).unlink()
    training.make(place)
    changed = [path for path in before if path.stat().st_mtime_ns != before[path]]
    assert sorted(path.stem for path in changed) == [training.makes[2]] * 2, "what is there keeps its bits"


def test_what_never_stays_is_an_error_and_no_endless_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = Serial()
    monkeypatch.setattr(executor, "run", lambda *_: executor.rounds.append([]))
    with pytest.raises(LmcError, match="does not stay in"):
        make_missing(cases([CLAIM], TIER), settings_in(tmp_path), executor)
    assert len(executor.rounds) == 3


def test_waiting_ends_when_the_other_host_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = tmp_path / "store" / "leases" / training_block(RECIPE.with_seed(VERDICT_SEEDS[0]), "cpu")[0].key
    lease.parent.mkdir(parents=True)
    lease.write_bytes(b'           7 {"host": "far away", "process": 1, "kernel": "another"}')
    monkeypatch.setattr(leases, "STALE_AFTER", 0.2)
    monkeypatch.setattr(jobs_module, "POLL", 0.01)
    made = make_missing(cases([CLAIM], TIER), settings_in(tmp_path), Serial())
    assert len(made.records) == 15
    assert not lease.exists()
