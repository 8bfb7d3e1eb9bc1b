"""The training loop: reproducible, equal to a textbook loop, and honest when training goes wrong."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lmc.data import Dataset, augment, random_crops
from lmc.errors import DataError, SpecError
from lmc.nets import build
from lmc.specs import RunSpec
from lmc.training.engine import TrainedModel, initial_model, train
from lmc.training.optimisers import learning_rate

MLP = RunSpec(dataset="synthetic", arch="mlp", width=1 / 64, epochs=3, batch_size=5, weight_decay=0.01)
VGG = dataclasses.replace(MLP, arch="vgg-small", width=1 / 16, epochs=1)
RESNET = dataclasses.replace(MLP, arch="resnet8", width=1 / 8, epochs=1)


def synthetic(images: int, seed: int = 0) -> Dataset:
    """Three classes of 2 x 8 x 8 images, each a pattern under noise."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randint(0, 128, (3, 2, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 3, (images,), generator=generator)
    noise = torch.randint(0, 128, (images, 2, 8, 8), generator=generator, dtype=torch.uint8)
    pixels = patterns[labels] + noise
    return Dataset("synthetic", pixels, labels, pixels[:5], labels[:5], ("a", "b", "c"), "made here")


DATASET = synthetic(23)


def assert_same_states(first: TrainedModel, second: TrainedModel) -> None:
    assert list(first.state) == list(second.state)
    for name, value in first.state.items():
        assert torch.equal(value, second.state[name]), name


def distance(first: TrainedModel, second: TrainedModel) -> float:
    return max((value.double() - second.state[name].double()).abs().max().item() for name, value in first.state.items())


# --- the learning rate ------------------------------------------------------------------------------

STEPS, WARMUP = st.integers(1, 400), st.floats(0, 0.95)


def rates(spec: RunSpec, steps: int) -> list[float]:
    return [learning_rate(spec, step, steps) for step in range(steps)]


@settings(deadline=None, derandomize=True)
@given(steps=STEPS, warmup=WARMUP)
def test_warmup_rises_to_the_peak_and_falls_to_zero(steps: int, warmup: float) -> None:
    spec = dataclasses.replace(MLP, lr=0.4, warmup=warmup)
    found = rates(spec, steps)
    peak = found.index(max(found))
    assert found[peak] == 0.4
    assert all(low < high for low, high in pairwise(found[: peak + 1]))
    assert all(high >= low for high, low in pairwise(found[peak:]))
    assert min(found) > 0
    assert learning_rate(spec, steps, steps) == 0
    assert abs(peak - warmup * steps) <= 1


