"""Moments gathered batch by batch, and the overlap that chance alone would give."""

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
from lmc.measuring.activity import Moments, chance_overlap, overlap_ratio
from lmc.measuring.calls import ActivationCall

CLOSE: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-14}
quick = settings(deadline=None, max_examples=60, derandomize=True)


@quick
@given(st.floats(0, 1), st.floats(0, 1))
def test_chance_overlap_is_symmetric_and_at_most_either_share(one: float, other: float) -> None:
    found = chance_overlap(one, other)
    assert found == pytest.approx(chance_overlap(other, one), abs=1e-15)
    assert 0 <= found <= min(one, other) + 1e-12
    assert chance_overlap(one, 1.0) == pytest.approx(one)


@pytest.mark.parametrize(("p", "q"), [(0.5, 0.5), (0.1, 0.6), (0.9, 0.8), (0.0, 0.3), (0.0, 0.0)])
def test_chance_overlap_is_what_independent_random_sets_have(p: float, q: float) -> None:
    rng = np.random.default_rng(0)
    one, other = (torch.from_numpy(rng.random(200_000) < share) for share in (p, q))
    assert chance_overlap(p, q) == pytest.approx(overlap_ratio(one, other), abs=0.005)


def call(h: Tensor, channels: int = 1) -> ActivationCall:
    return ActivationCall("relu", h, h.relu(), torch.relu, channels)


@quick
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.booleans())
def test_moments_do_not_see_the_batches(sizes: list[int], convolutional: bool) -> None:
    shape = (sum(sizes), 4, 2, 3) if convolutional else (sum(sizes), 4)
    h = torch.from_numpy(np.random.default_rng(sum(sizes)).standard_normal(shape))
    moments = Moments()
    for part in h.split(sizes):
        moments.add({"one": call(part), "other": call(2 * part)})
    found = moments.roots()
    expected = np.sqrt((h.numpy() ** 2).mean(tuple(axis for axis in range(h.ndim) if axis != 1)))
    assert list(found) == ["one", "other"]
    torch.testing.assert_close(found["one"], torch.from_numpy(expected), **CLOSE)
    torch.testing.assert_close(found["other"], 2 * found["one"], **CLOSE)


def test_a_moment_that_is_not_finite_names_its_layer() -> None:
    moments = Moments()
    moments.add({"fine": call(torch.ones(2, 3)), "broken": call(torch.tensor([[1.0, math.inf]]))})
    with pytest.raises(MergeError, match="pre-activation of broken are NaN or infinite"):
        moments.roots()


def test_channels_may_stand_on_any_axis() -> None:
    h = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 4, 3)))
    first, last = Moments(), Moments()
    first.add({"one": call(h)})
    last.add({"one": call(h.movedim(1, 2), 2)})
    torch.testing.assert_close(first.roots(), last.roots(), **CLOSE)
