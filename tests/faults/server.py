"""Starts runs by forking a process that has imported everything: a run starts in milliseconds instead of seconds.

What is forked is ``lmc run`` itself, with its own session, and its workers come from a real fork server, which all
runs share. Reads commands as lines of JSON and answers each with a line.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import sys
from multiprocessing import forkserver
from typing import Any


def prepare() -> None:
    """Import what a run does, the tier and its claims too, and leave all that out of garbage collection."""
    import fault_tier  # noqa: F401
    import jinja2  # noqa: F401
    from typer.testing import CliRunner

    import lmc.claims.statistics
    import lmc.commands.cli
    import lmc.commands.finish
    import lmc.executing.preload
    import lmc.executing.progress
    import lmc.executing.supervising
    import lmc.executing.worker
    import lmc.reporting.report

    lmc.executing.supervising.LOOK_EVERY, lmc.executing.worker.SILENT_LOOKS = 0.5, 16  # a job takes a moment here
    lmc.commands.finish.commit = lambda: "unknown"  # git would take longer than the run
    CliRunner().invoke(lmc.commands.cli.app, ["claims"])  # imports what the command line does
    gc.freeze()


def serve() -> dict[str, Any] | None:
    """Obey until the input ends; returns only in a forked run, with what it is to do."""
    prepare()
    server = forkserver._forkserver
    server.set_forkserver_preload(["lmc.executing.preload", "fault_hooks", "fault_tier"])
    server.ensure_running()
    answer = print
    answer(json.dumps({"server": server._forkserver_pid}), flush=True)  # type: ignore[attr-defined]
    for line in sys.stdin:
        command = json.loads(line)
        if "poll" in command:
            pid, status = os.waitpid(command["poll"], os.WNOHANG)
            answer(json.dumps({"status": os.waitstatus_to_exitcode(status) if pid else None}), flush=True)
            continue
        pid = os.fork()
        if not pid:
            server.ensure_running = lambda: None  # type: ignore[method-assign] # its parent is another process
            return command
        answer(json.dumps({"pid": pid}), flush=True)
    return None


def run(command: dict[str, Any]) -> None:
    """Become the run."""
    from lmc.commands.cli import main

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = os.open(command["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ |= command["environ"]
    sys.argv = ["lmc", *command["arguments"]]
    fault_hooks.begin()
    atexit.register(gc.unfreeze)  # or extension modules complain of what was never freed
    main()


if __name__ == "__main__":
    if sys.argv[1:]:  # a run of its own, with nothing shared: for what a fork server must survive, and for times
        from lmc.commands.cli import main

        main()
    else:
        import fault_hooks

        found = serve()
        if found is not None:
            run(found)
