"""Spawning (App. C): models of one start share a trunk, to the bit, and branch off it by their own seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_engine import DATASET, MLP, VGG, assert_same_states, distance
from torch import Tensor

from lmc.specs import RunSpec, stack_seeds
from lmc.training.engine import train
from lmc.training.state import TrainingState

SPAWNED = dataclasses.replace(MLP, init_seed=6, data_seed=7, epochs=4, shared_epochs=2)
AUGMENTED = dataclasses.replace(SPAWNED, arch=VGG.arch, width=VGG.width, augment=True)
SOPHIA = dataclasses.replace(SPAWNED, optimizer="sophia", lr=0.05)
KINDS = pytest.mark.parametrize("spec", [SPAWNED, AUGMENTED, SOPHIA], ids=["mlp-sgd", "vgg-augmented", "mlp-sophia"])


class Seen:
    """Instead of a checkpoint: keeps the weights before every epoch, of four steps each."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []

    def due(self) -> bool:
        """Asked before every step."""
        return True

    def save(self, state: TrainingState) -> None:
        """Keep them."""
        if state.step % 4 == 0:
            self.weights.append({name: value.clone() for name, value in state.model.state_dict().items()})

    def resumed(self, fresh: Callable[[], TrainingState]) -> TrainingState:
        """There is none."""
        return fresh()


def weights_by_epoch(spec: RunSpec) -> list[dict[str, Tensor]]:
    """Before the first epoch, before the second, and so on to the end."""
    seen: Any = Seen()
    end = train(spec, DATASET, checkpoint=seen).state
    return [*seen.weights, end]


def equal_epochs(one: RunSpec, other: RunSpec) -> list[bool]:
    """Where their weights have the same bits."""
    pairs = zip(weights_by_epoch(one), weights_by_epoch(other), strict=True)
    return [all(torch.equal(value, b[name]) for name, value in a.items()) for a, b in pairs]


@KINDS
def test_siblings_are_equal_up_to_where_they_branch(spec: RunSpec) -> None:
    first, second = dataclasses.replace(spec, data_seed=6), spec
    assert equal_epochs(first, second) == [True, True, True, False, False]
    losses = [train(each, DATASET).log["loss"] for each in (first, second)]
    assert losses[0][:2] == losses[1][:2]
    assert losses[0][2:] != losses[1][2:]


@KINDS
def test_without_a_trunk_siblings_share_their_start_alone(spec: RunSpec) -> None:
    spec = dataclasses.replace(spec, shared_epochs=0)
    assert equal_epochs(dataclasses.replace(spec, data_seed=6), spec) == [True, False, False, False, False]


@KINDS
def test_branches_to_either_side_differ_too(spec: RunSpec) -> None:
    assert equal_epochs(dataclasses.replace(spec, data_seed=8), spec) == [True, True, True, False, False]
    other_trunk = dataclasses.replace(spec, init_seed=5)
    assert equal_epochs(other_trunk, spec) == [False] * 5


@KINDS
def test_the_trunk_goes_on_as_if_nothing_had_branched_off(spec: RunSpec) -> None:
    trunk = dataclasses.replace(spec, data_seed=6)
    assert_same_states(train(trunk, DATASET), train(dataclasses.replace(trunk, shared_epochs=0), DATASET))


def test_siblings_train_alone() -> None:
    """A stack would round their trunk differently."""
    for seed in (6, 7):
        assert list(stack_seeds(dataclasses.replace(SPAWNED, data_seed=seed))) == [6]
    assert distance(train(SPAWNED, DATASET), train(dataclasses.replace(SPAWNED, data_seed=6), DATASET)) > 1e-3
