"""Cells as tasks of a Ray cluster whose nodes share the folders of store and data. Imported only where it is asked for.

A task that is lost with its node is asked for again. One whose cell turns out to be another's, be it a dead node's
whose lease has not run out, ends without making it; `lmc.executing.session.make_missing` then waits and asks again.

While it runs, a task also holds a lease of its own name. One whose lease counts no more hangs: its process is stopped,
or waits for a dead disk. It is cancelled and asked for again.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lmc.errors import DeviceError, LmcError
from lmc.executing.costs import gpu_share, host_bytes
from lmc.executing.jobs import Cell, Workplace, make_cell, prepare_arithmetic
from lmc.executing.local import OnDone, note_lost
from lmc.executing.schedule import Queue
from lmc.executing.worker import LostError, out_of_memory
from lmc.store.leases import Leases

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else a warning for every task without a GPU

try:
    import ray
except ImportError as missing:
    raise LmcError(f"executor 'ray' needs Ray ({missing}): pip install 'lmc[ray]', or use 'local'") from None

ATTEMPTS = 5
"""So often a cell may be begun, as nodes of a cluster come and go."""
LOOK_EVERY = 5.0
"""Seconds between two looks at the leases of tasks."""
SILENT_LOOKS = 24
"""A task whose lease stood still over so many looks hangs, which is as long as makes a lease dead (see
`lmc.store.leases`), but in looks instead of seconds, so that a driver which was stopped itself blames no task."""
_CONNECT_SECONDS = 10.0
_OBJECT_STORE_BYTES = 100 << 20  # tasks pass nothing but specs


class RayExecutor:
    """Tasks that ask for one core, their memory and a share of a GPU.

    A task that is deadlocked while its lease is still counted on (by a thread of its own) is not told from a slow one,
    nor is one that hangs before it holds that lease told from one that waits for a core.

    Args:
        address: of the cluster, ``host:port``, ``ray://host:port`` or ``auto``; ``None`` takes ``RAY_ADDRESS``
            or starts Ray on this machine.
        workers: cores of a Ray started here.
    """

    def __init__(self, address: str | None, workers: int) -> None:
        self.address = address or os.environ.get("RAY_ADDRESS") or "local"
        self.workers = workers

    def run(self, cells: Sequence[Cell], workplace: Workplace, on_done: OnDone) -> None:
        """See `lmc.executing.local.Executor`; Ctrl-C cancels what is running.

        Raises:
            DeviceError: CUDA is asked for and no node has a GPU.
        """
        if not cells:
            return
        tasks: dict[Any, tuple[int, str]] = {}
        pulses = Pulses(workplace.store)
        look = time.monotonic() + LOOK_EVERY
        lost: Counter[str] = Counter()
        with _connected(self.address, self.workers):
            most_memory = _check_nodes(workplace.device)
            cores = int(ray.cluster_resources().get("CPU", 1))
            queue = Queue(cells, range(2 * cores), lambda _: 1.0)  # as many again wait at Ray, ready to start
            try:
                while True:
                    while (found := queue.take()) is not None:
                        number, cell = found
                        options = _options(cell, workplace.device, most_memory, alone=cell.makes[0] in lost)
                        name = f"task-{os.urandom(8).hex()}"
                        ref = _task.options(**options).remote(cell, workplace, name)
                        tasks[ref] = number, name
                    if not tasks:
                        return
                    timeout = max(0.0, look - time.monotonic())
                    ended, running = ray.wait(list(tasks), num_returns=1, timeout=timeout)
                    hung: list[Any] = []
                    if time.monotonic() >= look:
                        hung = [ref for ref in running if pulses.silent(tasks[ref][1])]
                        look = time.monotonic() + LOOK_EVERY
                    for ref in [*ended, *hung]:
                        number, name = tasks.pop(ref)
                        pulses.forget(name)
                        try:
                            if ref in hung:
                                ray.cancel(ref, force=True)
                                raise LostError("a task of Ray hung and was cancelled")
                            _result(ref)
                        except LostError as error:
                            note_lost(queue.put_back(number), str(error), lost, ATTEMPTS)
                        else:
                            on_done(queue.done(number))
            finally:
                for ref, (_, name) in tasks.items():
                    ray.cancel(ref, force=True)
                    pulses.forget(name)


class Pulses:
    """The leases that tasks hold while they run.

    Args:
        store: the folder of the store that they are in.
    """

    def __init__(self, store: Path) -> None:
        self.folder = Leases(store).folder
        self._seen: dict[str, tuple[bytes, int]] = {}

    def silent(self, name: str) -> bool:
        """Whether a lease has stood still for `SILENT_LOOKS`, this one included; not where it has never been seen."""
        before, looks = self._seen.get(name, (b"", 0))
        content = before
        with contextlib.suppress(OSError):  # one that another host took for dead and removed stands still as well
            content = (self.folder / name).read_bytes()
        self._seen[name] = (content, looks + 1) if content and content == before else (content, 0)
        return self._seen[name][1] >= SILENT_LOOKS

    def forget(self, name: str) -> None:
        """Remove a lease that its task has not: one that is lost with another host would otherwise stand for long."""
        self._seen.pop(name, None)
        with contextlib.suppress(OSError):
            (self.folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _connected(address: str, workers: int) -> Iterator[None]:
    """Use the Ray this process is connected to, or connect meanwhile."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address == "local":
            own = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
            ray.init(address=address, **own, **quiet)
        else:
            _check_reachable(address)
            ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise LmcError(
            f"cannot use the Ray cluster at {address!r}: {error}; start one with 'ray start --head' and give its "
            "address (--lmc-ray-address or LMC_RAY_ADDRESS), or 'local' to start one here"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself tries for more than a minute, and then ends the process."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()


def _check_nodes(device: str) -> float:
    """The largest node's memory for tasks: more must not be asked for, or a task would wait for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if device != "cpu" and not any(node.get("GPU") for node in nodes):
        raise DeviceError(f"device {device!r} was asked for, but no node of the Ray cluster has a GPU; use 'cpu'")
    return max(float(node.get("memory", 0.0)) for node in nodes)


def _options(cell: Cell, device: str, most_memory: float, *, alone: bool) -> dict[str, Any]:
    share = 0.0 if device == "cpu" else 1.0 if alone else round(gpu_share(cell), 4)
    return {
        "num_cpus": 1,
        "num_gpus": share,
        "memory": int(min(host_bytes([cell], device), most_memory)),
        "max_retries": 0,  # Ray would repeat for ever what no node has the memory for, and say nothing
        "runtime_env": {"env_vars": {"OMP_WAIT_POLICY": "PASSIVE"}},  # has to stand before torch is imported
    }


def _make(cell: Cell, workplace: Workplace, name: str) -> None:
    try:
        with Leases(workplace.store).claim([name]):
            prepare_arithmetic(1)
            make_cell(cell, workplace)
    except Exception as error:
        if out_of_memory(error):
            raise LostError(f"{workplace.device} ran out of memory") from None
        raise


_task = ray.remote(_make)


def _result(ref: Any) -> None:
    try:
        ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, (LmcError, LostError)):
            raise error.cause from None
        raise RuntimeError(f"a task of Ray failed:\n{error}") from None
    except ray.exceptions.OutOfMemoryError:
        raise LostError("a node of Ray ran out of memory") from None
    except ray.exceptions.RayError as error:
        raise LostError(f"a task of Ray was lost ({type(error).__name__})") from None
