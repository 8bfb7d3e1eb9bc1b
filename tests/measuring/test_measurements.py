"""Layers and paths against plain float64 computations that share no code with lmc, and their invariances."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy_nets import (
    CLOSE,
    LAMS,
    NETS,
    SAME,
    changeable,
    differences,
    every_net,
    images,
    leaves,
    measure,
    merge_midpoint,
    merged_state,
    numpy_state,
    reference_evaluation,
    reference_layers,
    run,
    setting,
    without,
)
from torch import nn

from lmc.measuring.endpoints import Endpoint, compare
from lmc.measuring.evaluation import evaluate_logits, logits_of
from lmc.measuring.layers import Records, measure_layers
from lmc.measuring.paths import measure_path
from lmc.merging import reset_bn_stats

# -- Agreement with the reference. --


@every_net
def test_layers_agree_with_plain_numpy(name: str) -> None:
    (a, b, merged, inputs), forward = setting(name), NETS[name][1]
    found, _ = measure_layers([a, b], merge_midpoint(merged, a, b, inputs), inputs)
    state_a, state_b = numpy_state(a), numpy_state(b)
    state_m = merged_state(forward, state_a, state_b, 0.5, [images(inputs.train[:40]), images(inputs.train[40:80])])
    traces = [run(forward, state, images(inputs.test)) for state in (state_a, state_b, state_m)]
    assert not differences(found, reference_layers(*traces), **CLOSE)
    counted: tuple[str, ...] = ("norm_merged", "norm_endpoints", "active_share", "overlap_ratio", "overlap_chance")
    counted += ("function", "additivity_null", "lewc_norm_ratio")  # 2^(ℓ-1) times the other ratio
    counted += ("sign_disagreement", "varying_share_a", "varying_share_b")
    varied = [value for where, value in leaves(found) if not where.endswith(counted)]
    # Without BatchNorm, LEWC of layer 1 is its additivity; were more to coincide, the case would tell too little.
    assert len(set(varied)) >= len(varied) - 1
    assert any(0 < relu["sign_disagreement"] < 1 for relu in found["activations"].values())
    assert any(0 < relu["overlap_ratio"] < 1 for relu in found["activations"].values()), "the case must tell sets apart"


@every_net
def test_paths_agree_with_plain_numpy(name: str) -> None:
    (a, b, merged, inputs), forward = setting(name), NETS[name][1]
    found = measure_path(merged, a.state_dict(), b.state_dict(), LAMS, inputs)
    labels, state_a, state_b = inputs.labels.numpy(), numpy_state(a), numpy_state(b)
    batches = [images(inputs.train[:40]), images(inputs.train[40:80])]  # a last batch of one image is left out
    states = [merged_state(forward, state_a, state_b, lam, batches) for lam in LAMS]
    logits = [run(forward, state, images(inputs.test)).activations["logits"] for state in states]
    points = [reference_evaluation(each, labels) for each in logits]
    assert not differences(found["points"], points, **CLOSE)
    assert found["lams"] == list(LAMS)
    assert not differences(found["ensemble"], reference_evaluation((logits[0] + logits[-1]) / 2, labels), **CLOSE)
    for quantity, sign in (("loss", 1), ("calibrated_loss", 1), ("accuracy", -1)):
        line = [lam * points[-1][quantity] + (1 - lam) * points[0][quantity] for lam in LAMS]
        excess = [sign * (point[quantity] - level) for point, level in zip(points, line, strict=True)]
        assert found["barriers"][f"{quantity}_barrier_midpoint"] == pytest.approx(excess[2], **CLOSE)
        assert found["barriers"][f"{quantity}_barrier_maximum"] == pytest.approx(max(excess), **CLOSE)
    assert abs(found["barriers"]["loss_barrier_midpoint"]) > 1e-3, "the case must have a barrier"
    said = {"a": logits[-1], "b": logits[0], "merged": logits[2], "ensemble": logits[0] + logits[-1]}
    agree = {
        f"{one}_{other}": float((said[one].argmax(1) == said[other].argmax(1)).mean())
        for one, other in (("a", "b"), ("merged", "ensemble"), ("merged", "a"), ("merged", "b"))
    }
    assert found["agreement"] == pytest.approx(agree)
    assert len(set(agree.values())) > 1, "the case must tell the pairs apart"


@every_net
def test_errors_of_barriers_agree_with_plain_numpy(name: str) -> None:
    (a, b, merged, inputs), forward = setting(name), NETS[name][1]
    found = measure_path(merged, a.state_dict(), b.state_dict(), LAMS, inputs)
    labels, state_a, state_b = inputs.labels.numpy(), numpy_state(a), numpy_state(b)
    batches = [images(inputs.train[:40]), images(inputs.train[40:80])]
    rows = np.arange(len(labels))
    losses, right = [], []
    for lam in LAMS:
        state = merged_state(forward, state_a, state_b, lam, batches)
        logits = run(forward, state, images(inputs.test)).activations["logits"]
        losses.append(np.log(np.exp(logits).sum(1)) - logits[rows, labels])
        right.append((logits.argmax(1) == labels).astype(float))
    for quantity, values, sign in (("loss", losses, 1), ("accuracy", right, -1)):
        excess = [
            sign * (each - lam * values[-1] - (1 - lam) * values[0]) for lam, each in zip(LAMS, values, strict=True)
        ]
        peak = int(np.argmax([each.mean() for each in excess]))
        assert found["places"][f"{quantity}_barrier_maximum"] == LAMS[peak]
        for which, index in (("midpoint", 2), ("maximum", peak)):
            error = excess[index].std(ddof=1) / math.sqrt(len(labels))
            assert found["errors"][f"{quantity}_barrier_{which}"] == pytest.approx(error, **CLOSE)


@every_net
def test_the_endpoints_of_the_path_are_the_models_as_trained(name: str) -> None:
    a, b, merged, inputs = setting(name)
    first, *_, last = measure_path(merged, a.state_dict(), b.state_dict(), LAMS, inputs)["points"]
    assert first == asdict(evaluate_logits(logits_of(b, inputs), inputs.labels))
    assert last == asdict(evaluate_logits(logits_of(a, inputs), inputs.labels))
    assert first != last


@every_net
def test_the_batch_size_does_not_matter(name: str) -> None:
    a, b, merged, inputs = setting(name)
    merge_midpoint(merged, a, b, inputs)

    def layers(batch: int) -> Records:
        return measure_layers([a, b], merged, replace(inputs, batch=batch))[0]

    whole, *others = map(layers, (60, 23, 59, 1000))
    for other in others:
        assert not differences(other, whole, **SAME)


def test_the_batch_size_of_a_path_without_batchnorm_does_not_matter() -> None:
    a, b, merged, inputs = setting("mlp")
    states = a.state_dict(), b.state_dict()
    whole, other = (measure_path(merged, *states, LAMS, replace(inputs, batch=batch)) for batch in (60, 7))
    assert not differences(other, whole, **SAME)


@every_net
@pytest.mark.parametrize("limit", [None, 40])
def test_logits_of_the_layer_pass_serve_the_path(name: str, limit: int | None) -> None:
    a, b, merged, inputs = setting(name)
    ends = Endpoint(a, inputs), Endpoint(b, inputs)
    _, middle = compare(ends, merge_midpoint(merged, a, b, inputs), (0.5, 0.5), inputs, limit)
    known = {0.0: ends[1].logits(), 0.5: middle, 1.0: ends[0].logits()}
    states = a.state_dict(), b.state_dict()
    found = measure_path(merged, *states, LAMS, inputs, known)
    assert not differences(found, measure_path(merged, *states, LAMS, inputs), **SAME)


# -- Controls and invariances. --


@every_net
def test_a_model_merged_with_itself_has_no_barrier(name: str) -> None:
    net, _, merged, inputs = changeable(name)
    reset_bn_stats(net, inputs.train_batches(100))  # so that the merged model's reset changes nothing
    found = measure(net, net, merged, inputs)
    assert not differences(found["path"]["barriers"], dict.fromkeys(found["path"]["barriers"], 0.0), abs=1e-10)
    exact = {"lewc_cosine": 1, "llfc_norm_ratio": 1, "endpoint_cosine": 1, "additivity_cosine": 1}
    exact |= {"orthogonality_ratio": 1, "recovery_cosine": 1, "commutativity_distance": 0, "overlap_ratio": 1}
    exact |= {"relative_commutativity": 0}
    for where, value in leaves(found["layers"]):
        quantity = where.rsplit("/", 1)[-1]
        if quantity in exact:
            assert value == pytest.approx(exact[quantity], abs=1e-10), where


CHAINS: dict[str, Any] = {  # weight layers in order, each with the BatchNorm behind it
    "mlp": [(f"hidden.{index}.linear", None) for index in range(3)],
    "mlp-bn": [(f"hidden.{index}.linear", f"hidden.{index}.norm") for index in range(3)],
    "vgg": [(f"features.{index}", f"features.{index + 1}") for index in (0, 4, 7, 11)],
}


def permute_hidden(net: nn.Module, chain: list[tuple[str, str | None]], seed: int) -> nn.Module:
    """Reorder every hidden layer's units; the function stays the same."""
    state, rng = dict(net.state_dict()), np.random.default_rng(seed)
    followers = [*(layer for layer, _ in chain[1:]), "head"]
    for (layer, norm), follower in zip(chain, followers, strict=True):
        order = torch.from_numpy(rng.permutation(len(state[f"{layer}.weight"])))
        for key in state:
            if key.rpartition(".")[0] in (layer, norm) and state[key].ndim:
                state[key] = state[key][order]
        state[f"{follower}.weight"] = state[f"{follower}.weight"][:, order]
    net.load_state_dict(state)
    return net


