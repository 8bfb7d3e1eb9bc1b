"""Flatness: a numpy MLP with BatchNorm as reference, properties of the direction, dead layers, bad input."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from torch import Tensor, nn

from lmc.data import Normaliser
from lmc.errors import MergeError, SpecError
from lmc.measuring.evaluation import evaluate_logits, logits_of
from lmc.measuring.flatness import measure_flatness, perturb, random_direction
from lmc.measuring.inputs import HeldInputs
from lmc.merging import reset_bn_stats
from lmc.nets import MLP, ResNet

ALPHAS = (0.0, 0.3, 1.0)
DISTANCE = 2.5
EXACT: dict[str, Any] = {"rtol": 0, "atol": 0}

quick = settings(deadline=None, max_examples=40, derandomize=True)
seeds = st.integers(0, 2**31 - 1)
distances = st.floats(1e-6, 1e6)


def inputs_of() -> HeldInputs:
    rng = np.random.default_rng(0)
    test, train = (torch.from_numpy(rng.integers(0, 256, (count, 1, 4, 4), dtype=np.uint8)) for count in (50, 41))
    normalise = Normaliser(torch.full((1, 1, 1), 1 / 64), torch.full((1, 1, 1), -2.0))  # exact in float32
    return HeldInputs(test, torch.from_numpy(rng.integers(0, 3, 50)), train, normalise, 20, torch.float64)


def mlp(*, batch_norm: bool = True) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MLP(16, 10, 3, batch_norm=batch_norm).double().eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                for tensor in (module.weight.data, module.running_var):
                    tensor.uniform_(0.5, 2.0)
                module.running_mean.uniform_(-0.5, 0.5)
    return model


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def numpy_run(
    state: dict[str, np.ndarray], uint8: Tensor, *, batch_statistics: bool
) -> tuple[list[np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    """ReLU outputs, logits, and the batch's BatchNorm statistics, which are used where asked for."""
    z, outputs, seen = (uint8.numpy() / 64 - 2).reshape(len(uint8), -1), [], {}
    for index in range(3):
        h = z @ state[f"hidden.{index}.linear.weight"].T + state[f"hidden.{index}.linear.bias"]
        norm = f"hidden.{index}.norm"
        if f"{norm}.weight" in state:
            mean, variance = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
            if batch_statistics:
                mean, variance = h.mean(0), h.var(0)
                seen[f"{norm}.running_mean"], seen[f"{norm}.running_var"] = mean, h.var(0, ddof=1)
            h = (h - mean) / np.sqrt(variance + 1e-5) * state[f"{norm}.weight"] + state[f"{norm}.bias"]
        z = np.maximum(h, 0)
        outputs.append(z)
    return outputs, z @ state["head.weight"].T + state["head.bias"], seen


def numpy_perturbed(state: dict[str, Tensor], alpha: float, seed: int, inputs: HeldInputs) -> dict[str, np.ndarray]:
    """θ + α · distance · u by one long vector; between, BatchNorm statistics are means over the batches."""
    names = [name for name in state if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(state[name].shape, generator=generator, dtype=torch.float64).numpy() for name in names]
    length = np.linalg.norm(np.concatenate([each.ravel() for each in drawn]))
    found = {name: tensor.numpy().copy() for name, tensor in state.items()}
    for name, each in zip(names, drawn, strict=True):
        found[name] += alpha * DISTANCE * each / length
    if alpha > 0:
        batches = [inputs.train[:20], inputs.train[20:40]]  # a last batch of one image is left out
        statistics = [numpy_run(found, batch, batch_statistics=True)[2] for batch in batches]
        for name in statistics[0]:
            found[name] = np.mean([each[name] for each in statistics], axis=0)
    return found


def norm_of(direction: dict[str, Tensor]) -> float:
    return float(np.linalg.norm(np.concatenate([step.double().numpy().ravel() for step in direction.values()])))


# -- The direction. --


@quick
@given(seeds, distances)
def test_the_step_has_exactly_the_distance_asked_for(seed: int, distance: float) -> None:
    state = state_of(mlp())
    assert norm_of(random_direction(state, distance, seed)) == pytest.approx(distance, rel=1e-12)
    single = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    assert norm_of(random_direction(single, distance, seed)) == pytest.approx(distance, rel=1e-6)
    moved = perturb(state, random_direction(state, 2.0, seed), 0.25)
    assert norm_of({name: moved[name] - state[name] for name in state}) == pytest.approx(0.5, rel=1e-10)


