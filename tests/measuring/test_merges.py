"""The average of k models: against plain numpy, against the pair's midpoint, and at its corners."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
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
from tiny import DIGITS, SPECS, inputs_of, measured, network, pair, seeds, state_of
from torch import nn

from lmc.errors import MergeError
from lmc.measuring.alignments import aligning
from lmc.measuring.draws import draw_seed
from lmc.measuring.endpoints import Endpoint
from lmc.measuring.evaluation import evaluate_logits, logits_of
from lmc.measuring.inputs import HeldInputs
from lmc.measuring.measurements import MergeMeasurement
from lmc.measuring.merges import fixed_losses, measure_merge
from lmc.measuring.records import measure
from lmc.merging import reset_bn_stats
from lmc.merging.complementary import complementary_permutations
from lmc.merging.permutation_spec import permute
from lmc.merging.strengths import norm_strengths
from lmc.merging.tracing import trace_permutation_spec

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
    assert set(merge) == {*("status", "accuracies", "models", "merged", "ensemble", "mean_logits", "fixed", "outputs")}
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


# -- Sums, other orders, fixed inverse temperatures. --


def by_hand(name: str, states: list[dict[str, Any]], *, reset: bool) -> torch.Tensor:
    """Logits of the sum of the states' hidden tensors and the mean of the heads'."""
    net = network(SPECS[name], states[0])
    total = {key: sum(state[key] for state in states) for key in states[0]}
    total |= {key: total[key] / len(states) for key in total if key.startswith("head")}
    net.load_state_dict({key: total[key] if total[key].is_floating_point() else states[0][key] for key in total})
    if reset:
        reset_bn_stats(net, inputs_of().train_batches(5000))
    return logits_of(net, inputs_of())


@pytest.mark.parametrize("name", ["mlp", "mlp-bn", "vgg", "resnet"])
@pytest.mark.parametrize("bn", ["reset", "summed"])
def test_a_sum_is_measured_as_by_hand(name: str, bn: str) -> None:
    specs = seeds(name, 3)
    found = measured(MergeMeasurement(specs, rule="sum", bn=bn))
    states = [dict(state_of(spec)) for spec in specs]
    merged = by_hand(name, states, reset=bn == "reset")
    expected = evaluate_logits(merged, inputs_of().labels)
    assert not differences(found["merged"], asdict(expected), rel=1e-3, abs=1e-4)
    logits = [logits_of(network(spec, state), inputs_of()) for spec, state in zip(specs, states, strict=True)]
    mean = torch.stack(logits).double().mean(0)
    assert not differences(found["mean_logits"], asdict(evaluate_logits(mean, inputs_of().labels)), rel=1e-4)
    of_logits, lengths = list(found["outputs"].values())[-1], [each.double().norm(dim=1) for each in (merged, mean)]
    assert of_logits["lewc_norm_ratio"] == pytest.approx(float((lengths[0] / lengths[1]).mean()), rel=1e-3)
    cosines = (merged.double() * mean).sum(1) / lengths[0] / lengths[1]
    assert of_logits["lewc_cosine"] == pytest.approx(float(cosines.mean()), abs=1e-4)
    models = [asdict(evaluate_logits(each, inputs_of().labels)) for each in logits]
    assert not differences(found["models"], models, rel=1e-4)
    assert found["merged"] != measured(MergeMeasurement(specs))["merged"]


def test_the_weights_of_a_sum_are_those_of_its_head() -> None:
    specs, labels = seeds("mlp", 2), inputs_of().labels
    found = measured(MergeMeasurement(specs, (0.75, 0.25), rule="sum"))
    parts = [logits_of(network(spec, state_of(spec)), inputs_of()).double() for spec in specs]
    expected = evaluate_logits(0.75 * parts[0] + 0.25 * parts[1], labels)
    assert found["mean_logits"]["loss"] == pytest.approx(expected.loss, rel=1e-5)
    assert found["merged"] != measured(MergeMeasurement(specs, rule="sum"))["merged"]


def test_sums_of_disjoint_models_are_what_the_theorem_says() -> None:
    """Two models that own half of the units each: every cosine and ratio is 1, and the merge is the mean of logits."""
    specs = seeds("mlp", 2)
    states = []
    for index, spec in enumerate(specs):
        state = {key: tensor.clone() for key, tensor in state_of(spec).items()}
        units = len(state["head.weight"][0])
        gone = slice(0, units // 2) if index else slice(units // 2, units)
        for key, tensor in state.items():
            if "hidden" in key:
                tensor[gone] = 0
            if tensor.ndim == 2 and tensor.shape[1] == units:
                tensor[:, gone] = 0
        states.append(state)
    found = measure(MergeMeasurement(specs, (0.7, 0.3), rule="sum"), states, DIGITS, "cpu")
    assert not differences(found["merged"], found["mean_logits"], rel=1e-4)
    for layer, each in found["outputs"].items():
        assert each["lewc_cosine"] == pytest.approx(1, abs=1e-5), layer
        assert each["lewc_norm_ratio"] == pytest.approx(1, abs=1e-4), layer
    average = measure(MergeMeasurement(specs, (0.7, 0.3)), states, DIGITS, "cpu")
    assert abs(average["merged"]["loss"] - found["merged"]["loss"]) > 0.01


@pytest.mark.parametrize("alignment", ["matching", "complementary", "reversed", "distance"])
def test_an_order_changes_the_merge_of_three_and_not_the_models(alignment: str) -> None:
    specs = seeds("resnet", 3)
    found, plain = measured(MergeMeasurement(specs, alignment=alignment)), measured(MergeMeasurement(specs))
    assert found["models"] == plain["models"]
    assert found["mean_logits"] == plain["mean_logits"]
    assert found["merged"] != plain["merged"]
    spec = trace_permutation_spec(network(specs[0], state_of(specs[0])), inputs_of().examples(2))
    states = [state_of(each) for each in specs]
    moved = [
        permute(state, spec, order) for state, order in zip(states[1:], aligning(alignment, spec, states), strict=True)
    ]
    by_hand = measure(MergeMeasurement(specs), [states[0], *moved], DIGITS, "cpu")
    assert not differences(found["merged"], by_hand["merged"], rel=1e-4, abs=1e-6)


def test_a_draw_of_a_merge_of_three_moves_all_but_the_first() -> None:
    specs = seeds("mlp", 3)
    one, other = (measured(MergeMeasurement(specs, draw=draw)) for draw in (1, 2))
    assert one["models"] == other["models"]
    assert one["merged"] != other["merged"]
    assert one == measured(MergeMeasurement(specs, draw=1))


def test_a_transplant_keeps_the_strongest_of_the_union() -> None:
    """A model whose weights are nil gives no channel: what remains is the other, but for its halved head."""
    specs = seeds("mlp", 2)
    states = [dict(state_of(specs[0])), {key: torch.zeros_like(each) for key, each in state_of(specs[1]).items()}]
    found = measure(MergeMeasurement(specs, rule="transplant"), states, DIGITS, "cpu")
    logits = logits_of(network(specs[0], states[0]), inputs_of()) / 2
    assert found["merged"]["loss"] == pytest.approx(evaluate_logits(logits, inputs_of().labels).loss, rel=1e-5)


@pytest.mark.parametrize("name", ["mlp", "vgg", "resnet"])
@pytest.mark.parametrize("rule", ["mean", "sum"])
def test_without_layers_a_merge_is_the_same_but_for_them(name: str, rule: str) -> None:
    specs = seeds(name, 2)
    whole, part = (measured(MergeMeasurement(specs, rule=rule, layers=layers)) for layers in (True, False))
    assert part["outputs"] == {}
    assert whole["outputs"]
    for key in ("accuracies", "models", "merged", "ensemble", "mean_logits", "fixed"):
        assert not differences(part[key], whole[key], rel=1e-6), key


@pytest.mark.parametrize("name", ["mlp", "resnet"])
def test_a_dose_places_its_share_of_the_channels(name: str) -> None:
    """All of them is the complementary sum, none the sum of models as they are, half something else."""
    specs = seeds(name, 2)
    doses = (0.0, 0.5, 1.0)
    none, half, full = (
        measured(MergeMeasurement(specs, (), "complementary", "sum", dose=dose))["merged"] for dose in doses
    )
    plain = measured(MergeMeasurement(specs, rule="sum"))["merged"]
    assert not differences(none, plain, rel=1e-6)
    assert half not in (none, full)
    spec = trace_permutation_spec(network(specs[0], state_of(specs[0])), inputs_of().examples(2))
    strengths = [norm_strengths(spec, state_of(each)) for each in specs]
    seed = draw_seed(specs[0], specs[1], 0)
    order = complementary_permutations(spec, strengths, dose=0.5, seed=seed)[1]
    moved = {group: float((each != torch.arange(len(each))).double().mean()) for group, each in order.items()}
    assert all(share <= 0.5 for share in moved.values()), moved
    assert any(share > 0.25 for share in moved.values()), moved
    by_hand = measure(
        MergeMeasurement(specs, rule="sum"),
        [state_of(specs[0]), permute(state_of(specs[1]), spec, order)],
        DIGITS,
        "cpu",
    )
    assert not differences(half, by_hand["merged"], rel=1e-4, abs=1e-6)


def test_a_sum_of_nets_without_biases_is_a_mean_whose_logits_are_multiplied() -> None:
    """By k^(L-1) in plain nets; where every layer is normalised and reset, by k but for the head's bias and the eps."""
    spec = replace(SPECS["mlp"], bias=False)
    specs = tuple(spec.with_seed(seed) for seed in range(3))
    mean, total = (measured(MergeMeasurement(specs, rule=rule, layers=False)) for rule in ("mean", "sum"))
    assert total["merged"]["loss"] == pytest.approx(mean["fixed"]["k^(L-1)"], rel=1e-5)
    assert total["merged"]["calibrated_loss"] == pytest.approx(mean["merged"]["calibrated_loss"], rel=1e-3)
    skip = replace(SPECS["mlp"], arch="mlp-skip", bias=False)
    specs = tuple(skip.with_seed(seed) for seed in range(3))
    mean, total = (measured(MergeMeasurement(specs, rule=rule, layers=False)) for rule in ("mean", "sum"))
    nearest = min(mean["fixed"].values(), key=lambda loss: abs(loss - total["merged"]["loss"]))
    assert abs(nearest - total["merged"]["loss"]) > 0.01, "with skips that nothing normalises it is another rule"


def test_fixed_inverse_temperatures() -> None:
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    found = fixed_losses(logits, labels, models=4, layers=3)

    def loss(beta: float) -> float:
        return (np.log1p(np.exp(-2 * beta)) + np.log1p(np.exp(beta))) / 2

    assert found == pytest.approx({"k^(L-1)": loss(16), "k": loss(4), "sqrt(k)": loss(2)})
