"""Weighted averages of state dicts: identities, symmetry, and what is refused (§2.2)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lmc.errors import MergeError
from lmc.merging import interpolate, merge

State = dict[str, Tensor]
EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 0.0}
ROUNDING = {"rtol": 1e-12, "atol": 1e-14}  # a few float64 operations on numbers of size 1

quick = settings(deadline=None, max_examples=60, derandomize=True)
seeds = st.integers(0, 2**31 - 1)
lams = st.floats(0, 1)


def random_state(seed: int, *, batches: int = 3) -> State:
    rng = np.random.default_rng(seed)
    return {
        "hidden.weight": torch.from_numpy(rng.standard_normal((4, 3))),
        "hidden.bias": torch.from_numpy(rng.standard_normal(4)),
        "norm.running_var": torch.from_numpy(rng.random(4)),
        "norm.num_batches_tracked": torch.tensor(batches),
    }


def random_shares(seed: int, count: int) -> list[float]:
    drawn = np.random.default_rng(seed).random(count)
    return [float(share) for share in drawn / drawn.sum()]


def assert_states_close(found: State, expected: State, **tolerance: Any) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, **tolerance, msg=f"{name}: {{}}".format)


@quick
@given(seeds, seeds)
def test_endpoints_are_exact_copies(seed_a: int, seed_b: int) -> None:
    a, b = random_state(seed_a), random_state(seed_b)
    for lam, end in ((1, a), (0, b)):
        found = interpolate(a, b, lam)
        assert_states_close(found, end, **EXACT)
        assert all(found[name].data_ptr() != end[name].data_ptr() for name in end)


@pytest.mark.parametrize("lam", [0, 1])
def test_an_endpoint_ignores_the_other_models_infinities(lam: int) -> None:
    good, bad = {"w": torch.ones(2)}, {"w": torch.full((2,), math.inf)}
    found = interpolate(good, bad, lam) if lam else interpolate(bad, good, lam)
    assert_states_close(found, good, **EXACT)


@quick
@given(seeds, seeds, lams)
def test_interpolation_is_the_formula(seed_a: int, seed_b: int, lam: float) -> None:
    a, b = random_state(seed_a), random_state(seed_b)
    found = interpolate(a, b, lam)
    for name in ("hidden.weight", "hidden.bias", "norm.running_var"):
        expected = lam * a[name].numpy() + (1 - lam) * b[name].numpy()
        np.testing.assert_allclose(found[name].numpy(), expected, rtol=1e-12, atol=1e-14)


@quick
@given(seeds, seeds, lams)
def test_swapping_the_models_and_lambda_changes_nothing(seed_a: int, seed_b: int, lam: float) -> None:
    a, b = random_state(seed_a), random_state(seed_b)
    assert_states_close(interpolate(a, b, lam), interpolate(b, a, 1 - lam), **ROUNDING)


@quick
@given(seeds, seeds, st.integers(1, 7))
def test_merging_copies_gives_the_model_back(seed: int, share_seed: int, count: int) -> None:
    state = random_state(seed)
    assert_states_close(merge([state] * count), state, **ROUNDING)
    assert_states_close(merge([state] * count, random_shares(share_seed, count)), state, **ROUNDING)


@quick
@given(seeds, st.integers(1, 7))
def test_merge_of_k_models_is_the_weighted_mean(seed: int, count: int) -> None:
    states, shares = [random_state(seed + index) for index in range(count)], random_shares(seed, count)
    stacked = np.stack([state["hidden.weight"].numpy() for state in states])
    found = merge(states, shares)["hidden.weight"].numpy()
    np.testing.assert_allclose(found, np.einsum("k,kij->ij", shares, stacked), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(merge(states)["hidden.weight"].numpy(), stacked.mean(0), rtol=1e-12, atol=1e-14)


@quick
@given(seeds, st.integers(2, 5), lams)
def test_merge_is_linear_in_its_weights(seed: int, count: int, lam: float) -> None:
    states = [random_state(seed + index) for index in range(count)]
    one, other = random_shares(seed, count), random_shares(seed + 1, count)
    mixed = [lam * p + (1 - lam) * q for p, q in zip(one, other, strict=True)]
    expected = interpolate(merge(states, one), merge(states, other), lam)
    assert_states_close(merge(states, mixed), expected, **ROUNDING)


@quick
@given(seeds)
def test_merging_in_two_steps_is_merging_at_once(seed: int) -> None:
    a, b, c = (random_state(seed + index) for index in range(3))
    expected = merge([a, b, c], [0.3, 0.2, 0.5])
    assert_states_close(interpolate(interpolate(a, b, 0.6), c, 0.5), expected, **ROUNDING)


def test_integer_buffers_are_the_first_models() -> None:
    first, second = random_state(0, batches=3), random_state(1, batches=8)
    for found in (merge([first, second]), interpolate(first, second, 0.0)):
        assert found["norm.num_batches_tracked"].item() == 3
        assert found["norm.num_batches_tracked"].dtype == torch.int64
    found["norm.num_batches_tracked"].add_(1)
    assert first["norm.num_batches_tracked"].item() == 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_dtype_is_kept_and_models_are_not_changed(dtype: torch.dtype) -> None:
    a, b = {"w": torch.tensor([1.0, -2.0], dtype=dtype)}, {"w": torch.tensor([3.0, 6.0], dtype=dtype)}
    found = interpolate(a, b, 0.25)["w"]
    assert found.dtype == dtype
    assert found.tolist() == [2.5, 4.0]
    assert (a["w"].tolist(), b["w"].tolist()) == ([1.0, -2.0], [3.0, 6.0])


@pytest.mark.parametrize("lam", [-1e-9, 1.0000001, 2, math.nan, math.inf, -math.inf])
def test_lambda_outside_0_1_is_refused(lam: float) -> None:
    with pytest.raises(MergeError, match=rf"lam is {lam!r}; it must be between 0"):
        interpolate(random_state(0), random_state(1), lam)


@pytest.mark.parametrize(
    ("count", "weights", "message"),
    [
        (0, None, "no model to merge"),
        (0, [], "no model to merge"),
        (2, [1.0], "1 weights for 2 models"),
        (2, ["half", 0.5], "are no numbers"),
        (2, [0.5, 0.25, 0.25], "3 weights for 2 models"),
        (2, [0.5, 0.6], "sum to 1, not 1.1"),
        (2, [0.0, 0.0], "sum to 1, not 0"),
        (2, [1.5, -0.5], "non-negative"),
        (2, [math.nan, 1.0], "non-negative and sum to 1, not nan"),
        (2, [math.inf, 0.0], "sum to 1, not inf"),
    ],
)
def test_weights_that_are_no_average_are_refused(count: int, weights: list[float] | None, message: str) -> None:
    with pytest.raises(MergeError, match=message):
        merge([random_state(index) for index in range(count)], weights)


def changed(name: str, tensor: Tensor | None) -> State:
    state = random_state(1)
    del state[name]
    return state if tensor is None else {**state, name: tensor}


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (changed("hidden.bias", None), ["lacks ['hidden.bias']", "has []"]),
        ({**random_state(1), "extra": torch.zeros(1)}, ["lacks []", "has ['extra']"]),
        (changed("hidden.weight", torch.zeros(5, 3).double()), ["hidden.weight", "(5, 3)", "(4, 3)", "one width"]),
        (changed("hidden.bias", torch.zeros(1).double()), ["hidden.bias", "(1,)", "(4,)"]),  # would broadcast
    ],
    ids=["missing", "extra", "shape", "broadcastable"],
)
def test_another_architecture_is_refused_by_name(other: State, named: list[str]) -> None:
    with pytest.raises(MergeError) as caught:
        interpolate(random_state(0), other, 0.5)
    assert all(part in str(caught.value) for part in ["model 1 is of another architecture", *named]), caught.value
    with pytest.raises(MergeError, match="model 2 is of another architecture"):
        merge([random_state(0), random_state(1), other])


def test_mixed_dtypes_are_refused_with_the_remedy() -> None:
    other = changed("hidden.weight", torch.zeros(4, 3))
    message = (
        r"hidden\.weight of model 1 is torch\.float32, that of the first model torch\.float64; convert them to one"
    )
    for call in (lambda: interpolate(random_state(0), other, 0.5), lambda: merge([random_state(0), other])):
        with pytest.raises(MergeError, match=message):
            call()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_a_mean_of_many_low_precision_models_is_rounded_once(dtype: torch.dtype) -> None:
    drawn = np.random.default_rng(0).uniform(0.5, 1.5, (100, 1000))
    states = [{"w": torch.from_numpy(row).to(dtype)} for row in drawn]
    exact = torch.stack([state["w"].double() for state in states]).mean(0)
    found = merge(states)["w"]
    assert found.dtype == dtype
    off = (found.double() - exact).abs()
    rounded = (exact.to(dtype).double() - exact).abs()
    assert (off <= rounded + 1e-5).all(), "as near as the dtype allows, but for float32's own rounding"
    step = torch.finfo(dtype).eps
    assert rounded.max() > step / 8, "the case must be able to fail"


def test_nan_is_refused_by_model_and_name() -> None:
    bad = changed("hidden.bias", torch.tensor([0.0, math.nan, 0.0, 0.0]).double())
    with pytest.raises(MergeError, match=r"hidden\.bias of model 1 holds NaN or infinite values; train it again"):
        merge([random_state(0), bad])
    assert merge([random_state(0), bad], [1.0, 0.0])["hidden.bias"].isfinite().all()  # it has no part in it


def test_modules_instead_of_state_dicts_are_refused() -> None:
    net = torch.nn.Linear(3, 2)
    for a, b, which in ((net, net, 0), (net.state_dict(), net, 1)):
        with pytest.raises(MergeError, match=rf"model {which} is a Linear, not a state dict; pass model.state_dict"):
            interpolate(a, b, 0.5)  # type: ignore[arg-type]


def test_the_order_of_names_does_not_matter() -> None:
    a, b = random_state(0), random_state(1)
    reversed_b = dict(reversed(b.items()))
    assert_states_close(interpolate(a, reversed_b, 0.3), interpolate(a, b, 0.3), **EXACT)
