"""Runs under faults, and what must be true after them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from lmc.results.file import read_results
from lmc.store.store import Store, parse_record
from lmc.store.upkeep import prunable, verify

HERE = Path(__file__).parent
TIMED = {"seconds", "resumed"}
"""What of a record depends on how long it took and how often it was interrupted."""
PATIENCE = 120.0
"""Seconds after which a run is taken for hung; an undisturbed one takes one or two."""

Kept = dict[Path, tuple[int, int, bytes]]


@dataclass
class Run:
    """One ``lmc run``, forked by a server."""

    pid: int
    runs: Runs
    output: Path
    status: int | None = None

    def poll(self) -> int | None:
        if self.status is None:
            self.status = self.runs.ask(poll=self.pid)["status"]
        return self.status

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit status; a run that takes too long is killed and fails the test."""
        end = time.monotonic() + seconds
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                self.kill(9)
                raise AssertionError(f"the run hangs: {self.said()}")
            time.sleep(0.01)
        return status

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def said(self) -> str:
        return self.output.read_text("utf-8")


class Runs:
    """The server of runs, see ``server.py``."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parents[1])])
        self.environ = {**os.environ, "PYTHONPATH": path, "OMP_WAIT_POLICY": "PASSIVE", "LMC_FAULTS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environ,
        )
        self.server = psutil.Process(self._answer()["server"])

    def ask(self, **command: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def start(self, folder: Path, *, name: str = "new", tier: str = "TIER", **fault: Any) -> Run:
        """Start a run on ``folder/store``, with a fault from within (see ``fault_hooks.py``) if one is given."""
        plan, output = folder / "fault.json", folder / f"{name}.txt"
        if not fault:
            plan.unlink(missing_ok=True)
        for left in ("count", "hung", "twice", "early"):
            (folder / left).unlink(missing_ok=True)
        if fault:
            planned = folder / "fault.new"
            planned.write_text(json.dumps({"at": -1, **fault}))
            planned.replace(plan)  # another run of the same folder may be about to read it
        output.unlink(missing_ok=True)
        output.touch()
        arguments = arguments_of(folder, name, tier)
        pid = self.ask(arguments=arguments, environ={"LMC_HOME": str(folder)}, output=str(output))["pid"]
        return Run(pid, self, output)

    def workers(self) -> list[psutil.Process]:
        """Worker processes that live, of whatever run."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [each for each in self.server.children() if each.status() != psutil.STATUS_ZOMBIE]
        return []

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def arguments_of(folder: Path, name: str, tier: str = "TIER") -> list[str]:
    """What follows ``lmc``: a tier of ``fault_tier.py`` and the tiny claim, two workers on the CPU."""
    results = folder / "results" / f"{name}.json"
    judged = {"tier": f"fault_tier:{tier}", "extra-claims": "tiny_claim:CLAIMS", "claims": "tiny"}
    options = {**judged, "device": "cpu", "workers": 2, "store": folder / "store", "results": results}
    return ["run", *(f"--{option}={value}" for option, value in options.items())]


@dataclass
class Calm:
    """What undisturbed runs left.

    Args:
        content: of their store, see `content`.
        verdicts: the claims of their results files.
        seconds: what one took, the median of three.
        idle: what one takes that finds everything made.
        operations: on the store.
    """

    content: dict[str, Any]
    verdicts: Any
    seconds: float
    idle: float
    operations: int


def calm(runs: Runs, folder: Path) -> Calm:
    """Run undisturbed, three times, to the same bits."""
    contents, verdicts, times = [], [], []
    for number in range(3):
        home = folder / f"calm{number}"
        home.mkdir()
        times.append(timed(runs, home, do="nothing"))
        contents.append(content(home))
        verdicts.append(read_results(home / "results" / "new.json").claims)
    assert contents[0] == contents[1] == contents[2]
    operations = (folder / "calm0" / "count").stat().st_size
    return Calm(contents[0], verdicts[0], sorted(times)[1], timed(runs, folder / "calm0"), operations)


def timed(runs: Runs, folder: Path, **fault: Any) -> float:
    """Seconds of a run that must succeed."""
    started = time.monotonic()
    run = runs.start(folder, **fault)
    assert run.wait() == 0, run.said()
    return time.monotonic() - started


def content(folder: Path) -> dict[str, Any]:
    """Every file of a store: a record without its times, weights bit by bit, anything else by its name."""
    found: dict[str, Any] = {}
    root = folder / "store"
    for path in sorted(root.rglob("*")):
        if path.is_file():
            name, data = path.relative_to(root).as_posix(), path.read_bytes()
            found[name] = data
            if path.suffix == ".json" and not path.name.startswith("."):
                found[name] = {key: value for key, value in parse_record(data).items() if key not in TIMED}
    return found


def finished(folder: Path) -> Kept:
    """Every file of finished models and measurements: what tells whether it is the same file, and its bytes."""
    store, kept = Store(folder / "store"), Kept()
    for kind in ("models", "measurements"):
        for key in store.keys(kind):
            paths = [store.record_path(kind, key)]
            if kind == "models":
                paths.append(store.weights_path(key))
            if store.has(kind, key):
                kept |= {path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in paths}
    return kept


