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
from lmc.measuring.activity import Moments, active, compare_activity
from lmc.measuring.calls import ActivationCall, LayerCall, Seen, Tapped
from lmc.measuring.centring import CentredCosines, class_centred
from lmc.measuring.inputs import Inputs, first_batches
from lmc.measuring.tapping import RELU, Seeing, tapping, unseen_weights
from lmc.precision import double
from lmc.theory import GAUSSIAN_NULL

OUTPUT = "logits"

HELD_BYTES = 2**28
"""Activations held at once, of all models together, unless one input has more."""

_RESCALING = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")

_CENTRED = ("class_centred_lewc_cosine", "centred_lewc_cosine")

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
        pairs of models), ``norm_merged`` and ``norm_endpoints`` (Fig. 20); for the logits also
        ``class_centred_lewc_cosine`` and ``centred_lewc_cosine``, without their mean over the classes, and without
        each class's mean over the inputs as well, both of which all good classifiers share.
        Two models also give ``activations``: ``function``, ``additivity_cosine`` (Fig. 4) with the net's own function
        and ``additivity_null`` (Thm. 5.4), ``additivity_shuffled`` (the same where model b's channels of this layer
        are in a fixed random order), ``active_share``, ``overlap_ratio`` and ``overlap_chance`` (Fig. 6, 22; see
        `lmc.measuring.activity.compare_activity`), ``sign_disagreement`` (the share of channels, positions and inputs
        whose pre-activations differ in sign, among channels active in either model), ``varying_share_a`` and
        ``varying_share_b`` (see `lmc.measuring.activity.varying`); and
        ``weights``: for each linear layer or convolution: ``orthogonality_ratio`` (Fig. 7, the mean of both
        directions), ``recovery_cosine`` (Fig. 8, of both models), ``commutativity_distance`` and
        ``relative_commutativity`` (Fig. 11; see `lmc.measuring.conditions.CommutativityDistance`); for the last one
        also ``class_centred_commutativity_distance`` and ``class_centred_relative_commutativity``, with the rows of W
        centred over the classes.
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
        rows = double(torch.cat(self._rows))
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
        self._signs: dict[str, Tensor] = {}
        self._head = conditions.CommutativityDistance()
        self._logits = CentredCosines()
        self._kinds: dict[str, str] = {}

    def add(self, each: Sequence[Seen], merged: Seen) -> None:
        """Add a batch, as the models and their average see it.

        Raises:
            MergeError: the models run different layers on the same inputs.
        """
        taps = [seen.tapped for seen in each]
        check_alike([*taps, merged.tapped])
        if not self._kinds:  # the first batch
            self._plain = not self._normalises and merged.is_chain
        self._kinds = {name: call.kind for name, call in merged.tapped.activations.items()}
        for depth, name in enumerate(self._kinds, start=1):
            calls = [tapped.activations[name] for tapped in taps]
            of_merged = merged.tapped.activations[name].rows
            average = self._add_output(name, [call.rows for call in calls], of_merged, depth)
            if self._pair:
                self._add_activation(name, calls[0], calls[1], average)
        self._add_output(OUTPUT, [seen.rows for seen in each], merged.rows, len(self._kinds) + 1)
        if self._pair:
            a, b = taps
            last = next(reversed(merged.tapped.layers.values()), None)
            for name, call in merged.tapped.layers.items():
                self._add_weight(name, a.layers[name], b.layers[name], call, head=call is last)
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
        if name == OUTPUT and merged.values.ndim == 2:
            self._logits.add(merged, law)
        for one, other in combinations(each, 2):
            self._means["outputs", name, "endpoint_cosine"].add(conditions.cosine(one, other))
        self._means["outputs", name, "norm_merged"].add(merged.norms)
        for one in each:
            self._means["outputs", name, "norm_endpoints"].add(one.norms)
        return average

    def _add_activation(self, name: str, a: ActivationCall, b: ActivationCall, average: conditions.Rows) -> None:
        lam = self._shares[0]
        rows = conditions.additivity_cosine(a.before, b.before, a.sigma, lam, average)
        self._means["activations", name, "additivity_cosine"].add(rows)
        before, after = (_shuffled(each, b.channels) for each in (b.before, b.after))
        sides = lam * a.after + (1 - lam) * after
        rows = conditions.additivity_cosine(a.before, before, a.sigma, lam, sides)
        self._means["activations", name, "additivity_shuffled"].add(rows)
        apart = ((a.before > 0) != (b.before > 0)).movedim(a.channels, -1).flatten(0, -2).sum(0)
        self._signs[name] = self._signs[name] + apart if name in self._signs else apart

    def _add_weight(self, name: str, a: LayerCall, b: LayerCall, merged: LayerCall, *, head: bool) -> None:
        foreign_a, foreign_b = b.respond(a.inputs), a.respond(b.inputs)
        for foreign, call in ((foreign_a, a), (foreign_b, b)):
            rows = conditions.orthogonality_ratio(foreign, call.rows)
            self._means["weights", name, "orthogonality_ratio"].add(rows)
            rows = conditions.recovery_cosine(call.respond(merged.inputs), call.rows)
            self._means["weights", name, "recovery_cosine"].add(rows)
        self._distances[name].add(foreign_b, foreign_a)
        if head and foreign_a.values.ndim == 2:
            self._head.add(class_centred(foreign_b.values), class_centred(foreign_a.values))

    def records(self) -> Records:
        """See `measure_layers`."""
        records: Records = {"outputs": {}, "activations": {}, "weights": {}}
        for (group, name, quantity), mean in self._means.items():
            records[group].setdefault(name, {})[quantity] = mean.value
        if not self._plain:
            for record in records["outputs"].values():
                record["lewc_norm_ratio"] = None
        if self._logits.found:
            for quantity, rows in zip(_CENTRED, self._logits.values(), strict=True):
                records["outputs"][OUTPUT][quantity] = float(rows.mean())
        for name, distance in self._distances.items():
            records["weights"][name]["commutativity_distance"] = distance.value
            records["weights"][name]["relative_commutativity"] = distance.relative
        if self._distances:
            last = records["weights"][next(reversed(self._distances))]
            last["class_centred_commutativity_distance"] = self._head.value
            last["class_centred_relative_commutativity"] = self._head.relative
        if self._pair:
            of_a, of_b = (moments.roots() for moments in self._moments)
            varying_a, varying_b = (moments.varying_shares() for moments in self._moments)
            for name, record in records["activations"].items():
                null = GAUSSIAN_NULL if self._kinds[name] == RELU else None
                record |= {"function": self._kinds[name], "additivity_null": null}
                record |= compare_activity(of_a[name], of_b[name])
                record["sign_disagreement"] = self._disagreement(name, active(of_a[name]) | active(of_b[name]))
                record |= {"varying_share_a": varying_a[name], "varying_share_b": varying_b[name]}
        return records

    def _disagreement(self, name: str, flags: Tensor) -> float | None:
        """How often the signs of these channels differ; ``None`` where there are none."""
        count = int(flags.sum()) * self._moments[0].count(name)
        return int(self._signs[name].to(flags.device)[flags].sum()) / count if count else None

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


def _shuffled(values: Tensor, channels: int) -> Tensor:
    """The channels in a random order, the same for every layer of so many channels."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(values.shape[channels], generator=generator)
    return values.index_select(channels, order.to(values.device))


def check_alike(taps: Sequence[Tapped]) -> None:
    """Refuse models that run different layers.

    Raises:
        MergeError: naming some.
    """
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
