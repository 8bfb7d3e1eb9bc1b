"""Faults from within: at a chosen operation on a store, a process dies or the operation fails.

Loaded by the server of runs and by the fork server, so that it is in every process of a run. The plan of a run stands
beside its store, in ``fault.json``: the operation's number, counted over all processes, and what happens before it:
`self`, `main` or `both` die, one worker comes to `hang`, gets no more `memory`, or an error of that name is raised.
"""

from __future__ import annotations

import datetime
import errno
import functools
import itertools
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_PATHS = {"open": 0, "os.rename": 1, "os.remove": 0, "os.mkdir": 0, "fsync": 0}
_fsync = os.fsync
_now, _monotonic, _perf_counter = time.time, time.monotonic, time.perf_counter
_Datetime = datetime.datetime


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    place = _PATHS.get(event)
    if place is None or not isinstance(arguments[place], (str, os.PathLike)):
        return
    folder, inside, _ = os.fspath(arguments[place]).partition("/store/")
    plan = _plan(folder) if inside else None
    if plan is None:
        return
    if event == "os.rename" and "jumps" in plan:
        target = Path(arguments[place])
        if target.suffix == ".json" and target.exists():  # weights alone are of a model that was not finished
            Path(folder, "twice").touch()
        if "checkpoints" in target.parts:
            Path(folder, "early").touch()
    number = _count(folder)
    if number < plan["at"] or (number > plan["at"] and not plan.get("on")):
        return
    doing = plan["do"]
    if doing in errno.errorcode.values():
        if event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(getattr(errno, doing), os.strerror(getattr(errno, doing)))
        return
    parent = multiprocessing.parent_process()
    if doing == "memory":
        if parent:
            resource.setrlimit(resource.RLIMIT_AS, (1, 1))
        return
    if doing == "hang":
        if parent and not os.path.exists(f"{folder}/hung"):
            Path(folder, "hung").touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        return
    main = parent.pid if parent and parent.pid else os.getpid()
    for process in {"self": [os.getpid()], "main": [main], "both": [main, os.getpid()]}[doing]:
        os.kill(process, signal.SIGKILL)


@functools.cache
def _plan(folder: str) -> dict[str, Any] | None:
    try:
        plan: dict[str, Any] = json.loads(Path(folder, "fault.json").read_text())
    except FileNotFoundError:
        return None
    if "every" in plan:
        from lmc.store import checkpoints

        checkpoints.EVERY = plan["every"]
    if "jumps" in plan:
        _disturb_clocks(plan["jumps"], plan.get("wrong"))
    return plan


def _disturb_clocks(jumps: list[float], wrong: str | None) -> None:
    """The wall clock is off by the next of ``jumps`` at each look; a monotonic clock began at another time in each
    process, as on another host. In the module named ``wrong`` the wall clock stands for the monotonic one.
    """
    offsets, began = itertools.cycle(jumps), os.getpid() * 1e4
    time.time = lambda: _now() + next(offsets)
    time.monotonic = lambda: _monotonic() + began
    time.perf_counter = lambda: _perf_counter() + began

    class Jumping(_Datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Jumping:
            return cls.fromtimestamp(time.time(), tz)

    datetime.datetime = Jumping  # type: ignore[misc]
    for name, module in list(sys.modules.items()):
        if name.startswith("lmc.") and getattr(module, "datetime", None) is _Datetime:
            module.datetime = Jumping  # type: ignore[attr-defined]
    import lmc.executing.jobs

    lmc.executing.jobs.POLL = 0.01  # type: ignore[attr-defined]  # looks at leases that last milliseconds
    if wrong in sys.modules:
        names = SimpleNamespace(monotonic=time.time, perf_counter=time.time, sleep=time.sleep)
        sys.modules[wrong].time = names  # type: ignore[attr-defined]


def begin() -> None:
    """Take up the plan of the run that this process becomes, before it looks at a clock."""
    _plan(os.environ["LMC_HOME"])


def _count(folder: str) -> int:
    descriptor = os.open(f"{folder}/count", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, b".")
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)


def _told_fsync(descriptor: int) -> None:
    _watch("fsync", (os.readlink(f"/proc/self/fd/{descriptor}"),))
    _fsync(descriptor)


def install() -> None:
    """Watch this process and those it forks; checkpoints come often enough for trainings of a second."""
    from lmc.store import checkpoints

    checkpoints.EVERY = 0.05
    os.fsync = _told_fsync  # type: ignore[assignment]
    os.register_at_fork(after_in_child=_plan.cache_clear)
    sys.addaudithook(_watch)


if os.environ.get("LMC_FAULTS"):
    install()