def after_a_death(runs: Runs, folder: Path) -> Kept:
    """Once a run is dead: no worker outlives it, and no file stands under its name that is not whole."""
    end = time.monotonic() + 20
    while runs.workers() and time.monotonic() < end:
        time.sleep(0.01)
    assert not runs.workers(), "workers outlive the run"
    _, _, problems = verify(Store(folder / "store"))
    assert not problems
    return finished(folder)


def after_a_rerun(folder: Path, undisturbed: Calm, kept: Kept) -> None:
    """Everything is as if nothing had happened, and what was finished has not been touched."""
    for path, before in kept.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) == before, path
    store = Store(folder / "store")
    assert sorted(path.name for path in store.root.glob("leases/*")) == [], "a lease remains"
    for paths in prunable(store).values():  # half-written, damaged, or a finished model's checkpoint: lmc store prune
        for path in paths:
            path.unlink()
    found = content(folder)
    assert found.keys() == undisturbed.content.keys()
    assert [name for name in found if found[name] != undisturbed.content[name]] == []
    assert read_results(folder / "results" / "new.json").claims == undisturbed.verdicts


def rerun(runs: Runs, folder: Path, undisturbed: Calm, kept: Kept) -> float:
    """Run again; returns its seconds."""
    seconds = timed(runs, folder)
    after_a_rerun(folder, undisturbed, kept)
    return seconds


@dataclass(frozen=True)
class Point:
    """Where and how a run is killed.

    Args:
        who: ``main`` or ``worker`` by SIGKILL at a time, ``interrupt`` by Ctrl-C at a time; ``self``, ``main at`` or
            ``both`` by SIGKILL at an operation on the store, of the process that is about to do it.
        when: share of an undisturbed run's time or operations.
    """

    who: str
    when: float


def points(count: int, seed: int) -> list[Point]:
    """Kill points, as many of each kind, uniform in time or operations."""
    chance = random.Random(seed)
    kinds = ("main", "self", "worker", "both", "interrupt", "main at")
    return [Point(kinds[number % len(kinds)], chance.random()) for number in range(count)]


def killed(
    runs: Runs, folder: Path, point: Point, undisturbed: Calm, attempts: int = 5
) -> Iterator[tuple[Path, Killed]]:
    """Try a kill point, and the same at other moments until it hits: the folder and outcome of each."""
    chance = random.Random(f"{point}")
    for number in range(attempts):
        home = folder / str(number)
        home.mkdir()
        found = kill(runs, home, point, undisturbed)
        yield home, found
        if found.hit:
            return
        point = replace(point, when=chance.random())


@dataclass
class Killed:
    """What came of a kill point.

    Args:
        status: exit status of the run.
        seconds: how long it lived.
        hit: whether the signal found a living target: a worker that lived, a main process that died of it, an
            operation that was reached.
    """

    status: int
    seconds: float
    hit: bool


def kill(runs: Runs, folder: Path, point: Point, undisturbed: Calm) -> Killed:
    """Run and be killed."""
    started, worker_hit = time.monotonic(), False
    if point.who in ("self", "both", "main at"):
        at = 1 + int(point.when * undisturbed.operations)
        run = runs.start(folder, do=point.who.removesuffix(" at"), at=at)
    else:
        run = runs.start(folder)
        time.sleep(point.when * undisturbed.seconds)
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if point.who == "worker":
                for worker in runs.workers()[:1]:
                    worker.kill()
                    worker_hit = True
            else:
                run.kill(2 if point.who == "interrupt" else 9)
    status = run.wait()
    seconds = time.monotonic() - started
    if point.who == "worker":
        return Killed(status, seconds, worker_hit)
    if point.who in ("main", "interrupt"):
        return Killed(status, seconds, status == (-signal.SIGKILL if point.who == "main" else 130))
    return Killed(status, seconds, (folder / "count").stat().st_size >= at)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own on ``folder/store``.

    Raises:
        PermissionError: only root may mount one.
    """
    (folder / "store").mkdir()
    mounted = mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder / "store"))
    if mounted.returncode:
        raise PermissionError(mounted.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder / "store")], check=True)


def mount(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)


def judge_overhead(seconds: float, what: str) -> None:
    """A rerun must take less than 5 s more than what was left to do, its start included.

    Where other processes have the cores, the clock says nothing of it.
    """
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    print(f"\n{what}: {seconds:.1f} s more than what was left")
    if load > 3 * cores:  # two workers and a main process are three on any machine
        pytest.skip(f"overhead {seconds:.1f} s not judged at a load of {load:.0f} on {cores} cores")
    assert seconds < 5


def described(times: Sequence[float]) -> str:
    """Median and largest."""
    ordered = sorted(times)
    return f"median {ordered[len(ordered) // 2]:.2f} s, largest {ordered[-1]:.2f} s" if ordered else "none"
