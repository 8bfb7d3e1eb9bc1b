"""What a process that makes jobs does before its first one, and how it tells what it could not finish."""

from __future__ import annotations

import os


class LostError(Exception):
    """What was to be made is lost with the process that was making it; another may make it."""


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
    import multiprocessing
    import multiprocessing.connection
    import threading

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
