"""Complementary permutation, strengths, pruning and transplants: against hand-made cases and brute force."""

from __future__ import annotations

import math
import time
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from traced_nets import WIDTHS, made

from lmc.errors import MergeError
from lmc.merging.channel_groups import Axis, Mixed, Part
from lmc.merging.complementary import complementary_permutations, distant_permutations, reversed_permutations
from lmc.merging.permutation_spec import PermutationSpec, permute, random_permutations, verify
from lmc.merging.pruning import needed_share, prune, strongest, transplant
from lmc.merging.strengths import norm_strengths, response_strengths
from lmc.merging.sums import SumParts, sum_merge, sum_parts
from lmc.merging.tracing import trace_permutation_spec

quick = settings(deadline=None, max_examples=60, derandomize=True)
seeds = st.integers(0, 2**31 - 1)


def one_group(size: int) -> PermutationSpec:
    return PermutationSpec({"weight": (None, Axis("hidden"))}, {"hidden": size})


def strengths_of(seed: int, size: int) -> dict[str, Tensor]:
    return {"hidden": torch.from_numpy(np.random.default_rng(seed).exponential(size=size) ** 3)}


# -- Placing. --


@quick
@given(seeds, st.integers(1, 6))
def test_of_all_permutations_the_complementary_one_has_the_smallest_product(seed: int, size: int) -> None:
    a, b = strengths_of(seed, size), strengths_of(seed + 1, size)
    spec = one_group(size)
    product = {
        rule: float((a["hidden"] * b["hidden"][rule(spec, [a, b])[1]["hidden"]]).sum())
        for rule in (complementary_permutations, reversed_permutations)
    }
    every = [float((a["hidden"] * b["hidden"][list(order)]).sum()) for order in permutations(range(size))]
    assert product[complementary_permutations] == pytest.approx(min(every))
    assert product[reversed_permutations] == pytest.approx(max(every))


def test_models_after_the_second_go_to_what_is_still_free() -> None:
    """Three models with two strong channels each fit side by side into six places."""
    each = [{"hidden": torch.tensor([5.0, 4.0, 0.0, 0.0, 0.0, 0.0]).roll(shift)} for shift in (0, 0, 3)]
    orders = complementary_permutations(one_group(6), each)
    placed = torch.stack([own["hidden"][order["hidden"]] for own, order in zip(each, orders, strict=True)])
    assert torch.equal((placed > 0).sum(0), torch.ones(6, dtype=torch.int64)), placed
    assert orders[0]["hidden"].tolist() == list(range(6))


@quick
@given(seeds, st.floats(0, 1))
def test_a_dose_places_that_share_and_leaves_the_rest(seed: int, dose: float) -> None:
    size = 20
    each = [strengths_of(seed, size), strengths_of(seed + 1, size)]
    order = complementary_permutations(one_group(size), each, dose=dose)[1]["hidden"]
    assert sorted(order.tolist()) == list(range(size))
    assert int((order != torch.arange(size)).sum()) <= round(dose * size)
    if dose == 1:
        assert torch.equal(order, complementary_permutations(one_group(size), each)[1]["hidden"])
    if dose == 0:
        assert order.tolist() == list(range(size))


def test_half_a_dose_lies_between() -> None:
    each = [strengths_of(1, 400), strengths_of(2, 400)]
    products = []
    for dose in (0.0, 0.5, 1.0):
        order = complementary_permutations(one_group(400), each, dose=dose)[1]["hidden"]
        products.append(float((each[0]["hidden"] * each[1]["hidden"][order]).sum()))
    assert products[0] > 1.3 * products[1] > 1.3 * products[2]


@pytest.mark.parametrize("name", WIDTHS)
def test_every_placement_keeps_the_function(name: str) -> None:
    """Groups of residual streams included."""
    (model, images), (other, _) = made(name, 0), made(name, 1)
    spec = trace_permutation_spec(model, images)
    each = [norm_strengths(spec, net.state_dict()) for net in (model, other)]
    found = [
        complementary_permutations(spec, each)[1],
        reversed_permutations(spec, each)[1],
        distant_permutations(spec, model.state_dict(), other.state_dict()),
    ]
    for orders in found:
        verify(other, other.state_dict(), spec, orders, images)
        assert any(not torch.equal(order, order.sort().values) for order in orders.values())


