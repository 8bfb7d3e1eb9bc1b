"""Active coordinates: a plain numpy forward pass as reference, set algebra, dead layers, bad input."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lmc.data import Normaliser
from lmc.errors import MergeError, SpecError
from lmc.measuring.activity import (
    Moments,
    active,
    active_share,
    compare_activity,
    histogram,
    overlap_ratio,
)
from lmc.measuring.inputs import HeldInputs
from lmc.measuring.tapping import Seeing
from lmc.nets import MLP, VGG

CLOSE: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-14}
UNITS = 12

quick = settings(deadline=None, max_examples=60, derandomize=True)
moments_of = st.lists(st.just(0.0) | st.floats(1e-100, 1e6), min_size=1, max_size=30)
pairs_of_flags = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30)
thresholds = st.floats(0.001, 0.999)


def inputs_of(batch: int = 7) -> HeldInputs:
    images = np.random.default_rng(0).integers(0, 256, (23, 2, 4, 4), dtype=np.uint8)
    test = torch.from_numpy(images)
    scale, shift = torch.full((2, 1, 1), 1 / 64), torch.tensor([-2.0, -1.5]).view(2, 1, 1)  # exact in float32
    return HeldInputs(test, torch.zeros(23).long(), test, Normaliser(scale, shift), batch, torch.float64)


def images() -> np.ndarray:
    return inputs_of().test.numpy() / 64 - np.array([2.0, 1.5]).reshape(2, 1, 1)


def seeded(seed: int, net: type[MLP] | type[VGG]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MLP(32, UNITS, 3) if net is MLP else VGG(2, 3, 3, plan=(1, None, 2))
        return model.double()


@torch.no_grad()
def moments_in(model: nn.Module, inputs: HeldInputs) -> dict[str, torch.Tensor]:
    """Root second moments, by activation."""
    moments, seeing = Moments(), Seeing(model.eval())
    for batch in inputs.test_batches():
        moments.add(seeing(batch).tapped.activations)
    return moments.roots()


def numpy_preactivations(model: nn.Module) -> dict[str, np.ndarray]:
    """Of the MLP, by ReLU."""
    z, found = images().reshape(23, -1), {}
    for index in range(3):
        layer = model.get_submodule(f"hidden.{index}.linear")
        h = z @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        found[f"hidden.{index}.relu"], z = h, np.maximum(h, 0)
    return found


def flags(values: list[bool]) -> torch.Tensor:
    return torch.tensor(values)


def tensor(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


# -- Moments. --


@pytest.mark.parametrize("batch", [1, 7, 23, 100])
def test_moments_of_an_mlp_agree_with_plain_numpy(batch: int) -> None:
    model = seeded(0, MLP)
    found = moments_in(model, inputs_of(batch))
    expected = numpy_preactivations(model)
    assert list(found) == list(expected)
    for name, h in expected.items():
        sizes = [math.sqrt(sum(value * value for value in column) / 23) for column in h.T.tolist()]
        torch.testing.assert_close(found[name], tensor(sizes), **CLOSE)


def test_moments_behind_a_convolution_are_per_channel_over_inputs_and_positions() -> None:
    model = seeded(0, VGG)
    found = moments_in(model, inputs_of())
    first = nn.Sequential(*list(model.get_submodule("features").children())[:2]).eval()
    with torch.no_grad():
        h = first(torch.from_numpy(images())).numpy()
    assert h.shape == (23, 3, 4, 4)
    expected = [np.sqrt(np.mean(h[:, channel].ravel() ** 2)) for channel in range(3)]
    torch.testing.assert_close(found["features.2"], tensor(expected), **CLOSE)
    assert [len(moments) for moments in found.values()] == [3, 6]


def test_the_batch_size_does_not_matter_and_float32_is_summed_in_float64() -> None:
    model = seeded(0, VGG)
    whole = moments_in(model, inputs_of(23))
    for name, moments in moments_in(model, inputs_of(4)).items():
        torch.testing.assert_close(moments, whole[name], **CLOSE)
    single = moments_in(model.float(), replace(inputs_of(), dtype=torch.float32))
    for name, moments in single.items():
        assert moments.dtype == torch.float64
        torch.testing.assert_close(moments, whole[name], rtol=1e-5, atol=1e-6)


def test_a_model_that_diverged_is_refused_by_layer() -> None:
    model = seeded(0, MLP)
    model.get_submodule("hidden.1.linear").bias.data[3] = math.nan
    with pytest.raises(MergeError, match=r"hidden\.1\.relu are NaN or infinite; the model diverged"):
        moments_in(model, inputs_of())


# -- Active coordinates and their overlap. --


@quick
@given(moments_of, thresholds)
def test_active_coordinates_by_definition(values: list[float], threshold: float) -> None:
    found = active(tensor(values), threshold).tolist()
    assert found == [value > threshold * max(values) for value in values]
    assert any(found) == (max(values) > 0)
    assert active_share(flags(found)) == pytest.approx(sum(found) / len(values), abs=1e-15)


@quick
@given(moments_of, thresholds, st.integers(-20, 20))
def test_the_scale_of_the_moments_does_not_matter(values: list[float], threshold: float, power: int) -> None:
    assert torch.equal(active(tensor(values) * 2.0**power, threshold), active(tensor(values), threshold))


@quick
@given(moments_of, thresholds, thresholds)
def test_a_higher_threshold_leaves_fewer_active(values: list[float], one: float, other: float) -> None:
    low, high = sorted([one, other])
    assert not (active(tensor(values), high) & ~active(tensor(values), low)).any()


@quick
@given(pairs_of_flags, st.randoms(use_true_random=False))
def test_the_overlap_is_that_of_sets_symmetric_and_blind_to_a_common_order(pairs: list[Any], random: object) -> None:
    a, b = ([pair[which] for pair in pairs] for which in (0, 1))
    sets = [{index for index, flag in enumerate(each) if flag} for each in (a, b)]
    union = sets[0] | sets[1]
    found = overlap_ratio(flags(a), flags(b))
    assert found == (len(sets[0] & sets[1]) / len(union) if union else 0.0)
    assert 0 <= found <= 1
    assert overlap_ratio(flags(b), flags(a)) == found
    random.shuffle(pairs)  # type: ignore[attr-defined]
    assert overlap_ratio(*(flags([pair[which] for pair in pairs]) for which in (0, 1))) == found


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([True, True, False], [True, True, False], 1.0),
        ([True, False, False], [False, True, True], 0.0),
        ([True, True, False], [False, True, True], 1 / 3),
        ([False, False, False], [True, True, True], 0.0),
        ([False, False, False], [False, False, False], 0.0),  # nothing overlaps
    ],
)
def test_overlaps_by_hand(a: list[bool], b: list[bool], expected: float) -> None:
    assert overlap_ratio(flags(a), flags(b)) == expected


# -- Histograms. --


@pytest.mark.parametrize("bins", [1, 2, 10, 50])
def test_histograms_agree_with_counting(bins: int) -> None:
    values = np.random.default_rng(1).exponential(size=200)
    found = histogram(torch.from_numpy(values), bins)
    edges = [index * values.max() / bins for index in range(bins)]
    at_least = [int((values >= edge).sum()) for edge in edges] + [0]
    expected = [one - other for one, other in pairwise(at_least)]
    assert found == {"counts": expected, "largest": values.max(), "leftmost_share": expected[0] / 200}


@quick
@given(moments_of, st.integers(1, 60))
def test_histograms_count_every_coordinate_once(values: list[float], bins: int) -> None:
    found = histogram(tensor(values), bins)
    assert (len(found["counts"]), sum(found["counts"])) == (bins, len(values))
    assert found["counts"][-1] > 0 or max(values) == 0
    assert found["leftmost_share"] == found["counts"][0] / len(values)
    assert found["largest"] == max(values)


def test_even_subnormal_moments_have_a_histogram() -> None:
    found = histogram(tensor([0.0, 5e-320, 1e-319]), 2)
    assert found["counts"] in ([1, 2], [3, 0])  # the latter where subnormal numbers are flushed


# -- Two models. --


def compared(a: nn.Module, b: nn.Module) -> dict[str, dict[str, float]]:
    """By ReLU, as the layers of a pair record it."""
    of_a, of_b = moments_in(a, inputs_of()), moments_in(b, inputs_of())
    return {name: compare_activity(moments, of_b[name]) for name, moments in of_a.items()}


def test_a_pair_agrees_with_plain_numpy_and_is_ready_for_json() -> None:
    a, b = seeded(0, MLP), seeded(1, MLP)
    for model, unit in ((a, 2), (b, 5), (a, 7), (b, 7), (b, 8)):  # so that some are inactive
        model.get_submodule("hidden.1.linear").weight.data[unit] *= 1e-3
        model.get_submodule("hidden.1.linear").bias.data[unit] *= 1e-3
    found = compared(a, b)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found) == [f"hidden.{index}.relu" for index in range(3)]
    sizes = [{name: np.sqrt((h**2).mean(0)) for name, h in numpy_preactivations(each).items()} for each in (a, b)]
    for name, record in found.items():
        large = [set(np.flatnonzero(each[name] > 0.05 * each[name].max())) for each in sizes]
        p, q = len(large[0]) / UNITS, len(large[1]) / UNITS
        assert record == {
            "active_share": pytest.approx((p + q) / 2),
            "overlap_ratio": pytest.approx(len(large[0] & large[1]) / len(large[0] | large[1])),
            "overlap_chance": pytest.approx(p * q / (p + q - p * q)),
        }
        expected = histogram(torch.from_numpy(sizes[0][name]))
        whole = histogram(moments_in(a, inputs_of())[name])
        assert whole == expected | {"largest": pytest.approx(sizes[0][name].max(), rel=1e-12)}
    apart = found["hidden.1.relu"]
    assert 0 < apart["overlap_ratio"] < 1, "the case must tell sets apart"
    assert apart["overlap_chance"] != apart["overlap_ratio"]


def test_a_model_and_itself_overlap_wholly() -> None:
    model = seeded(0, VGG)
    for name, record in compared(model, model).items():
        assert record["overlap_ratio"] == 1.0
        assert record["active_share"] == active_share(active(moments_in(model, inputs_of())[name])) > 0


def test_swapping_the_models_changes_nothing() -> None:
    a, b = seeded(0, MLP), seeded(1, MLP)
    a.get_submodule("hidden.0.linear").weight.data[:5] *= 1e-3
    a.get_submodule("hidden.0.linear").bias.data[:5] *= 1e-3
    assert compared(a, b) == compared(b, a)


def test_a_common_order_of_units_does_not_matter() -> None:
    a, b = seeded(0, MLP), seeded(1, MLP)
    before, moments = compared(a, b), moments_in(a, inputs_of())
    order = torch.from_numpy(np.random.default_rng(3).permutation(UNITS))
    for model in (a, b):
        first, second = (model.get_submodule(f"hidden.{index}.linear") for index in (0, 1))
        first.weight.data, first.bias.data = first.weight.data[order], first.bias.data[order]
        second.weight.data = second.weight.data[:, order]
    after = compared(a, b)
    for name, record in before.items():
        assert after[name] == record
        counts = histogram(moments_in(a, inputs_of())[name])["counts"]
        assert counts == histogram(moments[name])["counts"]


def kill(model: nn.Module, index: int) -> None:
    for parameter in model.get_submodule(f"hidden.{index}.linear").parameters():
        parameter.data.zero_()


@pytest.mark.parametrize("who", ["a", "both"])
def test_in_a_dead_layer_nothing_is_active(who: str) -> None:
    a, b = seeded(0, MLP), seeded(1, MLP)
    for model in (a, b) if who == "both" else (a,):
        kill(model, 1)
    dead = compared(a, b)["hidden.1.relu"]
    assert (dead["overlap_ratio"], dead["overlap_chance"]) == (0.0, 0.0)
    share_of_b = active_share(active(moments_in(b, inputs_of())["hidden.1.relu"]))
    assert dead["active_share"] == share_of_b / 2
    assert (share_of_b == 0) == (who == "both")
    found = histogram(moments_in(a, inputs_of())["hidden.1.relu"])
    assert found == {"counts": [UNITS] + [0] * 49, "largest": 0.0, "leftmost_share": 1.0}


# -- Bad input. --


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 1.5, math.nan, math.inf])
def test_thresholds_out_of_range_are_refused(threshold: float) -> None:
    with pytest.raises(SpecError, match=f"threshold is {threshold}; it must lie between 0 and 1"):
        active(torch.ones(3), threshold)


@pytest.mark.parametrize("bins", [0, -3])
def test_too_few_bins_are_refused(bins: int) -> None:
    with pytest.raises(SpecError, match=f"bins is {bins}; it must be at least 1"):
        histogram(torch.ones(3), bins)


def bad_moments() -> Iterator[tuple[torch.Tensor, type[Exception], str]]:
    yield torch.ones(2, 2), SpecError, r"shape \(2, 2\); pass one number per channel"
    yield torch.ones(0), SpecError, r"shape \(0,\)"
    yield torch.tensor([1.0, -2.0]), SpecError, r"as small as -2\.0"
    yield torch.tensor([1.0, math.nan]), MergeError, "NaN or infinite"
    yield torch.tensor([1.0, math.inf]), MergeError, "NaN or infinite"


@pytest.mark.parametrize("function", [active, histogram])
@pytest.mark.parametrize(("moments", "error", "message"), list(bad_moments()))
def test_what_are_no_moments_is_refused(
    function: object, moments: torch.Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        function(moments)  # type: ignore[operator]


def test_models_of_other_widths_are_refused() -> None:
    narrow = MLP(32, UNITS - 2, 3).double()
    with pytest.raises(SpecError, match=r"shapes \(12,\) and \(10,\); compare one layer of two models of one width"):
        compared(seeded(0, MLP), narrow)
