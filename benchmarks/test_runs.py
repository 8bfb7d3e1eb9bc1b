"""Whole commands as a user types them, each in a process of its own.

The core claims of the quick tier, and all of them, take minutes and are run only where ``LMC_BENCH_RUNS=1``. Times
have targets for a laptop of two cores, asserted only where ``LMC_BENCH_STRICT=1``; that the commands work is always
required.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import statistics
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from timing import STRICT, paired, sized
from timing import conclude as compared

from lmc.executing.local import LocalExecutor
from lmc.executing.session import make_missing, selected_cases
from lmc.executing.settings import Settings

BASELINES = Path(__file__).parent / "baselines"
COMMAND = (sys.executable, "-m", "lmc.commands.cli")
CORE = ("run", "--claims", sized("core", "fig26"), "--device", "cpu")
ALL = ("run", *sized((), ("--claims", "fig26")), "--device", "cpu")
PLAN_FACTOR = 1.5
"""By how much a plan may miss the time of a run, to either side."""
SAMPLED = 2.0
"""Seconds between two looks at the memory: each reads the page tables of every process, which costs them time."""

COLD: list[float] = []
"""Seconds of the core claims from nothing, once they were timed."""

minutes = pytest.mark.skipif(os.environ.get("LMC_BENCH_RUNS") != "1", reason="takes minutes; set LMC_BENCH_RUNS=1")


@dataclass
class PeakMemory:
    """The largest proportional set size of a process and its descendants together, in bytes."""

    pid: int
    largest: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Look until ``done``; a process that ends meanwhile counts for nothing."""
        while not self.done.wait(SAMPLED):
            total = 0
            with contextlib.suppress(psutil.Error):
                root = psutil.Process(self.pid)
                for process in [root, *root.children(recursive=True)]:
                    with contextlib.suppress(psutil.Error):
                        total += process.memory_full_info().pss
            self.largest = max(self.largest, total)


def environment(home: Path) -> dict[str, str]:
    """This one's, without any setting of ours: nothing but ``home`` is read or written, and modules are compiled."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LMC_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "LMC_HOME": str(home), "OMP_WAIT_POLICY": "PASSIVE"}


def run(home: Path, arguments: Sequence[str | Path], *, watched: bool = False) -> tuple[str, float]:
    """Run one command of ``lmc``; its output and, where ``watched``, the peak of its memory in MiB.

    A claim that fails, or a difference for the worse, is exit status 1 and no matter of speed.
    """
    command = [*COMMAND, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(home), **pipes) as process:  # type: ignore[call-overload]
        memory = PeakMemory(process.pid)
        watcher = threading.Thread(target=memory.watch)
        if watched:
            watcher.start()
        try:
            output, errors = process.communicate()
        finally:
            memory.done.set()
            if watched:
                watcher.join()
            process.kill()
    assert process.returncode in (0, 1), errors[-2000:]
    return output, memory.largest / 2**20


def conclude(benchmark: Any, work: str, target: float, **facts: object) -> None:
    """Note the median of a command's seconds beside its target."""
    taken = statistics.median(benchmark.stats.stats.data)
    benchmark.extra_info |= {"work": work, "run_seconds": taken, "target_seconds": target, **facts}
    assert not STRICT or taken <= target, f"{work}: {taken:.2f} s, not {target:g} s"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def planned_seconds(home: Path, arguments: Sequence[str]) -> float:
    """How long ``lmc plan`` expects the run of ``arguments`` to take."""
    output, _ = run(home, ["plan", *arguments[1:]])
    (expected,) = re.findall(r"time about ([\d.]+) (s|min|h),", output)
    return float(expected[0]) * {"s": 1, "min": 60, "h": 3600}[expected[1]]


