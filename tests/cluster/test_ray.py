"""The Ray executor: on a Ray of its own, on a cluster that loses a node, its driver or a task, and its errors."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness import content, finished
from tiny_claim import CLAIM, RECIPE

from lmc.claims.cases import cases
from lmc.errors import DataError, DeviceError, LmcError
from lmc.executing import supervising
from lmc.executing.costs import Processor, host_bytes
from lmc.executing.jobs import Job, TrainingJob
from lmc.executing.local import LocalExecutor
from lmc.executing.making import Workplace
from lmc.executing.session import make_missing
from lmc.executing.settings import Settings
from lmc.executing.supervising import unheeded
from lmc.store import leases
from lmc.store.store import Store
from lmc.store.upkeep import prunable
from lmc.tiers import Family, Setting, Tier

ray = pytest.importorskip("ray", reason="Ray is not installed: tox -e ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

from lmc.executing import ray_executor  # noqa: E402
from lmc.executing.ray_executor import Pulses, RayExecutor  # noqa: E402

MANY = int(os.environ.get("LMC_FAULT_POINTS") or 0)
PATIENCE = 30.0
"""Seconds within which tasks have to be gone whose node, driver or use is."""
OF_RAY = 120.0
"""Likewise processes of Ray itself: its agents tell its control store first, for at most 60 s, though it is dead."""
SOPHIA = replace(RECIPE, optimizer="sophia", lr=0.05, epochs=60)  # trained one by one for two seconds each
MIXED = Tier(
    "tiny",
    tuple(
        Setting(name, {"strong": Family(recipe, (1 / 64,))}, min_accuracy=0.0)
        for name, recipe in (("tiny", RECIPE), ("normed", replace(RECIPE, arch="mlp-bn")), ("sophia", SOPHIA))
    ),
    "for tests",
)


def settings_in(folder: Path, **changes: Any) -> Settings:
    base = Settings.resolve({"LMC_HOME": str(folder)}, device="cpu", workers=2)
    return replace(base, **changes)


def with_tests() -> dict[str, str]:
    """An environment in which the modules of tests can be imported."""
    tests = Path(__file__).parents[1]
    folders = [Path(__file__).parent, tests, tests / "faults", os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}


def make(folder: Path, executor: Any = None) -> dict[str, int]:
    """Make what is missing, by Ray; how much was."""
    settings = settings_in(folder, executor="ray", ray_address="local")
    return make_missing(cases([CLAIM], MIXED), settings, executor).counts


def check(folder: Path, undisturbed: dict[str, Any], kept: dict[Path, Any]) -> None:
    """A run has ended: all is as if nothing had happened, and what was finished before has not been touched."""
    assert list(folder.glob("store/leases/*")) == [], "a lease remains"
    made = finished(folder)
    assert {path: made.get(path) for path in kept} == kept
    for paths in prunable(Store(folder / "store")).values():  # half-written files of the dead: lmc store prune
        for path in paths:
            path.unlink()
    found = content(folder)
    assert found.keys() == undisturbed.keys()
    assert [name for name in found if found[name] != undisturbed[name]] == []
    assert make(folder) == {"models": 0, "measurements": 0}
    assert finished(folder) == made


def holders(folder: Path, names: str = "*") -> set[int]:
    """The processes that hold leases of the store; of tasks alone where ``names`` is ``task-*``."""
    found = set()
    for path in folder.glob(f"store/leases/{names}"):
        try:
            found.add(json.loads(path.read_bytes()[12:])["process"])
        except (OSError, ValueError):
            continue  # gone, or not yet written
    return found


def first_holders(folder: Path, names: str = "*") -> set[int]:
    end = time.monotonic() + 120
    while not (found := holders(folder, names)) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def left_of(pids: Iterable[int], patience: float = PATIENCE) -> list[int]:
    """Which of some processes are not gone after so many seconds."""
    pids, end = list(pids), time.monotonic() + patience
    while (left := [pid for pid in pids if lives(pid)]) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the local executor makes of the tier."""
    home = tmp_path_factory.mktemp("local")
    make_missing(cases([CLAIM], MIXED), settings_in(home), LocalExecutor(2))
    return content(home)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without cores, three nodes of one core each, and this process connected to them."""
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        made.workers = [made.add_node(num_cpus=1) for _ in range(3)]
        made.wait_for_nodes()
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def test_the_same_bits_as_the_local_executor(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    assert make(tmp_path) == {"models": 18, "measurements": 45}
    check(tmp_path, undisturbed, {})
    assert not ray.is_initialized()


@pytest.mark.parametrize("seed", range(2 + MANY // 60))
def test_a_node_that_is_lost_alters_nothing(
    seed: int, tmp_path: Path, undisturbed: dict[str, Any], cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of three, after a random number of models and measurements and a random time more."""
    chance = random.Random(seed)
    node, pieces_before, wait = chance.choice(cluster.workers), chance.randrange(40), chance.random()
    kept: dict[Path, Any] = {}
    of_the_node: list[psutil.Process] = []
    made_something = False

    class LosesANode(RayExecutor):
        def run(self, jobs: Any, workplace: Workplace, on_done: Any, on_start: Any = unheeded) -> None:
            done = 0

            def after(job: Job) -> None:
                nonlocal done, made_something
                on_done(job)
                done += len(job.makes)
                if done > pieces_before and not of_the_node:
                    time.sleep(wait)
                    kept.update(finished(tmp_path))
                    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
                    of_the_node.extend(raylet.children(recursive=True))
                    for each in of_the_node:
                        each.suspend()  # so that what it was making is known
                    made_something = not holders(tmp_path).isdisjoint(each.pid for each in of_the_node)
                    cluster.remove_node(node, allow_graceful=False)
                    for each in of_the_node:  # as all processes of a machine go with it
                        with contextlib.suppress(psutil.NoSuchProcess):
                            each.kill()

            super().run(jobs, workplace, after, on_start)

    assert make(tmp_path, LosesANode(None, 2)) == {"models": 18, "measurements": 45}
    assert len(cluster.list_all_nodes()) == 3
    assert of_the_node
    assert not left_of((each.pid for each in of_the_node), OF_RAY), "workers outlive their node"
    assert kept
    check(tmp_path, undisturbed, kept)
    if made_something:
        assert "a task of Ray was lost" in capsys.readouterr().err


