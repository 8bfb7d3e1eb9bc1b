"""The paper's theorems as properties: exact LEWC (Thm. 5.3), and what high dimension gives free (Thm. 5.4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from torch import nn

from lmc.errors import MergeError, SpecError
from lmc.merging import merge
from lmc.merging.sums import sum_merge, sum_parts
from lmc.theory import (
    GAUSSIAN_NULL,
    Weights,
    additivity_limit,
    average_nets,
    lewc_error,
    lewc_inverse_temperature,
    orthogonal_nets,
    sampled_additivity,
    sum_error,
    sum_nets,
)

quick = settings(deadline=None, max_examples=80, derandomize=True)
seeds = st.integers(0, 2**31 - 1)


@st.composite
def averages(draw: st.DrawFn, *, least: float = 0.0) -> list[float]:
    """λ_1 .. λ_k of 2 to 6 models, non-negative and summing to one, each at least ``least`` before scaling."""
    drawn = draw(st.lists(st.floats(least, 1, allow_subnormal=False), min_size=2, max_size=6))
    return [share / sum(drawn) for share in drawn] if sum(drawn) > 1e-6 else [1.0] + [0.0] * (len(drawn) - 1)


sizes = st.fixed_dictionaries(
    {
        "layers": st.integers(1, 8),
        "units": st.integers(1, 12),
        "inputs": st.integers(1, 10),
        "classes": st.integers(1, 6),
    }
)


@quick
@given(seeds, averages(), sizes)
def test_lewc_is_exact_under_both_conditions(seed: int, weights: list[float], size: dict[str, int]) -> None:
    """Thm. 5.3, for any depth, width, number of models and weights."""
    rng = np.random.default_rng(seed)
    nets = orthogonal_nets(rng, models=len(weights), **size)
    assert lewc_error(nets, weights, rng.standard_normal((5, size["inputs"]))) <= 1e-10


@quick
@given(seeds, averages(), sizes)
def test_torch_merge_obeys_the_theorem(seed: int, weights: list[float], size: dict[str, int]) -> None:
    rng = np.random.default_rng(seed)
    nets = orthogonal_nets(rng, models=len(weights), **size)
    inputs = torch.from_numpy(rng.standard_normal((5, size["inputs"])))
    modules = [as_module(net) for net in nets]
    merged = as_module(nets[0])
    merged.load_state_dict(merge([module.state_dict() for module in modules], weights))
    outputs = [layer_outputs(module, inputs) for module in modules]
    for depth, found in enumerate(layer_outputs(merged, inputs), start=1):
        expected = sum(lam**depth * each[depth - 1] for lam, each in zip(weights, outputs, strict=True))
        assert (found - expected).norm() <= 1e-10 * expected.norm(), f"layer {depth}"


def as_module(net: Weights) -> nn.Sequential:
    layers: list[nn.Module] = []
    for matrix, bias in zip(net.matrices, net.biases, strict=True):
        linear = nn.Linear(matrix.shape[1], matrix.shape[0]).double()
        linear.load_state_dict({"weight": torch.from_numpy(matrix), "bias": torch.from_numpy(bias)})
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@torch.no_grad()
def layer_outputs(module: nn.Sequential, inputs: torch.Tensor) -> list[torch.Tensor]:
    """What every ReLU gives, then the logits."""
    found = []
    for layer in module:
        inputs = layer(inputs)
        found.append(inputs)
    return [*found[1:-1:2], found[-1]]


VIOLATIONS = ("leak", "overlap", "bias")


@pytest.mark.parametrize("violated", VIOLATIONS)
@quick
@given(seeds, averages(least=0.2), st.integers(2, 6))
def test_the_error_grows_in_proportion_to_the_violation(
    violated: str, seed: int, weights: list[float], layers: int
) -> None:
    def error(size: float) -> float:
        rng = np.random.default_rng(seed)
        inputs = rng.standard_normal((20, 6))
        sizes: dict[str, Any] = {"layers": layers, "units": 12, "inputs": 6, "classes": 4}
        return lewc_error(orthogonal_nets(rng, models=len(weights), **sizes | {violated: size}), weights, inputs)

    small, double = error(1e-6), error(2e-6)
    assert small > 1e-8, "a violated condition must show"
    # First order in the violation; what remains are ReLUs that cross zero, and terms of second order.
    assert double / small == pytest.approx(2, rel=1e-2)
    assert error(0.0) <= 1e-10


@pytest.mark.parametrize("violated", VIOLATIONS)
def test_a_large_violation_is_a_large_error(violated: str) -> None:
    rng = np.random.default_rng(0)
    sizes: dict[str, Any] = {"models": 2, "layers": 4, "units": 16, "inputs": 8, "classes": 4}
    error = lewc_error(orthogonal_nets(rng, **sizes | {violated: 0.5}), [0.5, 0.5], rng.standard_normal((50, 8)))
    assert 0.05 < error < math.inf


def test_one_model_alone_or_with_all_the_weight_has_no_error_whatever_is_violated() -> None:
    rng = np.random.default_rng(0)
    sizes = {"layers": 3, "units": 5, "inputs": 4, "classes": 3}
    nets = orthogonal_nets(rng, models=3, **sizes, leak=1.0, overlap=1.0, bias=1.0)
    inputs = rng.standard_normal((10, 4))
    assert lewc_error(nets[:1], [1.0], inputs) == 0
    assert lewc_error(nets, [0.0, 1.0, 0.0], inputs) == 0
    assert lewc_error(nets, [0.3, 0.3, 0.4], inputs) > 0.01


@pytest.mark.parametrize(
    ("count", "weights", "message"),
    [
        (2, [0.6, 0.5], "sum to 1, not 1.1"),
        (2, [1.5, -0.5], "must be non-negative"),
        (2, [math.nan, 1.0], "sum to 1, not nan"),
        (2, [0.5], "1 weights for 2 models"),
        (0, [], "no model to merge"),
    ],
)
def test_weights_that_are_no_average_are_refused(count: int, weights: list[float], message: str) -> None:
    rng = np.random.default_rng(0)
    nets = orthogonal_nets(rng, models=2, layers=2, units=2, inputs=3, classes=2)[:count]
    for call in (average_nets, lambda nets, weights: lewc_error(nets, weights, np.ones((1, 3)))):
        with pytest.raises(MergeError, match=message):
            call(nets, weights)


def test_average_nets_is_the_weighted_sum_and_its_outputs_a_relu_mlp() -> None:
    rng = np.random.default_rng(0)
    nets = orthogonal_nets(rng, models=3, layers=3, units=2, inputs=4, classes=3, overlap=1, leak=1, bias=1)
    weights, inputs = [0.2, 0.5, 0.3], rng.standard_normal((6, 4))
    merged = average_nets(nets, weights)
    for index in range(3):
        matrices, biases = ([getattr(net, name)[index] for net in nets] for name in ("matrices", "biases"))
        np.testing.assert_allclose(merged.matrices[index], np.einsum("k,kij->ij", weights, matrices), atol=1e-14)
        np.testing.assert_allclose(merged.biases[index], np.einsum("k,ki->i", weights, biases), atol=1e-14)
    expected = layer_outputs(as_module(merged), torch.from_numpy(inputs))
    for found, torchs in zip(merged.outputs(inputs), expected, strict=True):
        np.testing.assert_allclose(found, torchs.numpy(), rtol=1e-12, atol=1e-13)


def test_orthogonal_nets_meet_the_definitions() -> None:
    rng = np.random.default_rng(0)
    a, b = orthogonal_nets(rng, models=2, layers=4, units=6, inputs=5, classes=3)
    inputs = rng.standard_normal((10, 5))
    outputs_a, outputs_b = a.outputs(inputs), b.outputs(inputs)
    for layer in range(1, 4):
        z_a, z_b = outputs_a[layer - 1], outputs_b[layer - 1]
        assert np.abs(z_a).max() > 0.1, "the nets must not be trivially silent"
        assert np.abs(z_b).max() > 0.1
        assert not np.any(z_a * z_b), "no unit is active in both (Def. 5.1)"
        assert not np.any(z_a @ b.matrices[layer].T), "W^b z^a = 0 (Def. 5.2)"
        assert not np.any(z_b @ a.matrices[layer].T), "W^a z^b = 0 (Def. 5.2)"
    assert not any(np.any(bias) for net in (a, b) for bias in net.biases)


# -- Sum merging: the theorem with biases, and its two conditions. --


def positive(weights: list[float]) -> list[float]:
    """A few of the weights may be 0, which sums refuse: bring them up."""
    raised = [weight + 0.05 for weight in weights]
    return [weight / sum(raised) for weight in raised]


@quick
@given(seeds, averages(), sizes, st.floats(0, 3))
def test_sums_are_exact_under_both_conditions(
    seed: int, weights: list[float], size: dict[str, int], bias: float
) -> None:
    rng = np.random.default_rng(seed)
    nets = orthogonal_nets(rng, models=len(weights), bias=bias, **size)
    assert sum_error(nets, weights, rng.standard_normal((5, size["inputs"]))) <= 1e-10


@quick
@given(seeds, averages(), sizes, st.floats(0, 3))
def test_torch_sums_obey_the_theorem(seed: int, weights: list[float], size: dict[str, int], bias: float) -> None:
    rng, shares = np.random.default_rng(seed), positive(weights)
    nets = orthogonal_nets(rng, models=len(weights), bias=bias, **size)
    inputs = torch.from_numpy(rng.standard_normal((5, size["inputs"])))
    modules = [as_module(net) for net in nets]
    merged = as_module(nets[0])
    parts = sum_parts(merged, inputs)
    merged.load_state_dict(sum_merge([module.state_dict() for module in modules], parts, shares))
    outputs = [layer_outputs(module, inputs) for module in modules]
    *hidden, logits = layer_outputs(merged, inputs)
    for layer, found in enumerate(hidden):
        torch.testing.assert_close(found, sum(each[layer] for each in outputs), rtol=1e-10, atol=1e-12)
    mean = sum(share * each[-1] for share, each in zip(shares, outputs, strict=True))
    torch.testing.assert_close(logits, mean, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("broken", ["overlap", "leak"])
@pytest.mark.parametrize("models", [2, 4])
def test_sums_deviate_measurably_where_a_condition_is_broken(broken: str, models: int) -> None:
    """The more a condition is broken, the larger the deviation; whatever the seed."""
    weights = [1 / models] * models
    for seed in range(10):
        errors = []
        for size in (0.0, 0.3, 1.0):
            rng = np.random.default_rng(seed)
            nets = orthogonal_nets(rng, models=models, layers=4, units=8, inputs=6, classes=3, bias=1, **{broken: size})
            errors.append(sum_error(nets, weights, np.random.default_rng(1).standard_normal((20, 6))))
        assert errors[0] < 1e-12, errors
        assert 0.01 < errors[1] < errors[2], errors


def test_an_average_of_nets_with_biases_is_off_where_their_sum_is_exact() -> None:
    rng = np.random.default_rng(0)
    nets = orthogonal_nets(rng, models=2, layers=4, units=8, inputs=6, classes=3, bias=1)
    inputs = rng.standard_normal((20, 6))
    logits = (nets[0].outputs(inputs)[-1] + nets[1].outputs(inputs)[-1]) / 2
    found, averaged = (rule(nets, [0.5, 0.5]).outputs(inputs)[-1] for rule in (sum_nets, average_nets))
    np.testing.assert_allclose(found, logits, rtol=1e-10, atol=1e-12)
    scale = (averaged * logits).sum() / (averaged**2).sum()  # the best single factor, which no β can beat
    assert np.linalg.norm(scale * averaged - logits) > 0.2 * np.linalg.norm(logits)


@quick
@given(seeds, averages(), sizes)
def test_without_biases_a_sum_is_a_scaled_average(seed: int, weights: list[float], size: dict[str, int]) -> None:
    """ReLU is homogeneous: at equal weights the logits are k^(L-1) those of the average, conditions or not."""
    models, rng = len(weights), np.random.default_rng(seed)
    nets = orthogonal_nets(rng, models=models, overlap=1, leak=1, **size)
    inputs, equal = rng.standard_normal((5, size["inputs"])), [1 / models] * models
    average, total = (rule(nets, equal).outputs(inputs)[-1] for rule in (average_nets, sum_nets))
    np.testing.assert_allclose(total, models ** (size["layers"] - 1) * average, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["models", "layers", "units", "inputs", "classes"])
def test_empty_nets_are_refused(name: str) -> None:
    sizes: dict[str, Any] = {"models": 2, "layers": 2, "units": 2, "inputs": 2, "classes": 2, name: 0}
    with pytest.raises(SpecError, match="at least 1"):
        orthogonal_nets(np.random.default_rng(0), **sizes)


@pytest.mark.parametrize(
    ("lam", "expected"), [(0.5, 0.93044), (0.3, 0.95921), (0.7, 0.95921), (0.1, 0.99523), (0.0, 1.0), (1.0, 1.0)]
)
def test_additivity_limit_has_the_known_values(lam: float, expected: float) -> None:
    assert additivity_limit(lam) == pytest.approx(expected, abs=5e-6)


def test_the_null_level_is_the_midpoints_limit() -> None:
    assert abs(GAUSSIAN_NULL - 0.93044) < 5e-6
    assert additivity_limit(0.5) == pytest.approx(GAUSSIAN_NULL, abs=1e-14)


@quick
@given(st.floats(0, 1))
def test_additivity_limit_is_symmetric_and_lowest_at_the_midpoint(lam: float) -> None:
    assert additivity_limit(lam) == pytest.approx(additivity_limit(1 - lam), abs=1e-12)
    assert GAUSSIAN_NULL - 1e-12 <= additivity_limit(lam) <= 1 + 1e-12


def relu(value: float) -> float:
    return max(value, 0.0)


def gaussian_mean(function: Callable[[float, float], float], kink: float) -> float:
    """E[g(x, y)] of independent standard Gaussians, in polar coordinates.

    Args:
        function: g, smooth but for kinks on both axes and on the line at angle ``kink``.
        kink: radians in [0, π].
    """

    def ring(angle: float) -> float:
        def density(r: float) -> float:
            return function(r * math.cos(angle), r * math.sin(angle)) * math.exp(-r * r / 2) * r / (2 * math.pi)

        return integrate.quad(density, 0, 12, epsabs=1e-9)[0]

    corners = sorted({0.0, math.pi / 2, math.pi, 3 * math.pi / 2, 2 * math.pi, kink, kink + math.pi})
    return sum(integrate.quad(ring, low, high, epsabs=1e-9)[0] for low, high in pairwise(corners))


@pytest.mark.parametrize("lam", [0.5, 0.3, 0.1])
def test_additivity_limit_equals_the_integrals(lam: float) -> None:
    def merged(x: float, y: float) -> float:
        return relu(lam * x + (1 - lam) * y)

    def average(x: float, y: float) -> float:
        return lam * relu(x) + (1 - lam) * relu(y)

    kink = math.pi - math.atan2(lam, 1 - lam)  # λx + (1-λ)y = 0
    product, merged_square, average_square = (
        gaussian_mean(lambda x, y, f=f, g=g: f(x, y) * g(x, y), kink)  # type: ignore[misc]
        for f, g in ((merged, average), (merged, merged), (average, average))
    )
    assert merged_square == pytest.approx((lam**2 + (1 - lam) ** 2) / 2, abs=1e-6)  # half a Gaussian's variance
    assert additivity_limit(lam) == pytest.approx(product / math.sqrt(merged_square * average_square), abs=1e-6)


@pytest.mark.parametrize("lam", [-0.01, 1.01, math.nan])
def test_additivity_limit_refuses_lambda_out_of_range(lam: float) -> None:
    with pytest.raises(SpecError, match=f"lam is {lam}"):
        additivity_limit(lam)


@pytest.mark.parametrize("lam", [0.5, 0.3])
def test_sampled_cosines_concentrate_on_the_limit(lam: float) -> None:
    """Thm. 5.4: the deviation is O(1/√d) in probability."""
    rng, spreads = np.random.default_rng(0), []
    for dimension in (100, 400, 1600):
        cosines = sampled_additivity(rng, dimension, 400, lam)
        assert cosines.shape == (400,)
        spread = float(np.sqrt(np.mean((cosines - additivity_limit(lam)) ** 2)))
        spreads.append(spread * math.sqrt(dimension))
    # A constant but for sampling error: 400 samples give the spread within 3.5 % (one sigma).
    assert max(spreads) / min(spreads) < 1.3
    assert cosines.mean() == pytest.approx(additivity_limit(lam), abs=5 * spread / math.sqrt(400) + 1 / dimension)


@pytest.mark.parametrize(("layers", "beta"), [(1, 1.0), (2, 2.0), (4, 8.0), (11, 1024.0)])
def test_inverse_temperature_of_lewc(layers: int, beta: float) -> None:
    assert lewc_inverse_temperature(layers) == beta


def test_lewc_times_its_inverse_temperature_is_the_logit_average() -> None:
    rng = np.random.default_rng(0)
    nets = orthogonal_nets(rng, models=2, layers=4, units=8, inputs=5, classes=3)
    inputs = rng.standard_normal((10, 5))
    merged, (a, b) = average_nets(nets, [0.5, 0.5]), (net.outputs(inputs)[-1] for net in nets)
    scaled = lewc_inverse_temperature(4) * merged.outputs(inputs)[-1]
    np.testing.assert_allclose(scaled, (a + b) / 2, rtol=1e-10, atol=1e-12)
