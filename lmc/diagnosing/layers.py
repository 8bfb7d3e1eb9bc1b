"""LEWC and its conditions for every layer of any network, at equal weights (Def. 4.1, 5.1, 5.2; App. C)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lmc.diagnosing.models import normalises
from lmc.diagnosing.samples import first_inputs
from lmc.errors import MergeError
from lmc.measuring import conditions
from lmc.measuring.activity import Moments, compare_activity
from lmc.measuring.evaluation import Inputs
from lmc.measuring.layers import OUTPUT, RowMean
from lmc.measuring.ranks import effective_rank_from, stable_rank_from
from lmc.measuring.tapping import RELU, ActivationCall, LayerCall, Tapped, tapping, unseen_weights
from lmc.theory import GAUSSIAN_NULL

HELD_BYTES = 2**28
"""Activations held at once, of all models together, unless one input has more."""

Sums = dict[tuple[str, str, str], RowMean]
Records = dict[str, dict[str, dict[str, Any]]]


@torch.no_grad()
def measure_layers(
    models: Sequence[nn.Module], merged: nn.Module, samples: Inputs, count: int
) -> tuple[Records, list[str]]:
    """Every layer-wise quantity that is defined, averaged over the first ``count`` inputs.

    Args:
        models: k >= 2, in evaluation mode.
        merged: their average with weights 1/k, BatchNorm statistics reset.
        samples: the test inputs.
        count: inputs, at most.

    Returns:
        ``outputs``: for each activation's output in order, then the logits: ``lewc_cosine`` (Fig. 3),
        ``lewc_norm_ratio`` (of f_ℓ(merged) and Σ λ_i^ℓ f_ℓ(θ_i)), ``llfc_norm_ratio`` (App. C), ``endpoint_cosine``.
        Two models also give ``activations``: ``function``, ``additivity_cosine`` (Fig. 4) with the net's own function
        and ``additivity_null`` (Thm. 5.4), ``active_share``, ``overlap_ratio``, ``overlap_chance`` (Fig. 6); and
        ``weights``: ``orthogonality_ratio`` (Fig. 7), ``recovery_cosine`` (Fig. 8), ``commutativity_distance``,
        ``relative_commutativity`` (Fig. 11). ``None`` where undefined. Besides, remarks on what is undefined and why.

    Raises:
        MergeError: the models run different layers on the same inputs.
    """
    networks = [*models, merged]
    size, notes = _probe(merged, samples, len(networks))
    pair = len(models) == 2
    sums: Sums = defaultdict(RowMean)
    distances: dict[str, conditions.CommutativityDistance] = defaultdict(conditions.CommutativityDistance)
    activity = (Moments(), Moments())
    kinds: dict[str, str] = {}
    plain = True
    for batch in first_inputs(samples, count, size):
        taps, logits = [], []
        for network in networks:
            with tapping(network) as tapped:
                logits.append(network(batch.clone()))
            taps.append(tapped)
        _check_alike(taps)
        *each, of_merged = taps
        plain = not normalises(merged) and len(of_merged.layers) == len(of_merged.activations) + 1
        for depth, name in enumerate([*of_merged.activations, OUTPUT], start=1):
            values = logits if name == OUTPUT else [tapped.activations[name].after for tapped in taps]
            _add_output(sums, name, values, depth if plain else None)
        kinds = {name: call.kind for name, call in of_merged.activations.items()}
        if pair:
            for name, call in of_merged.activations.items():
                _add_activation(sums, name, call, *(tapped.activations[name] for tapped in each))
            for name in of_merged.layers:
                _add_weight(sums, distances[name], name, *(tapped.layers[name] for tapped in taps))
            for moments, tapped in zip(activity, each, strict=True):
                moments.add({name: call.before.movedim(call.channels, 1) for name, call in tapped.activations.items()})
    records = _collected(sums, kinds)
    if pair:
        for name, distance in distances.items():
            records["weights"][name]["commutativity_distance"] = distance.value
            records["weights"][name]["relative_commutativity"] = distance.relative
        of_a, of_b = activity[0].roots(), activity[1].roots()
        for name, moments_a in of_a.items():
            records["activations"][name] |= compare_activity(moments_a, of_b[name])
    return records, notes + _remarks(kinds, plain, pair)


def weight_ranks(models: Sequence[nn.Module], samples: Inputs) -> dict[str, dict[str, list[float]]]:
    """Stable and effective rank of every layer's weight in every model (§5.4), over min(rows, columns) too.

    The singular values are the roots of the eigenvalues of W Wᵀ or Wᵀ W, the smaller of the two: many times faster
    than decomposing W, and exact to 1e-8 of the largest, which no rank here can tell.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for model in models:
        with torch.no_grad(), tapping(model) as tapped:
            model(samples.test[:2].clone())
        for name, call in tapped.layers.items():
            if "#" in name:
                continue  # the same weight again
            matrix = call.weight.detach().flatten(1).double()
            matrix = matrix / (matrix.abs().amax() or 1.0)
            gram = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
            values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().flip(0)
            ranks = {"stable_rank": stable_rank_from(values), "effective_rank": effective_rank_from(values)}
            ranks |= {f"relative_{kind}": value / len(values) for kind, value in ranks.items()}
            for kind, value in ranks.items():
                found.setdefault(name, {}).setdefault(kind, []).append(value)
    return found


