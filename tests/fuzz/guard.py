"""What reading a file must not do: run code, start a process, write elsewhere, take memory without bound."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MEMORY = 3 << 30
"""Bytes that reading a small file may take beyond what the process has; torch and its threads map generously."""
SECONDS = 10.0
_FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.",
    "ctypes.dlopen",
    "pty.",
)
_CHANGES = {"os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0, "os.link": 1, "os.symlink": 1}
_folder: str | None = None
_seen: list[str] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _folder is None:
        return
    if event.startswith(_FORBIDDEN):
        _seen.append(f"{event} {arguments!r:.200}")
    elif event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        _inside(event, arguments[0])
    elif event in _CHANGES:
        _inside(event, os.fspath(arguments[_CHANGES[event]]))


def _inside(event: str, path: Any) -> None:
    if _folder is not None and not os.path.realpath(path).startswith(_folder):
        _seen.append(f"{event} {path}")


sys.addaudithook(_watch)
sys.dont_write_bytecode = True  # what a reader imports late may never have been compiled on this machine


@contextlib.contextmanager
def reading() -> Iterator[Path]:
    """A folder to read in; anything else that is touched, or run, fails the test."""
    global _folder
    with tempfile.TemporaryDirectory() as name:
        before = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        started = time.process_time()
        _folder = os.path.realpath(name)
        resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
        try:
            yield Path(name)
        finally:
            _folder = None
            resource.setrlimit(resource.RLIMIT_AS, before)
            seen, _seen[:] = list(_seen), []
    assert not seen, seen
    assert time.process_time() - started < SECONDS
