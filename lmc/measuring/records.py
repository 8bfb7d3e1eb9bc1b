"""Carries measurements out on trained models; each gives a JSON-ready record.

What can be asked for is in `lmc.measuring.measurements`.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lmc.data import Dataset
from lmc.errors import MergeError
from lmc.measuring.draws import Draws, draw_seed
from lmc.measuring.endpoints import Endpoint, Endpoints
from lmc.measuring.families import families_of
from lmc.measuring.flatness import measure_flatness
from lmc.measuring.grams import measure_layer_fit
from lmc.measuring.inputs import HeldInputs
from lmc.measuring.measurements import (
    FlatnessMeasurement,
    LayerFitMeasurement,
    Measurement,
    MergeMeasurement,
    ModelMeasurement,
    PairMeasurement,
    PruneMeasurement,
)
from lmc.measuring.merges import measure_merge
from lmc.measuring.models import measure_model
from lmc.measuring.pairs import distance, measure_pair
from lmc.measuring.pruning import measure_pruning
from lmc.merging.permutation_spec import Permutations, PermutationSpec
from lmc.merging.tracing import trace_permutation_spec
from lmc.nets import build, memory_format_of
from lmc.specs import RunSpec

LAYER_IMAGES = 400
"""Test inputs that layers are measured on; the mean of 400 cosines is known to a few thousandths, far better
than pairs of models agree."""

Load = Callable[[RunSpec], Mapping[str, Tensor]]
"""Gives the weights of a spec."""

_Order = tuple[RunSpec, RunSpec, str]
"""A model, another whose units are brought into the order of its own, and how."""


def measure_all(
    measurements: Sequence[Measurement], load: Load, dataset: Dataset, device: torch.device | str
) -> Iterator[tuple[Measurement, dict[str, Any]]]:
    """Carry out measurements; those of one family (see `lmc.measuring.families.families_of`) share its models.

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

        - pair: ``distance`` ‖θ_a - θ_b‖ over the parameters (after the permutation of b), ``path`` (see
          `lmc.measuring.path_record.path_record`) and ``layers`` (see `lmc.measuring.layers.measure_layers`; on the
          first `LAYER_IMAGES` test inputs; empty where only the path is asked for), and ``collapsed``: of model a and
          of model b, the names of activations no channel of which varies (``None`` without layers; see
          `lmc.measuring.activity.varying`);
        - model: ``evaluation``, ``ranks`` by layer, and ``activations`` (the shares of active and of varying channels,
          and a histogram) by activation;
        - layer fit: see `lmc.measuring.grams.measure_layer_fit`;
        - flatness: see `lmc.measuring.flatness.measure_flatness`;
        - merge: see `lmc.measuring.merges.measure_merge`;
        - pruning: see `lmc.measuring.pruning.measure_pruning`.

    Raises:
        MergeError: a model's logits are not finite, or weight matching cannot trace the architecture.
    """
    given = dict(zip(measurement.specs, states, strict=True))
    return _Job(measurement, given.__getitem__, dataset, device).measure(measurement)


class _Job:
    """Measures a family: models of one recipe.

    Args:
        example: one of the measurements.
        load: gives the weights of a spec.
        dataset: the specs' dataset.
        device: where to compute.
    """

    def __init__(self, example: Measurement, load: Load, dataset: Dataset, device: torch.device | str) -> None:
        self.recipe, self.load, self.device = example.specs[0], load, device
        self.dataset = dataset.restricted(self.recipe.classes)
        self.inputs = HeldInputs.of(self.dataset, self.recipe.train_size, device)
        self.models = Endpoints(self._model, self.inputs)
        self._aligned: dict[_Order, Endpoint] = {}
        self._orders: dict[_Order, Permutations] = {}  # they are small, and weight matching takes long

    @torch.no_grad()
    def measure(self, measurement: Measurement) -> dict[str, Any]:
        """See `lmc.measuring.records.measure`."""
        found: dict[str, Any]
        match measurement:
            case ModelMeasurement():
                found = measure_model(self.models[measurement.spec], self.inputs)
            case PairMeasurement():
                a, b = self.models[measurement.a], self._second(measurement)
                layer_images = LAYER_IMAGES if measurement.layers else None
                found = measure_pair(a, b, self.spare, measurement.lams, self.inputs, layer_images)
            case FlatnessMeasurement():
                found = self._flatness(measurement)
            case MergeMeasurement():
                models, rule, bn = self._merged(measurement), measurement.rule, measurement.bn
                weights, limit = measurement.weights, LAYER_IMAGES if measurement.layers else 0
                spec = self._spec if rule == "transplant" else None
                found = measure_merge(models, self.spare, weights, self.inputs, limit, rule=rule, bn=bn, spec=spec)
            case PruneMeasurement():
                model = self.models[measurement.spec]
                found = measure_pruning(model, self.spare, measurement.keeps, self.inputs, self._spec)
            case LayerFitMeasurement():
                a, b, c = (self._in_order(measurement.a, spec, measurement.alignment) for spec in measurement.specs)
                found = measure_layer_fit([a, b, c], self.spare, measurement.lam, self.inputs, LAYER_IMAGES)
            case _:
                raise NotImplementedError(f"{measurement.describe()} is not measured")
        return {"status": "measured", **found}

    def make_room(self, now: Measurement, later: Sequence[Measurement]) -> None:
        """Let go of models that these do not need, or that do not fit."""
        self.models.make_room(now.specs, {spec for each in later for spec in each.specs})
        wanted = {which for each in (now, *later[:1]) for which in _orders(each)}
        self._aligned = {which: each for which, each in self._aligned.items() if which in wanted}

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
        return self._network(state)

    @functools.cached_property
    def _spec(self) -> PermutationSpec:
        """What can be permuted, traced once for all models."""
        return trace_permutation_spec(self.spare, self.inputs.examples(2))

    @functools.cached_property
    def _draws(self) -> Draws:
        return Draws(self._spec, self.inputs.examples(2))

    def _second(self, measurement: PairMeasurement) -> Endpoint:
        """Model b, its units in the order that is asked for."""
        b = self.models[measurement.b]
        if measurement.draw:
            seed = draw_seed(measurement.a, measurement.b, measurement.draw)
            return b.reordered(self._network(self._draws.state(b.network, seed)))
        return self._in_order(measurement.a, measurement.b, measurement.alignment)

    def _in_order(self, a: RunSpec, b: RunSpec, alignment: str) -> Endpoint:
        """Model b, aligned to a."""
        if alignment == "unpermuted" or (a == b and alignment == "matching"):
            return self.models[b]
        if (a, b, alignment) not in self._aligned:
            from lmc.measuring.alignments import aligning, reorder

            states = [self.models[each].network.state_dict() for each in (a, b)]
            if (a, b, alignment) not in self._orders:
                (self._orders[a, b, alignment],) = aligning(alignment, self._spec, states)
            network = self._network(states[1])
            reorder(network, self._orders[a, b, alignment], self._spec, b, self.inputs.examples(2))
            self._aligned[a, b, alignment] = self.models[b].reordered(network)
        return self._aligned[a, b, alignment]

    def _merged(self, measurement: MergeMeasurement) -> list[Endpoint]:
        """The models, those after the first with their units in the order that is asked for."""
        first, *others = models = [self.models[spec] for spec in measurement.specs]
        if measurement.draw:
            seeds = [
                draw_seed(measurement.specs[0], spec, measurement.draw, place)
                for place, spec in enumerate(measurement.specs[1:], start=1)
            ]
            states = [self._draws.state(each.network, seed) for each, seed in zip(others, seeds, strict=True)]
            networks = [self._network(state) for state in states]
        elif measurement.alignment == "unpermuted":
            return models
        elif len(models) == 2 and measurement.dose == 1:
            a, b = measurement.specs
            return [first, self._in_order(a, b, measurement.alignment)]
        else:
            from lmc.measuring.alignments import align

            networks = [self._network(each.network.state_dict()) for each in others]
            seed, example = draw_seed(measurement.specs[0], measurement.specs[1], 0), self.inputs.examples(2)
            of_all, dose = [first.network, *networks], measurement.dose
            align(measurement.alignment, of_all, self._spec, self.recipe, example, dose=dose, seed=seed)
        return [first, *(each.reordered(network) for each, network in zip(others, networks, strict=True))]

    def _flatness(self, measurement: FlatnessMeasurement) -> dict[str, Any]:
        a, b = (self.models[spec] for spec in measurement.specs)
        length = distance(a.network, b.network)
        if not math.isfinite(length):
            raise MergeError("a weight of the two models is NaN or infinite; train them again")
        state, seed = a.network.state_dict(), measurement.a.init_seed
        found = measure_flatness(self.spare, state, length, measurement.alphas, self.inputs, seed)
        return {"accuracies": [found["points"][0]["accuracy"], b.judged().evaluation.accuracy], **found}


def _orders(measurement: Measurement) -> list[_Order]:
    """What is aligned for a measurement."""
    alignment = getattr(measurement, "alignment", "unpermuted")
    first, *others = measurement.specs
    return [] if alignment == "unpermuted" else [(first, spec, alignment) for spec in others]