def test_distant_is_farther_than_any_random_permutation() -> None:
    (model, images), (other, _) = made("mlp", 0), made("mlp", 1)
    spec = trace_permutation_spec(model, images)
    a, b = model.state_dict(), other.state_dict()

    def product(orders: Any) -> float:
        moved = permute(b, spec, orders)
        return sum(float((a[name].double() * moved[name].double()).sum()) for name in a)

    drawn = [product(random_permutations(spec, seed)) for seed in range(20)]
    assert product(distant_permutations(spec, a, b)) < min(drawn) - 2 * float(np.std(drawn))


def test_a_wide_mlp_is_placed_within_two_seconds() -> None:
    units = 8192
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, 10))
    a = net.state_dict()
    b = {name: tensor.flip(0) for name, tensor in a.items()}
    axes = {
        "0.weight": (Axis("0"), None),
        "0.bias": (Axis("0"),),
        "2.weight": (Axis("2"), Axis("0")),
        "2.bias": (Axis("2"),),
        "4.weight": (None, Axis("2")),
        "4.bias": (None,),
    }
    spec = PermutationSpec(axes, {"0": units, "2": units})
    start = time.process_time()
    found = complementary_permutations(spec, [norm_strengths(spec, state) for state in (a, b)])
    assert time.process_time() - start < 2
    assert len(found[1]["2"]) == units


@pytest.mark.parametrize(
    ("strengths", "dose", "message"),
    [
        ([strengths_of(0, 3)], 1.0, "strengths of 1 model; complementary are two models or more"),
        ([strengths_of(0, 3)] * 2, 1.5, "dose is 1.5; it must be between 0"),
        ([strengths_of(0, 3)] * 2, math.nan, "dose is nan"),
        ([strengths_of(0, 3), strengths_of(0, 4)], 1.0, "strengths of model 1 are of {'hidden': 4}, the groups"),
        ([strengths_of(0, 3), {}], 1.0, "strengths of model 1 are of {}"),
        (
            [strengths_of(0, 3), {"hidden": torch.tensor([1.0, math.nan, 0])}],
            1.0,
            "'hidden' of model 1 are negative, NaN",
        ),
    ],
)
def test_what_cannot_be_placed_is_refused(strengths: list[Any], dose: float, message: str) -> None:
    with pytest.raises(MergeError, match=message):
        complementary_permutations(one_group(3), strengths, dose=dose)


# -- Strengths. --


def chain() -> nn.Sequential:
    """Two units that matter, one that is read without being written, one that is written and never read."""
    net = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0], [3.0, 3.0]]))
        net[2].weight.copy_(torch.tensor([[1.0, 3.0, 2.0, 0.0], [1.0, 4.0, 0.0, 0.0]]))
    return net


def test_norms_are_those_of_the_reading_weights() -> None:
    net = chain()
    spec = trace_permutation_spec(net, torch.zeros(2, 2))
    squares = torch.tensor([2.0, 25.0, 4.0, 0.0]).double()
    torch.testing.assert_close(norm_strengths(spec, net.state_dict())["0"], squares / squares.mean())


def test_responses_are_what_the_readers_make_of_the_activations() -> None:
    net = chain()
    spec = trace_permutation_spec(net, torch.zeros(2, 2))
    inputs = [torch.tensor([[1.0, 0.0], [2.0, -1.0]]), torch.tensor([[-1.0, 2.0]])]
    moments = torch.tensor([(1 + 4) / 3, 16 / 3, 0.0, (9 + 9 + 9) / 3]).double()  # of the ReLUs; the last is not read
    answers = moments * torch.tensor([2.0, 25.0, 4.0, 0.0]).double()
    found = response_strengths(spec, net.train(), inputs)["0"]
    torch.testing.assert_close(found, answers / answers.mean())
    assert net.training
    with pytest.raises(MergeError, match="no batch to see the activations on"):
        response_strengths(spec, net, [])


