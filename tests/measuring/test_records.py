"""Measurements carried out on models: what every record holds, against what the models are known to be."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import pytest
import torch
from numpy_nets import differences
from tiny import DIGITS, SPECS, State, inputs_of, measured, network, pair, seeds, state_of
from torch import nn

from lmc.architectures import Architecture, register_architecture
from lmc.errors import MergeError
from lmc.measuring import alignments
from lmc.measuring.alignments import align
from lmc.measuring.draws import Draws, draw_seed
from lmc.measuring.evaluation import evaluate_logits, logits_of
from lmc.measuring.flatness import random_direction
from lmc.measuring.measurements import (
    FULL_PATH,
    FlatnessMeasurement,
    Measurement,
    MergeMeasurement,
    ModelMeasurement,
    PairMeasurement,
)
from lmc.measuring.ranks import measure_ranks
from lmc.measuring.records import LAYER_IMAGES, measure, measure_all
from lmc.merging import reset_bn_stats
from lmc.merging.permutation_spec import PermutationSpec, permute, random_permutations
from lmc.merging.tracing import trace_permutation_spec
from lmc.specs import RunSpec

every_net = pytest.mark.parametrize("name", SPECS)


def accuracy(spec: RunSpec) -> float:
    return evaluate_logits(logits_of(network(spec, state_of(spec)), inputs_of()), DIGITS.test_labels).accuracy


KINDS: list[Measurement] = [
    pair("mlp"),
    pair("mlp", lams=FULL_PATH, alignment="matching"),
    pair("mlp", draw=1),
    pair("mlp", draw=1, layers=False),
    ModelMeasurement(SPECS["mlp"]),
    FlatnessMeasurement(seeds("mlp", 2)[0], seeds("mlp", 2)[1]),
    MergeMeasurement(seeds("mlp", 3)),
    MergeMeasurement(seeds("mlp", 3), (0.5, 0.3, 0.2)),
]


@pytest.mark.parametrize("measurement", KINDS, ids=lambda each: type(each).__name__ + each.key[:4])
def test_every_record_is_json_and_has_the_accuracies_of_its_models_in_order(measurement: Measurement) -> None:
    found = measured(measurement)
    assert found["status"] == "measured"
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    expected = [accuracy(spec) for spec in measurement.specs]
    assert found["accuracies"] == expected
    assert len(set(expected)) == len(expected), "the case must tell the order"
    assert measured(measurement) == found, "measured again, it is the same"


def test_swapped_models_swap_their_accuracies() -> None:
    for kind in (PairMeasurement, FlatnessMeasurement):
        a, b = seeds("mlp", 2)
        assert measured(kind(b, a))["accuracies"] == measured(kind(a, b))["accuracies"][::-1]


def test_every_model_needs_its_weights() -> None:
    with pytest.raises(ValueError, match="zip"):
        measure(pair("mlp"), [state_of(SPECS["mlp"])], DIGITS, "cpu")


@pytest.mark.parametrize("measurement", KINDS, ids=lambda each: type(each).__name__ + each.key[:4])
def test_models_that_are_not_finite_are_refused(measurement: Measurement) -> None:
    states = [dict(state_of(spec)) for spec in measurement.specs]
    states[-1]["head.bias"] = torch.full_like(states[-1]["head.bias"], math.nan)
    with pytest.raises(MergeError, match="NaN or infinite"):
        measure(measurement, states, DIGITS, "cpu")


def test_layers_are_measured_on_the_first_images_and_the_path_on_all() -> None:
    later = torch.randint(0, 256, (LAYER_IMAGES + 60, *DIGITS.shape), dtype=torch.uint8)
    images = later.clone()
    images[LAYER_IMAGES:] = 255 - images[LAYER_IMAGES:]
    labels = torch.arange(len(later)) % 10
    one, other = (replace(DIGITS, test_images=each, test_labels=labels) for each in (later, images))
    for measurement, layers, whole in ((pair("mlp"), "layers", "path"), (KINDS[-1], "outputs", "merged")):
        first, second = measured(measurement, one), measured(measurement, other)
        assert first[layers] == second[layers]
        assert first[whole] != second[whole]


class Scaled(nn.Module):
    """A net with tensors that its state dict does not hold: a buffer and an attribute."""

    scale: torch.Tensor

    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.linspace(0.5, 2.0, pixels), persistent=False)
        self.shift = torch.full((classes,), 0.25)
        self.hidden = nn.Linear(pixels, 8)
        self.head = nn.Linear(8, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(torch.relu(self.hidden(images.flatten(1) * self.scale))) + self.shift
        return logits


def scaled(width: float, shape: tuple[int, int, int], classes: int, *, bias: bool) -> nn.Module:
    return Scaled(math.prod(shape), classes)


register_architecture(Architecture(name="scaled", kind="own", build=scaled))


def test_a_net_keeps_what_its_state_dict_does_not_hold() -> None:
    spec = replace(SPECS["mlp"], arch="scaled", depth=3)
    specs = spec, spec.with_seed(1), spec.with_seed(2)
    nets: dict[RunSpec, nn.Module] = {}
    for seed, each in enumerate(specs):
        torch.manual_seed(seed)
        nets[each] = Scaled(64, 10).eval()
    assert "scale" not in nets[spec].state_dict()
    expected = {each: evaluate_logits(logits_of(net, inputs_of()), DIGITS.test_labels) for each, net in nets.items()}
    random_state = torch.get_rng_state()
    kinds: list[Measurement] = [
        PairMeasurement(*specs[:2]),
        ModelMeasurement(spec),
        FlatnessMeasurement(*specs[:2]),
        MergeMeasurement(specs),
    ]
    for measurement in kinds:
        states = [copy.deepcopy(nets[each].state_dict()) for each in measurement.specs]
        found = measure(measurement, states, DIGITS, "cpu")
        assert found["accuracies"] == [expected[each].accuracy for each in measurement.specs]
        if isinstance(measurement, PairMeasurement):
            middle = copy.deepcopy(nets[spec])
            middle.load_state_dict({name: (states[0][name] + states[1][name]) / 2 for name in states[0]})
            logits = logits_of(middle, inputs_of())
            assert found["path"]["points"][1]["loss"] == pytest.approx(
                evaluate_logits(logits, DIGITS.test_labels).loss, rel=1e-5
            )
    assert torch.equal(torch.get_rng_state(), random_state), "measuring draws nothing from the global generator"


# -- Pairs, and what permutations do to them. --


@cache
def permuted_copy(name: str) -> tuple[State, State]:
    """A model and the same function with its units in another order."""
    spec = SPECS[name]
    net = network(spec, state_of(spec))
    reset_bn_stats(net, inputs_of().train_batches(5000))  # so that the merged model's reset changes nothing
    state = copy.deepcopy(net.state_dict())
    found = trace_permutation_spec(net, next(inputs_of().test_batches())[:2])
    return state, permute(state, found, random_permutations(found, seed=7))


@pytest.mark.parametrize("name", ["mlp", "mlp-bn", "vgg"])
def test_matching_undoes_the_permutation_of_a_copy(name: str) -> None:
    states = permuted_copy(name)
    apart = measure(pair(name), states, DIGITS, "cpu")
    assert apart["distance"] > 1
    assert abs(apart["path"]["barriers"]["loss_barrier_midpoint"]) > 0.05, "the copy must need matching"
    found = measure(pair(name, alignment="matching"), states, DIGITS, "cpu")
    assert found["distance"] == pytest.approx(0.0, abs=1e-5)
    assert all(value is None or abs(value) < 1e-4 for value in found["path"]["barriers"].values())
    for relu in found["layers"]["activations"].values():
        assert relu["overlap_ratio"] == 1.0
        assert relu["additivity_cosine"] == pytest.approx(1.0, abs=1e-5)
    for weight in found["layers"]["weights"].values():
        assert weight["commutativity_distance"] == pytest.approx(0.0, abs=1e-6)
        assert weight["orthogonality_ratio"] == pytest.approx(1.0, abs=1e-4)
    assert found["accuracies"] == apart["accuracies"]


@every_net
def test_matching_brings_models_closer_and_keeps_their_functions(name: str) -> None:
    plain, matched = measured(pair(name)), measured(pair(name, alignment="matching"))
    assert matched["distance"] < plain["distance"]
    assert matched["accuracies"] == plain["accuracies"]
    for which in (0, -1):
        assert not differences(matched["path"]["points"][which], plain["path"]["points"][which], rel=1e-4)
    assert not differences(matched["path"]["ensemble"], plain["path"]["ensemble"], rel=1e-4)
    assert matched["path"]["points"][1]["loss"] != pytest.approx(plain["path"]["points"][1]["loss"], rel=1e-3)


@every_net
@pytest.mark.parametrize("alignment", ["matching", "complementary", "reversed", "distance"])
def test_an_alignment_reorders_the_units_of_b_and_leaves_the_logits(name: str, alignment: str) -> None:
    specs = seeds(name, 2)
    a, b = (network(spec, state_of(spec)) for spec in specs)
    before = [logits_of(net, inputs_of()) for net in (a, b)]
    align(alignment, [a, b], trace_permutation_spec(a, inputs_of().examples(2)), specs[1], inputs_of().examples(2))
    for net, spec, logits in zip((a, b), specs, before, strict=True):
        torch.testing.assert_close(logits_of(net, inputs_of()), logits, rtol=1e-4, atol=1e-4)
        assert any(not torch.equal(each, state_of(spec)[key]) for key, each in net.state_dict().items()) == (net is b)


# -- Draws. --


@every_net
def test_a_draw_is_the_pair_with_model_b_permuted_by_hand(name: str) -> None:
    a, b = seeds(name, 2)
    states = [state_of(each) for each in (a, b)]
    found = measured(PairMeasurement(a, b, FULL_PATH, draw=3))
    spec = trace_permutation_spec(network(b, states[1]), inputs_of().examples(2))
    permuted = permute(states[1], spec, random_permutations(spec, draw_seed(a, b, 3)))
    expected = measure(PairMeasurement(a, b, FULL_PATH), [states[0], permuted], DIGITS, "cpu")
    assert not differences(found, expected, rel=1e-4, abs=1e-5)
    plain = measured(PairMeasurement(a, b, FULL_PATH))
    assert found["path"]["points"][0] == plain["path"]["points"][0], "the endpoints' functions are the same"
    assert found["path"]["points"][5]["loss"] != pytest.approx(plain["path"]["points"][5]["loss"], rel=1e-3)
    assert found["path"]["ensemble"] == plain["path"]["ensemble"]


def test_a_draw_without_layers_has_the_same_path() -> None:
    whole, path = (measured(pair("vgg", draw=1, layers=layers)) for layers in (True, False))
    assert path["layers"] == {}
    assert set(whole["layers"]) == set(measured(pair("vgg"))["layers"])
    assert (whole["collapsed"], path["collapsed"]) == ([[], []], None)
    assert not differences(path["path"], whole["path"], rel=1e-9)


def test_draws_differ_by_number_and_by_both_models() -> None:
    a, b, c = seeds("mlp", 3)
    found = [draw_seed(one, other, draw) for one in (a, b, c) for other in (a, b, c) for draw in (1, 2)]
    assert len(set(found)) == 18
    assert draw_seed(a, b, 1, place=2) not in found
    assert draw_seed(replace(a, weight_decay=0.1), b, 1) == draw_seed(a, b, 1), "recipes are compared by one draw"
    assert draw_seed(a, replace(b, data_seed=9), 1) != draw_seed(a, b, 1)
    assert all(0 <= each < 2**60 for each in found)
    distances = [measured(pair("mlp", draw=draw))["distance"] for draw in (1, 2, 3)]
    assert len({round(each, 6) for each in distances}) == 3


def test_a_model_and_its_own_draw_are_a_forecast() -> None:
    spec = SPECS["mlp"]
    found = measured(PairMeasurement(spec, spec, draw=1))
    assert found["distance"] > 1
    assert found["accuracies"][0] == found["accuracies"][1]
    assert found["path"]["barriers"]["loss_barrier_midpoint"] > 0.05
    assert found["path"]["agreement"]["a_b"] == 1.0
    evaluation = measured(ModelMeasurement(spec))["evaluation"]
    assert not differences(found["path"]["ensemble"], evaluation, rel=1e-9), "its own mean is itself"


def test_a_draw_costs_one_merged_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward passes of the digits beyond those of the endpoints; two more images verify each model's permutation."""
    a, b = seeds("vgg", 2)
    rows: list[int] = []

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if type(module).__name__ == "VGG":
            rows.append(len(inputs[0]))

    wanted = [PairMeasurement(a, b, draw=draw, layers=False) for draw in (1, 2, 3, 4)]
    with nn.modules.module.register_module_forward_pre_hook(count):
        passed = []
        for measurement, _ in measure_all(wanted, state_of, DIGITS, "cpu"):
            passed.append((measurement.draw, sum(each for each in rows if each > 4)))  # type: ignore[attr-defined]
            rows.clear()
    train, test = len(DIGITS.train_images), len(DIGITS.test_images)
    assert passed[1:] == [(draw, train + test) for draw in (2, 3, 4)]


