"""Sophia, and the depth of MLPs: trainings that stacks and textbook loops do not cover."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lmc.data import Dataset
from lmc.specs import RunSpec
from lmc.training.engine import TrainedModel, initial_model, train, train_stack
from lmc.training.optimisers import SOPHIA_PERIOD, curvature, make_optimizer, make_step, needs_curvature

SOPHIA = RunSpec(
    dataset="synthetic",
    arch="mlp",
    width=1 / 64,
    optimizer="sophia",
    lr=0.03,
    weight_decay=0.01,
    epochs=6,
    batch_size=5,
    schedule="constant",
)


def synthetic() -> Dataset:
    """Three classes of 1 x 8 x 8 images, each a pattern under noise."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randint(0, 128, (3, 1, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 3, (60,), generator=generator)
    pixels = patterns[labels] + torch.randint(0, 128, (60, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return Dataset("synthetic", pixels, labels, pixels[:5], labels[:5], ("a", "b", "c"), "made here")


DATASET = synthetic()


def same(one: TrainedModel, other: TrainedModel) -> bool:
    return all(torch.equal(value, other.state[name]) for name, value in one.state.items())


@pytest.mark.parametrize(
    ("arch", "width"), [("mlp", 1 / 64), ("mlp-bn", 1 / 64), ("vgg-small", 1 / 32), ("vit", 1 / 8)]
)
def test_a_seed_decides_everything(arch: str, width: float) -> None:
    """Even the random vectors that the curvature is estimated with, whatever was drawn before."""
    spec = replace(SOPHIA, arch=arch, width=width, epochs=2)
    torch.manual_seed(1)
    first = train(spec, DATASET)
    torch.manual_seed(2)
    assert same(first, train(spec, DATASET))
    assert not same(first, train(spec.with_seed(1), DATASET))
    assert not same(first, train(replace(spec, data_seed=1), DATASET))


def test_the_global_random_state_stays_as_it_was() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train(SOPHIA, DATASET)
    assert torch.equal(torch.get_rng_state(), before)


def test_sophia_learns() -> None:
    log = train(replace(SOPHIA, lr=0.1, epochs=25), DATASET).log
    assert log["status"] == "trained"
    assert log["loss"][-1] < 0.5 * log["loss"][0]


def test_no_warning_of_sophias_graph_reaches_the_user() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(replace(SOPHIA, epochs=1), DATASET)


def test_sophia_is_not_another_name_of_adam_or_sgd() -> None:
    found = [train(replace(SOPHIA, optimizer=name, epochs=1), DATASET) for name in ("sophia", "adam", "sgd")]
    assert not same(found[0], found[1])
    assert not same(found[0], found[2])


def test_the_curvature_is_renewed_every_tenth_step_of_sophia_only() -> None:
    assert SOPHIA_PERIOD == 10
    assert [step for step in range(35) if needs_curvature(SOPHIA, step)] == [0, 10, 20, 30]
    assert not any(needs_curvature(replace(SOPHIA, optimizer="adam"), step) for step in range(35))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "sophia"])
def test_the_gradients_graph_is_kept_where_the_curvature_is_estimated_and_nowhere_else(optimizer: str) -> None:
    """Without the graph Sophia cannot differentiate again; with it at every step, training would be far slower."""
    spec = replace(SOPHIA, optimizer=optimizer, weight_decay=0.0)
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    step = make_optimizer(spec, [weight])
    for index in range(12):
        step.zero_grad(set_to_none=True)
        (weight**4).sum().backward(create_graph=needs_curvature(spec, index))
        assert (weight.grad.grad_fn is not None) == (optimizer == "sophia" and index in (0, 10))
        make_step(step, [torch.ones(2)] if needs_curvature(spec, index) else None)
    assert weight.isfinite().all()
    assert weight.detach().abs().sum() < 3.0