@pytest.mark.parametrize("name", WIDTHS)
def test_strengths_follow_a_permutation(name: str) -> None:
    model, images = made(name)
    spec = trace_permutation_spec(model, images)
    orders = random_permutations(spec, 0)
    before, responses = norm_strengths(spec, model.state_dict()), response_strengths(spec, model.eval(), [images])
    model.load_state_dict(permute(model.state_dict(), spec, orders))
    for found, expected in (
        (norm_strengths(spec, model.state_dict()), before),
        (response_strengths(spec, model, [images]), responses),
    ):
        for group, order in orders.items():
            torch.testing.assert_close(found[group], expected[group][order], rtol=1e-4, atol=1e-5)


def test_strengths_of_diverged_dead_and_unread_groups() -> None:
    net = chain()
    spec, state = trace_permutation_spec(net, torch.zeros(2, 2)), net.state_dict()
    with pytest.raises(MergeError, match=r"2\.weight holds NaN or infinite values"):
        norm_strengths(spec, {**state, "2.weight": torch.full((2, 4), math.nan)})
    dead = norm_strengths(spec, {name: torch.zeros_like(tensor) for name, tensor in state.items()})
    assert dead["0"].tolist() == [0.0] * 4
    unread = PermutationSpec({"scale": (Axis("x"),)}, {"x": 2})
    assert norm_strengths(unread, {"scale": torch.tensor([1.0, 3.0])})["x"].tolist() == pytest.approx([0.2, 1.8])
    with pytest.raises(MergeError, match="no linear layer or convolution reads the channels of 'x'"):
        response_strengths(unread, net, [torch.zeros(1, 2)])


# -- Pruning and transplants. --


def test_pruned_channels_are_zero_wherever_they_stand() -> None:
    net = chain()
    spec, state = trace_permutation_spec(net, torch.zeros(2, 2)), net.state_dict()
    kept = strongest(spec, norm_strengths(spec, state), 0.5)
    assert kept["0"].tolist() == [False, True, True, False]
    pruned = prune(state, spec, kept)
    assert pruned["0.weight"].tolist() == [[0, 0], [0, 2], [0, 0], [0, 0]]
    assert pruned["2.weight"].tolist() == [[0, 3, 2, 0], [0, 4, 0, 0]]
    assert torch.equal(pruned["2.bias"], state["2.bias"])
    assert state["0.weight"][0, 0] == 1, "the model is left as it was"
    assert strongest(spec, norm_strengths(spec, state), 0.01)["0"].sum() == 1
    for keep in (0, -1, 1.1, math.nan):
        with pytest.raises(MergeError, match="keep is"):
            strongest(spec, norm_strengths(spec, state), keep)
    with pytest.raises(MergeError, match="must be 4 truth values"):
        prune(state, spec, {"0": torch.ones(4)})


def test_positions_behind_a_flatten_are_pruned_with_their_channel() -> None:
    spec = PermutationSpec({"weight": (None, Axis("conv", 2))}, {"conv": 2})
    pruned = prune({"weight": torch.ones(1, 4)}, spec, {"conv": torch.tensor([True, False])})
    assert pruned["weight"].tolist() == [[1, 1, 0, 0]]


def test_groups_that_share_an_axis_have_their_own_places() -> None:
    """Concatenated branches: index 1 is fixed, x lies at 3 and 0, y at 2."""
    axis = Mixed(4, (Part("x", ((3,), (0,))), Part("y", ((2,),))))
    spec, state = PermutationSpec({"w": (None, axis)}, {"x": 2, "y": 1}), {"w": torch.tensor([[1.0, 9.0, 5.0, 3.0]])}
    found = norm_strengths(spec, state)
    assert found["x"].tolist() == pytest.approx([1.8, 0.2])
    assert found["y"].tolist() == [1.0]
    kept = {"x": torch.tensor([True, False]), "y": torch.tensor([False])}
    assert prune(state, spec, kept)["w"].tolist() == [[0.0, 9.0, 0.0, 3.0]]
    net = nn.Linear(4, 1, bias=False)
    net.load_state_dict({"weight": state["w"]})
    spec = PermutationSpec({"weight": (None, axis)}, {"x": 2, "y": 1})
    answers = response_strengths(spec, net, [torch.tensor([[1.0, 1.0, 1.0, 2.0]])])
    assert answers["x"].tolist() == pytest.approx([72 / 37, 2 / 37])  # 9 · 4 and 1 · 1


