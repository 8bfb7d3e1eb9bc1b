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

from lmc.console import accept_any_console
from lmc.errors import LmcError
from lmc.executing.devices import CPU

T = TypeVar("T")


class LostError(Exception):
    """What was to be made is lost with the process that was making it; another may make it."""


Context = multiprocessing.context.ForkServerContext | multiprocessing.context.SpawnContext


def starting() -> Context:
    """What starts processes: a fork server, whose processes share all which `lmc.executing.preload` imports.

    Where there is none, as on Windows, every process imports that for itself.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve other workers; read by torch's import
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lmc.executing.preload"])
    return context


def aside(function: Callable[..., T], *arguments: object) -> T:
    """What ``function`` returns, computed in a process of its own unless torch is loaded in this one.

    Torch would take 350 MiB of a main process that needs it for nothing else. A fork server that is started for this
    goes on to serve the workers.

    Raises:
        LmcError: the process was killed, or the function raised one.
        RuntimeError: it raised an error of another kind, which stands there with its traceback.
    """
    if "torch" in sys.modules:
        return function(*arguments)
    context = starting()
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


def prepare_process(threads: int, device: str = CPU) -> None:
    """Set up a worker process: its device and arithmetic, Ctrl-C left to the main process, no life after it."""
    import signal

    accept_any_console()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare_arithmetic(threads, device)
    _exit_with_parent()


def prepare_arithmetic(threads: int, device: str = CPU) -> None:
    """Set the threads and the device, and flush the denormals of strong decay: they slow a CPU by up to twelve times.

    The device becomes torch's current one: what is recorded or allocated without naming a device belongs there too.
    """
    import torch

    if ":" in device and torch.accelerator.is_available():  # else the first tensor that is put there says so
        torch.accelerator.set_device_index(int(device.partition(":")[2]))
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