@pytest.mark.parametrize("decay", ["coupled", "decoupled"])
def test_sophias_decay(decay: str) -> None:
    """With no gradient at all: decoupled, the weights shrink by lr · decay; coupled, the decay alone is clipped."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    spec = replace(SOPHIA, lr=0.1, weight_decay=0.5, decay=decay)
    optimizer = make_optimizer(spec, [weight])
    (0.0 * (weight**2).sum()).backward(create_graph=True)
    make_step(optimizer, [torch.ones(2)])
    start = torch.tensor([1.0, -2.0])
    expected = start * (1 - 0.1 * 0.5) if decay == "decoupled" else start - 0.1 * 0.01 * start.sign()
    torch.testing.assert_close(weight.detach(), expected)


def test_the_curvature_is_hutchinsons() -> None:
    """Of (w1 w2)², whose Hessian is [[2 w2², 4 w1 w2], [4 w1 w2, 2 w1²]], with z = (1, -2) at (3, 5)."""
    weight = nn.Parameter(torch.tensor([3.0, 5.0]))
    (weight.prod() ** 2).backward(create_graph=True)
    (found,) = curvature([weight], [torch.tensor([1.0, -2.0])])
    torch.testing.assert_close(found, torch.tensor([1.0 * (50 - 120), -2.0 * (60 - 36)]))


@pytest.mark.parametrize("decay", ["coupled", "decoupled"])
def test_training_equals_the_published_algorithm(decay: str) -> None:
    """Liu et al. (2024), algorithm 3 with Hutchinson's estimate (algorithm 1), with our own derivatives and noise."""
    spec = replace(SOPHIA, epochs=3, lr=0.05, decay=decay, batch_size=15, init_seed=1, data_seed=2)
    model = initial_model(spec, DATASET)
    weights = list(model.parameters())
    order, noise = (torch.Generator().manual_seed(spec.data_seed) for _ in range(2))
    pixels = DATASET.train_images.double()
    inputs = ((pixels - pixels.mean()) / pixels.std(correction=0)).float()
    momentum, curvatures = ([torch.zeros_like(each) for each in weights] for _ in range(2))
    for step in range(spec.steps(60)):
        if step % 4 == 0:
            batches = torch.randperm(60, generator=order).split(15)
        batch = batches[step % 4]
        loss = nn.functional.cross_entropy(model(inputs[batch]), DATASET.train_labels[batch])
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        if step % 10 == 0:
            z = [torch.randn(each.shape, generator=noise) for each in weights]
            products = torch.autograd.grad(gradients, weights, z)
            curvatures = [0.99 * h + 0.01 * u * p for h, u, p in zip(curvatures, z, products, strict=True)]
        with torch.no_grad():
            for index, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
                if decay == "coupled":
                    gradient = gradient + spec.weight_decay * weight
                else:
                    weight.mul_(1 - spec.lr * spec.weight_decay)
                momentum[index] = 0.96 * momentum[index] + 0.04 * gradient
                weight.sub_(spec.lr * (momentum[index] / curvatures[index].clamp(min=1e-12)).clamp(-0.01, 0.01))
    assert_trained_to(train(spec, DATASET), model.state_dict(), 1e-4)


# -- Stacks. --

NETS = [("mlp", 1 / 64), ("mlp-bn", 1 / 64), ("vgg-small", 1 / 32), ("resnet8", 1 / 8)]


def assert_trained_to(found: TrainedModel, state: dict[str, Tensor], tolerance: float) -> None:
    torch.testing.assert_close(found.state, dict(state), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("grouped", [True, False], ids=["groups", "products"])
@pytest.mark.parametrize(("arch", "width"), NETS)
def test_every_member_of_a_stack_is_what_it_is_alone(
    arch: str, width: float, grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve steps, two of which estimate the curvature, with noise of each member's own."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: grouped)
    specs = [replace(SOPHIA, arch=arch, width=width, epochs=1).with_seed(seed) for seed in range(3)]
    for spec, member in zip(specs, train_stack(specs, DATASET), strict=True):
        alone = train(spec, DATASET)
        assert_trained_to(member, alone.state, 1e-4)
        assert (
            max(
                (member.state[name] - value).abs().max()
                for name, value in initial_model(spec, DATASET).named_parameters()
            )
            > 1e-3
        )
        assert member.log["loss"] == pytest.approx(alone.log["loss"], rel=1e-4)


# -- Depth. --


@pytest.mark.parametrize("arch", ["mlp", "mlp-bn", "mlp-skip"])
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_depth_is_the_number_of_hidden_layers(arch: str, depth: int) -> None:
    spec = replace(SOPHIA, optimizer="sgd", arch=arch, depth=depth, epochs=1)
    layers = [module for module in initial_model(spec, DATASET).modules() if isinstance(module, nn.Linear)]
    assert len(layers) == depth + 1
    assert [layer.in_features for layer in layers] == [64] + [8] * depth
    trained = train(spec, DATASET)
    assert sum(name.endswith("linear.weight") for name in trained.state) == depth
    short = replace(spec, batch_size=30, lr=0.001)  # few steps, before rounding grows
    alone, stacked = train(short, DATASET), train_stack([short, short.with_seed(1)], DATASET)
    assert stacked[0].state.keys() == alone.state.keys()
    for name, value in alone.state.items():
        torch.testing.assert_close(stacked[0].state[name], value, rtol=1e-3, atol=1e-4)
