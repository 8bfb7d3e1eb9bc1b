"""Checkpoints: a training that was killed, however often, ends with the bits of an undisturbed one."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_engine import DATASET, MLP, assert_same_states

from lmc.executing.making import Workplace, train_missing, training_block
from lmc.executing.process import prepare_arithmetic
from lmc.specs import RunSpec
from lmc.store import checkpoints as checkpoints_module
from lmc.store.checkpoints import Checkpoint
from lmc.store.store import Store
from lmc.training.engine import TrainedModel, train

DIGITS = RunSpec(dataset="digits", arch="mlp", width=1 / 64, epochs=3, batch_size=50, train_size=300, weight_decay=0.01)
CONV = dataclasses.replace(DIGITS, arch="vgg-small", width=1 / 16, augment=True)
RESNET = dataclasses.replace(DIGITS, arch="resnet8", width=1 / 8)
ADAM: dict[str, Any] = {"optimizer": "adam", "lr": 2e-3}
SOPHIA: dict[str, Any] = {"optimizer": "sophia", "lr": 0.01}
SINGLE: dict[str, Any] = {"init_seed": 5, "data_seed": 6}  # seeds that differ are never stacked

TRAININGS = {
    "mlp-sgd-stack": DIGITS,
    "mlp-bn-adam-stack": dataclasses.replace(DIGITS, arch="mlp-bn", **ADAM),
    "mlp-adam": dataclasses.replace(DIGITS, **ADAM, **SINGLE),
    "mlp-sophia": dataclasses.replace(DIGITS, **SOPHIA, **SINGLE),
    "mlp-sophia-stack": dataclasses.replace(DIGITS, **SOPHIA),
    "vgg-spawned-sophia": dataclasses.replace(CONV, shared_epochs=1, **SOPHIA, **SINGLE),
    "resnet-decoupled-sgd-stack": dataclasses.replace(RESNET, decay="decoupled"),
    "vgg-sgd-stack": CONV,
    "vgg-sgd": dataclasses.replace(CONV, **SINGLE),
    "vgg-plain-sgd": dataclasses.replace(CONV, momentum=0.0, **SINGLE),
    "vgg-adam-bf16": dataclasses.replace(CONV, precision="bf16", **ADAM),
    "resnet-adam-stack": dataclasses.replace(RESNET, **ADAM),
    "resnet-sophia-stack": dataclasses.replace(RESNET, **SOPHIA),
}


def make(root: Path, spec: RunSpec, saved: int, killed: int) -> None:
    """Train ``spec`` with a checkpoint before step ``saved``, and die before step ``killed``, from where it starts."""
    steps = itertools.count()

    def due(_: Checkpoint) -> bool:
        step = next(steps)
        if step == killed:
            os.kill(os.getpid(), signal.SIGKILL)
        return step == saved

    prepare_arithmetic(1)
    checkpoints_module.Checkpoint.due = due  # type: ignore[method-assign, assignment]
    train_missing(training_block(spec, "cpu"), Workplace(root, Path("absent"), "cpu"))


def in_a_process(*arguments: Any) -> int:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lmc.executing.preload"])
    process = context.Process(target=make, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_killed_twice_ends_with_the_same_bits(tmp_path: Path, name: str) -> None:
    """Eighteen steps in three epochs; anywhere in an epoch, and between two."""
    spec, chance = TRAININGS[name], random.Random(name)
    first, second = chance.randint(1, 12), chance.randint(1, 4)
    assert in_a_process(tmp_path / "calm", spec, -1, -1) == 0
    assert in_a_process(tmp_path / "store", spec, first, first + chance.randint(1, 3)) == -signal.SIGKILL
    assert in_a_process(tmp_path / "store", spec, second, second + 1) == -signal.SIGKILL
    store, calm = Store(tmp_path / "store"), Store(tmp_path / "calm")
    assert len(store.keys("checkpoints")) == 1
    assert store.keys("models") == []
    assert in_a_process(store.root, spec, -1, -1) == 0
    block = training_block(spec, "cpu")
    assert len(block) == (6 if "stack" in name else 1)
    for each in block:
        assert store.weights_path(each.key).read_bytes() == calm.weights_path(each.key).read_bytes()
        record, undisturbed = store.read("models", each.key), calm.read("models", each.key)
        assert record is not None
        assert undisturbed is not None
        assert record.pop("resumed") == [first, first + second]
        assert {**record, "seconds": 0} == {**undisturbed, "seconds": 0}
        assert len(record["loss"]) == 3
    assert [path.name for path in (store.root / "checkpoints").rglob("*.*")] == [], "removed with the models finished"
    assert not (calm.root / "checkpoints").exists(), "a short training makes none"


@pytest.mark.parametrize("saved", [0, 6, 12, 17])
@pytest.mark.parametrize("shared", [0, 1, 2], ids=["", "branching-after-6", "branching-after-12"])
def test_every_place_in_an_epoch_serves(tmp_path: Path, saved: int, shared: int) -> None:
    spec = dataclasses.replace(TRAININGS["vgg-sgd"], shared_epochs=shared)
    assert in_a_process(tmp_path / "calm", spec, -1, -1) == 0
    assert in_a_process(tmp_path / "store", spec, saved, saved + 1) == (-signal.SIGKILL if saved < 17 else 0)
    assert in_a_process(tmp_path / "store", spec, -1, -1) == 0
    store, calm = Store(tmp_path / "store"), Store(tmp_path / "calm")
    assert store.weights_path(spec.key).read_bytes() == calm.weights_path(spec.key).read_bytes()


# -- In this process: 23 synthetic images, four steps an epoch. --


class DiedError(Exception):
    pass


def checkpoint_of(store: Store, spec: RunSpec, due: Callable[[int], bool] = lambda _: False) -> Checkpoint:
    """One that is due as ``due`` says of how often it was asked."""
    checkpoint, steps = Checkpoint(store, [spec], "cpu"), itertools.count()
    checkpoint.due = lambda: due(next(steps))  # type: ignore[method-assign]
    return checkpoint


def interrupted(store: Store, spec: RunSpec, epochs: int = 2) -> None:
    """Train, keep a checkpoint of every step, stop after some epochs."""

    def stop(done: int, _: int) -> None:
        if done == epochs:
            raise DiedError

    with pytest.raises(DiedError):
        train(spec, DATASET, on_epoch=stop, checkpoint=checkpoint_of(store, spec, lambda _: True))
    assert len(store.keys("checkpoints")) == 1


def resumed(store: Store, spec: RunSpec) -> TrainedModel:
    return train(spec, DATASET, checkpoint=checkpoint_of(store, spec))


def test_the_log_says_where_it_went_on_and_only_that(tmp_path: Path) -> None:
    store, epochs = Store(tmp_path), list[int]()
    interrupted(store, MLP)
    checkpoint = checkpoint_of(store, MLP)
    trained = train(MLP, DATASET, on_epoch=lambda done, _: epochs.append(done), checkpoint=checkpoint)
    calm = train(MLP, DATASET)
    assert_same_states(trained, calm)
    assert trained.log == {**calm.log, "resumed": [7], "seconds": trained.log["seconds"]}
    assert epochs == [2, 3]
    checkpoint.remove()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_seconds_add_up_over_interruptions(tmp_path: Path) -> None:
    store = Store(tmp_path)
    interrupted(store, MLP)
    (key,) = store.keys("checkpoints")
    record, tensors = store.read("checkpoints", key), store.load_model(key, "checkpoints")
    assert record is not None
    assert tensors is not None
    store.save_model(key, tensors, {**record, "seconds": 1000.0}, "checkpoints")
    assert 1000 < resumed(store, MLP).log["seconds"] < 1100


def test_a_member_of_a_stack_that_diverged_stays_so(tmp_path: Path) -> None:
    spec, store = dataclasses.replace(MLP, lr=1e30, weight_decay=1.0, schedule="constant"), Store(tmp_path)
    saved = checkpoint_of(store, spec, lambda _: True)
    assert train(spec, DATASET, checkpoint=saved).log["status"] == "diverged"
    assert resumed(store, spec).log["loss"] == train(spec, DATASET).log["loss"]


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "record"])
def test_a_damaged_checkpoint_is_said_and_the_training_starts_over(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    interrupted(store, MLP)
    (key,) = store.keys("checkpoints")
    weights, record = store.weights_path(key, "checkpoints"), store.record_path("checkpoints", key)
    content = weights.read_bytes()
    if damage == "flipped":
        weights.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif damage == "cut":
        weights.write_bytes(content[:-1])
    elif damage == "record":
        record.write_bytes(b"{")
    else:
        weights.unlink()
    trained = resumed(store, MLP)
    assert_same_states(trained, train(MLP, DATASET))
    assert "resumed" not in trained.log
    if damage != "gone":
        assert "is damaged" in capsys.readouterr().err


def test_a_checkpoint_that_does_not_fit_spoils_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole, under the right name, and of something else: half of it may be taken over before that shows."""
    store = Store(tmp_path)
    interrupted(store, MLP)
    (key,) = store.keys("checkpoints")
    record, tensors = store.read("checkpoints", key), store.load_model(key, "checkpoints")
    assert record is not None
    assert tensors is not None
    for unfit in ({**tensors, "model.extra": torch.ones(1)}, {**tensors, "generator.0": torch.ones(3)}):
        store.save_model(key, unfit, record, "checkpoints")
        trained = resumed(store, MLP)
        assert "does not fit" in capsys.readouterr().err
        assert "resumed" not in trained.log
        assert_same_states(trained, train(MLP, DATASET))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda spec, _: dataclasses.replace(spec, lr=0.2), id="spec"),
        pytest.param(lambda spec, patch: patch("lmc.specs.RECIPE_VERSION", 10**6) or spec, id="recipe"),
        pytest.param(lambda spec, patch: patch("torch.__version__", "0.1") or spec, id="torch"),
    ],
)
def test_a_checkpoint_of_something_else_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: Callable[..., RunSpec]
) -> None:
    store = Store(tmp_path)
    interrupted(store, MLP)
    spec = dataclasses.replace(other(MLP, monkeypatch.setattr))  # a new object: keys are cached
    trained = resumed(store, spec)
    assert "resumed" not in trained.log
    assert_same_states(trained, train(spec, DATASET))


