"""How each measurement is carried out on trained models; every record is JSON-ready."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lmc.data import Dataset
from lmc.errors import MergeError
from lmc.measuring.activity import active, active_share, histogram, root_second_moments
from lmc.measuring.evaluation import Inputs, evaluate_logits, logits_of
from lmc.measuring.flatness import measure_flatness
from lmc.measuring.layers import measure_layers_and_logits
from lmc.measuring.measurements import (
    MATCHING_STARTS,
    FlatnessMeasurement,
    Measurement,
    MergeMeasurement,
    ModelMeasurement,
    PairMeasurement,
)
from lmc.measuring.merges import measure_merge
from lmc.measuring.paths import BN_IMAGES, load_interpolated, measure_path
from lmc.measuring.ranks import measure_ranks
from lmc.merging import reset_bn_stats
from lmc.nets import build, memory_format_of
from lmc.specs import RunSpec

if TYPE_CHECKING:
    from lmc.merging.permutation_spec import Permutations, PermutationSpec

LAYER_IMAGES = 400
"""Test inputs that layers are measured on; the mean of 400 cosines is known to a few thousandths, far better
than pairs of models agree."""

_AT_ONCE = 2**22
"""Weights whose squares are held in float64 at once."""

States = Iterable[Mapping[str, Tensor]]


def measure(measurement: Measurement, states: States, dataset: Dataset, device: torch.device | str) -> dict[str, Any]:
    """Carry out ``measurement``.

    Args:
        measurement: what to measure.
        states: the weights of its specs, in their order; each is read once.
        dataset: the specs' dataset.
        device: where to compute.

    Returns:
        A JSON-ready record, ``status`` (``"measured"``), ``accuracies`` of the models on the test set, and by kind

        - pair: ``distance`` ‖θ_a - θ_b‖ over the parameters (after alignment), ``path`` (see
          `lmc.measuring.paths.measure_path`) and ``layers`` (see `lmc.measuring.layers.measure_layers`; on the first
          `LAYER_IMAGES` test inputs; none where permuted at random);
        - model: ``evaluation``, ``ranks`` by layer, and ``relus`` (active share and histogram) by ReLU;
        - flatness: see `lmc.measuring.flatness.measure_flatness`;
        - merge: see `lmc.measuring.merges.measure_merge`.

    Raises:
        MergeError: a model's logits are not finite, or weight matching cannot trace the architecture.
    """
    inputs = Inputs.of(dataset, measurement.specs[0].train_size, device)
    pairs = zip(measurement.specs, states, strict=True)
    models = [_network(spec, dataset, device, state) for spec, state in pairs]
    if isinstance(measurement, ModelMeasurement):
        return _model(models[0], inputs)
    spare = _network(measurement.specs[0], dataset, device)
    if isinstance(measurement, PairMeasurement):
        return _pair(measurement, models[0], models[1], spare, inputs)
    if isinstance(measurement, FlatnessMeasurement):
        return _flatness(measurement, models[0], models[1], spare, inputs)
    assert isinstance(measurement, MergeMeasurement)
    found = measure_merge(models, spare, measurement.weights, inputs, LAYER_IMAGES)
    return {"status": "measured", **found}


def measure_all(
    measurements: Sequence[Measurement],
    load: Callable[[RunSpec], Mapping[str, Tensor]],
    dataset: Dataset,
    device: torch.device | str,
) -> Iterator[tuple[Measurement, dict[str, Any]]]:
    """Carry out measurements that share models, see `lmc.measuring.measurements.families_of`.

    Args:
        measurements: what to measure, of models trained on ``dataset``.
        load: gives the weights of a spec.
        dataset: the specs' dataset.
        device: where to compute.

    Yields:
        Each measurement with its record (see `measure`) as soon as it is done, in any order. A record of one that
        raises `MergeError` is its message, under ``status``.
    """
    for measurement in measurements:
        try:
            yield measurement, measure(measurement, map(load, measurement.specs), dataset, device)
        except MergeError as error:
            yield measurement, {"status": str(error)}


@torch.no_grad()
def _pair(
    measurement: PairMeasurement, a: nn.Module, b: nn.Module, merged: nn.Module, inputs: Inputs
) -> dict[str, Any]:
    align(measurement, a, b, inputs)
    state_a, state_b = a.state_dict(), b.state_dict()
    known: dict[float, Tensor] = {}
    layers: dict[str, Any] = {}
    if measurement.alignment != "random":
        load_interpolated(merged, state_a, state_b, 0.5)
        reset_bn_stats(merged, inputs.train_batches(BN_IMAGES))
        layers, logits = measure_layers_and_logits(a, b, merged, inputs, LAYER_IMAGES)
        known = {0.0: logits["b"], 0.5: logits["m"], 1.0: logits["a"]}
    path = measure_path(merged, state_a, state_b, measurement.lams, inputs, known)
    points = path["points"]
    return {
        "status": "measured",
        "accuracies": [points[-1]["accuracy"], points[0]["accuracy"]],
        "distance": distance(a, b),
        "path": path,
        "layers": layers,
    }


def align(measurement: PairMeasurement, a: nn.Module, b: nn.Module, inputs: Inputs) -> None:
    """Permute the models in place as the measurement's alignment says; their functions stay.

    Raises:
        MergeError: the architecture cannot be traced, or a permutation would change the function.
    """
    if measurement.alignment == "unpermuted":
        return
    from lmc.merging.permutation_spec import random_permutations
    from lmc.merging.tracing import trace_permutation_spec
    from lmc.merging.weight_matching import weight_matching

    example = next(inputs.test_batches())[:2]
    spec = trace_permutation_spec(a, example)
    if measurement.alignment == "matching":
        found = weight_matching(spec, a.state_dict(), b.state_dict(), restarts=MATCHING_STARTS)
        _reorder(b, spec, found.permutations, measurement.b, example)
        return
    for model, run in zip((a, b), measurement.specs, strict=True):
        permutations = random_permutations(spec, run.init_seed)
        _reorder(model, spec, permutations, run, example)


def _reorder(
    model: nn.Module, spec: PermutationSpec, permutations: Permutations, run: RunSpec, example: Tensor
) -> None:
    from lmc.merging.permutation_spec import permute, verify

    verify(model, model.state_dict(), spec, permutations, example)
    model.load_state_dict(permute(model.state_dict(), spec, permutations), assign=True)
    model.to(memory_format=memory_format_of(run.arch))


def distance(a: nn.Module, b: nn.Module) -> float:
    """‖θ_a - θ_b‖ over the parameters."""
    squares = [
        (one - other).double().square().sum()
        for pair in zip(a.parameters(), b.parameters(), strict=True)
        for one, other in zip(*map(_in_parts, pair), strict=True)
    ]
    return math.sqrt(float(sum(squares)))


def _in_parts(tensor: Tensor) -> tuple[Tensor, ...]:
    return torch.split(tensor.detach(), max(1, _AT_ONCE * len(tensor) // tensor.numel()))


def _flatness(
    measurement: FlatnessMeasurement, a: nn.Module, b: nn.Module, spare: nn.Module, inputs: Inputs
) -> dict[str, Any]:
    length = distance(a, b)
    if not math.isfinite(length):
        raise MergeError("a weight of the two models is NaN or infinite; train them again")
    found = measure_flatness(spare, a.state_dict(), length, measurement.alphas, inputs, measurement.a.init_seed)
    accuracy_b = evaluate_logits(logits_of(b, inputs), inputs.labels).accuracy
    return {"status": "measured", "accuracies": [found["points"][0]["accuracy"], accuracy_b], **found}


def _model(model: nn.Module, inputs: Inputs) -> dict[str, Any]:
    evaluation = evaluate_logits(logits_of(model, inputs), inputs.labels)
    relus = {
        name: {"active_share": active_share(active(moments)), "histogram": histogram(moments)}
        for name, moments in root_second_moments(model, inputs).items()
    }
    return {
        "status": "measured",
        "accuracies": [evaluation.accuracy],
        "evaluation": asdict(evaluation),
        "ranks": measure_ranks(model),
        "relus": relus,
    }


def _network(
    spec: RunSpec, dataset: Dataset, device: torch.device | str, state: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """The network of ``spec``; the tensors of ``state`` become its own, so that a wide net is not held twice."""
    with torch.device("cpu" if state is None else "meta"):
        network = build(spec.arch, spec.width, dataset.shape, len(dataset.classes), bias=spec.bias, depth=spec.depth)
    if state is not None:
        network.load_state_dict(state, assign=True)
    return network.to(device).to(memory_format=memory_format_of(spec.arch)).eval()
