"""The average of k models: against plain numpy, against the pair's midpoint, and at its corners."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from numpy_nets import (
    CLOSE,
    NETS,
    Array,
    State,
    Trace,
    centred,
    cosine,
    differences,
    every_net,
    images,
    leaves,
    length,
    mean_over,
    merged_state,
    numpy_state,
    random_net,
    ratio,
    run,
    setting,
)
from tiny import DIGITS, measured, pair, seeds, state_of
from torch import nn

from lmc.errors import MergeError
from lmc.measuring.endpoints import Endpoint
from lmc.measuring.inputs import HeldInputs
from lmc.measuring.measurements import MergeMeasurement
from lmc.measuring.merges import measure_merge
from lmc.measuring.records import measure
from lmc.merging import reset_bn_stats

WEIGHTS = [(), (0.5, 0.3, 0.2), (0.0, 0.25, 0.75)]


def three(name: str) -> tuple[list[nn.Module], nn.Module, HeldInputs]:
    """Three models not to be changed, one to merge into, and data."""
    a, b, merged, inputs = setting(name)
    return [a, b, random_net(NETS[name][0], 5)], merged, inputs


def merge_of(
    models: list[nn.Module], merged: nn.Module, weights: tuple[float, ...], inputs: HeldInputs, limit: int | None = None
) -> dict[str, Any]:
    return measure_merge([Endpoint(model, inputs) for model in models], merged, weights, inputs, limit)


def averaged(name: str, states: list[State], weights: tuple[float, ...], inputs: HeldInputs) -> Trace:
    """The merged model on the test images, with the mean of the training batches' BatchNorm statistics."""
    forward = NETS[name][1]
    total = {
        key: np.sum([lam * state[key] for lam, state in zip(weights, states, strict=True)], axis=0) for key in states[0]
    }
    batches = [images(inputs.train[:40]), images(inputs.train[40:80])]
    return run(forward, merged_state(forward, total, total, 0.5, batches), images(inputs.test))


@every_net
@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_a_merge_of_three_agrees_with_plain_numpy(name: str, weights: tuple[float, ...]) -> None:
    models, merged, inputs = three(name)
    found = merge_of(models, merged, weights, inputs)
    lams = weights or (1 / 3, 1 / 3, 1 / 3)
    states = [numpy_state(model) for model in models]
    traces = [run(NETS[name][1], state, images(inputs.test)) for state in states]
    average = averaged(name, states, lams, inputs)
    expected: dict[str, Any] = {}
    target: Array = np.zeros(0)
    for depth, (layer, output) in enumerate(average.activations.items(), start=1):
        each = [trace.activations[layer] for trace in traces]
        terms = ([lam**power * f for lam, f in zip(lams, each, strict=True)] for power in (depth, 1))
        target, line = (np.sum(each, axis=0) for each in terms)
        expected[layer] = {
            "lewc_cosine": mean_over([(output, target)], cosine),
            "lewc_norm_ratio": mean_over([(output, target)], ratio) if average.plain else None,
            "llfc_norm_ratio": mean_over([(output, line)], ratio),
            "endpoint_cosine": mean_over(list(combinations(each, 2)), cosine),
            "norm_merged": mean_over([(output,)], length),
            "norm_endpoints": mean_over([(f,) for f in each], length),
        }
    said, law = (centred(logits) for logits in (average.activations["logits"], target))
    expected["logits"] |= {
        "class_centred_lewc_cosine": mean_over([(said, law)], cosine),
        "centred_lewc_cosine": mean_over([(said - said.mean(0), law - law.mean(0))], cosine),
    }
    assert not differences(found["outputs"], expected, **CLOSE)
    labels = inputs.labels.numpy()
    logits = [trace.activations["logits"] for trace in traces]
    right = [float((each.argmax(1) == labels).mean()) for each in logits]
    assert found["accuracies"] == pytest.approx(right)
    for what, output in (("merged", average.activations["logits"]), ("ensemble", target)):
        accuracy = float((output.argmax(1) == labels).mean())
        assert found[what]["accuracy"] == pytest.approx(accuracy)
        loss = torch.nn.functional.cross_entropy(torch.tensor(output), inputs.labels).item()
        assert found[what]["loss"] == pytest.approx(loss, rel=1e-6)
    told = [value for where, value in leaves(found["outputs"]) if where.endswith(("/lewc_cosine", "llfc_norm_ratio"))]
    assert len(set(told)) == 2 * len(expected), "the case must tell layers"


