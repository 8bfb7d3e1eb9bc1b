"""What ``lmc doctor`` finds, what ``lmc plan`` expects of this machine, and the commit that results are of."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from typer.testing import CliRunner

from lmc.commands import doctor, machine
from lmc.commands.cli import app


def lmc(*words: str) -> tuple[int, str]:
    run = CliRunner().invoke(app, [*words, "--device", "cpu"])
    assert run.exception is None or isinstance(run.exception, SystemExit), run.exception
    return run.exit_code, run.stdout


@pytest.fixture
def flushing() -> Iterator[None]:
    """Leave the process as it is: the examination asks torch whether it can flush denormals."""
    flushed = bool(torch.tensor(1e-40) * 1 == 0)
    yield
    torch.set_flush_denormal(flushed)


Memory = namedtuple("Memory", "total available")
Usage = namedtuple("Usage", "free")
PROBLEMS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "threads": (
        lambda patch: patch.setenv("OMP_WAIT_POLICY", "ACTIVE"),
        "OMP_WAIT_POLICY ACTIVE; unset OMP_WAIT_POLICY, spinning threads starve other workers",
    ),
    "memory": (
        lambda patch: patch.setattr(psutil, "virtual_memory", lambda: Memory(2**34, 2**30)),
        "1.0 GiB free; the quick tier needs 2, close something",
    ),
    "disk": (
        lambda patch: patch.setattr(shutil, "disk_usage", lambda _: Usage(2**29)),
        "choose another --store",
    ),
    "packages": (
        lambda patch: patch.setattr(importlib.metadata, "version", {"torch": "2+cpu", "torchvision": "2"}.get),
        "torch 2+cpu, torchvision 2; install both from the same index",
    ),
}


def test_a_sound_machine_has_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flushing: None) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(2**34, 2**33))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**33))
    (tmp_path / "mnist.safetensors").touch()
    code, said = lmc("doctor", "--data", str(tmp_path), "--store", str(tmp_path / "absent"))
    assert "PROBLEM" not in said
    assert code == 0
    assert {line.split()[1] for line in said.splitlines()} == {"device", "precision", "data", *PROBLEMS}
    for found in ("digits: embedded", f"mnist: prepared in {tmp_path}", f"cifar10: not in {tmp_path}; downloaded when"):
        assert found in said


@pytest.mark.parametrize("what", PROBLEMS)
def test_what_would_slow_a_run_down_or_stop_it_is_said(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flushing: None
) -> None:
    cause, advice = PROBLEMS[what]
    cause(monkeypatch)
    code, said = lmc("doctor", "--store", str(tmp_path))
    (line,) = (line for line in said.splitlines() if line.startswith(f"PROBLEM  {what} "))
    assert advice in line
    assert code == 1


def test_a_plan_is_timed_here_by_probing_every_size(tmp_path: Path) -> None:
    words = ("--arch", "mlp", "--max-width", "1/16", "--claims", "fig2b", "--store", str(tmp_path))
    code, said = lmc("plan", *words)
    assert code == 0
    assert re.search(r"digits +mlp +x0\.0625 .* 6 models .*; 60 measurements", said), "15 pairs, four draws each"
    assert re.search(r"time about \d+ s, memory about [\d.]+ GiB, disk", said), said


def test_the_commit_is_that_of_the_checkout_and_says_what_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "a" / "b" / "machine.py"))
    assert machine.commit() == "unknown", "not a checkout"

    def git(*words: str) -> str:
        named = ("-c", "user.name=n", "-c", "user.email=e")
        command = ["git", "-C", str(tmp_path), *named, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert machine.commit() == "unknown", "without a commit"
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-qm", "first")
    assert machine.commit() == git("rev-parse", "HEAD")
    (tmp_path / "file").write_text("2")
    assert machine.commit() == git("rev-parse", "HEAD") + "+dirty"


@pytest.mark.parametrize(
    ("device", "dtypes", "lacks"),
    [("mps", "float32; trains in float32", True), ("cuda:1", "float32, bfloat16, float64; trains in bf16", False)],
)
def test_an_accelerator_is_named_with_what_it_has_and_lacks(
    device: str, dtypes: str, lacks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(2**34, 2**33))
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda _: (2**33, 2**34))
    monkeypatch.setattr(doctor, "describe_device", lambda _: "a GPU")
    settings: Any = SimpleNamespace(device=device, device_because="asked for")
    found = doctor._device(settings)
    assert found.fine
    assert f"{device} (asked for): a GPU, " in found.found
    assert " of 16.0 GiB free, " in found.found
    assert dtypes in found.found
    assert ("no float64: sums, losses and ranks are computed on the CPU" in found.found) == lacks
