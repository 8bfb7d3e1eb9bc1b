"""The layer-wise quantities as pure functions: definitions, edge cases, and algebra."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lmc.measuring import conditions
from lmc.measuring.conditions import (
    CommutativityDistance,
    Rows,
    combined,
    cosine,
    norm_ratio,
    orthogonality_ratio,
    ratio,
    recovery_cosine,
    scale_of,
)

NAN = math.nan
F64: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}

quick = settings(deadline=None, max_examples=60, derandomize=True)
seeds = st.integers(0, 2**31 - 1)
lams = st.floats(0.05, 0.95)
factors = st.floats(1e-6, 1e6)


def draw(seed: int, count: int, *shape: int) -> list[Tensor]:
    """``count`` tensors of some size between 1e-3 and 1e3, from one seed."""
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(10 ** rng.uniform(-3, 3) * rng.standard_normal(shape)) for _ in range(count)]


def additivity_cosine(h_a: Tensor, h_b: Tensor, lam: float = 0.5) -> Tensor:
    return conditions.additivity_cosine(h_a, h_b, torch.relu, lam)


def rows(*values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


ZERO, ONE, TWO, SKEW = [0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [1.0, 1.0]


@pytest.mark.parametrize(
    ("function", "x", "y", "expected"),
    [
        (cosine, ONE, TWO, 1.0),
        (cosine, ONE, [-3.0, 0.0], -1.0),
        (cosine, ONE, [0.0, 5.0], 0.0),
        (cosine, ONE, SKEW, math.sqrt(0.5)),
        (cosine, ZERO, ZERO, 1.0),  # they agree
        (cosine, ZERO, ONE, 0.0),
        (cosine, ONE, ZERO, 0.0),
        (cosine, [NAN, 1.0], ONE, NAN),  # never a number made of NaN
        (cosine, ONE, [NAN, 1.0], NAN),
        (cosine, [math.inf, 1.0], ONE, NAN),
        (cosine, [1e-45, 0.0], [1e-45, 0.0], 1.0),  # float32 subnormals, in float64
        (ratio, TWO, ONE, 2.0),
        (ratio, [3.0, 4.0], [0.0, 2.0], 2.5),
        (ratio, ZERO, ONE, 0.0),
        (ratio, ZERO, ZERO, 0.0),
        (ratio, ONE, ZERO, NAN),
        (ratio, [NAN, 0.0], ONE, NAN),
        (ratio, ZERO, [NAN, 0.0], NAN),
        (ratio, [NAN, 0.0], ZERO, NAN),
        (orthogonality_ratio, SKEW, ONE, math.sqrt(2)),
        (orthogonality_ratio, ONE, ZERO, NAN),
        (recovery_cosine, SKEW, ONE, math.sqrt(0.5)),
        (additivity_cosine, [1.0, 2.0], [3.0, 0.5], 1.0),  # all active
        (additivity_cosine, [-1.0, 2.0], [-3.0, 0.5], 1.0),  # signs agree
        (additivity_cosine, [1.0, 0.0], [0.0, 2.0], 1.0),  # disjoint supports
        (additivity_cosine, [-1.0, -1.0], [-1.0, -2.0], 1.0),  # both silent
        (additivity_cosine, [1.0, -2.0], [-3.0, 1.0], 0.0),  # each cancels the other: merged is silent
        (additivity_cosine, [1.0, 1.0], [1.0, -0.5], 1.125 / math.hypot(1, 0.25) / math.hypot(1, 0.5)),
    ],
)
def test_defined_value(function: Callable[..., Tensor], x: list[float], y: list[float], expected: float) -> None:
    found = function(rows(x, ONE), rows(y, ONE))
    assert found.dtype == torch.float64
    assert found.shape == (2,)
    torch.testing.assert_close(found[0].item(), expected, **F64, equal_nan=True)


@quick
@given(seeds, st.integers(1, 20))
def test_cosine_is_bounded_symmetric_and_of_numpys_value(seed: int, width: int) -> None:
    x, y = draw(seed, 2, 5, width)
    found = cosine(x, y)
    assert bool((found.abs() <= 1 + 1e-12).all())
    torch.testing.assert_close(found, cosine(y, x), **F64)
    torch.testing.assert_close(cosine(x, x), torch.ones(5).double(), **F64)
    torch.testing.assert_close(cosine(x, -x), -torch.ones(5).double(), **F64)
    expected = [float(one @ other) / math.sqrt((one @ one) * (other @ other)) for one, other in zip(x, y, strict=True)]
    torch.testing.assert_close(found, rows(expected)[0], **F64)


@quick
@given(seeds, factors, factors)
def test_scale_invariance(seed: int, one: float, other: float) -> None:
    x, y = draw(seed, 2, 5, 7)
    torch.testing.assert_close(cosine(one * x, other * y), cosine(x, y), **F64)
    torch.testing.assert_close(additivity_cosine(one * x, one * y), additivity_cosine(x, y), **F64)
    torch.testing.assert_close(ratio(one * x, one * y), ratio(x, y), rtol=1e-12, atol=0.0)
    torch.testing.assert_close(ratio(one * x, y), one * ratio(x, y), rtol=1e-12, atol=0.0)


@quick
@given(seeds)
def test_every_dimension_but_the_first_is_one_vector(seed: int) -> None:
    x, y = draw(seed, 2, 3, 4, 2, 5)
    for function in (cosine, ratio, additivity_cosine):
        torch.testing.assert_close(function(x, y), function(x.reshape(3, -1), y.reshape(3, -1)), **F64)
        torch.testing.assert_close(function(x, y)[1:2], function(x[1:2], y[1:2]), **F64)


def test_float32_rows_give_float64_results_to_float32_precision() -> None:
    x, y = (each.float() for each in draw(0, 2, 4, 300))
    for function in (cosine, ratio):
        found = function(x, y)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, function(x.double(), y.double()), rtol=1e-5, atol=1e-6)


def commutativity_distance(*batches: tuple[Tensor, Tensor]) -> float | None:
    distance = CommutativityDistance()
    for ab, ba in batches:
        distance.add(ab, ba)
    return distance.value


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([ONE], [ONE], 0.0),
        ([ONE], [TWO], 0.5),  # 1² / (1 * 2)
        ([ONE], [[0.0, 2.0]], 2.5),  # (1 + 4) / (1 * 2)
        ([ONE], [[-1.0, 0.0]], 4.0),
        ([ZERO], [ZERO], 0.0),
        ([ONE], [ZERO], None),
        ([ZERO], [ONE], None),
        ([[NAN, 0.0]], [ONE], None),
        ([ONE], [[math.inf, 0.0]], None),
        ([ONE, ZERO], [ONE, ONE], 1 / math.sqrt(2)),  # a row without an answer on one side is no hole
        ([[100.0, 0.0], ONE], [[100.0, 0.0], TWO], 1 / math.sqrt(10_001 * 10_004)),  # large answers decide
    ],
)
def test_commutativity_distance_by_hand(x: list[list[float]], y: list[list[float]], expected: float | None) -> None:
    assert commutativity_distance((rows(*x), rows(*y))) == (expected if expected is None else pytest.approx(expected))


def test_the_commutativity_distance_of_no_inputs_is_zero() -> None:
    assert CommutativityDistance().value == 0.0
    assert CommutativityDistance().relative == 0.0


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([ONE], [ONE], 0.0),
        ([ONE], [TWO], 1 / 5),
        ([ONE], [[0.0, 2.0]], 1.0),  # unrelated
        ([ONE], [[-1.0, 0.0]], 2.0),
        ([ONE], [ZERO], 1.0),  # bounded where one has collapsed
        ([ZERO, ZERO], [ONE, TWO], 1.0),
        ([ZERO], [ZERO], 0.0),
        ([[NAN, 0.0]], [ONE], None),
        ([ONE], [[math.inf, 0.0]], None),
        ([[100.0, 0.0], ONE], [[100.0, 0.0], TWO], 1 / 20_005),  # large answers decide
    ],
)
def test_relative_commutativity_by_hand(x: list[list[float]], y: list[list[float]], expected: float | None) -> None:
    for one, other in ((x, y), (y, x)):
        distance = CommutativityDistance()
        for ab, ba in zip(one, other, strict=True):
            distance.add(rows(ab), rows(ba))
        assert distance.relative == (expected if expected is None else pytest.approx(expected))


@quick
@given(seeds)
def test_at_equal_norms_the_relative_commutativity_is_half_the_distance(seed: int) -> None:
    x, y = draw(seed, 2, 5, 7)
    distance = CommutativityDistance()
    distance.add(x / x.norm(), y / y.norm())
    assert distance.relative == pytest.approx(distance.value / 2, rel=1e-9)
    assert 0 <= distance.relative <= 2


@quick
@given(seeds, factors)
def test_commutativity_distance_is_that_of_whole_matrices(seed: int, factor: float) -> None:
    x, y = draw(seed, 2, 5, 7)
    found = commutativity_distance((x, y))
    assert found is not None
    x_all, y_all = x.numpy(), y.numpy()
    expected = ((x_all - y_all) ** 2).sum() / math.sqrt((x_all**2).sum() * (y_all**2).sum())
    assert found == pytest.approx(expected, rel=1e-10)
    assert found > 0
    assert commutativity_distance((y, x)) == pytest.approx(found, rel=1e-12)
    assert commutativity_distance((factor * x, factor * y)) == pytest.approx(found, rel=1e-9)
    assert commutativity_distance((x, x)) == 0.0


@quick
@given(seeds, st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_commutativity_distance_does_not_see_the_batches(seed: int, sizes: list[int]) -> None:
    x, y = draw(seed, 2, sum(sizes), 3, 4)
    whole = commutativity_distance((x, y))
    parts = zip(x.split(sizes), y.split(sizes), strict=True)
    assert commutativity_distance(*parts) == pytest.approx(whole, rel=1e-12)
    assert commutativity_distance((x.flatten(1).float(), y.flatten(1).float())) == pytest.approx(whole, rel=1e-4)


def test_one_batch_that_is_not_finite_leaves_no_distance() -> None:
    good = rows(ONE), rows(TWO)
    assert commutativity_distance(good, (rows([NAN, 0.0]), rows(ONE)), good) is None


@quick
@given(seeds, lams)
def test_additivity_is_exact_where_its_condition_holds(seed: int, lam: float) -> None:
    h_a, h_b = draw(seed, 2, 6, 9)
    ones = torch.ones(6).double()
    torch.testing.assert_close(additivity_cosine(h_a, h_b.abs() * h_a.sign(), lam), ones, **F64)
    mine = torch.from_numpy(np.random.default_rng(seed).random((6, 9)) < 0.5)
    torch.testing.assert_close(additivity_cosine(h_a * mine, h_b * ~mine, lam), ones, **F64)


@quick
@given(seeds, lams)
def test_additivity_falls_below_one_where_signs_disagree(seed: int, lam: float) -> None:
    h_a, h_b = draw(seed, 2, 6, 9)
    h_a, h_b = h_a / h_a.norm(), h_b / h_b.norm()
    h_a[:, 0], h_b[:, 0], h_a[:, 1], h_b[:, 1] = 1.0, -1.0, 1.0, 1.0
    found = additivity_cosine(h_a, h_b, lam)
    assert bool((found < 1 - 1e-6).all())
    assert bool((found >= 0).all())
    torch.testing.assert_close(found, additivity_cosine(h_b, h_a, 1 - lam), **F64)


def law_of(each: list[Tensor], shares: list[float], layer: int) -> tuple[Rows, float]:
    return combined([Rows(one) for one in each], shares, layer), scale_of(shares, layer)


def shares_of(weights: list[float]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


some_shares = st.lists(st.floats(0.05, 0.95), min_size=2, max_size=4).map(shares_of)


@quick
@given(seeds, some_shares, st.integers(1, 6))
def test_the_law_is_the_exponential_combination(seed: int, shares: list[float], layer: int) -> None:
    each = [one / one.norm(dim=1, keepdim=True) for one in draw(seed, len(shares), 4, 8)]
    target = sum((lam**layer * one for lam, one in zip(shares, each, strict=True)), start=torch.zeros(4, 8).double())
    law, scale = law_of(each, shares, layer)
    torch.testing.assert_close(scale * law.values, target, **F64)
    torch.testing.assert_close(cosine(target, law), torch.ones(4).double(), **F64)
    torch.testing.assert_close(norm_ratio(Rows(target), law, scale), torch.ones(4).double(), **F64)
    if layer > 1 and max(shares) - min(shares) > 0.1:
        assert bool((cosine(target, law_of(each, shares, 1)[0]) < 1 - 1e-5).all()), "another layer's law differs"
    backwards, _ = law_of(each[::-1], shares[::-1], layer)
    torch.testing.assert_close(backwards.values, law.values, **F64)


@quick
@given(seeds, st.integers(1, 6), st.integers(2, 4))
def test_at_equal_shares_the_layer_cancels(seed: int, layer: int, models: int) -> None:
    each = draw(seed, models, 4, 8)
    assert torch.equal(law_of(each, [1 / models] * models, layer)[0].values, sum(each[1:], start=each[0]))


def test_the_law_of_a_deep_layer_does_not_underflow() -> None:
    each = [one.float() for one in draw(0, 2, 4, 8)]
    law, _ = law_of(each, [0.1, 0.9], 400)
    torch.testing.assert_close(law.values, each[1], rtol=1e-6, atol=0)


@quick
@given(seeds, st.integers(1, 6), some_shares)
def test_the_norm_ratio_tells_llfc_from_lewc(seed: int, layer: int, shares: list[float]) -> None:
    each, ones = draw(seed, len(shares), 4, 8), torch.ones(4).double()
    average, scale = law_of(each, shares, 1)
    torch.testing.assert_close(norm_ratio(Rows(scale * average.values), average, scale), ones, **F64)
    equal = [0.5, 0.5]
    (lewc, of_lewc), (llfc, of_llfc) = law_of(each[:2], equal, layer), law_of(each[:2], equal, 1)
    found = norm_ratio(Rows(of_lewc * lewc.values), llfc, of_llfc)
    torch.testing.assert_close(found, 2.0 ** (1 - layer) * ones, **F64)


@pytest.mark.parametrize(
    ("merged", "f_a", "f_b", "expected"),
    [
        (ZERO, ONE, ONE, 0.0),  # the merged model has gone silent
        (ZERO, ZERO, ZERO, NAN),  # neither law says anything here
        (ONE, ZERO, ZERO, NAN),
        (ONE, ONE, [-1.0, 0.0], NAN),  # the average cancels
        ([NAN, 0.0], ONE, ONE, NAN),
        (TWO, ONE, TWO, 2 / 1.5),
    ],
)
def test_norm_ratio_at_zero(merged: list[float], f_a: list[float], f_b: list[float], expected: float) -> None:
    law, scale = law_of([rows(f_a), rows(f_b)], [0.5, 0.5], 1)
    found = norm_ratio(Rows(rows(merged)), law, scale).item()
    assert found == pytest.approx(expected, abs=1e-15, nan_ok=True)


def test_tiny_activations_do_not_underflow() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(4, 50, generator=generator) for _ in range(2))
    small = 1e-25
    torch.testing.assert_close(cosine(x * small, y * small), cosine(x, y), rtol=0, atol=1e-5)
    torch.testing.assert_close(ratio(x * small, y * small), ratio(x, y), rtol=1e-5, atol=0)


sizes = st.lists(
    st.sampled_from([0.0, 1e-35, 1e-22, 1e-19, 1e-12, 1.0, 1e12, 1e19, 1e22, 1e35]), min_size=5, max_size=5
)


@quick
@given(seeds, sizes, sizes)
def test_rows_whose_squares_leave_float32_are_measured_as_well_as_others(
    seed: int, one: list[float], other: list[float]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(5, 50, generator=generator) * torch.tensor(each)[:, None] for each in (one, other))
    for function in (cosine, ratio):
        expected = function(x.double(), y.double())
        torch.testing.assert_close(function(x, y), expected, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_the_order_of_entries_in_memory_does_not_matter() -> None:
    x, y = draw(0, 2, 3, 4, 2, 5)
    last = [each.to(memory_format=torch.channels_last) for each in (x, y)]
    for function in (cosine, ratio):
        torch.testing.assert_close(function(*last), function(x, y), **F64)
        torch.testing.assert_close(function(last[0], y), function(x, y), **F64)


def test_rows_keep_their_norms() -> None:
    (x,) = draw(0, 1, 3, 4)
    rows_of_x = Rows(x)
    assert rows_of_x.norms is conditions.norm(rows_of_x)
    torch.testing.assert_close(cosine(rows_of_x, 2 * x), torch.ones(3).double(), **F64)


@pytest.mark.parametrize("sigma", [torch.nn.functional.gelu, torch.tanh, torch.relu])
def test_additivity_is_of_the_function_given(sigma: Callable[[Tensor], Tensor]) -> None:
    h_a, h_b = draw(0, 2, 3, 4)
    expected = cosine(sigma(0.3 * h_a + 0.7 * h_b), 0.3 * sigma(h_a) + 0.7 * sigma(h_b))
    torch.testing.assert_close(conditions.additivity_cosine(h_a, h_b, sigma, 0.3), expected, **F64)