@quick
@given(seeds, distances)
def test_a_seed_is_a_direction_whatever_the_distance_and_dtype(seed: int, distance: float) -> None:
    state = state_of(mlp(batch_norm=False))
    unit = random_direction(state, 1.0, seed)
    for name, step in random_direction(state, distance, seed).items():
        torch.testing.assert_close(step, distance * unit[name], rtol=1e-12, atol=0)
    single = random_direction({name: tensor.float() for name, tensor in state.items()}, 1.0, seed)
    for name, step in single.items():
        assert step.dtype == torch.float32
        torch.testing.assert_close(step.double(), unit[name], rtol=1e-5, atol=1e-9)


def test_another_seed_is_another_direction() -> None:
    state = {"weight": torch.zeros(400, 500)}
    one, same, other = (random_direction(state, 1.0, seed)["weight"].ravel() for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert abs(float(one @ other)) < 5 / math.sqrt(one.numel())


def test_the_direction_is_gaussian_over_all_parameters_at_once() -> None:
    state = {"big": torch.zeros(100, 150), "small": torch.zeros(2000)}
    direction = random_direction(state, 3.0, seed=7)
    for step in direction.values():  # one variance, not one norm per tensor
        scaled = step.double().numpy().ravel() * math.sqrt(17000) / 3
        assert stats.kstest(scaled, "norm").pvalue > 1e-3


@pytest.mark.parametrize("model", [mlp(), mlp(batch_norm=False), ResNet(1, 3, 3, blocks=1)])
def test_steps_are_taken_along_parameters_and_no_buffers(model: nn.Module) -> None:
    direction = random_direction(model.state_dict(), 1.0, 0)
    assert list(direction) == [name for name, _ in model.named_parameters()]
    moved = perturb(model.state_dict(), direction, 1.0)
    assert list(moved) == list(model.state_dict())
    for name, buffer in model.named_buffers():
        assert torch.equal(moved[name], buffer)


def test_without_a_step_the_state_is_the_same_and_a_copy() -> None:
    state = state_of(mlp())
    for moved in (
        perturb(state, random_direction(state, 5.0, 0), 0.0),
        perturb(state, random_direction(state, 0.0, 0), 1.0),
    ):
        for name, tensor in moved.items():
            torch.testing.assert_close(tensor, state[name], **EXACT)
            assert tensor.data_ptr() != state[name].data_ptr()


# -- The measurement. --


@pytest.mark.parametrize("batch_norm", [True, False])
def test_flatness_agrees_with_plain_numpy(batch_norm: bool) -> None:
    model, inputs = mlp(batch_norm=batch_norm), inputs_of()
    state, labels = state_of(model), inputs.labels.numpy()
    found = measure_flatness(model, state, DISTANCE, ALPHAS, inputs, seed=3)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["distance"], found["seed"], found["alphas"]) == (DISTANCE, 3, list(ALPHAS))
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0)).numpy()
    judged, outputs = order[10:], {}
    for alpha, point in zip(ALPHAS, found["points"], strict=True):
        weights = numpy_perturbed(state, alpha, 3, inputs)
        outputs[alpha], logits, _ = numpy_run(weights, inputs.test, batch_statistics=False)
        honest = special.log_softmax(point["beta"] * logits, axis=1)
        assert point["loss"] == pytest.approx(
            -special.log_softmax(logits, axis=1)[np.arange(50), labels].mean(), rel=1e-9
        )
        assert point["accuracy"] == pytest.approx((logits.argmax(1) == labels).mean())
        assert point["calibrated_loss"] == pytest.approx(-honest[judged, labels[judged]].mean(), rel=1e-9)
    for index, record in enumerate(found["activations"].values()):
        x, y = outputs[0.0][index], outputs[1.0][index]
        lengths = np.sqrt((x**2).sum(1) * (y**2).sum(1))
        both_zero = ((x == 0).all(1) & (y == 0).all(1)).astype(float)
        cosines = np.where(lengths > 0, (x * y).sum(1) / np.where(lengths > 0, lengths, 1), both_zero)
        assert record == {"perturbation_cosine": pytest.approx(cosines.mean(), rel=1e-9)}
        assert 0 < cosines.mean() < 0.99, "the case must move the layers"
    assert list(found["activations"]) == [f"hidden.{index}.relu" for index in range(3)]


@pytest.mark.parametrize("model", [mlp(), ResNet(1, 3, 3, blocks=1).double()])
def test_without_a_step_the_model_is_as_trained(model: nn.Module) -> None:
    inputs, state = inputs_of(), state_of(model)
    trained = asdict(evaluate_logits(logits_of(model, inputs), inputs.labels))
    found = measure_flatness(model, state, DISTANCE, ALPHAS, inputs, seed=0)
    assert found["points"][0] == trained
    assert found["points"][1] != trained


