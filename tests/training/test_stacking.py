"""Models trained side by side against the same models trained alone, the reference path."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from lmc.data import load_dataset
from lmc.errors import MergeError, SpecError
from lmc.nets import build
from lmc.specs import RunSpec, stack_seeds
from lmc.training.engine import train, train_stack
from lmc.training.stacking import stack, unstack

DIGITS = load_dataset("digits", Path("nowhere"))
ARCHS = [("mlp", 1 / 32), ("mlp-bn", 1 / 32), ("mlp-skip", 1 / 32), ("vgg-small", 1 / 16), ("resnet8", 1 / 4)]


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


@pytest.mark.parametrize(("arch", "width"), ARCHS)
@pytest.mark.parametrize("bias", [True, False])
def test_forward_and_gradients_agree(arch: str, width: float, bias: bool) -> None:
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


@pytest.mark.parametrize(("arch", "width"), ARCHS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_agrees_with_the_reference_path(arch: str, width: float, optimizer: str) -> None:
    spec = recipe(arch, width, optimizer=optimizer, lr=0.01 if optimizer == "sgd" else 1e-3)
    specs = [spec.with_seed(seed) for seed in range(3)]
    for each, trained in zip(specs, train_stack(specs, DIGITS), strict=True):
        reference = train(each, DIGITS)
        # BatchNorm amplifies rounding step by step; a wrong gradient would be off by about the learning rate
        torch.testing.assert_close(trained.state, reference.state, rtol=1e-2, atol=5e-3)
        assert trained.log["loss"] == pytest.approx(reference.log["loss"], rel=1e-3)
        assert trained.log["parameters"] == reference.log["parameters"]


def test_augmentation_draws_per_member() -> None:
    specs = [recipe("vgg-small", 1 / 16, augment=True).with_seed(seed) for seed in range(2)]
    for each, trained in zip(specs, train_stack(specs, DIGITS), strict=True):
        torch.testing.assert_close(trained.state, train(each, DIGITS).state, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("arch", "width"), ARCHS)
def test_the_same_stack_gives_the_same_bits(arch: str, width: float) -> None:
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
        ("vgg11", 1 / 8, 1, range(1, 2)),
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
