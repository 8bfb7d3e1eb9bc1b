"""Ranks of weights: numpy's eigenvalues as reference, closed forms, invariances, and bounds that hold."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lmc.errors import MergeError, SpecError
from lmc.measuring.ranks import _singular_values, effective_rank, measure_ranks, stable_rank, weight_ranks
from lmc.measuring.tapping import Seeing
from lmc.nets import MLP, ResNet

CLOSE: dict[str, Any] = {"rel": 1e-9}  # eigenvalues of WᵀW are squares: a singular value of 1e-7 loses half its digits
BOUND = 1 + 1e-9

quick = settings(deadline=None, max_examples=50, derandomize=True)
seeds = st.integers(0, 2**31 - 1)
sides = st.integers(1, 9)
both = pytest.mark.parametrize("function", [stable_rank, effective_rank])


def draw(seed: int, rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns))


def orthogonal(seed: int, size: int) -> np.ndarray:
    return np.linalg.qr(draw(seed, size, size))[0]


def reference(matrix: np.ndarray) -> tuple[float, float]:
    """Stable and effective rank without a singular value decomposition."""
    gram = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    squares = np.linalg.eigvalsh(gram)
    values = np.sqrt(squares[squares > 0])
    shares = values / values.sum()
    entropy = -sum(share * math.log(share) for share in shares)
    return float((matrix**2).sum() / squares.max()), math.exp(entropy)


@quick
@given(seeds, sides, sides)
def test_ranks_agree_with_plain_numpy(seed: int, rows: int, columns: int) -> None:
    matrix = draw(seed, rows, columns)
    expected = reference(matrix)
    found = stable_rank(torch.from_numpy(matrix)), effective_rank(torch.from_numpy(matrix))
    assert found == pytest.approx(expected, rel=1e-6)


@quick
@given(seeds, st.integers(1, 40), st.integers(1, 40), st.floats(0, 9))
def test_singular_values_are_those_of_a_decomposition(seed: int, rows: int, columns: int, powers: float) -> None:
    """To ε s_1 / s_i of the largest, s_1, and to the root of ε where s_i is smaller than that."""
    size = min(rows, columns)
    spectrum = 10 ** -np.linspace(0, powers, size)
    left, right = orthogonal(seed, rows)[:, :size], orthogonal(seed + 1, columns)[:size]
    matrix = torch.from_numpy(left * spectrum @ right)
    found, scale = _singular_values(matrix)
    expected = torch.linalg.svdvals(matrix)
    apart = (found * scale - expected).abs() / expected[0]
    assert bool((apart[expected > 0.1 * expected[0]] <= 4e-15).all())
    exact = (4e-16 * expected[0] / expected).clamp(4e-15, 3e-8)
    assert bool((apart <= exact).all())


def test_a_weight_used_twice_has_its_ranks_once_and_every_model_its_own() -> None:
    shared = nn.Linear(4, 4)
    one = nn.Sequential(shared, nn.GELU(), shared)
    other = copy.deepcopy(one)
    other[0].weight.data.copy_(torch.eye(4))
    found = weight_ranks([one, other], torch.zeros(2, 4))
    assert list(found) == ["0"]
    assert found["0"]["stable_rank"] == [stable_rank(shared.weight), pytest.approx(4.0, rel=1e-12)]


@pytest.mark.parametrize(
    ("values", "stable", "effective"),
    [
        ([1.0, 1.0, 1.0], 3.0, 3.0),
        ([5.0, 0.0, 0.0], 1.0, 1.0),
        ([2.0, 2.0, 0.0], 2.0, 2.0),
        ([2.0, 1.0, 1.0], 1.5, math.exp(1.5 * math.log(2))),  # p = ½, ¼, ¼
        ([0.0, 0.0, 0.0], 0.0, 0.0),
        ([1e-300, 1e-300, 0.0], 2.0, 2.0),  # squares underflow
        ([1e300, 1e300, 1e300], 3.0, 3.0),  # squares overflow
    ],
)
def test_ranks_of_diagonal_matrices(values: list[float], stable: float, effective: float) -> None:
    matrix = torch.diag(torch.tensor(values, dtype=torch.float64))
    assert stable_rank(matrix) == pytest.approx(stable, rel=1e-12)
    assert effective_rank(matrix) == pytest.approx(effective, rel=1e-12)


def test_subnormal_weights_keep_their_rank() -> None:
    matrix = torch.eye(4) * 1e-42
    if matrix.double().amax() == 0:
        pytest.skip("this process flushes subnormal numbers to zero")
    assert stable_rank(matrix) == pytest.approx(4.0, **CLOSE)


@quick
@given(seeds, sides, sides, st.floats(-12, 12), st.booleans())
def test_scale_sign_and_transpose_do_not_matter(
    seed: int, rows: int, columns: int, power: float, negative: bool
) -> None:
    matrix = torch.from_numpy(draw(seed, rows, columns))
    factor = -(10**power) if negative else 10**power
    for function in (stable_rank, effective_rank):
        assert function(factor * matrix) == pytest.approx(function(matrix), **CLOSE)
        assert function(matrix.T) == pytest.approx(function(matrix), **CLOSE)


@quick
@given(seeds, sides, sides)
def test_rotations_do_not_matter(seed: int, rows: int, columns: int) -> None:
    matrix = draw(seed, rows, columns)
    turned = torch.from_numpy(orthogonal(seed + 1, rows) @ matrix @ orthogonal(seed + 2, columns))
    for function in (stable_rank, effective_rank):
        assert function(turned) == pytest.approx(function(torch.from_numpy(matrix)), **CLOSE)


@quick
@given(seeds, sides, sides, st.integers(1, 9))
def test_stable_rank_effective_rank_and_rank_are_in_this_order(seed: int, rows: int, columns: int, rank: int) -> None:
    rank = min(rank, rows, columns)
    matrix = torch.from_numpy(draw(seed, rows, rank) @ draw(seed + 1, rank, columns))
    stable, effective = stable_rank(matrix), effective_rank(matrix)
    assert stable * BOUND >= 1
    assert stable <= effective * BOUND
    assert effective <= rank + 1e-5  # singular values that are zero are found as up to 1e-8 of the largest


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ResNet(2, 3, 5, blocks=1)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return Seeing(model.eval())(torch.zeros(2, 2, 8, 8)).tapped.weights


def test_every_weight_layer_is_measured_in_the_shape_filters_by_inputs() -> None:
    model = net()
    wide = weights_of(model)
    found = measure_ranks(wide)
    assert list(found) == list(wide)
    modules = {name: getattr(module, "weight", None) for name, module in model.named_modules()}
    assert list(wide) == [name for name, weight in modules.items() if isinstance(weight, Tensor) and weight.ndim > 1]
    assert {weight.ndim for weight in wide.values()} == {2, 4}
    for name, weight in wide.items():
        matrix = weight.detach().double().numpy().reshape(len(weight), -1)
        stable, effective = reference(matrix)
        expected = {
            "stable_rank": stable,
            "effective_rank": effective,
            "relative_stable_rank": stable / min(matrix.shape),
            "relative_effective_rank": effective / min(matrix.shape),
            "frobenius_norm": float(np.sqrt((matrix**2).sum())),
        }
        assert found[name] == pytest.approx(expected, rel=1e-6), name


def test_biases_and_gradients_do_not_matter_and_nothing_is_changed() -> None:
    model = MLP(128, 6, 3)
    before, state = measure_ranks(weights_of(model)), {name: each.clone() for name, each in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        parameter.grad = torch.ones_like(parameter)
        torch.testing.assert_close(parameter.data, state[name], rtol=0, atol=0)
        if name.endswith("bias"):
            parameter.data.fill_(100.0)
    assert measure_ranks(weights_of(model)) == before


def test_a_dead_layer_has_rank_zero() -> None:
    model = net()
    model.get_submodule("stem").weight.data.zero_()
    dead = measure_ranks(weights_of(model))["stem"]
    ranks = ["stable_rank", "effective_rank", "relative_stable_rank", "relative_effective_rank"]
    assert dead == dict.fromkeys([*ranks, "frobenius_norm"], 0.0)


@both
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(function: object, value: float) -> None:
    matrix = torch.ones(3, 3)
    matrix[1, 2] = value
    with pytest.raises(MergeError, match="the matrix holds NaN or infinite values; the model diverged"):
        function(matrix)  # type: ignore[operator]


def test_the_layer_that_diverged_is_named() -> None:
    model = net()
    model.get_submodule("head").weight.data[0, 0] = math.nan
    with pytest.raises(MergeError, match="head holds NaN"):
        measure_ranks(weights_of(model))


@both
@pytest.mark.parametrize("shape", [(), (4,), (0, 3), (3, 0)])
def test_what_is_no_matrix_is_refused(function: object, shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"has shape \(.*\); pass a weight of shape"):
        function(torch.ones(shape))  # type: ignore[operator]
