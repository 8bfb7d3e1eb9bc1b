"""Faults from within: at a chosen operation on a store, a process dies or the operation fails.

Loaded by the server of runs and by the fork server, so that it is in every process of a run. The plan of a run stands
beside its store, in ``fault.json``: the operation's number, counted over all processes, and what happens before it:
`self`, `main` or `both` die, a worker gets no more `memory`, or an error of that name is raised.
"""

from __future__ import annotations

import errno
import functools
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

_PATHS = {"open": 0, "os.rename": 1, "os.remove": 0, "os.mkdir": 0, "fsync": 0}
_fsync = os.fsync
_now = time.time


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    place = _PATHS.get(event)
    if place is None or not isinstance(arguments[place], (str, os.PathLike)):
        return
    folder, inside, _ = os.fspath(arguments[place]).partition("/store/")
    plan = _plan(folder) if inside else None
    if plan is None:
        return
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
    main = parent.pid if parent and parent.pid else os.getpid()
    for process in {"self": [os.getpid()], "main": [main], "both": [main, os.getpid()]}[doing]:
        os.kill(process, signal.SIGKILL)


@functools.cache
def _plan(folder: str) -> dict[str, Any] | None:
    try:
        plan: dict[str, Any] = json.loads(Path(folder, "fault.json").read_text())
    except FileNotFoundError:
        return None
    if "jumps" in plan:
        time.time = lambda: _now() + plan["jumps"][int(_now() * 1000) % len(plan["jumps"])]
    return plan


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
    from lmc.training import checkpoints

    checkpoints.EVERY = 0.05
    os.fsync = _told_fsync
    os.register_at_fork(after_in_child=_plan.cache_clear)
    sys.addaudithook(_watch)


if os.environ.get("LMC_FAULTS"):
    install()
