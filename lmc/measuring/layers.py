"""LEWC and its conditions for every layer of a pair of models and their merge, in one pass."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from lmc.measuring import conditions
from lmc.measuring.activity import Moments, compare_activity
from lmc.measuring.capture import Capture, capturing, respond
from lmc.measuring.evaluation import Inputs

OUTPUT = "logits"


class RowMean:
    """Mean over all rows seen that are not NaN; undefined rows are counted apart."""

    def __init__(self) -> None:
        self.total, self.rows, self.undefined = 0.0, 0, 0

    def add(self, rows: Tensor) -> None:
        """Add one value per row, (N,)."""
        defined = rows[~rows.isnan()].double()
        self.total += float(defined.sum())
        self.rows += len(defined)
        self.undefined += len(rows) - len(defined)

    @property
    def value(self) -> float | None:
        """The mean, or ``None`` where no row is defined or the mean is not finite."""
        mean = self.total / self.rows if self.rows else math.nan
        return mean if math.isfinite(mean) else None


def measure_layers(model_a: nn.Module, model_b: nn.Module, merged: nn.Module, inputs: Inputs) -> dict[str, Any]:
    """Every layer-wise quantity of the paper at λ = ½, averaged over the test inputs.

    The test set is streamed: no more than one batch of activations is held.

    Args:
        model_a: endpoint a, in evaluation mode with its own BatchNorm statistics.
        model_b: endpoint b.
        merged: the interpolation at λ = ½, its BatchNorm statistics reset.
        inputs: the test images.

    Returns:
        ``outputs``: for each ReLU output in order, then the logits: ``lewc_cosine`` (Fig. 3),
        ``llfc_norm_ratio`` (App. C), ``endpoint_cosine`` (Fig. 14), ``norm_merged`` and
        ``norm_endpoints`` (Fig. 20).
        ``relus``: for each ReLU: ``additivity_cosine`` (Fig. 4), ``active_share``, ``overlap_ratio`` and
        ``overlap_chance`` (Fig. 6, 22; see `lmc.measuring.activity.compare_activity`).
        ``weights``: for each linear layer or convolution: ``orthogonality_ratio`` (Fig. 7, the mean of
        both directions), ``recovery_cosine`` (Fig. 8, of both models), ``commutativity_distance``
        and ``relative_commutativity`` (Fig. 11; see `lmc.measuring.conditions.CommutativityDistance`).
        ``None`` where a quantity is undefined for every input (dead layers).
    """
    return measure_layers_and_logits(model_a, model_b, merged, inputs)[0]


@torch.no_grad()
def measure_layers_and_logits(
    model_a: nn.Module, model_b: nn.Module, merged: nn.Module, inputs: Inputs, limit: int | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """`measure_layers` on the first ``limit`` test inputs (rounded up to whole batches; ``None`` for all).

    Returns:
        The layers, and besides the logits (M, classes) of models ``a``, ``b`` and ``m`` (merged) on all.
    """
    models = {"a": model_a.eval(), "b": model_b.eval(), "m": merged.eval()}
    modules = {key: dict(model.named_modules()) for key, model in models.items()}
    logits: dict[str, list[Tensor]] = defaultdict(list)
    sums: dict[tuple[str, str, str], RowMean] = defaultdict(RowMean)
    distances: dict[str, conditions.CommutativityDistance] = defaultdict(conditions.CommutativityDistance)
    activity = {"a": Moments(), "b": Moments()}
    for batch in inputs.test_batches():
        if limit is not None and sum(map(len, logits["m"])) >= limit:
            for key, model in models.items():
                logits[key].append(model(batch))
            continue
        caught: dict[str, Capture] = {}
        for key, model in models.items():
            with capturing(model) as capture:
                capture.activations[OUTPUT] = model(batch)
            logits[key].append(capture.activations[OUTPUT])
            caught[key] = capture
        _add_outputs(sums, caught)
        _add_weights(sums, distances, caught, modules)
        for key, moments in activity.items():
            moments.add(caught[key].preactivations)
    records: dict[str, dict[str, dict[str, float | None]]] = {"outputs": {}, "relus": {}, "weights": {}}
    for (group, layer, quantity), mean in sums.items():
        records[group].setdefault(layer, {})[quantity] = mean.value
    for layer, distance in distances.items():
        records["weights"][layer]["commutativity_distance"] = distance.value
        records["weights"][layer]["relative_commutativity"] = distance.relative
    of_a, of_b = activity["a"].roots(), activity["b"].roots()
    for layer, moments_a in of_a.items():
        records["relus"][layer] |= compare_activity(moments_a, of_b[layer])
    return records, {key: torch.cat(parts) for key, parts in logits.items()}


def _add_outputs(sums: dict[tuple[str, str, str], RowMean], caught: dict[str, Capture]) -> None:
    a, b, merged = caught["a"], caught["b"], caught["m"]
    for depth, (layer, f_m) in enumerate(merged.activations.items(), start=1):
        f_a, f_b = a.activations[layer], b.activations[layer]
        rows = {
            "lewc_cosine": conditions.lewc_cosine(f_m, f_a, f_b, depth),
            "llfc_norm_ratio": conditions.llfc_norm_ratio(f_m, f_a, f_b),
            "endpoint_cosine": conditions.cosine(f_a, f_b),
            "norm_merged": conditions.norm(f_m),
            "norm_endpoints": (conditions.norm(f_a) + conditions.norm(f_b)) / 2,
        }
        for quantity, values in rows.items():
            sums["outputs", layer, quantity].add(values)
    for layer, h_a in a.preactivations.items():
        additivity = conditions.additivity_cosine(h_a, b.preactivations[layer])
        sums["relus", layer, "additivity_cosine"].add(additivity)


def _add_weights(
    sums: dict[tuple[str, str, str], RowMean],
    distances: dict[str, conditions.CommutativityDistance],
    caught: dict[str, Capture],
    modules: dict[str, dict[str, nn.Module]],
) -> None:
    a, b, merged = caught["a"], caught["b"], caught["m"]
    for layer, z_a in a.inputs.items():
        z_b, z_m = b.inputs[layer], merged.inputs[layer]
        w_a, w_b = modules["a"][layer], modules["b"][layer]
        own_a, own_b = a.responses[layer], b.responses[layer]
        foreign_a, foreign_b = respond(w_b, z_a), respond(w_a, z_b)
        for foreign, own in ((foreign_a, own_a), (foreign_b, own_b)):
            rows = conditions.orthogonality_ratio(foreign, own)
            sums["weights", layer, "orthogonality_ratio"].add(rows)
        for module, own in ((w_a, own_a), (w_b, own_b)):
            rows = conditions.recovery_cosine(respond(module, z_m), own)
            sums["weights", layer, "recovery_cosine"].add(rows)
        distances[layer].add(foreign_b, foreign_a)
