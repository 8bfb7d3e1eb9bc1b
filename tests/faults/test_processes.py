"""Runs that share a store, workers that run out of memory or hang, and a run with a fork server of its own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from harness import (
    HERE,
    Calm,
    Runs,
    after_a_death,
    after_a_rerun,
    arguments_of,
    content,
    finished,
    judge_overhead,
    rerun,
)

MANY = int(os.environ.get("LMC_FAULT_POINTS") or 0)


@pytest.mark.parametrize("count", [2, 8])
def test_runs_at_once_on_one_store(count: int, runs: Runs, undisturbed: Calm, tmp_path: Path) -> None:
    all_of_them = [runs.start(tmp_path, name=f"run{number}") for number in range(count)]
    for run in all_of_them:
        assert run.wait() == 0, run.said()
    rerun(runs, tmp_path, undisturbed, after_a_death(runs, tmp_path))


@pytest.mark.parametrize("seed", range(max(1, MANY // 20)))
@pytest.mark.parametrize("count", [2, 8])
def test_one_of_several_runs_is_killed(count: int, seed: int, runs: Runs, undisturbed: Calm, tmp_path: Path) -> None:
    """The others take over what it held, and end with everything made."""
    all_of_them = [runs.start(tmp_path, name=f"run{number}") for number in range(count)]
    time.sleep(random.Random(seed).random() * undisturbed.seconds)
    if all_of_them[0].poll() is None:
        all_of_them[0].kill(signal.SIGKILL)
        all_of_them[0].wait()
    for run in all_of_them[1:]:
        assert run.wait() == 0, run.said()
    assert {name for name in content(tmp_path) if "." not in Path(name).name[:1]} >= undisturbed.content.keys()
    rerun(runs, tmp_path, undisturbed, after_a_death(runs, tmp_path))


def first_workers(runs: Runs, folder: Path) -> list[psutil.Process]:
    """The workers of a run, once one of them has claimed something."""
    end = time.monotonic() + 60
    while not list(folder.glob("store/leases/*")) and time.monotonic() < end:
        time.sleep(0.002)
    return runs.workers()


@pytest.mark.parametrize("seed", range(max(1, MANY // 20)))
def test_a_worker_without_memory(seed: int, runs: Runs, undisturbed: Calm, tmp_path: Path) -> None:
    """From some operation on it gets no more: the run manages with what it has, or ends in one line."""
    at = random.Random(seed).randrange(1, undisturbed.operations)
    run = runs.start(tmp_path, do="memory", at=at)
    status, said = run.wait(), run.said()  # a rerun writes what it says into the same file
    rerun(runs, tmp_path, undisturbed, after_a_death(runs, tmp_path))
    assert status == 0 or (status == 2 and "fewer workers" in said), said


@pytest.mark.parametrize("seed", range(max(1, MANY // 20)))
def test_a_worker_that_hangs(seed: int, runs: Runs, undisturbed: Calm, tmp_path: Path) -> None:
    """The first to reach some operation; where only the main process has any left, an earlier one."""
    at = random.Random(seed).randrange(1, undisturbed.operations)
    while True:
        folder = tmp_path / str(at)
        folder.mkdir()
        run = runs.start(folder, do="hang", at=at, on=True)
        assert run.wait() == 0, run.said()
        if (folder / "hung").exists():
            break
        assert at > 1, "no worker has touched the store"
        at //= 2
    assert "hung and was killed" in run.said()
    rerun(runs, folder, undisturbed, after_a_death(runs, folder))


def test_all_workers_hang(runs: Runs, undisturbed: Calm, tmp_path: Path) -> None:
    run = runs.start(tmp_path)
    for worker in first_workers(runs, tmp_path):
        worker.suspend()
    assert run.wait() == 0, run.said()
    rerun(runs, tmp_path, undisturbed, after_a_death(runs, tmp_path))


def of_its_own(folder: Path) -> list[str]:
    """The command of a run that shares no process with others and imports everything itself."""
    return [sys.executable, str(HERE / "server.py"), *arguments_of(folder, "new")]


@pytest.fixture(scope="module")
def environ(runs: Runs) -> dict[str, str]:
    return {name: value for name, value in runs.environ.items() if name != "LMC_FAULTS"}


@pytest.fixture(scope="module")
def alone(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds of an undisturbed one, the second of two: files it imports are cached then."""
    seconds = []
    for name in ("first", "second"):
        started = time.monotonic()
        subprocess.run(of_its_own(tmp_path_factory.mktemp(name)), env=environ, capture_output=True, check=True)
        seconds.append(time.monotonic() - started)
    return seconds[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_of_its_own(
    number: int, environ: dict[str, str], alone: float, undisturbed: Calm, tmp_path: Path
) -> None:
    """Nothing is shared: killed while its workers compute, it takes all its processes with it. Ctrl-C goes to all."""
    command = of_its_own(tmp_path)
    started = time.monotonic()
    process = subprocess.Popen(command, env=environ, start_new_session=True, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(tmp_path.glob("store/leases/*")):
        time.sleep(0.002)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.kill()
    assert process.wait(30) != 0
    died = time.monotonic() - started
    end = time.monotonic() + 20
    while (left := in_session(process.pid)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left, "processes outlive the run"
    kept, started = finished(tmp_path), time.monotonic()
    again = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    assert again.returncode == 0, again.stderr
    after_a_rerun(tmp_path, undisturbed, kept)
    judge_overhead(seconds - alone, f"killed after {died:.1f} s, rerun {seconds:.1f} s, with all their imports")


def in_session(leader: int) -> list[int]:
    """Processes of a session that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def test_a_loaded_machine_changes_no_bit(runs: Runs, undisturbed: Calm, tmp_path: Path) -> None:
    """Beside four processes for every core: the same store, the same verdicts."""
    spin = [sys.executable, "-c", "while True: pass"]
    load = [subprocess.Popen(spin) for _ in range(4 * (os.cpu_count() or 1))]
    try:
        run = runs.start(tmp_path)
        assert run.wait() == 0, run.said()
    finally:
        for process in load:
            process.kill()
            process.wait()
    after_a_rerun(tmp_path, undisturbed, {})