def _probe(model: nn.Module, samples: Inputs, networks: int) -> tuple[int, list[str]]:
    """Inputs per batch so that `HELD_BYTES` suffice, and remarks on what cannot be caught."""
    batch = samples.test[:2].clone()
    with tapping(model) as tapped:
        model(batch)
    notes = []
    unseen = unseen_weights(model, tapped)
    if unseen:
        names = ", ".join(unseen[:4]) + (", ..." if len(unseen) > 4 else "")
        notes.append(f"layer quantities leave out {names}: not applied as the matrix of a linear layer or convolution")
    if not tapped.layers:
        notes.append("no linear layer or convolution was seen to run (scripted or custom code?): no layer quantities")
    if not tapped.activations:
        notes.append("no activation function was seen to run: weak additivity and active neurons are undefined")
    per_input = max(1, networks * tapped.bytes // len(batch))
    return max(1, min(samples.batch, HELD_BYTES // per_input)), notes


def _check_alike(taps: Sequence[Tapped]) -> None:
    first = taps[0]
    for other in taps[1:]:
        for mine, theirs in ((first.layers, other.layers), (first.activations, other.activations)):
            if list(mine) != list(theirs):
                odd = sorted(set(mine) ^ set(theirs))[:3] or list(mine)[:3]
                raise MergeError(
                    f"the models run different layers on the same inputs ({', '.join(odd)}); "
                    "a net whose control flow depends on its values cannot be compared layer by layer"
                )


def _add_output(sums: Sums, name: str, values: Sequence[Tensor], depth: int | None) -> None:
    """Add what the models and, last, their average give at one layer."""
    *each, merged = values
    lam = 1 / len(each)
    total = sum(each[1:], start=each[0])
    sums["outputs", name, "lewc_cosine"].add(conditions.cosine(merged, total))
    sums["outputs", name, "llfc_norm_ratio"].add(_norm_ratio(merged, lam * total))
    if depth is not None:
        sums["outputs", name, "lewc_norm_ratio"].add(_norm_ratio(merged, lam**depth * total))
    for index, one in enumerate(each):
        for other in each[index + 1 :]:
            sums["outputs", name, "endpoint_cosine"].add(conditions.cosine(one, other))


def _norm_ratio(merged: Tensor, target: Tensor) -> Tensor:
    return conditions.llfc_norm_ratio(merged, target, target)


def _add_activation(sums: Sums, name: str, merged: ActivationCall, a: ActivationCall, b: ActivationCall) -> None:
    average = merged.sigma((a.before + b.before) / 2)
    sums["activations", name, "additivity_cosine"].add(conditions.cosine(average, a.after + b.after))


def _add_weight(
    sums: Sums, distance: conditions.CommutativityDistance, name: str, a: LayerCall, b: LayerCall, merged: LayerCall
) -> None:
    foreign_a, foreign_b = b.respond(a.inputs), a.respond(b.inputs)
    for foreign, call in ((foreign_a, a), (foreign_b, b)):
        sums["weights", name, "orthogonality_ratio"].add(conditions.orthogonality_ratio(foreign, call.response))
        recovered = conditions.recovery_cosine(call.respond(merged.inputs), call.response)
        sums["weights", name, "recovery_cosine"].add(recovered)
    distance.add(foreign_b, foreign_a)


def _collected(sums: Sums, kinds: Mapping[str, str]) -> Records:
    records: Records = {"outputs": {}, "activations": {}, "weights": {}}
    for (group, name, quantity), mean in sums.items():
        records[group].setdefault(name, {})[quantity] = mean.value
    for name, record in records["activations"].items():
        record["function"] = kinds[name]
        record["additivity_null"] = GAUSSIAN_NULL if kinds[name] == RELU else None
    for record in records["outputs"].values():
        record.setdefault("lewc_norm_ratio", None)
    return records


def _remarks(kinds: Mapping[str, str], plain: bool, pair: bool) -> list[str]:
    notes = []
    others = sorted(set(kinds.values()) - {RELU})
    if others and pair:
        notes.append(
            f"weak additivity of {', '.join(others)} has no null level: 0.93 of Thm. 5.4 is a ReLU's, "
            "whose cosine does not depend on the scale"
        )
    if not plain:
        notes.append(
            "the scale λ^ℓ of the law is not judged, only the direction: it needs a plain chain of layers without "
            "normalisation, residual branches or attention"
        )
    if not pair:
        notes.append("additivity, orthogonality, recovery and commutativity are defined for two models; compare pairs")
    return notes


def mean_of(records: Mapping[str, Mapping[str, Any]], quantity: str, *, skip_first: bool = False) -> float | None:
    """Mean of a quantity over layers, those where it is undefined left out."""
    values = [record.get(quantity) for record in list(records.values())[int(skip_first) :]]
    found = [value for value in values if value is not None and math.isfinite(value)]
    return sum(found) / len(found) if found else None