def test_a_checkpoint_belongs_to_its_device_and_its_neighbours(tmp_path: Path) -> None:
    store = Store(tmp_path)
    interrupted(store, MLP)
    assert Checkpoint(store, [MLP], "cuda")._keys != Checkpoint(store, [MLP], "cpu")._keys
    assert Checkpoint(store, [MLP], "cuda")._keys == Checkpoint(store, [MLP], "cuda:1")._keys
    assert Checkpoint(store, [MLP, MLP.with_seed(1)], "cpu")._keys != Checkpoint(store, [MLP], "cpu")._keys


def test_a_full_disk_leaves_the_last_checkpoint_and_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    interrupted(store, MLP, epochs=1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with monkeypatch.context() as patched:

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patched.setattr(os, "fsync", full)
        trained = train(MLP, DATASET, checkpoint=checkpoint_of(store, MLP, lambda _: True))
    assert_same_states(trained, train(MLP, DATASET))
    assert "free some space" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before
    assert resumed(store, MLP).log["resumed"] == [3]


def test_checkpoints_are_due_by_a_clock_that_never_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock: SimpleNamespace = SimpleNamespace(now=50.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(checkpoints_module, "time", clock)
    checkpoint = Checkpoint(Store(tmp_path), [MLP], "cpu")
    assert not checkpoint.due()
    clock.now += checkpoints_module.EVERY
    assert checkpoint.due()
    state: Any = SimpleNamespace(tensors=lambda: {"a": torch.ones(1)}, facts=lambda: {"step": 1})
    checkpoint.save(state)
    assert not checkpoint.due()
    clock.now += checkpoints_module.EVERY - 1
    assert not checkpoint.due()
    clock.now += 1
    assert checkpoint.due()
    assert checkpoints_module.EVERY < 300