DRIVER = """
import sys
from pathlib import Path
from test_ray import make
from lmc.executing.ray_executor import RayExecutor

make(Path(sys.argv[1]), RayExecutor(sys.argv[2], 2))
"""


@pytest.mark.parametrize("seed", range(1 + MANY // 60))
@pytest.mark.parametrize("own", [True, False], ids=["own", "cluster"])
def test_a_driver_that_is_killed(
    own: bool, seed: int, tmp_path: Path, undisturbed: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    """Its tasks go, and so does all of Ray that it started; a rerun takes up what they held."""
    address = "local" if own else request.getfixturevalue("cluster").address
    process = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path), address], env=with_tests())
    assert first_holders(tmp_path, "task-*")
    time.sleep(3 * random.Random(seed).random())
    process.send_signal(signal.SIGSTOP)
    tasks = first_holders(tmp_path, "task-*")
    started = {each.pid for each in psutil.Process(process.pid).children(recursive=True)}
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    assert tasks
    assert (tasks <= started) == own
    assert not left_of(tasks), "tasks outlive the driver"
    assert not left_of(started, OF_RAY), "Ray outlives the driver that started it"
    kept = finished(tmp_path)
    make(tmp_path, RayExecutor("local", 2))
    check(tmp_path, undisturbed, kept)