def test_warmup_linear_is_pinned() -> None:
    """Ten steps, four of them warming up: up by quarters, flat for one step, down by sixths."""
    spec = dataclasses.replace(MLP, lr=1.0, warmup=0.4)
    expected = [1 / 4, 2 / 4, 3 / 4, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert rates(spec, 10) == pytest.approx(expected, rel=1e-15)


@settings(deadline=None, derandomize=True)
@given(steps=STEPS)
def test_constant_is_constant(steps: int) -> None:
    assert rates(dataclasses.replace(MLP, schedule="constant", lr=0.3), steps) == [0.3] * steps


@settings(deadline=None, derandomize=True)
@given(epochs=st.integers(1, 20), images=st.integers(5, 200), warmup=WARMUP)
def test_the_decay_horizon_is_the_sum_of_decays(epochs: int, images: int, warmup: float) -> None:
    """H = Σ η_t · wd, but for the first and last step's share: within 1.5 peaks of the sum."""
    for schedule, slack in (("constant", 1e-9), ("warmup-linear", 1.5)):
        spec = dataclasses.replace(MLP, schedule=schedule, epochs=epochs, warmup=warmup)
        total = sum(rates(spec, spec.steps(images))) * spec.weight_decay
        assert abs(total - spec.decay_horizon(images)) <= slack * spec.lr * spec.weight_decay


# --- a textbook loop --------------------------------------------------------------------------------


def batches(spec: RunSpec, dataset: Dataset) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised batches: a new order each epoch, the incomplete batch dropped, then augmentation."""
    pixels = dataset.train_images.double().numpy()
    mean, deviation = pixels.mean((0, 2, 3), keepdims=True), pixels.std((0, 2, 3), keepdims=True)
    generator = torch.Generator().manual_seed(spec.init_seed)
    for epoch in range(spec.epochs):
        if epoch == spec.shared_epochs:  # off the trunk, by a seed of its own
            generator = torch.Generator().manual_seed(spec.data_seed)
        order = torch.randperm(len(pixels), generator=generator).tolist()
        while len(order) >= spec.batch_size:
            picked, order = order[: spec.batch_size], order[spec.batch_size :]
            images = dataset.train_images[picked]
            images = augment(images, random_crops(len(images), generator)) if spec.augment else images
            normalised = (images.double().numpy() - mean) / deviation
            yield torch.tensor(normalised, dtype=torch.float32), dataset.train_labels[picked]


def textbook(spec: RunSpec, dataset: Dataset) -> tuple[dict[str, Tensor], list[float]]:
    """SGD with momentum (Polyak) or Adam (Kingma & Ba, algorithm 1); decay in the gradient, or apart (AdamW)."""
    torch.manual_seed(spec.init_seed)
    net = build(spec.arch, spec.width, dataset.shape, len(dataset.classes), bias=spec.bias)
    first = {name: torch.zeros_like(value) for name, value in net.named_parameters()}
    second = {name: torch.zeros_like(value) for name, value in net.named_parameters()}
    per_epoch = len(dataset.train_images) // spec.batch_size
    steps = spec.epochs * per_epoch
    rising = spec.warmup * steps
    losses = []
    for step, (inputs, labels) in enumerate(batches(spec, dataset)):
        lr = spec.lr
        if spec.schedule == "warmup-linear":
            lr *= (step + 1) / rising if step + 1 < rising else min(1.0, (steps - step) / (steps - rising))
        net.zero_grad()
        logits = net(inputs)
        loss = (logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]).mean()
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            for name, value in net.named_parameters():
                gradient = value.grad
                if spec.decay == "coupled":
                    gradient = gradient + spec.weight_decay * value
                else:
                    value.mul_(1 - lr * spec.weight_decay)
                if spec.optimizer == "sgd":
                    first[name] = spec.momentum * first[name] + gradient
                    value.sub_(lr * first[name])
                else:
                    first[name] = 0.9 * first[name] + 0.1 * gradient
                    second[name] = 0.999 * second[name] + 0.001 * gradient**2
                    m = first[name] / (1 - 0.9 ** (step + 1))
                    v = second[name] / (1 - 0.999 ** (step + 1))
                    value.sub_(lr * m / (v.sqrt() + 1e-8))
    means = [sum(losses[start : start + per_epoch]) / per_epoch for start in range(0, steps, per_epoch)]
    return net.state_dict(), means


SGD: dict[str, Any] = {"optimizer": "sgd", "lr": 0.05, "warmup": 0.25}
ADAM: dict[str, Any] = {"optimizer": "adam", "lr": 2e-3, "warmup": 0.25}
CONSTANT = {"schedule": "constant"}
DECOUPLED: dict[str, Any] = {"decay": "decoupled", "weight_decay": 1.0}

TRAININGS = [  # spec, what it changes
    pytest.param(MLP, SGD, id="mlp-sgd"),
    pytest.param(MLP, ADAM | CONSTANT, id="mlp-adam"),
    pytest.param(MLP, SGD | CONSTANT | {"momentum": 0.0, "bias": False, "arch": "mlp-bn"}, id="mlp-bn-plain-sgd"),
    pytest.param(VGG, SGD | {"augment": True, "epochs": 2}, id="vgg-augmented-sgd"),
    pytest.param(VGG, ADAM | {"weight_decay": 0.1, "epochs": 2}, id="vgg-adam"),
    pytest.param(RESNET, SGD, id="resnet-sgd"),
    pytest.param(RESNET, SGD | DECOUPLED, id="resnet-sgd-decoupled"),
    pytest.param(MLP, SGD | DECOUPLED | {"schedule": "constant"}, id="mlp-sgd-decoupled"),
    pytest.param(VGG, ADAM | DECOUPLED | {"epochs": 2}, id="vgg-adam-decoupled"),
    pytest.param(MLP, SGD | {"shared_epochs": 1}, id="mlp-spawned"),
    pytest.param(VGG, SGD | {"augment": True, "epochs": 3, "shared_epochs": 2}, id="vgg-spawned"),
]


@pytest.mark.parametrize(("spec", "changes"), TRAININGS)
def test_training_equals_a_textbook_loop(spec: RunSpec, changes: dict[str, Any]) -> None:
    """23 images in batches of 5: three are dropped each epoch, and never the same."""
    spec = dataclasses.replace(spec, **changes, init_seed=3, data_seed=4)
    trained = train(spec, DATASET)
    state, losses = textbook(spec, DATASET)
    start = initial_model(spec, DATASET).state_dict()
    assert list(trained.state) == list(state)
    for name, value in state.items():
        if "running" not in name and value.ndim:
            assert (value - start[name]).abs().max() > 1e-3, f"{name} did not train"
        torch.testing.assert_close(trained.state[name], value, rtol=1e-4, atol=1e-5, msg=f"{name}: {{}}".format)
    assert trained.log["loss"] == pytest.approx(losses, rel=1e-5)


# --- reproducibility --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [MLP, dataclasses.replace(VGG, augment=True), RESNET, dataclasses.replace(VGG, precision="bf16")],
    ids=["mlp", "vgg-augmented", "resnet", "vgg-bf16"],
)
def test_the_same_spec_trains_the_same_model_bit_by_bit(spec: RunSpec) -> None:
    models = []
    for global_seed in (1, 2):  # must not matter, and must not be touched
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        models.append(train(spec, DATASET))
        assert torch.equal(torch.get_rng_state(), before)
    assert_same_states(*models)
    logs = [{name: value for name, value in model.log.items() if name != "seconds"} for model in models]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("spec", [MLP, dataclasses.replace(VGG, augment=True)], ids=["mlp", "vgg-augmented"])
@pytest.mark.parametrize("seed", ["init_seed", "data_seed"])
def test_each_seed_matters(spec: RunSpec, seed: str) -> None:
    changed: dict[str, Any] = {seed: 1}
    other = dataclasses.replace(spec, **changed)
    assert distance(train(spec, DATASET), train(other, DATASET)) > 1e-3


def test_only_the_init_seed_decides_the_initial_weights() -> None:
    def weights(spec: RunSpec) -> Tensor:
        return torch.cat([value.flatten() for value in initial_model(spec, DATASET).parameters()])

    assert torch.equal(weights(MLP), weights(dataclasses.replace(MLP, data_seed=1, lr=0.2)))
    assert not torch.equal(weights(MLP), weights(dataclasses.replace(MLP, init_seed=1)))


# --- what comes back --------------------------------------------------------------------------------


def test_training_learns() -> None:
    dataset = synthetic(400)
    spec = dataclasses.replace(MLP, epochs=5, batch_size=20, train_size=300)
    trained = train(spec, dataset)
    losses = trained.log["loss"]
    assert len(losses) == 5
    assert losses[-1] < 0.2 * losses[0]
    net = build(spec.arch, spec.width, dataset.shape, 3)
    net.load_state_dict(trained.state)
    pixels = dataset.train_images[:300].float()
    mean, deviation = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), keepdim=True)
    logits = net((dataset.train_images[300:].float() - mean) / deviation)
    assert (logits.argmax(1) == dataset.train_labels[300:]).double().mean() > 0.9  # unseen images


@pytest.mark.parametrize("spec", [MLP, RESNET], ids=lambda spec: spec.arch)
def test_state_and_log(spec: RunSpec) -> None:
    trained = train(spec, DATASET)
    net = build(spec.arch, spec.width, DATASET.shape, 3)
    net.load_state_dict(trained.state)  # strict: the same names and shapes
    for name, value in trained.state.items():
        assert value.device.type == "cpu"
        assert value.is_contiguous(), name
        assert value.dtype == (torch.int64 if name.endswith("num_batches_tracked") else torch.float32)
        if name.endswith("num_batches_tracked"):
            assert value.item() == 4 * spec.epochs
    log = trained.log
    assert json.loads(json.dumps(log, allow_nan=False)) == log
    assert log["status"] == "trained"
    assert (log["steps"], log["images"], len(log["loss"])) == (4 * spec.epochs, 23, spec.epochs)
    assert log["parameters"] == sum(value.numel() for value in net.parameters())
    assert log["decay_horizon"] == spec.decay_horizon(23)
    assert log["seconds"] > 0


def test_on_epoch_is_called_after_every_epoch() -> None:
    calls: list[tuple[int, int]] = []
    train(MLP, DATASET, on_epoch=lambda done, epochs: calls.append((done, epochs)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_train_size_takes_the_first_images_and_nothing_of_the_others() -> None:
    spec = dataclasses.replace(VGG, train_size=11)
    others = torch.zeros_like(DATASET.train_images[11:])  # would change the normalisation
    changed = dataclasses.replace(DATASET, train_images=torch.cat([DATASET.train_images[:11], others]))
    limited = train(spec, changed)
    assert_same_states(limited, train(VGG, DATASET.limited(11)))
    assert (limited.log["images"], limited.log["steps"]) == (11, 2)
    assert distance(limited, train(VGG, DATASET)) > 1e-3


def test_the_test_set_does_not_matter() -> None:
    changed = dataclasses.replace(DATASET, test_images=DATASET.test_images // 2)
    assert_same_states(train(MLP, DATASET), train(MLP, changed))


@pytest.mark.parametrize("spec", [MLP, VGG], ids=lambda spec: spec.arch)
def test_bf16_trains_float32_weights(spec: RunSpec) -> None:
    single, half = (train(dataclasses.replace(spec, precision=name), DATASET) for name in ("fp32", "bf16"))
    assert {value.dtype for value in half.state.values()} <= {torch.float32, torch.int64}
    assert half.log["status"] == "trained"
    weights = [value for value in half.state.values() if value.ndim > 1]
    assert not all(torch.equal(value, value.bfloat16().float()) for value in weights)
    assert half.log["loss"] != single.log["loss"], "bf16 was not used"
    assert half.log["loss"] == pytest.approx(single.log["loss"], rel=0.05)


# --- when it goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [MLP, VGG], ids=lambda spec: spec.arch)
def test_divergence_is_recorded_and_stops_the_training(spec: RunSpec) -> None:
    calls: list[int] = []
    wild = dataclasses.replace(spec, lr=1e30, weight_decay=1.0, epochs=40, schedule="constant")
    trained = train(wild, DATASET, on_epoch=lambda done, _epochs: calls.append(done))
    assert trained.log["status"] == "diverged"
    assert trained.log["loss"][-1] is None
    assert len(trained.log["loss"]) < 40
    assert calls == list(range(1, len(trained.log["loss"]) + 1))
    assert trained.log["steps"] == 4 * len(trained.log["loss"])
    json.dumps(trained.log, allow_nan=False)


def test_a_last_step_that_leaves_infinite_weights_is_divergence() -> None:
    """The loss is computed before the step, so it cannot tell."""
    trained = train(dataclasses.replace(MLP, lr=1e38, epochs=1, batch_size=23, weight_decay=1e3), DATASET)
    assert math.isfinite(trained.log["loss"][0])
    assert trained.log["status"] == "diverged"


def test_a_batch_larger_than_the_training_set_is_refused() -> None:
    with pytest.raises(SpecError, match="batch_size 24 exceeds the 23 training images"):
        train(dataclasses.replace(MLP, batch_size=24), DATASET)
    with pytest.raises(SpecError, match="batch_size 5 exceeds the 4 training images"):
        train(dataclasses.replace(MLP, train_size=4), DATASET)
    assert train(dataclasses.replace(MLP, batch_size=23), DATASET).log["steps"] == 3


def test_more_images_than_there_are_is_refused() -> None:
    with pytest.raises(DataError, match="24 training images asked for, but 'synthetic' has 23"):
        train(dataclasses.replace(MLP, train_size=24), DATASET)