def test_a_permutation_that_changes_the_function_is_refused() -> None:
    (spec,) = seeds("mlp", 1)
    net = network(spec, state_of(spec))
    draws = Draws(trace_permutation_spec(net, inputs_of().examples(2)), inputs_of().examples(2))
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(MergeError, match="the state dict lacks"):
        draws.state(other, 1)


def test_a_model_merged_with_itself_is_a_control() -> None:
    spec = SPECS["mlp"]
    found = measured(PairMeasurement(spec, spec))
    assert found["distance"] == 0.0
    midpoints = {key: value for key, value in found["path"]["barriers"].items() if key.endswith("midpoint")}
    assert midpoints == dict.fromkeys(midpoints, pytest.approx(0.0, abs=1e-6))


# -- Models and flatness. --


@every_net
def test_a_models_record_holds_its_evaluation_ranks_and_active_neurons(name: str) -> None:
    spec = SPECS[name]
    net, found = network(spec, state_of(spec)), measured(ModelMeasurement(spec))
    assert set(found) == {"status", "accuracies", "evaluation", "ranks", "activations"}
    expected = asdict(evaluate_logits(logits_of(net, inputs_of()), DIGITS.test_labels))
    assert found["evaluation"] == expected
    assert found["accuracies"] == [expected["accuracy"]]
    weights = {key: each for key, each in net.named_parameters() if each.ndim > 1}
    assert list(found["ranks"].values()) == list(measure_ranks(weights).values())
    assert [f"{layer}.weight" for layer in found["ranks"]] == list(weights)
    assert list(found["activations"]) == [key for key, module in net.named_modules() if isinstance(module, nn.ReLU)]
    for relu in found["activations"].values():
        assert set(relu) == {"active_share", "varying_share", "histogram"}
        assert 0 < relu["varying_share"] <= 1
        assert 0 < relu["active_share"] <= 1
        assert relu["histogram"]["leftmost_share"] <= 1 - relu["active_share"] + 1e-12  # the bin ends at 1/50 < 1/20


