"""Jobs as tasks of a Ray cluster whose nodes share the folders of store and data. Imported only where it is asked for.

A task that is lost with its node is asked for again. One whose work turns out to be another's, be it a dead node's
whose lease has not run out, ends without making it; `lmc.executing.session.make_missing` then waits and asks again.

While it runs, a task also holds a lease of its own name. One whose lease counts no more hangs: its process is stopped,
or waits for a dead disk. It is cancelled and asked for again.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from lmc.errors import DeviceError, LmcError
from lmc.executing.costs import ASSUMED, Processor, gpu_share, host_bytes
from lmc.executing.devices import CPU, device_memories
from lmc.executing.jobs import Job
from lmc.executing.making import Workplace
from lmc.executing.process import LostError, out_of_memory, prepare_arithmetic
from lmc.executing.supervising import OnJob, supervise, unheeded
from lmc.store.leases import Leases

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else a warning for every task without a GPU

try:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as missing:
    raise LmcError(f"executor 'ray' needs Ray ({missing}): pip install 'lmc[ray]', or use 'local'") from None

SILENT_LOOKS = 24
"""A task whose lease stood still over so many looks hangs, which is as long as makes a lease dead (see
`lmc.store.leases`), but in looks instead of seconds, so that a driver which was stopped itself blames no task."""
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
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

    def run(self, jobs: Sequence[Job], workplace: Workplace, on_done: OnJob, on_start: OnJob = unheeded) -> None:
        """See `lmc.executing.supervising.Executor`; Ctrl-C cancels what is running.

        Raises:
            DeviceError: CUDA is asked for and no node has a GPU.
        """
        with _connected(self.address, self.workers):
            supervise(jobs, _Tasks(workplace), on_done, on_start)


class _Tasks:
    """Tasks of the cluster this process is connected to, see `lmc.executing.supervising.Backend`.

    A number is a place at Ray, not a node: there are twice as many as cores, so that as many tasks again wait there,
    ready to start.
    """

    attempts = 5  # as nodes of a cluster come and go

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        self._most_memory = _check_nodes(workplace.device)
        self._smallest = _smallest_gpu() if workplace.device != CPU else ASSUMED
        self.devices = range(2 * int(ray.cluster_resources().get("CPU", 1)))
        self._pulses = Pulses(workplace.store)
        self._tasks: dict[int, tuple[Any, str, Job]] = {}
        self._lost: set[str] = set()

    def share(self, _: Job) -> float:
        return 1.0

    def start(self, number: int, job: Job) -> None:
        options = _options(
            job, self._workplace.device, self._most_memory, self._smallest, alone=job.makes[0] in self._lost
        )
        name = f"task-{os.urandom(8).hex()}"
        task = _gpu_task if options["num_gpus"] else _task
        self._tasks[number] = task.options(**options).remote(job, self._workplace, name), name, job

    def wait(self, busy: Collection[int], seconds: float) -> Collection[int]:
        refs = {self._tasks[number][0]: number for number in busy}
        ended, _ = ray.wait(list(refs), num_returns=1, timeout=seconds)
        return [refs[ref] for ref in ended]

    def finish(self, number: int) -> None:
        ref, name, _ = self._tasks[number]
        self._pulses.forget(name)
        _result(ref)
        del self._tasks[number]

    def hangs(self, number: int) -> str:
        silent = self._pulses.silent(self._tasks[number][1])
        return "a task of Ray hung and was cancelled" if silent else ""

    def give_up(self, number: int) -> None:
        ref, name, job = self._tasks.pop(number)
        self._lost.add(job.makes[0])
        ray.cancel(ref, force=True)
        self._pulses.forget(name)

    def close(self) -> None:
        for ref, name, _ in self._tasks.values():
            ray.cancel(ref, force=True)
            self._pulses.forget(name)


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
    if device != CPU and not any(node.get("GPU") for node in nodes):
        raise DeviceError(f"device {device!r} was asked for, but no node of the Ray cluster has a GPU; use 'cpu'")
    return max(float(node.get("memory", 0.0)) for node in nodes)


def _smallest_gpu() -> Processor:
    """The GPU of the cluster with the least memory: Ray gives a task a share of any.

    Every node with a GPU is asked. One that does not answer, because its GPUs are taken, counts as what is assumed.
    """
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    asked = [
        _memories.options(scheduling_strategy=NodeAffinitySchedulingStrategy(each, soft=False)).remote()
        for each in nodes
    ]
    ended, waiting = ray.wait(asked, num_returns=len(asked), timeout=_ANSWER_SECONDS)
    for ref in waiting:
        ray.cancel(ref, force=True)
    found = []
    for ref in ended:
        with contextlib.suppress(ray.exceptions.RayError):
            found += ray.get(ref)
    return Processor(bytes=min([*found, ASSUMED.bytes] if waiting else found or [ASSUMED.bytes]))


def _gpu_memories() -> list[float]:
    return list(device_memories("cuda").values())


_memories = ray.remote(num_cpus=0, num_gpus=0.01, max_calls=1)(_gpu_memories)


def _options(job: Job, device: str, most_memory: float, smallest: Processor, *, alone: bool) -> dict[str, Any]:
    share = 0.0 if device == CPU else 1.0 if alone else round(gpu_share(job.work, smallest), 4)
    return {
        "num_cpus": 1,
        "num_gpus": share,
        "memory": int(min(host_bytes([job.work], device), most_memory)),
        "max_retries": 0,  # Ray would repeat for ever what no node has the memory for, and say nothing
        "runtime_env": {"env_vars": {"OMP_WAIT_POLICY": "PASSIVE"}},  # has to stand before torch is imported
    }


def _make(job: Job, workplace: Workplace, name: str) -> None:
    try:
        with Leases(workplace.store).claim([name]):
            prepare_arithmetic(1, workplace.device)
            job.make(workplace)
    except Exception as error:
        if out_of_memory(error):
            raise LostError(f"{workplace.device} ran out of memory") from None
        raise


_task = ray.remote(_make)
_gpu_task = ray.remote(max_calls=1)(_make)
"""In a process of its own: one that has used a GPU cannot turn to another, and Ray gives it whichever is free."""


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
