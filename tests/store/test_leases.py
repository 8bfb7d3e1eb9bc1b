"""Leases: one holder at a time, whoever dies is succeeded, whoever lives is not, and no clock is believed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from lmc.errors import StoreError
from lmc.store import leases as leases_module
from lmc.store.leases import Leases, describe

KEY, OTHER = "00aabbccddeeff001122", "ff00000000000000000f"

RACER = """
import os, sys
from pathlib import Path
from lmc.store.leases import Leases
from lmc.store.store import Store
assert "torch" not in sys.modules
store, journal = Store(Path(sys.argv[1])), os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
missing = [f"{number:020x}" for number in range(40)]
print("ready", flush=True)
sys.stdin.readline()
while missing:
    for key in list(missing):
        with Leases(store.root).claim([key]) as ours:
            if ours and not store.has("measurements", key):
                os.write(journal, f"{key}\\n".encode())
                store.write("measurements", key, {"maker": os.getpid()})
        if store.has("measurements", key):
            missing.remove(key)
"""

HOLDER = """
import sys
from pathlib import Path
from lmc.store import leases
leases.BEAT = 0.02
with leases.Leases(Path(sys.argv[1])).claim(sys.argv[2:]) as ours:
    print(ours, flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holder(root: Path, *keys: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds leases and counts fifty times a second."""
    command = [sys.executable, "-c", HOLDER, str(root), *keys]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        try:
            yield process
        finally:
            process.kill()


class Clock(SimpleNamespace):
    """A watcher's clock that moves when it is told to, or when it sleeps."""

    def __init__(self) -> None:
        super().__init__(now=1000.0)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        time.sleep(0.01)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(leases_module, "time", clock)
    return clock


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge as another host does, which cannot see a lock."""
    monkeypatch.setattr("lmc.host.kernel", lambda: "another machine")


@pytest.mark.parametrize("count", [2, 8])
def test_processes_that_race_make_every_cell_once(tmp_path: Path, count: int) -> None:
    command = [sys.executable, "-c", RACER, str(tmp_path / "store"), str(tmp_path / "journal")]
    with ExitStack() as stack:
        racers = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(count)
        ]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("\n")
            racer.stdin.flush()
        assert [racer.wait(60) for racer in racers] == [0] * count
    made = (tmp_path / "journal").read_text().split()
    assert sorted(made) == [f"{number:020x}" for number in range(40)]
    assert Leases(tmp_path / "store").others() == {}


def test_a_lease_excludes_others_until_it_is_given_back(tmp_path: Path) -> None:
    with Leases(tmp_path).claim([KEY]) as ours:
        assert ours
        assert list(Leases(tmp_path).others()) == [KEY]
        with Leases(tmp_path).claim([KEY]) as theirs:
            assert not theirs
        with Leases(tmp_path).claim([OTHER]) as theirs:
            assert theirs
    assert Leases(tmp_path).others() == {}
    with pytest.raises(RuntimeError, match="while working"), Leases(tmp_path).claim([KEY]):
        raise RuntimeError("while working")
    with Leases(tmp_path).claim([KEY]) as ours:
        assert ours


def test_several_leases_are_had_together_or_not_at_all(tmp_path: Path) -> None:
    with Leases(tmp_path).claim([OTHER]), Leases(tmp_path).claim([KEY, OTHER]) as ours:
        assert not ours
        assert list(Leases(tmp_path).others()) == [OTHER]
    with Leases(tmp_path).claim([KEY, OTHER]) as ours:
        assert ours
        assert sorted(Leases(tmp_path).others()) == [KEY, OTHER]
    assert list((tmp_path / "leases").iterdir()) == []


def test_a_killed_holder_is_succeeded_at_once_on_its_machine(tmp_path: Path) -> None:
    with holder(tmp_path, KEY, OTHER) as process:
        assert describe(Leases(tmp_path).others()[KEY]).endswith(f"(process {process.pid})")
        with Leases(tmp_path).claim([KEY]) as ours:
            assert not ours
        process.send_signal(signal.SIGKILL)
        process.wait()
        with Leases(tmp_path).claim([KEY]) as ours:
            assert ours
        assert Leases(tmp_path).others() == {}, "the other lease is removed where it is seen"


@pytest.mark.usefixtures("elsewhere")
def test_a_dead_host_is_succeeded_once_its_count_has_stood_still(tmp_path: Path, clock: Clock) -> None:
    with holder(tmp_path, KEY) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    watcher = Leases(tmp_path)
    assert list(watcher.others()) == [KEY]
    clock.now += leases_module.STALE_AFTER - 1
    assert list(watcher.others()) == [KEY]
    clock.now += 1
    assert list(Leases(tmp_path).others()) == [KEY], "another watcher must see it stand still itself"
    assert watcher.others() == {}
    with Leases(tmp_path).claim([KEY]) as ours:
        assert ours


@pytest.mark.usefixtures("elsewhere")
def test_a_host_that_counts_keeps_its_lease_whatever_clocks_say(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = iter(range(-(10**9), 10**12, 10**9))
    monkeypatch.setattr(time, "time", lambda: next(wall))
    with holder(tmp_path, KEY):
        watcher, seen = Leases(tmp_path), set[bytes]()
        for stamp in (0, 2**31, 10**9):
            os.utime(tmp_path / "leases" / KEY, (stamp, stamp))
            before = watcher.others()[KEY]
            while (now := watcher.others()[KEY]) == before:
                time.sleep(0.005)  # the next count
            seen |= {before, now}
            clock.now += 0.9 * leases_module.STALE_AFTER
        assert len(seen) >= 4


@pytest.mark.usefixtures("elsewhere")
def test_all_leases_settle(tmp_path: Path, clock: Clock) -> None:
    """One holder lives, one is dead: the first is seen to count, the second's lease goes."""
    with holder(tmp_path, OTHER):
        with holder(tmp_path, KEY) as process:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert sorted(Leases(tmp_path).others()) == [KEY, OTHER]
        assert list(Leases(tmp_path).settled()) == [OTHER]
        assert clock.now >= 1000 + leases_module.STALE_AFTER


def test_who_lost_a_lease_does_not_take_the_next_holders(tmp_path: Path) -> None:
    path = tmp_path / "leases" / KEY
    with ExitStack() as slow:
        slow.enter_context(Leases(tmp_path).claim([KEY]))
        path.unlink()  # as a watcher does who takes it for dead
        with Leases(tmp_path).claim([KEY]) as ours:
            assert ours
            taken = path.read_bytes()
            slow.close()
            assert path.read_bytes() == taken
            assert list(Leases(tmp_path).others()) == [KEY]
    assert not path.exists()


def test_a_holder_counts_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases_module, "BEAT", 0.001)
    threads = threading.active_count()
    with Leases(tmp_path).claim([KEY, OTHER]):
        for key in (KEY, OTHER):
            before = (tmp_path / "leases" / key).read_bytes()
            while (after := (tmp_path / "leases" / key).read_bytes()) == before:
                time.sleep(0.001)
            assert int(after[:12]) > int(before[:12])
            assert describe(after) == describe(before)
    assert threading.active_count() == threads


def test_without_locks_only_counting_tells(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems have no locks; then a dead holder is found out more slowly."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with Leases(tmp_path).claim([KEY]):
        monkeypatch.undo()
        assert list(Leases(tmp_path).others()) == [KEY], "nobody locked it, and yet it is held"


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"           1 [1]", b"x" * 9000], ids=lambda each: each[:15])
def test_a_lease_of_whatever_content_is_respected_and_outlived(tmp_path: Path, clock: Clock, content: bytes) -> None:
    path = tmp_path / "leases" / KEY
    path.parent.mkdir()
    path.write_bytes(content)
    watcher = Leases(tmp_path)
    assert describe(watcher.others()[KEY]) == "unknown (process unknown)"
    clock.now += leases_module.STALE_AFTER
    assert watcher.others() == {}


