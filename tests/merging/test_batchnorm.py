"""Running statistics recomputed in one pass (Appendix B.1), against numpy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lmc.data import load_dataset
from lmc.errors import MergeError
from lmc.measuring.evaluation import evaluate_logits, logits_of
from lmc.measuring.inputs import HeldInputs
from lmc.merging import has_bn, interpolate, reset_bn_stats, untracked_norms
from lmc.merging.batchnorm import read_bn_stats, write_bn_stats
from lmc.specs import RunSpec
from lmc.training.engine import initial_model, train

F64: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}


def rng_tensor(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(2.0, 3.0, shape))


Norm = nn.modules.batchnorm._BatchNorm


def stale(layer: Norm, seed: int = 0) -> Norm:
    """A layer in float64 with its own random affine map and statistics."""
    layer = layer.double()
    rng = np.random.default_rng(seed)
    for target in (layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var):
        target.copy_(torch.from_numpy(rng.uniform(0.5, 2.0, target.shape)))
    return layer


def batch_statistics(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased variance per channel of (N, C, ...)."""
    rows = np.moveaxis(batch, 1, -1).reshape(-1, batch.shape[1])
    mean = rows.sum(0) / len(rows)
    return mean, ((rows - mean) ** 2).sum(0) / (len(rows) - 1)


CASES = [(nn.BatchNorm1d(3), (17, 3)), (nn.BatchNorm2d(3), (5, 3, 4, 2)), (nn.BatchNorm3d(2), (4, 2, 2, 3, 2))]


@pytest.mark.parametrize(("layer", "shape"), CASES, ids=["1d", "2d", "3d"])
def test_one_batch_gives_its_mean_and_unbiased_variance(layer: Norm, shape: tuple[int, ...]) -> None:
    data = rng_tensor(1, *shape)
    assert reset_bn_stats(stale(layer), [data]) == 1
    mean, variance = batch_statistics(data.numpy())
    torch.testing.assert_close(layer.running_mean, torch.from_numpy(mean), **F64)
    torch.testing.assert_close(layer.running_var, torch.from_numpy(variance), **F64)


def test_several_batches_give_the_mean_of_their_statistics() -> None:
    layer, sizes = stale(nn.BatchNorm1d(3, momentum=0.3)), (7, 4, 2, 9)
    batches = [rng_tensor(seed, size, 3) for seed, size in enumerate(sizes)]
    assert reset_bn_stats(layer, iter(batches)) == len(sizes)
    means, variances = zip(*(batch_statistics(batch.numpy()) for batch in batches), strict=True)
    torch.testing.assert_close(layer.running_mean, torch.from_numpy(np.mean(means, axis=0)), **F64)
    torch.testing.assert_close(layer.running_var, torch.from_numpy(np.mean(variances, axis=0)), **F64)


def two_norms(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    first, second = nn.Linear(3, 4).double(), nn.Linear(4, 2).double()
    return nn.Sequential(first, stale(nn.BatchNorm1d(4)), nn.ReLU(), second, stale(nn.BatchNorm1d(2), 1))


def test_the_second_norm_sees_the_first_with_batch_statistics() -> None:
    net = two_norms()
    batches = [rng_tensor(seed, 8, 3).numpy() for seed in range(3)]
    reset_bn_stats(net, [torch.from_numpy(batch) for batch in batches])
    linear1, norm1, _, linear2, norm2 = net
    w1, b1, w2, b2 = (p.detach().numpy() for p in (linear1.weight, linear1.bias, linear2.weight, linear2.bias))
    found = []
    for batch in batches:
        hidden = batch @ w1.T + b1
        mean, biased = hidden.mean(0), hidden.var(0)
        normed = (hidden - mean) / np.sqrt(biased + norm1.eps)
        features = np.maximum(normed * norm1.weight.detach().numpy() + norm1.bias.detach().numpy(), 0)
        found.append(batch_statistics(features @ w2.T + b2))
    means, variances = zip(*found, strict=True)
    torch.testing.assert_close(norm2.running_mean, torch.from_numpy(np.mean(means, axis=0)), **F64)
    torch.testing.assert_close(norm2.running_var, torch.from_numpy(np.mean(variances, axis=0)), **F64)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.integers(0, 2**31 - 1), st.lists(st.integers(2, 20), min_size=1, max_size=5))
