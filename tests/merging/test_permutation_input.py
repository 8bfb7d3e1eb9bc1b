"""Modules without a permutation symmetry that could be traced, and arrays and weights that do not fit, are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from traced_nets import SAMPLE, SPEC, made

from lmc.errors import MergeError
from lmc.merging.permutation_spec import compose, invert, permute, random_permutations, verify
from lmc.merging.tracing import trace_permutation_spec


class Net(nn.Module):
    """Hidden layer, then whatever ``middle`` (a function or layer) does, then a head."""

    def __init__(self, middle: Callable[[Tensor], Tensor], head: Any = None) -> None:
        super().__init__()
        self.middle = middle
        self.hidden, self.head = nn.Linear(4, 6), head or nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.middle(self.hidden(inputs)))


IMAGES = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
VECTORS = IMAGES[:, :, 0, 0]
BAD: dict[str, tuple[Any, Any, list[str]]] = {
    "control flow": (
        Net(lambda x: x if x.sum() > 0 else -x),
        VECTORS,
        ["control flow depends on values", "<lambda> in ", "test_permutation_input.py, line"],
    ),
    "no tensor output": (Net(lambda x: x, head=str), VECTORS, ["gives a str"]),
    "weight norm": (
        Net(nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))),
        VECTORS,
        ["layer 'middle'", "parametrised weights cannot be permuted", "remove_parametrizations first"],
    ),
    "spectral norm": (
        Net(nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))),
        VECTORS,
        ["layer 'middle'", "computes its weight", "remove_parametrizations first"],
    ),
    "pruned": (
        Net(prune.l1_unstructured(nn.Linear(6, 6), "weight", 2)),
        VECTORS,
        ["layer 'middle'", "L1Unstructured", "prune.remove first"],
    ),
    "empty batch": (Net(nn.ReLU()), torch.zeros(0, 4), ["(0, 4) is empty", "(2, ...)"]),
    "no tensor": (Net(nn.ReLU()), [1.0, 2.0], ["example input is a list", "one tensor"]),
    "no module": (torch.relu, VECTORS, ["model is a builtin_function_or_method", "torch.nn.Module"]),
    "wrong input": (nn.Sequential(nn.Linear(4, 2)), torch.zeros(2, 5), ["Sequential cannot run", "2x5"]),
}


@pytest.mark.parametrize("case", BAD)
def test_modules_that_cannot_be_traced_are_refused_by_node(case: str) -> None:
    model, example, parts = BAD[case]
    with pytest.raises(MergeError) as caught:
        trace_permutation_spec(model, example)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_what_torch_does_not_see_fails_the_verification() -> None:
    def hidden_from_torch(x: Tensor) -> Tensor:
        x.numpy()[:, 0] = 0
        return x

    with pytest.raises(MergeError, match="permuting Net changes its outputs by up to"):
        trace_permutation_spec(Net(hidden_from_torch), VECTORS)


def test_a_specification_that_forgets_running_statistics_is_refused() -> None:
    model, images = made("mlp-bn")
    spec = trace_permutation_spec(model, images)
    axes = {**spec.axes, "hidden.1.norm.running_var": (None,)}
    order = random_permutations(spec, 0)
    with pytest.raises(MergeError, match="permuting MLP changes its outputs"):
        verify(model, model.state_dict(), dataclasses.replace(spec, axes=axes), order, images)


def test_the_verification_needs_inputs() -> None:
    model, images = SAMPLE
    with pytest.raises(MergeError, match="is empty"):
        verify(model, model.state_dict(), SPEC, random_permutations(SPEC, 0), images[:0])


def test_weights_that_are_not_finite_fail_the_verification() -> None:
    model, images = SAMPLE
    state = {**model.state_dict(), "head.bias": torch.full((4,), torch.nan)}
    with pytest.raises(MergeError, match="hold NaN or infinite values"):
        verify(model, state, SPEC, random_permutations(SPEC, 0), images)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (
            torch.tensor([0, 1, 2, 3, 3]),
            r"'conv' got torch.int64 \[0, 1, 2, 3, 3\]; it must hold each of 0..4 once",
        ),
        (torch.tensor([0, 1, 2, 3]), "each of 0..4 once"),
        (torch.tensor([1, 2, 3, 4, 5]), "each of 0..4 once"),
        (torch.tensor([-1, 0, 1, 2, 3]), "each of 0..4 once"),
        (torch.arange(5.0), "torch.float32"),
        (torch.eye(5).long(), "each of 0..4 once"),
        (torch.tensor([True]), "torch.bool"),
        ("01234", "'conv' got str '01234'; it must hold each of 0..4 once"),
        (5, "'conv' got int 5; it must"),
        ([None] * 5, "'conv' got list"),
        ([[0, 1], [2, 3, 4]], r"'conv' got list \[\[0, 1\], \[2, 3, 4\]\]; it must"),
        (np.array([0, 1, 2, 3, 3]), r"'conv' got int64 \[0, 1, 2, 3, 3\]; it must"),
        (None, r"permutations are of \['dense'\]; give one for each of \['conv', 'dense'\]"),
    ],
)
def test_arrays_that_are_no_permutation_are_refused(order: Any, message: str) -> None:
    orders = random_permutations(SPEC, 0)
    del orders["conv"]
    with pytest.raises(MergeError, match=message):
        permute(SAMPLE[0].state_dict(), SPEC, orders if order is None else {**orders, "conv": order})


@pytest.mark.parametrize("order", [None, "021", [0, 0, 1], [1, 2, 5], [0.0, 1.0], [[0, 1], [2]], torch.eye(2).long()])
def test_only_permutations_are_inverted_and_composed(order: Any) -> None:
    good = {"g": torch.tensor([2, 0, 1])}
    for call in (invert, lambda bad: compose(bad, good), lambda bad: compose(good, bad)):
        with pytest.raises(MergeError, match=r"'g' got .*; it must hold each of 0\.\.(2|1|n-1) once"):
            call({"g": order})


def test_what_is_no_mapping_of_permutations_is_refused() -> None:
    for call in (invert, lambda bad: compose(bad, bad), lambda bad: permute(SAMPLE[0].state_dict(), SPEC, bad)):
        with pytest.raises(MergeError, match="permutations are a list; pass a dict"):
            call([0, 1])  # type: ignore[arg-type]


def test_states_that_do_not_fit_are_refused() -> None:
    order, state = random_permutations(SPEC, 0), SAMPLE[0].state_dict()
    missing = {key: tensor for key, tensor in state.items() if key != "conv.bias"}
    with pytest.raises(MergeError, match=r"lacks \['conv.bias'\] and has \[\] besides"):
        permute(missing, SPEC, order)
    with pytest.raises(MergeError, match=r"lacks \[\] and has \['more'\] besides"):
        permute({**state, "more": torch.zeros(1)}, SPEC, order)
    for wrong in (torch.zeros(6), torch.zeros(5, 1)):
        with pytest.raises(MergeError, match=r"conv.bias of shape .*, the specification says \(5,\)"):
            permute({**state, "conv.bias": wrong}, SPEC, order)
    with pytest.raises(MergeError, match="compose those of one specification"):
        compose(order, {"conv": order["conv"]})
