"""The store against files that would survive a crash as well, but tell no damage: torch's and plain JSON.

Targets are asserted only where ``LMC_BENCH_STRICT=1``; that what was saved comes back always is.
"""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
from timing import conclude, paired, seconds, sized
from torch import Tensor

from lmc.nets import build
from lmc.store.store import Store

KEY = "0123456789abcdef0123"
ROUNDS = 7
LOG = {"status": "trained", "loss": [0.5] * 100, "seconds": 1.0, "steps": 1200}
WIDTHS = sized((1.0, 4.0), (1 / 64, 1 / 32))


def state_of(width: float) -> dict[str, Tensor]:
    """An untrained MLP of the paper: files do not depend on what the numbers are."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return dict(build("mlp", width, (1, 28, 28), 10).state_dict())


def same(one: dict[str, Tensor] | None, other: dict[str, Tensor]) -> bool:
    return one is not None and one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def describe(width: float) -> str:
    return f"MLP of {round(512 * width)} units, {sum(each.nbytes for each in state_of(width).values()) / 2**20:.1f} MiB"


@pytest.mark.parametrize("width", WIDTHS)
def test_save_model(benchmark: Any, tmp_path: Path, width: float) -> None:
    """Weights with their checksum and a record; both sides reach the disk before they take their name."""
    state, store, path = state_of(width), Store(tmp_path / "store"), tmp_path / "model.pt"

    def ours() -> None:
        store.save_model(KEY, state, LOG)

    def durable() -> None:
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            torch.save({"state": state, "log": LOG}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)

    ratio = paired(benchmark, ours, durable, rounds=ROUNDS)
    assert same(store.load_model(KEY), state)
    assert same(torch.load(path, weights_only=True)["state"], state)
    plain = tmp_path / "plain.pt"
    hasty = statistics.median(seconds(lambda: torch.save(state, plain)) / seconds(ours) for _ in range(ROUNDS))
    facts = {"plain_ratio": hasty}  # torch.save as it is, which a crash may leave empty
    work = f"saving a model, {describe(width)}"
    conclude(benchmark, ratio, work=work, peer="torch.save, fsync, rename", target=0.5, **facts)


@pytest.mark.parametrize("width", WIDTHS)
def test_load_model(benchmark: Any, tmp_path: Path, width: float) -> None:
    """Weights whose checksum is verified against the record's, until they stand in a network: both sides map a file."""
    state, store, path = state_of(width), Store(tmp_path / "store"), tmp_path / "model.pt"
    store.save_model(KEY, state, LOG)
    torch.save(state, path)
    network = build("mlp", width, (1, 28, 28), 10)

    def ours() -> None:
        network.load_state_dict(store.load_model(KEY) or {})

    def mapped() -> None:
        network.load_state_dict(torch.load(path, weights_only=True, mmap=True))

    ratio = paired(benchmark, ours, mapped, rounds=ROUNDS)
    assert same(store.load_model(KEY), state)
    work = f"loading a model, {describe(width)}"
    conclude(benchmark, ratio, work=work, peer="torch.load(weights_only=True, mmap=True)", target=0.7)


@pytest.mark.parametrize("points", sized((11, 101), (11,)))
def test_read_records(benchmark: Any, tmp_path: Path, points: int) -> None:
    """Records as a warm rerun reads them: 200 measurements of a path, each with its checksum."""
    store, keys = Store(tmp_path / "store"), [f"{number:020x}" for number in range(sized(200, 5))]
    point = {"accuracy": 0.9375, "loss": 0.1234567890123, "beta": 1.2345678901234, "calibrated_loss": 0.1112131415161}
    body = {"path": {"lams": [step / (points - 1) for step in range(points)], "points": [point] * points}, "seconds": 1}
    for key in keys:
        store.write("measurements", key, body)

    def ours() -> None:
        assert all(store.read("measurements", key) is not None for key in keys)

    def plain() -> None:
        assert all(json.loads(store.record_path("measurements", key).read_bytes())["body"] for key in keys)

    assert store.read("measurements", keys[0]) == body
    ratio = paired(benchmark, ours, plain, rounds=ROUNDS)
    work = f"reading {len(keys)} records of {store.record_path('measurements', keys[0]).stat().st_size:,} bytes"
    conclude(benchmark, ratio, work=work, peer="json.loads, without a checksum", target=0.25)