@every_net
def test_the_first_of_a_merge_with_all_its_weight_is_itself(name: str) -> None:
    """But for BatchNorm, whose statistics are computed again: models that have them are given those first."""
    models, merged, inputs = three(name)
    models = [copy.deepcopy(model) for model in models]
    reset_bn_stats(models[0], inputs.train_batches(5000))
    found = merge_of(models, merged, (1.0, 0.0, 0.0), inputs)
    for layer in found["outputs"].values():
        assert [layer["lewc_cosine"], layer["llfc_norm_ratio"]] == pytest.approx([1.0, 1.0], abs=1e-9)
        assert layer["lewc_norm_ratio"] in (None, pytest.approx(1.0, abs=1e-9))
    assert not differences(found["merged"], found["ensemble"], **CLOSE)
    assert found["merged"]["accuracy"] == found["accuracies"][0]
    assert len(set(found["accuracies"])) > 1, "the case must tell the models apart"
    other = merge_of(models, merged, (0.0, 1.0, 0.0), inputs)
    assert other["merged"] != found["merged"]


@every_net
def test_the_order_of_equally_weighted_models_does_not_matter(name: str) -> None:
    models, merged, inputs = three(name)
    one, other = (merge_of(each, merged, (), inputs) for each in (models, models[::-1]))
    assert other["accuracies"] == one["accuracies"][::-1]
    for part in ("merged", "ensemble", "outputs"):
        assert not differences(other[part], one[part], rel=1e-8, abs=1e-10)


def test_equal_weights_are_what_no_weights_mean() -> None:
    models, merged, inputs = three("mlp")
    found = merge_of(models, merged, (), inputs)
    assert not differences(merge_of(models, merged, (1 / 3,) * 3, inputs), found, rel=1e-12)


@pytest.mark.parametrize(("limit", "images_used"), [(40, 40), (1, 40), (41, 60), (60, 60), (None, 60)])
def test_layers_are_measured_on_whole_batches_up_to_the_limit(limit: int | None, images_used: int) -> None:
    models, merged, inputs = three("mlp")
    found = merge_of(models, merged, (), inputs, limit)
    first = replace(inputs, test=inputs.test[:images_used], labels=inputs.labels[:images_used])
    assert not differences(found["outputs"], merge_of(models, merged, (), first)["outputs"], rel=1e-9)
    assert found["merged"] == merge_of(models, merged, (), inputs)["merged"]


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.5, 0.5, 0.5), (1.5, -0.5, 0.0)])
def test_weights_that_do_not_fit_are_refused(weights: tuple[float, ...]) -> None:
    models, merged, inputs = three("mlp")
    with pytest.raises(MergeError, match="weights"):
        merge_of(models, merged, weights, inputs)


def test_no_model_is_refused() -> None:
    _, merged, inputs = three("mlp")
    with pytest.raises(MergeError, match="no model to merge"):
        merge_of([], merged, (), inputs)


# -- As a record. --


@pytest.mark.parametrize("name", ["mlp", "mlp-bn", "vgg", "resnet"])
def test_the_merge_of_two_is_the_pairs_midpoint(name: str) -> None:
    merge, path = measured(MergeMeasurement(seeds(name, 2))), measured(pair(name))
    assert set(merge) == {"status", "accuracies", "merged", "ensemble", "outputs"}
    assert not differences(merge["merged"], path["path"]["points"][1], rel=1e-4)
    assert merge["accuracies"] == path["accuracies"]
    assert merge["ensemble"]["accuracy"] == path["path"]["ensemble"]["accuracy"]
    assert merge["ensemble"]["calibrated_loss"] == pytest.approx(path["path"]["ensemble"]["calibrated_loss"], rel=1e-5)
    # The merge's ensemble is (f_a + f_b) / 2^L, the path's (f_a + f_b) / 2.
    depth = len(merge["outputs"])
    beta = path["path"]["ensemble"]["beta"] * 2 ** (depth - 1)
    if beta < 1e4:
        assert merge["ensemble"]["beta"] == pytest.approx(beta, rel=1e-4)
    assert not differences(merge["outputs"], path["layers"]["outputs"], rel=1e-5)
    for power, found in enumerate(merge["outputs"].values()):
        plain = None if name != "mlp" else pytest.approx(found["llfc_norm_ratio"] * 2**power)
        assert found["lewc_norm_ratio"] == plain  # one average is 2^(ℓ-1) times the other


def test_a_record_knows_its_weights() -> None:
    specs = seeds("mlp", 3)
    alone = measure(MergeMeasurement(specs, (1.0, 0.0, 0.0)), [state_of(spec) for spec in specs], DIGITS, "cpu")
    assert alone["merged"]["accuracy"] == alone["accuracies"][0]
    assert alone["merged"]["loss"] != measured(MergeMeasurement(specs))["merged"]["loss"]
