"""LEWC and its conditions for every layer of k models and their average, in one pass (Def. 4.1, 5.1, 5.2; App. C)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from lmc.errors import MergeError
from lmc.measuring import conditions
from lmc.measuring.activity import Moments, compare_activity
from lmc.measuring.calls import LayerCall, Seen, Tapped
from lmc.measuring.inputs import Inputs, first_batches
from lmc.measuring.tapping import RELU, Seeing, tapping, unseen_weights
from lmc.theory import GAUSSIAN_NULL

OUTPUT = "logits"

HELD_BYTES = 2**28
"""Activations held at once, of all models together, unless one input has more."""

_RESCALING = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")

Records = dict[str, dict[str, dict[str, Any]]]
"""By group (``outputs``, ``activations``, ``weights``), layer and quantity; see `measure_layers`."""


@torch.no_grad()
def measure_layers(
    models: Sequence[nn.Module], merged: nn.Module, inputs: Inputs, count: int | None = None
) -> tuple[Records, list[str]]:
    """Every layer-wise quantity of the paper at equal weights, averaged over the first ``count`` inputs.

    The inputs are streamed: no more activations are held than `HELD_BYTES`.

    Args:
        models: k >= 2, in evaluation mode with their own BatchNorm statistics; they may work in place.
        merged: their average with weights 1/k, its BatchNorm statistics reset.
        inputs: the test inputs.
        count: ``None`` for all.

    Returns:
        ``outputs``: for each activation's output in order, then the logits: ``lewc_cosine`` (Fig. 3),
        ``lewc_norm_ratio`` (of f_ℓ(merged) and Σ λ_i^ℓ f_ℓ(θ_i); for plain chains alone, see
        `lmc.measuring.calls.Seen.is_chain`), ``llfc_norm_ratio`` (App. C), ``endpoint_cosine`` (Fig. 14, the mean over
        pairs of models), ``norm_merged`` and ``norm_endpoints`` (Fig. 20).
        Two models also give ``activations``: ``function``, ``additivity_cosine`` (Fig. 4) with the net's own function
        and ``additivity_null`` (Thm. 5.4), ``active_share``, ``overlap_ratio`` and ``overlap_chance`` (Fig. 6, 22; see
        `lmc.measuring.activity.compare_activity`); and
        ``weights``: for each linear layer or convolution: ``orthogonality_ratio`` (Fig. 7, the mean of both
        directions), ``recovery_cosine`` (Fig. 8, of both models), ``commutativity_distance`` and
        ``relative_commutativity`` (Fig. 11; see `lmc.measuring.conditions.CommutativityDistance`).
        ``None`` where a quantity is undefined for every input (dead layers), or for the net. Besides, remarks on what
        is undefined and why.

    Raises:
        MergeError: the models run different layers on the same inputs.
    """
    networks = [*models, merged]
    size, notes = _probe(merged, inputs.examples(2), len(networks))
    means = LayerMeans(merged, [1 / len(models)] * len(models))
    views = [Seeing(network) for network in networks]
    for batch in first_batches(inputs.test_batches(), count, size):
        *each, of_merged = (view(batch) for view in views)
        means.add(each, of_merged)
    return means.records(), notes + means.remarks()


class RowMean:
    """Mean over all rows seen that are not NaN."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []

    def add(self, rows: Tensor) -> None:
        """Add one value per row, (N,)."""
        self._rows.append(rows)

    @property
    def value(self) -> float | None:
        """The mean, or ``None`` where no row is defined or the mean is not finite."""
        rows = torch.cat(self._rows).double()
        mean = float(rows[~rows.isnan()].mean())
        return mean if math.isfinite(mean) else None