@minutes
@pytest.mark.parametrize(
    ("arguments", "target", "mebibytes"), [(CORE, 240.0, 2048.0), (ALL, 480.0, 3072.0)], ids=["core", "all"]
)
def test_claims_from_nothing(
    benchmark: Any, home: Path, tmp_path: Path, arguments: tuple[str, ...], target: float, mebibytes: float
) -> None:
    """The core claims and the whole quick tier, and how far their plans are from what they take."""
    if arguments is not CORE:
        home = tmp_path
    assert not (home / "store").exists()
    planned = planned_seconds(home, arguments)
    found: list[tuple[str, float]] = []
    benchmark.pedantic(lambda: found.append(run(home, arguments, watched=True)), rounds=1)
    (output, peak), (taken,) = found[0], benchmark.stats.stats.data
    if arguments is CORE:
        COLD[:] = [taken]
    assert "written: " in output
    command = " ".join(arguments)
    off = max(taken / planned, planned / taken)
    measure = f"lmc {command}: its time against that of lmc plan, or the reverse"
    benchmark.extra_info["measures"] = [{"measure": measure, "value": off, "limit": PLAN_FACTOR}]
    benchmark.extra_info["planned_seconds"] = planned
    work = f"lmc {command}, nothing in the store"
    conclude(benchmark, work, target, peak_pss_mib=peak, target_mib=mebibytes)
    assert not STRICT or (peak <= mebibytes and off <= PLAN_FACTOR), f"{work}: {peak:.0f} MiB, planned {planned:.0f} s"


@minutes
def test_core_claims_again(benchmark: Any, home: Path) -> None:
    first, _ = run(home, CORE)  # made by the test above, or here where that was deselected
    found: list[tuple[str, float]] = []
    benchmark.pedantic(lambda: found.append(run(home, CORE, watched=True)), rounds=3)
    for output, _ in found:
        assert without_path(output) == without_path(first)
    peak = max(each for _, each in found)
    conclude(benchmark, f"lmc {' '.join(CORE)}, everything in the store", 8.0, peak_pss_mib=peak)


@minutes
def test_two_workers(benchmark: Any, tmp_path: Path) -> None:
    """Against one worker, each from nothing, in turn: MLPs of up to 128 units, each worker with one thread."""
    asked: dict[str, Any] = {"arch": "mlp", "max_width": sized(1 / 4, 1 / 16), "device": "cpu"}
    numbers = itertools.count()

    def make(workers: int) -> None:
        settings = Settings.resolve({"LMC_HOME": str(tmp_path / str(next(numbers)))}, **asked)
        made = make_missing(selected_cases(settings), settings, LocalExecutor(workers))
        assert made.counts["models"] >= 6

    ratio = paired(benchmark, lambda: make(2), lambda: make(1), rounds=sized(3, 1), warm=False, here=False)
    compared(benchmark, ratio, work="narrow MLPs from nothing, two workers", peer="one worker", target=1.7)


@minutes
def test_core_claims_on_ray(benchmark: Any, home: Path, tmp_path: Path) -> None:
    """On a Ray that is started for them, against the worker processes just timed; the same numbers from both."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'lmc[ray]'")
    if not COLD:
        pytest.skip("needs test_claims_from_nothing[core] in the same run")
    found: list[tuple[str, float]] = []
    on_ray = [*CORE, "--executor", "ray", "--ray-address", "local"]
    benchmark.pedantic(lambda: found.append(run(tmp_path, on_ray, watched=True)), rounds=1)  # as the other was
    assert without_path(found[0][0]) == without_path(run(home, CORE)[0])
    taken = statistics.median(benchmark.stats.stats.data) / COLD[0]
    measure = f"lmc {' '.join(on_ray[:3])} from nothing on Ray, in times of the same in worker processes"
    benchmark.extra_info["measures"] = [{"measure": measure, "value": taken, "limit": 1.15}]
    benchmark.extra_info["peak_pss_mib"] = found[0][1]
    assert not STRICT or taken <= 1.15


def without_path(output: str) -> list[str]:
    return [line for line in output.splitlines() if not line.startswith("written: ")]


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        (["diff", BASELINES / "pilot-quick-cpu.json", BASELINES / "quick-cpu.json"], 1.0),
        (["summary", BASELINES / "quick-cpu.json"], 1.0),
        (["report", BASELINES / "quick-cpu.json", "-o", os.devnull], 10.0),
    ],
    ids=["diff", "summary", "report"],
)
def test_command(benchmark: Any, tmp_path: Path, arguments: list[str | Path], target: float) -> None:
    """What is told of stored results, here the committed ones of the quick tier."""
    outputs: list[str] = []
    benchmark.pedantic(
        lambda: outputs.append(run(tmp_path, arguments)[0]), rounds=sized(5, 1), warmup_rounds=sized(1, 0)
    )
    assert outputs[-1].strip()
    conclude(benchmark, f"lmc {' '.join(getattr(each, 'name', str(each)) for each in arguments)}", target)