@pytest.mark.parametrize("name", CHAINS)
def test_the_order_of_hidden_units_does_not_matter(name: str) -> None:
    a, b, merged, inputs = changeable(name)
    before, logits = measure(a, b, merged, inputs), logits_of(a, inputs)
    permute_hidden(a, CHAINS[name], seed=5)
    assert (logits_of(a, inputs) - logits).abs().max() < 1e-12
    only_a = measure(a, b, merged, inputs)
    assert (
        abs(only_a["layers"]["outputs"]["logits"]["lewc_cosine"] - before["layers"]["outputs"]["logits"]["lewc_cosine"])
        > 1e-3
    ), "one model's order does matter"
    permute_hidden(b, CHAINS[name], seed=5)
    again, before = (without(each, "additivity_shuffled") for each in (measure(a, b, merged, inputs), before))
    assert not differences(again, before, **SAME)


def test_the_scale_of_a_layer_does_not_matter_to_what_is_relative() -> None:
    a, b, merged, inputs = changeable("mlp-no-bias")
    before = dict(leaves(measure(a, b, merged, inputs)["layers"]))
    factors = (3.0, 0.01, 7.0, 0.5)
    for net in (a, b):
        for factor, parameter in zip(factors, net.parameters(), strict=True):
            parameter.data.mul_(factor)
    for where, value in leaves(measure(a, b, merged, inputs)["layers"]):
        scale = 1.0
        if "norm_merged" in where or "norm_endpoints" in where:
            scale = math.prod(factors[: list(merged_layers(merged)).index(where.split("/")[2]) + 1])
        if not isinstance(value, str):
            assert value == pytest.approx(scale * before[where], rel=1e-10), where


def merged_layers(net: nn.Module) -> Iterator[str]:
    yield from (name for name, module in net.named_modules() if isinstance(module, nn.ReLU))
    yield "logits"


def test_swapping_the_models_mirrors_the_path() -> None:
    a, b, merged, inputs = setting("mlp-bn")
    lams = (0.0, 0.25, 0.5, 0.75, 1.0)
    one, other = measure(a, b, merged, inputs, lams), measure(b, a, merged, inputs, lams)
    assert not differences(other["path"]["points"], one["path"]["points"][::-1], **SAME)
    assert not differences(other["path"]["barriers"], one["path"]["barriers"], **SAME)
    other, one = (without(each["layers"], "additivity_shuffled") for each in (other, one))  # of model b
    assert not differences(other, one, **SAME)