class LayerMeans:
    """Layer-wise quantities of k models and their average, gathered batch by batch.

    Args:
        merged: the average.
        shares: λ_1 .. λ_k that it was made with.
    """

    def __init__(self, merged: nn.Module, shares: Sequence[float]) -> None:
        self._shares, self._pair = shares, len(shares) == 2
        self._normalises = any(kind in type(module).__name__ for module in merged.modules() for kind in _RESCALING)
        self._plain = not self._normalises
        self._means: dict[tuple[str, str, str], RowMean] = defaultdict(RowMean)
        self._distances: dict[str, conditions.CommutativityDistance] = defaultdict(conditions.CommutativityDistance)
        self._moments = [Moments() for _ in shares]
        self._kinds: dict[str, str] = {}

    def add(self, each: Sequence[Seen], merged: Seen) -> None:
        """Add a batch, as the models and their average see it.

        Raises:
            MergeError: the models run different layers on the same inputs.
        """
        taps = [seen.tapped for seen in each]
        _check_alike([*taps, merged.tapped])
        if not self._kinds:  # the first batch
            self._plain = not self._normalises and merged.is_chain
        self._kinds = {name: call.kind for name, call in merged.tapped.activations.items()}
        for depth, name in enumerate(self._kinds, start=1):
            calls = [tapped.activations[name] for tapped in taps]
            of_merged = merged.tapped.activations[name].rows
            average = self._add_output(name, [call.rows for call in calls], of_merged, depth)
            if self._pair:
                one, other = calls
                rows = conditions.additivity_cosine(one.before, other.before, one.sigma, self._shares[0], average)
                self._means["activations", name, "additivity_cosine"].add(rows)
        self._add_output(OUTPUT, [seen.rows for seen in each], merged.rows, len(self._kinds) + 1)
        if self._pair:
            a, b = taps
            for name, call in merged.tapped.layers.items():
                self._add_weight(name, a.layers[name], b.layers[name], call)
            for moments, tapped in zip(self._moments, taps, strict=True):
                moments.add(tapped.activations)

    def _add_output(
        self, name: str, each: Sequence[conditions.Rows], merged: conditions.Rows, depth: int
    ) -> conditions.Rows:
        """Add what the models and their average give at layer ``depth``.

        Returns:
            The mean of what the models give, up to scale.
        """
        shares = self._shares
        law = conditions.combined(each, shares, depth)
        average = law if len(set(shares)) == 1 else conditions.combined(each, shares, 1)
        found = {
            "lewc_cosine": conditions.cosine(merged, law),
            "lewc_norm_ratio": conditions.norm_ratio(merged, law, conditions.scale_of(shares, depth)),
            "llfc_norm_ratio": conditions.norm_ratio(merged, average, conditions.scale_of(shares, 1)),
        }
        for quantity, rows in found.items():
            self._means["outputs", name, quantity].add(rows)
        for one, other in combinations(each, 2):
            self._means["outputs", name, "endpoint_cosine"].add(conditions.cosine(one, other))
        self._means["outputs", name, "norm_merged"].add(merged.norms)
        for one in each:
            self._means["outputs", name, "norm_endpoints"].add(one.norms)
        return average

    def _add_weight(self, name: str, a: LayerCall, b: LayerCall, merged: LayerCall) -> None:
        foreign_a, foreign_b = b.respond(a.inputs), a.respond(b.inputs)
        for foreign, call in ((foreign_a, a), (foreign_b, b)):
            rows = conditions.orthogonality_ratio(foreign, call.rows)
            self._means["weights", name, "orthogonality_ratio"].add(rows)
            rows = conditions.recovery_cosine(call.respond(merged.inputs), call.rows)
            self._means["weights", name, "recovery_cosine"].add(rows)
        self._distances[name].add(foreign_b, foreign_a)

    def records(self) -> Records:
        """See `measure_layers`."""
        records: Records = {"outputs": {}, "activations": {}, "weights": {}}
        for (group, name, quantity), mean in self._means.items():
            records[group].setdefault(name, {})[quantity] = mean.value
        if not self._plain:
            for record in records["outputs"].values():
                record["lewc_norm_ratio"] = None
        for name, distance in self._distances.items():
            records["weights"][name]["commutativity_distance"] = distance.value
            records["weights"][name]["relative_commutativity"] = distance.relative
        if self._pair:
            of_a, of_b = (moments.roots() for moments in self._moments)
            for name, record in records["activations"].items():
                null = GAUSSIAN_NULL if self._kinds[name] == RELU else None
                record |= {"function": self._kinds[name], "additivity_null": null}
                record |= compare_activity(of_a[name], of_b[name])
        return records

    def remarks(self) -> list[str]:
        """What is undefined, and why."""
        notes = []
        others = sorted(set(self._kinds.values()) - {RELU})
        if others and self._pair:
            notes.append(
                f"weak additivity of {', '.join(others)} has no null level: 0.93 of Thm. 5.4 is a ReLU's, "
                "whose cosine does not depend on the scale"
            )
        if not self._plain:
            notes.append(
                "the scale λ^ℓ of the law is not judged, only the direction: it needs a plain chain of layers without "
                "normalisation, pooling, residual branches or attention"
            )
        if not self._pair:
            notes.append(
                "additivity, orthogonality, recovery and commutativity are defined for two models; compare pairs"
            )
        return notes


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


def _probe(model: nn.Module, batch: Tensor, networks: int) -> tuple[int, list[str]]:
    """Inputs at once so that `HELD_BYTES` suffice for all networks, and remarks on what cannot be caught."""
    with tapping(model) as tapped:
        model(batch.clone())
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
    return max(1, HELD_BYTES // per_input), notes