def test_twice_is_once(seed: int, sizes: list[int]) -> None:
    net, batches = two_norms(seed), [rng_tensor(seed + index, size, 3) for index, size in enumerate(sizes)]
    before = statistics_of(net)
    reset_bn_stats(net, batches)
    once = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert not torch.equal(once["4.running_var"], before["4.running_var"]), "the reset must do something"
    reset_bn_stats(net, batches)
    torch.testing.assert_close(net.state_dict(), once, rtol=0.0, atol=0.0)


def test_a_net_whose_statistics_are_already_the_datas_keeps_its_function() -> None:
    net, data = two_norms(), rng_tensor(5, 40, 3)
    net.train()
    for layer in net.modules():
        if isinstance(layer, Norm):
            layer.momentum = 1.0  # the running statistics become the last batch's
    net(data)
    net.eval()
    before = net(data)
    assert reset_bn_stats(net, [data]) == 1
    torch.testing.assert_close(net(data), before, **F64)
    reset_bn_stats(net, [data * 2 + 1])
    assert not torch.allclose(net(data), before), "other data must change the function"


def test_parameters_and_gradients_are_left_alone() -> None:
    net = two_norms()
    before = [parameter.clone() for parameter in net.parameters()]
    reset_bn_stats(net, [rng_tensor(0, 8, 3)])
    torch.testing.assert_close(list(net.parameters()), before, rtol=0.0, atol=0.0)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())


class DropsOutAndRecords(nn.Module):
    """Fails if it ever runs in training mode: only BatchNorm may."""

    def forward(self, inputs: Tensor) -> Tensor:
        assert not self.training
        return inputs


def settings_of(net: nn.Module) -> list[tuple[bool, float | None]]:
    return [(module.training, getattr(module, "momentum", None)) for module in net.modules()]


def mixed_modes() -> nn.Sequential:
    net = nn.Sequential(stale(nn.BatchNorm1d(3, momentum=0.2)), DropsOutAndRecords(), stale(nn.BatchNorm1d(3)))
    net.train()
    net[0].eval()
    return net


def test_modes_and_momenta_are_kept() -> None:
    net = mixed_modes()
    before = settings_of(net)
    reset_bn_stats(net, [rng_tensor(0, 8, 3)])
    assert settings_of(net) == before
    assert before[1:3] == [(False, 0.2), (True, None)]


@pytest.mark.parametrize("case", ["model", "data"])
def test_modes_and_momenta_are_kept_after_an_exception(case: str) -> None:
    net = mixed_modes()
    before = settings_of(net)

    def batches() -> Iterator[Tensor]:
        yield rng_tensor(0, 8, 3)
        if case == "data":
            raise OSError("the disk is gone")
        yield rng_tensor(0, 8, 5)  # no model of three features reads this

    with pytest.raises(OSError if case == "data" else RuntimeError):
        reset_bn_stats(net, batches())
    assert settings_of(net) == before


def statistics_of(net: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in net.named_buffers()}


def failing(case: str) -> Iterator[Tensor]:
    """Batches of which the second cannot be had, or read, or normalised."""
    if case != "none":
        yield rng_tensor(0, 8, 3)
    if case == "data":
        raise KeyboardInterrupt
    if case == "model":
        yield rng_tensor(0, 8, 5)
    if case == "one image":
        yield rng_tensor(0, 1, 3)


