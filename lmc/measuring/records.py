"""Carries measurements out on trained models; each gives a JSON-ready record.

What can be asked for is in `lmc.measuring.measurements`.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from lmc.data import Dataset
from lmc.errors import MergeError
from lmc.measuring.activity import Moments, active, active_share, histogram
from lmc.measuring.endpoints import Endpoint, Endpoints, compare
from lmc.measuring.evaluation import evaluate_logits
from lmc.measuring.flatness import measure_flatness
from lmc.measuring.inputs import HeldInputs, Inputs
from lmc.measuring.measurements import (
    FlatnessMeasurement,
    Measurement,
    MergeMeasurement,
    ModelMeasurement,
    PairMeasurement,
    families_of,
)
from lmc.measuring.merges import measure_merge
from lmc.measuring.paths import BN_IMAGES, load_interpolated, measure_path
from lmc.measuring.ranks import measure_ranks
from lmc.measuring.tapping import Seeing
from lmc.merging import reset_bn_stats
from lmc.nets import build, memory_format_of
from lmc.specs import RunSpec

LAYER_IMAGES = 400
"""Test inputs that layers are measured on; the mean of 400 cosines is known to a few thousandths, far better
than pairs of models agree."""

_AT_ONCE = 2**22
"""Weights whose squares are held in float64 at once."""

Load = Callable[[RunSpec], Mapping[str, Tensor]]
"""Gives the weights of a spec."""


def measure_all(
    measurements: Sequence[Measurement], load: Load, dataset: Dataset, device: torch.device | str
) -> Iterator[tuple[Measurement, dict[str, Any]]]:
    """Carry out measurements; those of one family (see `lmc.measuring.measurements.families_of`) share its models.

    Every model is loaded and evaluated once, as long as the family's weights and activations fit into
    `lmc.measuring.endpoints.MODEL_BYTES` and ``SEEN_BYTES``. Of wider models no more are held than one measurement
    needs.

    Args:
        measurements: what to measure, of models trained on ``dataset``.
        load: gives the weights of a spec.
        dataset: the specs' dataset.
        device: where to compute.

    Yields:
        Each measurement with its record (see `measure`) as soon as it is done, in any order. The record of one that
        raises ``MergeError`` is its message, under ``status``.
    """
    for family in families_of(measurements):
        places = {spec: place for place, spec in enumerate(spec for each in family for spec in each.specs)}
        ordered = sorted(family, key=lambda each: [places[spec] for spec in each.specs])
        job = _Job(ordered[0], load, dataset, device)
        for index, measurement in enumerate(ordered):
            job.make_room(measurement, ordered[index + 1 :])
            try:
                yield measurement, job.measure(measurement)
            except MergeError as error:
                yield measurement, {"status": str(error)}


def measure(
    measurement: Measurement, states: Iterable[Mapping[str, Tensor]], dataset: Dataset, device: torch.device | str
) -> dict[str, Any]:
    """Carry out one measurement.

    Args:
        measurement: what to measure.
        states: the weights of its specs, in their order.
        dataset: the specs' dataset.
        device: where to compute.

    Returns:
        A JSON-ready record, ``status`` (``"measured"``), ``accuracies`` of the models on the test set, and by kind

        - pair: ``distance`` ‖θ_a - θ_b‖ over the parameters (after alignment), ``path`` (see
          `lmc.measuring.paths.measure_path`) and ``layers`` (see `lmc.measuring.layers.measure_layers`; on the first
          `LAYER_IMAGES` test inputs; none where permuted at random);
        - model: ``evaluation``, ``ranks`` by layer, and ``activations`` (active share and histogram) by activation;
        - flatness: see `lmc.measuring.flatness.measure_flatness`;
        - merge: see `lmc.measuring.merges.measure_merge`.

    Raises:
        MergeError: a model's logits are not finite, or weight matching cannot trace the architecture.
    """
    given = dict(zip(measurement.specs, states, strict=True))
    return _Job(measurement, given.__getitem__, dataset, device).measure(measurement)


class _Job:
    """Measures a family: models of one recipe, all in one kind of measurement.

    Args:
        example: one of the measurements.
        load: gives the weights of a spec.
        dataset: the specs' dataset.
        device: where to compute.
    """

    def __init__(self, example: Measurement, load: Load, dataset: Dataset, device: torch.device | str) -> None:
        self.recipe, self.load, self.device = example.specs[0], load, device
        self.dataset = dataset.restricted(self.recipe.classes)
        self.random = isinstance(example, PairMeasurement) and example.alignment == "random"
        self.inputs = HeldInputs.of(self.dataset, self.recipe.train_size, device)
        self.models = Endpoints(self._model, self.inputs)

    @torch.no_grad()
    def measure(self, measurement: Measurement) -> dict[str, Any]:
        """See `lmc.measuring.records.measure`."""
        if isinstance(measurement, ModelMeasurement):
            found = _model(self.models[measurement.spec].network, self.inputs)
        elif isinstance(measurement, PairMeasurement):
            found = self._pair(measurement)
        elif isinstance(measurement, FlatnessMeasurement):
            found = self._flatness(measurement)
        else:
            assert isinstance(measurement, MergeMeasurement)
            models = [self.models[spec] for spec in measurement.specs]
            found = measure_merge(models, self.spare, measurement.weights, self.inputs, LAYER_IMAGES)
        return {"status": "measured", **found}

    def make_room(self, now: Measurement, later: Sequence[Measurement]) -> None:
        """Let go of models that these do not need, or that do not fit."""
        self.models.make_room(now.specs, {spec for each in later for spec in each.specs})

    @functools.cached_property
    def spare(self) -> nn.Module:
        """A network to be overwritten; the only one that is built, so that it has what no state dict holds."""
        recipe, dataset = self.recipe, self.dataset
        classes = len(dataset.classes)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            network = build(recipe.arch, recipe.width, dataset.shape, classes, bias=recipe.bias, depth=recipe.depth)
        return network.to(self.device).to(memory_format=memory_format_of(recipe.arch)).eval()

    def _network(self, state: Mapping[str, Tensor]) -> nn.Module:
        """A copy of `spare` that takes the tensors of ``state`` for its own.

        The copy shares the weights of `spare` until it gets those of ``state``, so at no time is a wide net held
        twice: a job's peak is `spare` and one network for every model in hand.
        """
        shared = {id(tensor): tensor for tensor in self.spare.state_dict(keep_vars=True).values()}
        network = copy.deepcopy(self.spare, shared)
        network.load_state_dict(state, assign=True)
        return network.to(self.device).to(memory_format=memory_format_of(self.recipe.arch)).eval()

    def _model(self, spec: RunSpec) -> nn.Module:
        with torch.enable_grad():  # a model that was lost may be trained again
            state = self.load(spec)
        network = self._network(state)
        if self.random:
            from lmc.measuring.alignments import permute_at_random

            permute_at_random(network, spec, self.inputs.examples(2))
        return network

    def _matched(self, a: nn.Module, b: nn.Module, run: RunSpec) -> Endpoint:
        from lmc.measuring.alignments import match

        network = self._network(b.state_dict())
        match(a, network, run, self.inputs.examples(2))
        return Endpoint(network, self.inputs)

    def _pair(self, measurement: PairMeasurement) -> dict[str, Any]:
        a, b = (self.models[spec] for spec in measurement.specs)
        if measurement.alignment == "matching":
            b = self._matched(a.network, b.network, measurement.b)
        state_a, state_b = a.network.state_dict(), b.network.state_dict()
        layers: dict[str, Any] = {}
        known: dict[float, Tensor] = {}
        if not self.random:
            load_interpolated(self.spare, state_a, state_b, 0.5)
            reset_bn_stats(self.spare, self.inputs.train_batches(BN_IMAGES))
            layers, known[0.5] = compare([a, b], self.spare, (0.5, 0.5), self.inputs, LAYER_IMAGES)
        known |= {0.0: b.logits(), 1.0: a.logits()}
        path = measure_path(self.spare, state_a, state_b, measurement.lams, self.inputs, known)
        return {
            "accuracies": [path["points"][-1]["accuracy"], path["points"][0]["accuracy"]],
            "distance": distance(a.network, b.network),
            "path": path,
            "layers": layers,
        }

    def _flatness(self, measurement: FlatnessMeasurement) -> dict[str, Any]:
        a, b = (self.models[spec] for spec in measurement.specs)
        length = distance(a.network, b.network)
        if not math.isfinite(length):
            raise MergeError("a weight of the two models is NaN or infinite; train them again")
        state, seed = a.network.state_dict(), measurement.a.init_seed
        found = measure_flatness(self.spare, state, length, measurement.alphas, self.inputs, seed)
        accuracy_b = evaluate_logits(b.logits(), self.inputs.labels).accuracy
        return {"accuracies": [found["points"][0]["accuracy"], accuracy_b], **found}


def _model(model: nn.Module, inputs: Inputs) -> dict[str, Any]:
    moments, logits, weights = Moments(), [], {}
    seeing = Seeing(model)
    for batch in inputs.test_batches():
        seen = seeing(batch)
        logits.append(seen.output)
        moments.add(seen.tapped.activations)
        weights = seen.tapped.weights
    evaluation = evaluate_logits(torch.cat(logits), inputs.labels)
    activations = {
        name: {"active_share": active_share(active(each)), "histogram": histogram(each)}
        for name, each in moments.roots().items()
    }
    return {
        "accuracies": [evaluation.accuracy],
        "evaluation": asdict(evaluation),
        "ranks": measure_ranks(weights),
        "activations": activations,
    }


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
