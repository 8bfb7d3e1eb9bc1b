"""Processes that compute: how they are started, what they do first, and how they tell what they could not finish."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import TypeVar

from lmc.errors import LmcError

T = TypeVar("T")


class LostError(Exception):
    """What was to be made is lost with the process that was making it; another may make it."""


def forkserver() -> multiprocessing.context.ForkServerContext:
    """What starts processes that share all which `lmc.executing.preload` imports, once for all of them."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve other workers; read by torch's import
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lmc.executing.preload"])
    return context


def aside(function: Callable[..., T], *arguments: object) -> T:
    """What ``function`` returns, computed in a process of its own unless torch is loaded in this one.

    Torch would take 350 MiB of a main process that needs it for nothing else. The fork server, which is started for
    this, goes on to serve the workers.

    Raises:
        LmcError: the process was killed, or the function raised one.
        RuntimeError: it raised an error of another kind, which stands there with its traceback.
    """
    if "torch" in sys.modules:
        return function(*arguments)
    context = forkserver()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    with ours, contextlib.suppress(EOFError):
        found: T | Exception = ours.recv()
        if isinstance(found, Exception):
            raise found
        return found
    raise LmcError("a process that was to look at what is missing was killed; if memory ran out, free some")


def _answer(
    connection: multiprocessing.connection.Connection, function: Callable[..., object], arguments: tuple[object]
) -> None:
    prepare_process(1)
    try:
        connection.send(function(*arguments))
    except LmcError as error:
        connection.send(error)
    except Exception as error:
        if out_of_memory(error):
            connection.send(LmcError(f"memory ran out while looking at what is missing ({error}); free some"))
        else:
            failed = f"a process failed while looking at what is missing:\n{traceback.format_exc()}"
            connection.send(RuntimeError(failed))


def prepare_process(threads: int) -> None:
    """Set up a worker process: its arithmetic, Ctrl-C left to the main process, no life after it."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare_arithmetic(threads)
    _exit_with_parent()


def prepare_arithmetic(threads: int) -> None:
    """Set the threads, and flush the denormals of strong decay: they slow a CPU by up to twelve times."""
    import torch

    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, be it Python's, torch's on the CPU (a plain RuntimeError), a GPU's or a new thread's."""
    said = ("allocate memory", "out of memory", "not enough memory", "start new thread")
    return isinstance(error, MemoryError) or any(words in str(error) for words in said)