@pytest.mark.parametrize("case", ["none", "data", "model", "one image"])
def test_statistics_are_restored_after_an_exception(case: str) -> None:
    net = two_norms()
    before = statistics_of(net)
    with pytest.raises((RuntimeError, KeyboardInterrupt, MergeError)):
        reset_bn_stats(net, failing(case))
    torch.testing.assert_close(statistics_of(net), before, rtol=0.0, atol=0.0)
    assert not any(module._forward_pre_hooks for module in net.modules())
    reset_bn_stats(net, [rng_tensor(0, 8, 3)])
    assert (statistics_of(net)["1.running_mean"] != before["1.running_mean"]).all()


def test_a_batch_of_one_image_is_refused_with_a_remedy() -> None:
    with pytest.raises(MergeError, match=r"\(1, 4\) gives BatchNorm1d.* two images or more"):
        reset_bn_stats(two_norms(), [rng_tensor(0, 8, 3), rng_tensor(0, 1, 3)])
    with pytest.raises(MergeError, match=r"BatchNorm2d.* two images or more"):
        reset_bn_stats(stale(nn.BatchNorm2d(3)), [rng_tensor(0, 1, 3, 1, 1)])
    assert reset_bn_stats(stale(nn.BatchNorm2d(3)), [rng_tensor(0, 1, 3, 2, 1)]) == 1


def test_statistics_travel_between_models() -> None:
    one, other = two_norms(), two_norms()
    reset_bn_stats(one, [rng_tensor(0, 8, 3)])
    read = read_bn_stats(one)
    write_bn_stats(other, read)
    torch.testing.assert_close(statistics_of(other), statistics_of(one), rtol=0.0, atol=0.0)
    reset_bn_stats(one, [rng_tensor(1, 8, 3)])
    assert not torch.equal(read[0], read_bn_stats(one)[0]), "what was read is a copy"


def test_half_of_the_digits_gives_nearly_the_statistics_of_all(tmp_path: Path) -> None:
    """What the limit of 5,000 images rests on: the merged model's loss hardly depends on how many more there are."""
    digits = load_dataset("digits", tmp_path)
    recipe: dict[str, Any] = {"width": 1 / 8, "lr": 0.05, "weight_decay": 1e-3, "epochs": 4, "batch_size": 50}
    spec = RunSpec(dataset="digits", arch="vgg-small", train_size=1000, **recipe)
    a, b = (train(spec.with_seed(seed), digits) for seed in (2, 3))
    model, inputs = initial_model(spec, digits), HeldInputs.of(digits, 1000, "cpu")
    model.load_state_dict(interpolate(a.state, b.state, 0.5))
    losses = {}
    for images in (0, 40, 500, 1000):
        if images:
            reset_bn_stats(model, inputs.train_batches(images))
        losses[images] = evaluate_logits(logits_of(model, inputs), inputs.labels).calibrated_loss
    assert losses[1000] < 0.7 * losses[0], "the reset matters"
    assert losses[500] == pytest.approx(losses[1000], rel=0.01)
    assert abs(losses[40] - losses[1000]) > abs(losses[500] - losses[1000]), "fewer images are worse"


def test_a_net_without_batchnorm_is_left_alone() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    assert not has_bn(net)
    assert reset_bn_stats(net, iter(())) == 0


def test_no_batch_is_refused() -> None:
    net = two_norms()
    before = settings_of(net)
    with pytest.raises(MergeError, match="no batch to reset"):
        reset_bn_stats(net, [])
    assert settings_of(net) == before


def test_a_norm_without_statistics_is_refused() -> None:
    untracked = nn.BatchNorm1d(3, track_running_stats=False)
    assert not has_bn(untracked)
    assert has_bn(nn.Sequential(untracked, nn.BatchNorm1d(3)))
    switched_off = nn.BatchNorm1d(3)
    switched_off.track_running_stats = False  # though its buffers are still there
    for layer in (untracked, switched_off):
        net = nn.Sequential(nn.BatchNorm1d(3), layer)
        assert untracked_norms(net) == ["1"]
        with pytest.raises(MergeError, match=r"'1' keeps no statistics.*build the model with track_running_stats=True"):
            reset_bn_stats(net, [torch.zeros(4, 3)])