def test_a_lease_that_nobody_lived_to_sign_is_soon_dead(tmp_path: Path, clock: Clock) -> None:
    """But not one whose holder lives and could not write, as on a full disk."""
    path = tmp_path / "leases" / KEY
    with Leases(tmp_path).claim([KEY]):
        os.truncate(path, 0)
        watcher = Leases(tmp_path)
        for _ in range(3):
            assert watcher.others() == {KEY: b""}
            clock.now += leases_module.UNSIGNED_AFTER
    path.touch()
    watcher = Leases(tmp_path)
    assert watcher.others() == {KEY: b""}
    clock.now += 0.9 * leases_module.UNSIGNED_AFTER
    with watcher.claim([KEY]) as ours:
        assert not ours
    clock.now += 0.2 * leases_module.UNSIGNED_AFTER
    with watcher.claim([KEY]) as ours:
        assert ours


def test_a_store_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StoreError, match=r"cannot write .*choose a writable store"),
        Leases(tmp_path / "file").claim([KEY]),
    ):
        pass


def test_each_lease_that_can_be_had(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    with leases.claim([OTHER]), leases.claim_each([KEY, OTHER]) as ours:
        assert ours == {KEY}
        assert leases.others().keys() == {KEY, OTHER}
        with leases.claim_each([KEY, OTHER]) as none, leases.claim([KEY, OTHER]) as both:
            assert not none
            assert not both
        assert leases.others().keys() == {KEY, OTHER}, "what was not had is not given back"
    assert not list(leases.folder.iterdir())


WITHOUT_FCNTL = """
import sys
sys.modules["fcntl"] = None  # its import fails, as on systems that have none
from pathlib import Path
from lmc import host
host.ROOT = Path("/nonexistent")
from lmc.store.leases import Leases
from lmc.store.locks import lock
with Leases(Path(sys.argv[1])).claim(["a" * 20]) as held:
    assert held and not lock(0)
    with Leases(Path(sys.argv[1])).claim(["a" * 20]) as again:
        assert not again
assert not list((Path(sys.argv[1]) / "leases").iterdir())
"""


def test_leases_work_without_fcntl_and_proc(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_FCNTL, str(tmp_path)], check=True, timeout=60)


def test_leases_are_given_back_where_open_files_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where removing an open file is refused."""
    monkeypatch.setattr(leases_module, "_OPEN_FILES_STAY", True)
    opened: dict[int, str] = {}
    open_file, close, unlink = os.open, os.close, Path.unlink

    def opening(path: str | Path, *rest: int) -> int:
        descriptor = open_file(path, *rest)
        opened[descriptor] = os.fspath(path)
        return descriptor

    def closing(descriptor: int) -> None:
        opened.pop(descriptor, None)
        close(descriptor)

    def removing(path: Path, missing_ok: bool = False) -> None:
        if os.fspath(path) in opened.values():
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        unlink(path, missing_ok)

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "close", closing)
    monkeypatch.setattr(Path, "unlink", removing)
    with Leases(tmp_path).claim_each([KEY, "b" * 20]) as held:
        assert held == {KEY, "b" * 20}
    assert not list((tmp_path / "leases").iterdir())
    lease = tmp_path / "leases" / KEY
    lease.write_bytes(b"%12d {}" % 0)
    watcher, clock = Leases(tmp_path), Clock()
    monkeypatch.setattr(leases_module, "time", clock)
    assert list(watcher.others()) == [KEY]
    clock.now += leases_module.STALE_AFTER
    assert watcher.others() == {}
    assert not lease.exists(), "a dead one is removed too"
