"""Permutation symmetry: the specification is traced, keeps the function, and refuses what it cannot know."""

from __future__ import annotations

import dataclasses
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
from torch.nn.utils import prune

from lmc.errors import MergeError
from lmc.merging.channel_groups import Axis
from lmc.merging.permutation_spec import PermutationSpec, compose, invert, permute, random_permutations, verify
from lmc.merging.tracing import trace_permutation_spec
from lmc.nets import build

quick = settings(deadline=None, max_examples=25, derandomize=True)
few = settings(deadline=None, max_examples=10, derandomize=True)
seeds = st.integers(0, 2**31 - 1)

WIDTHS = {"mlp": 1 / 64, "mlp-bn": 1 / 64, "mlp-skip": 1 / 64, "vgg-small": 1 / 16, "vgg11": 1 / 32}
WIDTHS |= {"resnet8": 1 / 4, "resnet20": 1 / 4}
GROUPS = {"mlp": 3, "mlp-bn": 3, "mlp-skip": 1, "vgg-small": 4, "vgg11": 8, "resnet8": 6, "resnet20": 12}


class Functional(nn.Module):
    """Functions instead of modules, a flatten with spatial extent, a view, an in-place addition."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.depthwise = nn.Conv2d(5, 10, 3, padding=1, groups=5)
        self.dense = nn.Linear(10 * 4, 6)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = F.gelu(self.depthwise(torch.relu(self.conv(images))))
        pooled = F.avg_pool2d(F.max_pool2d(features, 2), 2)
        hidden = F.dropout(F.silu(self.dense(pooled.view(pooled.size(0), -1))), 0.1, self.training)
        hidden += torch.add(hidden, self.norm(hidden).relu())
        return F.log_softmax(self.head(hidden), dim=-1)


class Gated(nn.Module):
    """A squeeze-and-excitation gate, a raw scale, normalised inputs, and a mean over space."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.4))
        self.conv = nn.Conv2d(3, 6, 3)
        self.squeeze = nn.Conv2d(6, 2, 1)
        self.excite = nn.Conv2d(2, 6, 1)
        self.scale = nn.Parameter(torch.ones(6, 1, 1))
        self.head = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images - self.mean)
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(features.mean((2, 3), keepdim=True)))))
        return self.head((features * gate * self.scale).mean(dim=[2, 3]))


class BlockOrder(nn.Module):
    """A linear layer added to a flattened convolution: it must follow the convolution's channels in blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 5)
        self.norm = nn.BatchNorm1d(64)
        self.dense = nn.Linear(64, 64)
        self.head = nn.Linear(64, 4)

    def forward(self, images: Tensor) -> Tensor:
        flat = self.norm(torch.flatten(F.relu(self.conv(images)), 1))
        return self.head(F.relu(flat + self.dense(flat)))


class Recurrent(nn.Module):
    """One layer called three times, from inputs that are themselves added once in another branch."""

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Linear(192, 7)
        self.step = nn.Linear(7, 7)
        self.head = nn.Linear(7, 4)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.inward(images.flatten(1)).relu()
        for _ in range(3):
            hidden = torch.tanh(self.step(hidden))
        return self.head(hidden)


def sequential() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.LayerNorm([6, 6, 6]),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(54, 9),
        nn.LayerNorm(9),
        nn.GELU(),
        nn.Dropout(0.5),
        nn.Linear(9, 4),
    )


OTHERS = {
    "sequential": (sequential, {"0": 6, "5": 9}),
    "functional": (Functional, {"conv": 5, "dense": 6}),
    "gated": (Gated, {"conv": 6, "squeeze": 2}),
    "block-order": (BlockOrder, {"conv": 4}),
    "recurrent": (Recurrent, {"inward": 7}),
}
NAMES = [*WIDTHS, *OTHERS]


def made(name: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A network with generic weights and running statistics, and an input to it."""
    torch.manual_seed(seed)
    side = 32 if name == "vgg11" else 8
    model = build(name, WIDTHS[name], (3, side, side), 10) if name in WIDTHS else OTHERS[name][0]()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
    return model, torch.randn(3, 3, side, side)


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
    assert [layer.training for layer in model] == [number != 6 for number in range(len(model))]


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


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())


SAMPLE = made("functional")
SPEC = trace_permutation_spec(*SAMPLE)


def test_permute_returns_a_copy_of_the_same_types() -> None:
    model, images = made("resnet8")
    spec = trace_permutation_spec(model, images)
    state = model.half().state_dict()
    moved = permute(state, spec, random_permutations(spec, 0))
    for key, tensor in moved.items():
        assert tensor.dtype == state[key].dtype
        assert tensor.data_ptr() != state[key].data_ptr()


class Net(nn.Module):
    """Hidden layer, then whatever ``middle`` (a function or layer) does, then a head."""

    def __init__(self, middle: Callable[[Tensor], Tensor], units: int = 6, spare: nn.Module | None = None) -> None:
        super().__init__()
        self.middle, self.spare = middle, spare
        self.hidden, self.head = nn.Linear(4, 6), nn.Linear(units, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.middle(self.hidden(inputs)))


