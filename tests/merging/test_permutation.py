"""Permutation symmetry: the specification is traced, and keeps the function."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from traced_nets import OTHERS, SAMPLE, SPEC, WIDTHS, assert_equal, made

from lmc.merging.channel_groups import Axis
from lmc.merging.permutation_spec import PermutationSpec, compose, invert, permute, random_permutations, verify
from lmc.merging.tracing import trace_permutation_spec

quick = settings(deadline=None, max_examples=25, derandomize=True)
few = settings(deadline=None, max_examples=10, derandomize=True)
seeds = st.integers(0, 2**31 - 1)

NAMES = [*WIDTHS, *OTHERS]
GROUPS = {"mlp": 3, "mlp-bn": 3, "mlp-skip": 1, "vgg-small": 4, "vgg11": 8, "resnet8": 6, "resnet20": 12}


def outputs(model: nn.Module, state: dict[str, Tensor], images: Tensor) -> Tensor:
    wide = {key: tensor.double() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    return torch.func.functional_call(model.eval(), wide, (images.double(),))


@cache
def traced(name: str) -> PermutationSpec:
    return trace_permutation_spec(*made(name))


@pytest.mark.parametrize("name", NAMES)
@few
@given(seeds, seeds)
def test_a_random_permutation_keeps_the_function(name: str, weights: int, order: int) -> None:
    (model, images), spec = made(name, weights), traced(name)
    state = model.state_dict()
    permutations = random_permutations(spec, order)
    moved = permute(state, spec, permutations)
    moves = any(not torch.equal(each, each.sort().values) for each in permutations.values())
    assert moves == any(not torch.equal(moved[key], state[key]) for key in state)
    expected = outputs(model, state, images)
    torch.testing.assert_close(outputs(model, moved, images), expected, rtol=1e-9, atol=1e-9)
    verify(model, state, spec, permutations, images)


@pytest.mark.parametrize("name", WIDTHS)
def test_all_hidden_channels_are_found(name: str) -> None:
    model, images = made(name)
    spec = trace_permutation_spec(model, images)
    assert len(spec.groups) == GROUPS[name]
    assert set(spec.axes) == set(model.state_dict())
    assert spec.buffers == set(dict(model.named_buffers()))
    fixed = [key for key, labels in spec.axes.items() if labels and not any(labels)]
    assert fixed == ["head.bias"]


@pytest.mark.parametrize("name", OTHERS)
def test_groups_of_other_modules(name: str) -> None:
    model, images = made(name)
    assert trace_permutation_spec(model, images).groups == OTHERS[name][1]


def test_axes_behind_a_flatten_and_a_depthwise_convolution() -> None:
    model, images = made("functional")
    axes = trace_permutation_spec(model, images).axes
    assert axes["depthwise.weight"] == (Axis("conv", 2), None, None, None)
    assert axes["dense.weight"] == (Axis("dense"), Axis("conv", 2 * 2 * 2))
    model, images = made("block-order")
    axes = trace_permutation_spec(model, images).axes
    assert axes["dense.weight"] == (Axis("conv", 16), Axis("conv", 16))
    assert axes["norm.running_var"] == (Axis("conv", 16),)


def test_channels_added_to_the_input_stay_fixed() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = nn.Linear(5, 7), nn.Linear(7, 5)

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs + self.outer(F.relu(self.inner(inputs)))

    spec = trace_permutation_spec(Skip(), torch.randn(2, 5))
    assert spec.groups == {"inner": 7}
    assert spec.axes["outer.weight"] == (None, Axis("inner"))


def test_tracing_changes_nothing() -> None:
    model, images = made("sequential")
    model.train()
    model[6].eval()
    before, kept = {key: tensor.clone() for key, tensor in model.state_dict().items()}, images.clone()
    trace_permutation_spec(model, images)  # with an in-place ReLU
    assert torch.equal(images, kept)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert [layer.training for layer in model.children()] == [name != "6" for name, _ in model.named_children()]


@quick
@given(seeds, seeds)
def test_permutations_form_a_group(one: int, other: int) -> None:
    model, _ = SAMPLE
    state = model.state_dict()
    p, q = random_permutations(SPEC, one), random_permutations(SPEC, other)
    twice = permute(permute(state, SPEC, q), SPEC, p)
    assert_equal(permute(state, SPEC, compose(p, q)), twice)
    assert_equal(permute(permute(state, SPEC, p), SPEC, invert(p)), state)
    assert_equal(permute(state, SPEC, compose(invert(p), p)), state)
    assert_equal(random_permutations(SPEC, one), p)


def test_permute_returns_a_copy_of_the_same_types() -> None:
    model, images = made("resnet8")
    spec = trace_permutation_spec(model, images)
    state = model.half().state_dict()
    moved = permute(state, spec, random_permutations(spec, 0))
    for key, tensor in moved.items():
        assert tensor.dtype == state[key].dtype
        assert tensor.data_ptr() != state[key].data_ptr()


def test_constants_and_unsaved_buffers_fix_what_they_are_added_to() -> None:
    """They are no part of the state dict, so nothing could reorder them."""

    class Masked(nn.Module):
        mask: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.arange(5.0), persistent=False)
            self.first, self.second, self.third = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 7)
            self.head = nn.Linear(7, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = self.second(self.first(inputs) + torch.arange(6.0)) * self.mask
            return self.head(self.third(hidden).relu())

    model = Masked()
    before = set(vars(model))
    assert trace_permutation_spec(model, torch.zeros(2, 4)).groups == {"third": 7}
    assert set(vars(model)) == before, "torch.fx leaves the constants behind"


def test_arrays_and_lists_do_as_well_as_tensors() -> None:
    state, orders = SAMPLE[0].state_dict(), random_permutations(SPEC, 0)
    kinds: list[Callable[[Tensor], Any]] = [Tensor.numpy, Tensor.tolist, lambda order: order.numpy().astype(np.uint8)]
    for kind in kinds:
        assert_equal(
            permute(state, SPEC, {group: kind(order) for group, order in orders.items()}),
            dict(permute(state, SPEC, orders)),
        )
    backwards: Any = {group: np.arange(size)[::-1] for group, size in SPEC.groups.items()}  # negative strides
    tensors = {group: torch.arange(size).flip(0) for group, size in SPEC.groups.items()}
    assert_equal(permute(state, SPEC, backwards), permute(state, SPEC, tensors))
    assert_equal(invert(backwards), tensors)
    assert_equal(compose(backwards, backwards), {group: order.flip(0) for group, order in tensors.items()})


def test_a_model_without_hidden_channels_has_no_groups() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    spec = trace_permutation_spec(model, torch.zeros(2, 4))
    assert spec == PermutationSpec({"0.weight": (None, None), "0.bias": (None,)}, {})
    assert_equal(permute(model.state_dict(), spec, {}), dict(model.state_dict()))