def test_a_task_that_hangs(
    tmp_path: Path,
    undisturbed: dict[str, Any],
    cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its process is stopped: it is killed, though the cluster lives on, and what it was making is made again."""
    monkeypatch.setattr(supervising, "LOOK_EVERY", 1.0)
    monkeypatch.setattr(ray_executor, "SILENT_LOOKS", 40)  # longer than two beats
    stopped: list[int] = []

    def stop() -> None:
        stopped.extend(sorted(first_holders(tmp_path, "task-*"))[:1])
        os.kill(stopped[0], signal.SIGSTOP)

    thread = threading.Thread(target=stop)
    thread.start()
    make(tmp_path, RayExecutor(None, 2))
    thread.join()
    assert capsys.readouterr().err.count("a task of Ray hung and was cancelled") == 1
    assert not left_of(stopped)
    check(tmp_path, undisturbed, {})


def test_a_lease_that_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was never seen is that of a task which waits; one that is gone counts no more either."""
    monkeypatch.setattr(ray_executor, "SILENT_LOOKS", 3)
    pulses = Pulses(tmp_path)
    assert not any(pulses.silent("task") for _ in range(9))
    with leases.Leases(tmp_path).claim(["task"]):
        assert [pulses.silent("task") for _ in range(4)] == [False, False, False, True]
    monkeypatch.setattr(leases, "BEAT", 0.02)
    with leases.Leases(tmp_path).claim(["task"]):
        for _ in range(9):
            assert not pulses.silent("task")
            time.sleep(0.2)
    assert [pulses.silent("task") for _ in range(3)][-1]


def test_what_a_task_asks_for() -> None:
    """Never more memory than a node has; a lost one a GPU of its own."""
    job = TrainingJob((RECIPE,), 1.0)
    wide = TrainingJob((replace(RECIPE, dataset="cifar10", arch="vgg11", width=8.0),), 1.0)

    def asked(job: Job, device: str, most: float = 1e15, *, alone: bool = False, gpu: float = 80e9) -> tuple[Any, ...]:
        options = ray_executor._options(job, device, most, Processor(bytes=gpu), alone=alone)
        return options["num_cpus"], options["num_gpus"], options["memory"]

    assert asked(job, "cpu") == (1, 0, int(host_bytes([job.work], "cpu")))
    assert asked(job, "cuda") == (1, 0.25, int(host_bytes([job.work], "cuda")))
    assert asked(job, "cuda", alone=True)[1] == 1
    assert asked(wide, "cuda")[1] > 0.5
    assert asked(job, "cuda", gpu=1e9)[1] > 0.25, "a share of a smaller GPU is more of it"
    assert asked(wide, "cpu")[2] > asked(job, "cpu")[2]
    assert asked(wide, "cpu", 1e9) == (1, 0, 10**9)


RUN = """
import os, sys, time
from pathlib import Path
from lmc.executing import ray_executor
from lmc.executing.jobs import TrainingJob
from lmc.executing.making import Workplace
from tiny_claim import RECIPE

def slow(job, workplace, name):
    (workplace.store / str(os.getpid())).touch()
    time.sleep(600)

ray_executor._task = ray_executor.ray.remote(slow)
jobs = [TrainingJob((RECIPE.with_seed(seed),), 1.0) for seed in range(3)]
ray_executor.RayExecutor("local", 2).run(jobs, Workplace(Path(sys.argv[1]), Path("data"), "cpu"), print)
"""


GPUS = """
import os, sys, time
from pathlib import Path
import ray
from lmc.executing import ray_executor
from lmc.executing.jobs import TrainingJob
from lmc.executing.making import Workplace
from tiny_claim import RECIPE

def look(job, workplace, name):
    gpu = os.environ["CUDA_VISIBLE_DEVICES"]
    os.environ.setdefault("FIRST_GPU", gpu)
    with open(workplace.store / f"{job.specs[0].init_seed}", "w") as file:
        file.write(f"{os.getpid()} {os.environ['FIRST_GPU']} {gpu}")
    time.sleep(0.2)

ray.init(num_cpus=4, num_gpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)
ray_executor._gpu_task._function = look
jobs = [TrainingJob((RECIPE.with_seed(seed),), 1.0) for seed in range(12)]
ray_executor.RayExecutor("local", 4).run(jobs, Workplace(Path(sys.argv[1]), Path("data"), "cuda"), lambda *_: None)
"""


def test_no_process_moves_from_one_gpu_to_another(tmp_path: Path) -> None:
    """On two GPUs that are declared and absent: Ray tells processes which is theirs, and nothing is computed."""
    subprocess.run([sys.executable, "-c", GPUS, str(tmp_path)], env=with_tests(), check=True, timeout=240)
    seen = [path.read_text().split() for path in tmp_path.iterdir() if path.is_file()]
    assert len(seen) == 12
    assert {gpu for _, _, gpu in seen} == {"0", "1"}
    assert all(first == now for _, first, now in seen)


def test_ctrl_c_cancels_what_is_running(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)], env=with_tests(), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    running = [path.name for path in tmp_path.iterdir()]
    assert len(running) == 2
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    deadline = time.monotonic() + 10
    while any(Path("/proc", each).exists() for each in running) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path("/proc", each).exists() for each in running)


def test_errors(tmp_path: Path, cluster: Any) -> None:
    """Of a job, in the words of the local executor; of a device that no node has."""
    place = Workplace(tmp_path / "store", tmp_path / "data", "cpu")
    with pytest.raises(DataError, match="5000") as raised:
        RayExecutor(None, 2).run([TrainingJob((replace(RECIPE, train_size=5000),), 1.0)], place, print)
    assert type(raised.value) is DataError
    with pytest.raises(DeviceError, match="no node of the Ray cluster has a GPU; use 'cpu'"):
        RayExecutor(None, 2).run([TrainingJob((RECIPE,), 1.0)], replace(place, device="cuda"), print)


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "nonsense"])
def test_an_address_that_leads_nowhere(address: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    place = Workplace(tmp_path / "store", tmp_path / "data", "cpu")
    started = time.monotonic()
    with pytest.raises(LmcError, match=r"cannot use the Ray cluster at .*start one with 'ray start --head'"):
        RayExecutor(address.format(port), 2).run([TrainingJob((RECIPE,), 1.0)], place, print)
    assert time.monotonic() - started < 15