class Matrix(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(6))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weight


def tied() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    return net


IMAGES = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
VECTORS = IMAGES[:, :, 0, 0]
BAD = {
    "shared": (tied(), VECTORS, ["2.weight and 0.weight share"]),
    "unused": (Net(lambda x: x, spare=nn.Linear(2, 2)), VECTORS, ["spare.weight", "no part"]),
    "control flow": (Net(lambda x: x if x.sum() > 0 else -x), VECTORS, ["'gt'", "control flow"]),
    "len": (Net(lambda x: x * len(x)), VECTORS, ["cannot trace Net", "len"]),
    "concatenation": (Net(lambda x: torch.cat([x, x], 1), 12), VECTORS, ["'cat'", "unknown effect"]),
    "indexing": (Net(lambda x: x[:, :3], 3), VECTORS, ["'getitem'", "unknown effect"]),
    "sorting": (Net(lambda x: x.sort(1).values), VECTORS, ["'sort'", "not a tensor"]),
    "splitting": (Net(lambda x: x.view(2, 2, 3), 3), VECTORS, ["'view'", "(2, 6) to (2, 2, 3)", "splits"]),
    "batch in channels": (Net(lambda x: x.flatten(), 12), VECTORS, ["'flatten'", "interleaves"]),
    "own function": (Net(lambda x: torch.cumsum(x, 1)), VECTORS, ["'cumsum'", "unknown effect"]),
    "raw matrix": (Net(Matrix()), VECTORS, ["'matmul'", "unknown effect"]),
    "PReLU": (Net(nn.PReLU()), VECTORS, ["'middle'", "a PReLU layer"]),
    "GRU": (nn.Sequential(nn.GRU(4, 4)), VECTORS, ["'_0'", "gives a tuple"]),
    "GroupNorm": (nn.Sequential(nn.Conv2d(4, 4, 1), nn.GroupNorm(2, 4)), IMAGES, ["'_1'", "a GroupNorm layer"]),
    "grouped": (nn.Sequential(nn.Conv2d(4, 6, 1), nn.Conv2d(6, 6, 1, groups=2)), IMAGES, ["'_1'", "2 groups"]),
    "transposed": (nn.Sequential(nn.ConvTranspose2d(4, 6, 1)), IMAGES, ["'_0'", "ConvTranspose2d"]),
    "no statistics": (
        nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, track_running_stats=False)),
        IMAGES,
        ["'_1'", "without running statistics"],
    ),
    "two inputs": (nn.Bilinear(4, 4, 2), VECTORS, ["must read one tensor"]),
    "two outputs": (
        nn.Sequential(nn.Linear(4, 2), nn.MaxPool1d(1, return_indices=True)),
        VECTORS,
        ["gives a tuple"],
    ),
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
    "wrong input": (nn.Sequential(nn.Linear(4, 2)), torch.zeros(2, 5), ["'_0'", "cannot run", "(2x5"]),
}


@pytest.mark.parametrize("case", BAD)
def test_modules_that_cannot_be_traced_are_refused_by_node(case: str) -> None:
    model, example, parts = BAD[case]
    with pytest.raises(MergeError) as caught:
        trace_permutation_spec(model, example)
    assert all(part in str(caught.value) for part in parts), caught.value


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
    assert trace_permutation_spec(model, VECTORS).groups == {"third": 7}
    assert set(vars(model)) == before, "torch.fx leaves the constants behind"


def test_what_torch_fx_does_not_see_fails_the_verification() -> None:
    model = Net(nn.ReLU())
    model.middle.register_forward_hook(lambda _, __, output: output * torch.arange(6.0, dtype=output.dtype))
    with pytest.raises(MergeError, match="permuting Net changes its outputs by up to"):
        trace_permutation_spec(model, VECTORS)


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
    with pytest.raises(MergeError, match="up to nan"):
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
            call([0, 1])


def test_arrays_and_lists_do_as_well_as_tensors() -> None:
    state, orders = SAMPLE[0].state_dict(), random_permutations(SPEC, 0)
    for kind in (Tensor.numpy, Tensor.tolist, lambda order: order.numpy().astype(np.uint8)):
        assert_equal(
            permute(state, SPEC, {group: kind(order) for group, order in orders.items()}),
            dict(permute(state, SPEC, orders)),
        )
    backwards = {group: np.arange(size)[::-1] for group, size in SPEC.groups.items()}  # negative strides
    tensors = {group: torch.arange(size).flip(0) for group, size in SPEC.groups.items()}
    assert_equal(permute(state, SPEC, backwards), permute(state, SPEC, tensors))
    assert_equal(invert(backwards), tensors)
    assert_equal(compose(backwards, backwards), {group: order.flip(0) for group, order in tensors.items()})


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


def test_a_model_without_hidden_channels_has_no_groups() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    spec = trace_permutation_spec(model, VECTORS)
    assert spec == PermutationSpec({"0.weight": (None, None), "0.bias": (None,)}, {})
    assert_equal(permute(model.state_dict(), spec, {}), dict(model.state_dict()))
