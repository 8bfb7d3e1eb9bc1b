"""What this machine is and lets this process use, on any system. Imports no torch."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path("/")
"""Where the system's own files are; tests put another folder there."""

_UNLIMITED = 2**60
"""Bytes from which a limit on memory is none: version 1 of control groups writes almost 2^63."""


def cores() -> int:
    """Processor cores this process may use: its affinity, and within a container the quota of its control groups.

    A quota of part of a core counts as one, one of 2.5 as two: a worker beyond the quota is paused, not slowed down.
    """
    counted = getattr(os, "process_cpu_count", None) or _affinity  # Python 3.13 heeds PYTHON_CPU_COUNT too
    quotas = [quota for folder in _control_groups() if (quota := _quota(folder)) is not None]
    return max(1, int(min([counted() or 1, *quotas])))


def memory() -> tuple[int, int]:
    """Bytes of memory, the whole and what is available now; within a container, of what its control groups allow."""
    whole = psutil.virtual_memory()
    total, available = int(whole.total), int(whole.available)
    for folder in _control_groups():
        limit = _first_number(folder, "memory.max", "memory.limit_in_bytes")
        used = _first_number(folder, "memory.current", "memory.usage_in_bytes")
        if limit is not None and limit < _UNLIMITED:
            cached = _statistic(folder / "memory.stat", "inactive_file")  # given back when it is needed
            total, available = min(total, limit), min(available, max(0, limit - max(0, (used or 0) - cached)))
    return total, available


def processor() -> str:
    """The processor's name, as the system gives it."""
    with contextlib.suppress(OSError):
        for line in _read(ROOT / "proc/cpuinfo").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return platform.processor() or platform.machine()


def computes_bf16() -> bool:
    """Whether the processor has instructions for products of bf16; ``False`` where the system does not tell.

    The processor is asked, not timed: the answer is part of every model's key, and a busy moment must not change it.
    """
    with contextlib.suppress(OSError):
        facts = _read(ROOT / "proc/cpuinfo")
        return "amx_bf16" in facts or "avx512_bf16" in facts
    return False


@functools.cache
def kernel() -> str:
    """Names this boot of this machine, the same in all its containers; other machines and boots have other names."""
    with contextlib.suppress(OSError):
        return _read(ROOT / "proc/sys/kernel/random/boot_id").strip()
    return f"{platform.node()} since {psutil.boot_time():.0f}"


def _affinity() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _control_groups() -> Iterator[Path]:
    """The folders of this process's control groups and of those around them, of both versions."""
    top = ROOT / "sys/fs/cgroup"
    with contextlib.suppress(OSError):
        for line in _read(ROOT / "proc/self/cgroup").splitlines():
            _, kinds, path = line.split(":", 2)
            base = top if not kinds else top / kinds
            if kinds and not {"cpu", "memory"} & set(kinds.split(",")):
                continue
            folder = base / path.lstrip("/")
            yield from (each for each in (folder, *folder.parents) if each.is_relative_to(base))


def _quota(folder: Path) -> float | None:
    """Cores that a control group may keep busy; ``None`` for all of them."""
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = _read(folder / "cpu.max").split()
        return None if quota == "max" else int(quota) / int(period)
    quotas = _first_number(folder, "cpu.cfs_quota_us"), _first_number(folder, "cpu.cfs_period_us")
    return quotas[0] / quotas[1] if quotas[0] and quotas[1] and quotas[0] > 0 else None


def _first_number(folder: Path, *names: str) -> int | None:
    """The number in the first of these files that holds one; ``max`` is none."""
    for name in names:
        with contextlib.suppress(OSError, ValueError):
            return int(_read(folder / name))
    return None


def _statistic(path: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in _read(path).splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def _read(path: Path) -> str:
    return path.read_text("utf-8", errors="replace")
