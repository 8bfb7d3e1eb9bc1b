"""The Ray executor: on a Ray of its own, on a cluster that loses a node, and its errors."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_claim import CLAIM, RECIPE

from lmc.claims.judging import cases
from lmc.errors import DataError, DeviceError, LmcError
from lmc.running.cells import Cell, Workplace
from lmc.running.executors import LocalExecutor
from lmc.running.session import make_missing
from lmc.running.settings import Settings
from lmc.tiers import Family, Setting, Tier
from lmc.training.store import Store

ray = pytest.importorskip("ray", reason="Ray is not installed: tox -e ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

from lmc.running.ray_executor import RayExecutor  # noqa: E402

SOPHIA = replace(RECIPE, optimizer="sophia", lr=0.05, epochs=60)  # trained one by one for two seconds each
MIXED = Tier(
    "tiny",
    tuple(
        Setting(name, "mlp", {"strong": Family(recipe, (1 / 64,))}, min_accuracy=0.0)
        for name, recipe in (("tiny", RECIPE), ("normed", replace(RECIPE, arch="mlp-bn")), ("sophia", SOPHIA))
    ),
    "for tests",
)


def settings_in(folder: Path, **changes: Any) -> Settings:
    base = Settings.resolve({"LMC_HOME": str(folder)}, device="cpu", workers=2)
    return replace(base, **changes)


def contents(folder: Path) -> dict[str, Any]:
    """Every weight bit for bit, and every record but for its times."""
    store = Store(folder / "store")
    found: dict[str, Any] = {}
    for path in sorted((folder / "store").rglob("*")):
        if path.suffix == ".safetensors":
            found[path.stem] = path.read_bytes()
        elif path.suffix == ".json":
            record = store.read(path.parent.parent.name, path.stem)
            assert record is not None
            found[path.stem + " record"] = {k: v for k, v in record.items() if k not in ("seconds", "weights_sha256")}
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the local executor makes of the tier."""
    home = tmp_path_factory.mktemp("local")
    make_missing(cases([CLAIM], MIXED), settings_in(home), LocalExecutor(2))
    return contents(home)


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
    settings = settings_in(tmp_path, executor="ray", ray_address="local")
    made = make_missing(cases([CLAIM], MIXED), settings)
    assert made.counts == {"models": 18, "measurements": 45}
    assert contents(tmp_path) == undisturbed
    assert not ray.is_initialized()


def test_a_node_that_is_lost_alters_nothing(
    tmp_path: Path, undisturbed: dict[str, Any], cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    class LosesANode(RayExecutor):
        def run(self, cells: Any, workplace: Workplace, on_done: Any) -> None:
            def after(cell: Cell) -> None:
                on_done(cell)
                if len(cluster.list_all_nodes()) == 4:
                    time.sleep(0.5)  # by then every node trains the next one
                    cluster.remove_node(cluster.workers[0], allow_graceful=False)

            super().run(cells, workplace, after)

    made = make_missing(cases([CLAIM], MIXED), settings_in(tmp_path), LosesANode(None, 2))
    assert len(made.records) == 45
    assert contents(tmp_path) == undisturbed
    assert len(cluster.list_all_nodes()) == 3
    assert "a task of Ray was lost" in capsys.readouterr().err


RUN = """
import os, sys, time
from pathlib import Path
from lmc.running import ray_executor
from lmc.running.cells import Cell, Workplace
from tiny_claim import RECIPE

def slow(cell, workplace):
    (workplace.store / str(os.getpid())).touch()
    time.sleep(600)

ray_executor._task = ray_executor.ray.remote(slow)
cells = [Cell((RECIPE.with_seed(seed),), 1.0) for seed in range(3)]
ray_executor.RayExecutor("local", 2).run(cells, Workplace(Path(sys.argv[1]), Path("data"), "cpu"), print)
"""


def test_ctrl_c_cancels_what_is_running(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"}
    process = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)], env=environ, stderr=subprocess.PIPE)
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
    """Of a cell, in the words of the local executor; of a device that no node has."""
    place = Workplace(tmp_path / "store", tmp_path / "data", "cpu")
    with pytest.raises(DataError, match="5000") as raised:
        RayExecutor(None, 2).run([Cell((replace(RECIPE, train_size=5000),), 1.0)], place, print)
    assert type(raised.value) is DataError
    with pytest.raises(DeviceError, match="no node of the Ray cluster has a GPU; use 'cpu'"):
        RayExecutor(None, 2).run([Cell((RECIPE,), 1.0)], replace(place, device="cuda"), print)


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "nonsense"])
def test_an_address_that_leads_nowhere(address: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    place = Workplace(tmp_path / "store", tmp_path / "data", "cpu")
    started = time.monotonic()
    with pytest.raises(LmcError, match=r"cannot use the Ray cluster at .*start one with 'ray start --head'"):
        RayExecutor(address.format(port), 2).run([Cell((RECIPE,), 1.0)], place, print)
    assert time.monotonic() - started < 15
