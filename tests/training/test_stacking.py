"""Models trained side by side against the same models trained alone, the reference path."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lmc.data import load_dataset
from lmc.errors import MergeError, SpecError
from lmc.nets import build
from lmc.specs import RunSpec, stack_seeds
from lmc.training.engine import train, train_stack
from lmc.training.stacked_layers import GroupedConv, StackedConv, stacked_conv
from lmc.training.stacking import like_parameters, stack, unstack

DIGITS = load_dataset("digits", Path("nowhere"))
ARCHS = [("mlp", 1 / 32), ("mlp-bn", 1 / 32), ("mlp-skip", 1 / 32), ("vgg-small", 1 / 16), ("resnet8", 1 / 4)]
BOTH_WAYS = pytest.mark.parametrize(
    ("arch", "width", "grouped"),
    [pytest.param(*each, True, id=f"{each[0]}-groups") for each in ARCHS]
    + [pytest.param(*each, False, id=f"{each[0]}-products") for each in ARCHS[3:]],
)
"""Convolutions as groups of one, and without oneDNN as products; the MLPs have none."""


def with_onednn(available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: available)


def recipe(arch: str, width: float, **changes: object) -> RunSpec:
    base = RunSpec(
        dataset="digits",
        arch=arch,
        width=width,
        lr=0.05,
        weight_decay=0.01,
        epochs=1,
        batch_size=20,
        train_size=200,
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@BOTH_WAYS
@pytest.mark.parametrize("bias", [True, False])
def test_forward_and_gradients_agree(
    arch: str, width: float, bias: bool, grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_onednn(grouped, monkeypatch)
    torch.manual_seed(0)
    models = [build(arch, width, (2, 8, 8), 10, bias=bias).double() for _ in range(3)]
    side_by_side = stack(models)
    images = torch.randn(3, 7, 2, 8, 8, dtype=torch.float64)
    outputs = side_by_side(images.transpose(0, 1).flatten(1, 2))
    expected = [model(batch) for model, batch in zip(models, images, strict=True)]
    torch.testing.assert_close(outputs, torch.cat(expected, 1), rtol=1e-10, atol=1e-10)

    before = unstack(side_by_side, 3)
    for model, state in zip(models, before, strict=True):
        assert state.keys() == model.state_dict().keys()
        torch.testing.assert_close(state, dict(model.state_dict()), rtol=1e-10, atol=1e-12)
    # one step along the gradient moves both to the same weights
    outputs.square().sum().backward()
    sum(each.square().sum() for each in expected).backward()
    with torch.no_grad():
        for parameter in [*side_by_side.parameters(), *(each for model in models for each in model.parameters())]:
            parameter.sub_(1e-3 * parameter.grad)
    for model, state in zip(models, unstack(side_by_side, 3), strict=True):
        torch.testing.assert_close(state, dict(model.state_dict()), rtol=1e-8, atol=1e-10)


@BOTH_WAYS
def test_both_compute_in_bfloat16_where_that_is_asked_for(
    arch: str, width: float, grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_onednn(grouped, monkeypatch)
    torch.manual_seed(0)
    models = [build(arch, width, (2, 8, 8), 10) for _ in range(3)]
    side_by_side = stack(models)
    images = torch.randn(3, 7, 2, 8, 8)
    joined, inputs = images.transpose(0, 1).flatten(1, 2), list(zip(models, images, strict=True))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = side_by_side(joined)
        expected = torch.cat([model(batch) for model, batch in inputs], 1)
    exact = side_by_side(joined).detach()
    assert outputs.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(outputs, expected, rtol=0, atol=0.05 * float(exact.std()))
    off, off_alone = (float((each.detach() - exact).square().mean().sqrt()) for each in (outputs, expected))
    assert 0.5 * off_alone < off < 2 * off_alone, "the stack rounds as often as its models"
    outputs.float().square().sum().backward()
    expected.float().square().sum().backward()
    gradients = [torch.cat([p.grad.flatten() for p in each.parameters()]) for each in (side_by_side, *models)]
    assert gradients[0].dtype == torch.float32
    norms = float(gradients[0].norm()), float(torch.cat(gradients[1:]).norm())
    assert norms[0] == pytest.approx(norms[1], rel=0.02)


@BOTH_WAYS
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_agrees_with_the_reference_path(
    arch: str, width: float, optimizer: str, grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_onednn(grouped, monkeypatch)
    spec = recipe(arch, width, optimizer=optimizer, lr=0.01 if optimizer == "sgd" else 1e-3)
    specs = [spec.with_seed(seed) for seed in range(3)]
    for each, trained in zip(specs, train_stack(specs, DIGITS), strict=True):
        reference = train(each, DIGITS)
        # BatchNorm amplifies rounding step by step; a wrong gradient would be off by about the learning rate
        torch.testing.assert_close(trained.state, reference.state, rtol=1e-2, atol=5e-3)
        assert trained.log["loss"] == pytest.approx(reference.log["loss"], rel=1e-3)
        assert trained.log["parameters"] == reference.log["parameters"]


@pytest.mark.parametrize(
    ("channels", "filters", "onednn", "expected"),
    [
        (3, 64, True, GroupedConv),
        (64, 64, True, GroupedConv),
        (64, 65, True, StackedConv),
        (65, 3, True, StackedConv),
        (3, 64, False, StackedConv),
    ],
)
def test_the_layers_shape_and_the_library_decide_how_convolutions_stack(
    channels: int, filters: int, onednn: bool, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_onednn(onednn, monkeypatch)
    layers = [torch.nn.Conv2d(channels, filters, 3) for _ in range(2)]
    assert type(stacked_conv(layers)) is expected


def test_tensors_like_the_parameters_are_put_together_as_these_are() -> None:
    """Made of the models' own parameters they are the stack's."""
    torch.manual_seed(0)
    for arch, width in [*ARCHS, ("vgg-small", 3 / 4)]:  # the last has more than 64 channels
        models = [build(arch, width, (2, 8, 8), 10) for _ in range(3)]
        own = [iter(model.parameters()) for model in models]

        def make(model: int, shape: torch.Size, own: Sequence[Iterator[Tensor]] = own) -> Tensor:
            value = next(own[model])
            assert value.shape == shape
            return value

        network = stack(models)
        found = like_parameters(network, 3, make)
        for value, expected in zip(found, network.parameters(), strict=True):
            assert torch.equal(value, expected)
        shapes = [value.shape for value in like_parameters(models[0], 1, lambda _, shape: torch.empty(shape))]
        assert shapes == [value.shape for value in models[0].parameters()]


@pytest.mark.parametrize("layer", [StackedConv, GroupedConv])
def test_gradients_of_gradients_agree(layer: type) -> None:
    """Sophia asks for them: products of the Hessian with a vector, against those of the layers alone."""
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 4, 3, stride=2, padding=1).double() for _ in range(2)]
    images = torch.randn(2, 5, 3, 8, 8, dtype=torch.float64, requires_grad=True)

    def product(outputs: Tensor, weights: list[Tensor]) -> tuple[Tensor, ...]:
        gradients = torch.autograd.grad(outputs.pow(3).sum(), [*weights, images], create_graph=True)
        return torch.autograd.grad(torch.stack([each.pow(2).sum() for each in gradients]).sum(), [*weights, images])

    alone = [module(each) for module, each in zip(layers, images, strict=True)]
    stacked: Any = layer(layers)
    joined = images.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)
    *expected, for_images = product(torch.cat(alone, 1), [module.weight for module in layers])
    found, same_images = product(stacked(joined), [stacked.weight])
    torch.testing.assert_close(found, stacked.joined(expected), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(same_images, for_images, rtol=1e-9, atol=1e-9)


def test_augmentation_draws_per_member() -> None:
    specs = [recipe("vgg-small", 1 / 16, augment=True).with_seed(seed) for seed in range(2)]
    for each, trained in zip(specs, train_stack(specs, DIGITS), strict=True):
        torch.testing.assert_close(trained.state, train(each, DIGITS).state, rtol=1e-3, atol=1e-4)


@BOTH_WAYS
def test_the_same_stack_gives_the_same_bits(
    arch: str, width: float, grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_onednn(grouped, monkeypatch)
    specs = [recipe(arch, width).with_seed(seed) for seed in range(3)]
    first, second = train_stack(specs, DIGITS), train_stack(specs, DIGITS)
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)


def test_a_diverging_member_leaves_the_others_alone() -> None:
    torch.manual_seed(0)
    models = [build("mlp-bn", 1 / 32, (1, 8, 8), 10) for _ in range(2)]
    with torch.no_grad():
        next(models[0].parameters()).fill_(float("nan"))
    outputs = stack(models)(torch.randn(5, 2, 8, 8)).view(5, 2, 10)
    assert outputs[:, 0].isnan().all()
    assert outputs[:, 1].isfinite().all()


def test_all_diverged_is_recorded() -> None:
    specs = [recipe("mlp", 1 / 32, lr=1e20).with_seed(seed) for seed in range(2)]
    assert {trained.log["status"] for trained in train_stack(specs, DIGITS)} == {"diverged"}


def test_refusals() -> None:
    with pytest.raises(SpecError, match="differ in more than seeds"):
        train_stack([recipe("mlp", 1 / 32), recipe("mlp", 1 / 16)], DIGITS)
    with pytest.raises(MergeError, match="cannot stack"):
        stack([torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, groups=2)) for _ in range(2)])


@pytest.mark.parametrize(
    ("arch", "width", "seed", "expected"),
    [
        ("mlp", 1 / 16, 0, range(6)),
        ("mlp-bn", 1, 4, range(3, 6)),
        ("mlp", 2, 4, range(4, 5)),
        ("vgg-small", 1 / 2, 1205, range(1200, 1206)),
        ("vgg11", 1 / 16, 7, range(6, 9)),
        ("vgg11", 1 / 8, 1, range(1, 2)),
        ("resnet20", 1 / 8, 7, range(6, 12)),
        ("resnet20", 1 / 4, 7, range(6, 9)),
        ("resnet20", 1 / 2, 7, range(7, 8)),
        ("resnet20", 8, 7, range(7, 8)),
        ("resnet8", 4, 7, range(6, 9)),
    ],
)
def test_stack_seeds(arch: str, width: float, seed: int, expected: range) -> None:
    found = stack_seeds(recipe(arch, width).with_seed(seed))
    assert found == expected
    assert seed in found


def test_stack_seeds_of_unstackable_specs() -> None:
    assert stack_seeds(recipe("mlp", 1 / 16, precision="bf16", init_seed=3, data_seed=3)) == range(3, 4)
    assert stack_seeds(recipe("mlp", 1 / 16, init_seed=3, data_seed=4)) == range(3, 4)