def test_a_step_of_length_zero_changes_only_the_statistics() -> None:
    model, inputs = mlp(batch_norm=False), inputs_of()
    found = measure_flatness(model, state_of(model), 0.0, ALPHAS, inputs, seed=0)
    assert found["points"][0] == found["points"][1] == found["points"][2]
    assert [record["perturbation_cosine"] for record in found["activations"].values()] == pytest.approx([1.0] * 3)
    model = mlp()
    reset_bn_stats(model, inputs.train_batches(100))  # so that the perturbed model's reset changes nothing
    first, *others = measure_flatness(model, state_of(model), 0.0, ALPHAS, inputs, seed=0)["points"]
    for point in others:
        assert point == pytest.approx(first, rel=1e-9)


def test_the_order_and_choice_of_alphas_do_not_matter() -> None:
    model, inputs = mlp(), inputs_of()
    state = state_of(model)
    forth = measure_flatness(model, state, DISTANCE, ALPHAS, inputs, seed=0)
    back = measure_flatness(model, state, DISTANCE, ALPHAS[::-1], inputs, seed=0)
    alone = measure_flatness(model, state, DISTANCE, [0.3], inputs, seed=0)
    assert forth["points"] == back["points"][::-1]
    assert forth["points"][1:2] == alone["points"]
    assert forth["activations"] == back["activations"] == alone["activations"]


def test_the_state_may_be_the_modules_own_and_is_not_changed_otherwise() -> None:
    model, inputs = mlp(), inputs_of()
    state = state_of(model)
    kept = copy.deepcopy(state)
    apart = measure_flatness(mlp(), state, DISTANCE, ALPHAS, inputs, seed=0)
    for name, tensor in kept.items():
        torch.testing.assert_close(state[name], tensor, **EXACT)
    assert measure_flatness(model, model.state_dict(), DISTANCE, ALPHAS, inputs, seed=0) == apart


def test_a_longer_step_turns_the_layers_further() -> None:
    model, inputs = mlp(), inputs_of()
    state = state_of(model)
    steps = [measure_flatness(model, state, distance, [1], inputs, seed=0)["activations"] for distance in (0.1, 1, 10)]
    for name in steps[0]:
        near, middle, far = (step[name]["perturbation_cosine"] for step in steps)
        assert near > middle > far


@pytest.mark.parametrize("distance", [0.0, DISTANCE])
def test_dead_layers_never_give_nan(distance: float) -> None:
    model, inputs = mlp(batch_norm=False), inputs_of()
    for name in ("hidden.1.linear", "hidden.2.linear"):
        for parameter in model.get_submodule(name).parameters():
            parameter.data.zero_()
    found = measure_flatness(model, state_of(model), distance, ALPHAS, inputs, seed=0)
    assert json.dumps(found, allow_nan=False)
    expected = 1.0 if distance == 0 else pytest.approx(0.0, abs=0.2)  # both silent, or the dead one alone
    assert found["activations"]["hidden.1.relu"] == {"perturbation_cosine": expected}


# -- Bad input. --


@pytest.mark.parametrize("distance", [-1.0, -1e-9, math.nan, math.inf])
def test_distances_out_of_range_are_refused(distance: float) -> None:
    model = mlp()
    message = f"distance is {distance}; it must be finite and at least 0"
    with pytest.raises(SpecError, match=message):
        random_direction(model.state_dict(), distance, 0)
    with pytest.raises(SpecError, match=message):
        measure_flatness(model, model.state_dict(), distance, ALPHAS, inputs_of(), 0)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan, math.inf])
def test_alphas_out_of_range_are_refused(alpha: float) -> None:
    model = mlp()
    state = state_of(model)
    with pytest.raises(SpecError, match=f"alpha is {alpha}; it must be between 0"):
        perturb(state, random_direction(state, 1.0, 0), alpha)
    with pytest.raises(SpecError, match=rf"each in \[0, 1\]; wrong are \[{alpha}\]"):
        measure_flatness(model, state, 1.0, [0.0, alpha], inputs_of(), 0)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, state[name], **EXACT)


def test_no_alpha_and_no_parameter_are_refused() -> None:
    model = mlp()
    with pytest.raises(SpecError, match=r"alphas \[\] must be at least one number"):
        measure_flatness(model, model.state_dict(), 1.0, [], inputs_of(), 0)
    for state in ({}, {"steps": torch.zeros(3).long()}, {"norm.running_mean": torch.zeros(3)}):
        with pytest.raises(SpecError, match="no floating-point parameter among"):
            random_direction(state, 1.0, 0)


def test_a_model_that_diverged_is_refused() -> None:
    model = mlp()
    state = state_of(model)
    state["head.bias"][0] = math.nan
    with pytest.raises(MergeError, match="finite"):
        measure_flatness(model, state, 1.0, ALPHAS, replace(inputs_of(), batch=50), 0)