@pytest.mark.parametrize(
    ("squares", "share"),
    [
        ([1.0] * 100, 0.99),
        ([1.0] * 25 + [0.0] * 75, 0.25),
        ([98.0, 1.0, 1.0, 0.0], 0.5),
        ([0.0] * 4, 0.0),
        ([3.0], 1.0),
    ],
)
def test_needed_share_of_known_spectra(squares: list[float], share: float) -> None:
    assert needed_share(torch.tensor(squares, dtype=torch.float64)) == pytest.approx(share, abs=0.011)


@torch.no_grad()
@pytest.mark.parametrize("models", [2, 3])
def test_a_transplant_is_the_concatenated_net_pruned(models: int) -> None:
    """Concatenate by hand (block-diagonal weights), keep the strongest of the union: the same function."""
    units, nets = 6, []
    for seed in range(models):
        torch.manual_seed(seed)
        nets.append(
            nn.Sequential(nn.Linear(3, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, 2))
        )
    nets = [net.double() for net in nets]
    inputs = torch.randn(9, 3).double()
    spec, parts = trace_permutation_spec(nets[0], inputs), sum_parts(nets[0], inputs)
    states = [net.state_dict() for net in nets]
    each = [norm_strengths(spec, state) for state in states]
    masks = {}
    for group in spec.groups:
        union = torch.cat([own[group] for own in each])
        masks[group] = union >= union.sort(descending=True).values[units - 1]
    hidden = (
        torch.cat([state["0.weight"] for state in states]) @ inputs.T
        + torch.cat([s["0.bias"] for s in states])[:, None]
    )
    hidden = hidden.relu() * masks["0"][:, None]
    wide = torch.block_diag(*(state["2.weight"] for state in states))
    hidden = (wide @ hidden + torch.cat([state["2.bias"] for state in states])[:, None]).relu() * masks["2"][:, None]
    expected = torch.cat([state["4.weight"] for state in states], 1) @ hidden / models
    expected = expected.T + sum(state["4.bias"] for state in states) / models
    merged = nets[0]
    merged.load_state_dict(transplant(states, spec, each, parts))
    torch.testing.assert_close(merged(inputs), expected)


def test_transplants_of_other_than_the_models_are_refused() -> None:
    net = chain()
    spec, state = trace_permutation_spec(net, torch.zeros(2, 2)), net.state_dict()
    parts = SumParts(frozenset({"2.weight", "2.bias"}))
    with pytest.raises(MergeError, match="strengths of 1 models for 2"):
        transplant([state, state], spec, [norm_strengths(spec, state)], parts)


@torch.no_grad()
@pytest.mark.parametrize("models", [2, 3])
def test_models_that_use_a_part_of_their_width_merge_without_loss(models: int) -> None:
    """Each uses a k-th of the channels, at places of its own choice: placed apart, their sum is the mean of logits."""
    units, inputs, states = 6 * models, torch.randn(9, 3).double(), []
    for seed in range(models):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(3, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, 2))
        net.double()
        spec = trace_permutation_spec(net, inputs)
        kept = {group: torch.randperm(units) < 6 for group in spec.groups}
        states.append(prune(net.state_dict(), spec, kept))
    logits = []
    for state in states:
        net.load_state_dict(state)
        logits.append(net(inputs))
    expected = torch.stack(logits).mean(0)
    orders = complementary_permutations(spec, [norm_strengths(spec, state) for state in states])
    placed = [permute(state, spec, order) for state, order in zip(states, orders, strict=True)]
    parts = sum_parts(net, inputs)
    net.load_state_dict(sum_merge(placed, parts))
    torch.testing.assert_close(net(inputs), expected)
    net.load_state_dict(sum_merge(states, parts))
    assert (net(inputs) - expected).abs().max() > 0.01, "without the permutation they collide"
