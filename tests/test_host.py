"""What the machine allows: affinity, quotas of containers, and systems without Linux's files."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from lmc import host

GIB = 2**30


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system's own files: 8 cores and 16 GiB, of which 10 are available, in no control group."""
    monkeypatch.setattr(host, "ROOT", tmp_path)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 8, raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=16 * GIB, available=10 * GIB))
    return tmp_path


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", "utf-8")


def test_without_control_groups_all_of_the_machine_counts(system: Path) -> None:
    assert host.cores() == 8
    assert host.memory() == (16 * GIB, 10 * GIB)


@pytest.mark.parametrize(("quota", "cores"), [("max", 8), ("200000", 2), ("250000", 2), ("50000", 1), ("900000", 8)])
def test_a_container_has_the_cores_of_its_quota(system: Path, quota: str, cores: int) -> None:
    write(system / "proc/self/cgroup", "0::/")
    write(system / "sys/fs/cgroup/cpu.max", f"{quota} 100000")
    assert host.cores() == cores


def test_the_narrowest_of_nested_groups_counts(system: Path) -> None:
    write(system / "proc/self/cgroup", "0::/slice/job/step")
    write(system / "sys/fs/cgroup/slice/cpu.max", "300000 100000")
    write(system / "sys/fs/cgroup/slice/job/cpu.max", "max 100000")
    write(system / "sys/fs/cgroup/slice/job/memory.max", 4 * GIB)
    write(system / "sys/fs/cgroup/slice/job/memory.current", 3 * GIB)
    write(system / "sys/fs/cgroup/slice/job/memory.stat", f"anon 5\ninactive_file {GIB}")
    write(system / "sys/fs/cgroup/slice/job/step/memory.max", "max")
    assert host.cores() == 3
    assert host.memory() == (4 * GIB, 2 * GIB), "what files are cached in is given back when it is needed"


def test_the_first_version_of_control_groups(system: Path) -> None:
    write(system / "proc/self/cgroup", "9:name=systemd:/other\n5:cpu,cpuacct:/box\n4:memory:/box")
    write(system / "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", 400000)
    write(system / "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", 100000)
    write(system / "sys/fs/cgroup/memory/box/memory.limit_in_bytes", 2 * GIB)
    write(system / "sys/fs/cgroup/memory/box/memory.usage_in_bytes", GIB)
    write(system / "sys/fs/cgroup/memory/memory.limit_in_bytes", 9223372036854771712)
    assert host.cores() == 4
    assert host.memory() == (2 * GIB, GIB)
    write(system / "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", -1)
    assert host.cores() == 8, "no quota"


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= host.cores() <= (os.cpu_count() or 1)
    total, available = host.memory()
    assert 0 < available <= total <= psutil.virtual_memory().total
    assert host.processor()


def test_without_proc_the_boot_is_told_by_its_time(system: Path) -> None:
    host.kernel.cache_clear()
    try:
        assert str(int(psutil.boot_time()))[:8] in host.kernel()
        assert host.kernel() == host.kernel()
        assert not host.computes_bf16()
        assert host.processor()
    finally:
        host.kernel.cache_clear()


@pytest.mark.parametrize(("flags", "fast"), [("sse avx2", False), ("avx512_bf16 sse", True), ("amx_bf16", True)])
def test_the_processor_tells_whether_it_computes_bf16(system: Path, flags: str, fast: bool) -> None:
    write(system / "proc/cpuinfo", f"model name\t: Some Processor 3\nflags\t: {flags}")
    assert host.computes_bf16() == fast
    assert host.processor() == "Some Processor 3"