@every_net
def test_a_flatness_record_is_a_random_step_as_long_as_the_models_are_apart(name: str) -> None:
    b, a = seeds(name, 2)
    measurement = FlatnessMeasurement(a, b)
    found, plain = measured(measurement), measured(pair(name))
    assert set(found) == {"status", "accuracies", "distance", "seed", "alphas", "points", "activations"}
    assert found["distance"] == pytest.approx(plain["distance"], rel=1e-9)
    assert found["alphas"] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert found["seed"] == 1, "of the model that is perturbed"
    assert not differences(found["points"][0], plain["path"]["points"][0], rel=1e-6)  # model b of the pair is a here
    net = network(measurement.a, state_of(measurement.a))
    parameters = dict(net.named_parameters())
    step = random_direction({key: each.data for key, each in parameters.items()}, found["distance"], seed=1)
    for key, each in parameters.items():
        each.data += step[key]
    reset_bn_stats(net, inputs_of().train_batches(5000))
    moved = asdict(evaluate_logits(logits_of(net, inputs_of()), DIGITS.test_labels))
    assert not differences(found["points"][-1], moved, rel=1e-3, abs=1e-4)
    assert all(set(relu) == {"perturbation_cosine"} for relu in found["activations"].values())
    assert list(found["activations"]) == list(plain["layers"]["activations"])


def test_two_measurements_of_an_aligned_pair_align_and_trace_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured of one matched pair, a path and two merges, has one matching."""
    calls: list[str] = []
    aligning_there = alignments.aligning

    def aligning(alignment: str, *rest: Any) -> Any:
        calls.append(alignment)
        return aligning_there(alignment, *rest)

    def tracing(*given: Any) -> PermutationSpec:
        calls.append("traced")
        return trace_permutation_spec(*given)

    monkeypatch.setattr(alignments, "aligning", aligning)
    monkeypatch.setattr("lmc.measuring.records.trace_permutation_spec", tracing)
    a, b = seeds("mlp", 2)
    asked: list[Measurement] = [PairMeasurement(a, b, alignment="matching")]
    asked += [MergeMeasurement((a, b), (), "matching", rule) for rule in ("mean", "sum")]
    found = dict(measure_all(asked, state_of, DIGITS, "cpu"))
    assert len(found) == 3
    assert sorted(calls) == ["matching", "traced"]
    path, mean = (found[each] for each in asked[:2])
    assert mean["merged"]["loss"] == pytest.approx(path["path"]["points"][1]["loss"], abs=1e-6)
