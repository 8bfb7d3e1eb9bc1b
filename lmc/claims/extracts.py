"""Numbers taken from a measured record (see `lmc.measuring.records.measure`), by layer where there are several."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lmc import theory
from lmc.claims.studies import Extract, Imprecise, Values

Record = dict[str, Any]


def barrier(name: str) -> Extract:
    """The barrier of a pair called ``name`` (``loss``, ``calibrated_loss``, ``accuracy``) at the midpoint."""
    key = f"{name}_barrier_midpoint"
    return Imprecise(
        lambda record: record["path"]["barriers"][key], lambda record: record["path"]["errors"][key] or 0.0
    )


def midpoint(quantity: str) -> Extract:
    """``quantity`` of the model merged at λ = ½."""
    return lambda record: {"": _middle(record)[quantity]}


def endpoint(quantity: str) -> Extract:
    """``quantity`` of the models a pair consists of, averaged."""

    def extract(record: Record) -> Values:
        first, last = record["path"]["points"][0], record["path"]["points"][-1]
        return {"": (first[quantity] + last[quantity]) / 2}

    return extract


def merge_barrier(quantity: str) -> Extract:
    """``quantity`` of the merge of k models (``loss``, ``calibrated_loss``, ``accuracy``) above the models' mean.

    Of the accuracy, how far it stays below.
    """
    sign = -1 if quantity == "accuracy" else 1

    def extract(record: Record) -> Values:
        own = float(np.mean([each[quantity] for each in record["models"]]))
        return {"": sign * (record["merged"][quantity] - own)}

    return extract


def _middle(record: Record) -> dict[str, float]:
    path = record["path"]
    found: dict[str, float] = path["points"][path["lams"].index(0.5)]
    return found


def layers(group: str, quantity: str, *, skip: int = 0, only_last: bool = False) -> Extract:
    """``quantity`` of every layer of a pair.

    Args:
        group: ``outputs``, ``activations`` or ``weights`` (see `lmc.measuring.layers.measure_layers`).
        quantity: its name there.
        skip: how many first layers are left out.
        only_last: the last layer alone.
    """

    def extract(record: Record) -> Values:
        found = list(record["layers"][group].items())
        return {name: values[quantity] for name, values in (found[-1:] if only_last else found[skip:])}

    return extract


def additivity_null(record: Record) -> Values:
    """What weak additivity of other models has to exceed: that of these at every ReLU, and the level of Theorem 5.4."""
    found = layers("activations", "additivity_cosine")(record)
    return {name: None if value is None else max(value, theory.GAUSSIAN_NULL) for name, value in found.items()}


def foreign_share(record: Record) -> Values:
    """r / (1 + r) of the orthogonality ratio r (Def. 5.2), for every layer beyond the first.

    Deviates: the paper shows r itself, ‖W^b z^a‖ / ‖W^a z^a‖, which has no mean where a layer of single models
    collapses (18 in a narrow ResNet's first block, below 1 elsewhere). The share is ½ where both models' weights
    answer alike and 0 under orthogonality.
    """
    ratios = layers("weights", "orthogonality_ratio", skip=1)(record)
    return {name: None if ratio is None else ratio / (1 + ratio) for name, ratio in ratios.items()}


def layer_mean(extract: Extract) -> Extract:
    """The mean over layers of another extract; undefined where a layer's is."""

    def mean(record: Record) -> Values:
        values = list(extract(record).values())
        if not values or any(value is None for value in values):
            return {"": None}
        return {"": float(np.mean([value for value in values if value is not None]))}

    return mean


def beta_over_prediction(record: Record) -> Values:
    """log2 of β(merged) over β(ensemble's mean logits), as a share of what LEWC predicts: L - 1 (Def. 4.1).

    The merged logits of an L-layer net without normalisation are 2^-L (f_a + f_b), the ensemble's mean logits
    (f_a + f_b) / 2; whatever β the ensemble needs, the merged model needs 2^(L-1) times that.
    """
    depth = len(record["layers"]["outputs"])
    ratio = _middle(record)["beta"] / record["path"]["ensemble"]["beta"]
    return {f"{depth} layers": math.log2(ratio) / math.log2(theory.lewc_inverse_temperature(depth))}


def norm_decay(reference: str) -> Extract:
    """d log2(norm) / d layer of the merged model's outputs: -1 under LEWC (Fig. 20), 0 under LLFC (App. C).

    A layer on which all three models answer nothing, such as a residual branch that has collapsed in both, has no norm
    to keep or lose and is left out of the line.

    Args:
        reference: ``"average"`` of the endpoints' outputs, or the endpoints' own norm, ``"endpoints"``.
    """

    def ratio(values: dict[str, float | None]) -> float | None:
        if reference == "average":
            return values["llfc_norm_ratio"]
        merged, own = values["norm_merged"], values["norm_endpoints"]
        return merged / own if merged is not None and own else None

    def extract(record: Record) -> Values:
        outputs = list(record["layers"]["outputs"].values())
        norms = [(values["norm_merged"], values["norm_endpoints"]) for values in outputs]
        speaking = [place for place, both in enumerate(norms) if both != (0.0, 0.0)]
        found = [value for place in speaking if (value := ratio(outputs[place])) is not None and value > 0]
        if len(found) < max(2, len(speaking)):
            return {"": None}
        return {"": float(np.polyfit(speaking, np.log2(found), 1)[0])}

    return extract


def ranks(quantity: str, *, skip: int = 0) -> Extract:
    """``quantity`` of every weight of one model, see `lmc.measuring.ranks.measure_ranks`; the head is left out."""
    return lambda record: {name: values[quantity] for name, values in list(record["ranks"].items())[skip:-1]}


def activity(quantity: str) -> Extract:
    """``active_share`` of every ReLU of one model."""
    return lambda record: {name: values[quantity] for name, values in record["activations"].items()}


def leftmost_share(record: Record) -> Values:
    """Share of each ReLU's channels in the leftmost bin of Figure 21."""
    return {name: values["histogram"]["leftmost_share"] for name, values in record["activations"].items()}


def perturbed(quantity: str) -> Extract:
    """How much ``quantity`` changes along the whole random step, as a loss: accuracy's fall counts as positive."""

    def extract(record: Record) -> Values:
        sign = -1 if quantity == "accuracy" else 1
        return {"": sign * (record["points"][-1][quantity] - record["points"][0][quantity])}

    return extract


def perturbation_cosine(record: Record) -> Values:
    """Cosine of every ReLU's output before and after the random step (Fig. 13)."""
    return {name: values["perturbation_cosine"] for name, values in record["activations"].items()}


def endpoint_cosine(record: Record) -> Values:
    """Cosine of every ReLU's output in two trained models (Fig. 14)."""
    return {name: values["endpoint_cosine"] for name, values in list(record["layers"]["outputs"].items())[:-1]}


def merged_accuracy_loss(record: Record) -> Values:
    """How far the accuracy of the average of k models stays below their own, on average."""
    return {"": float(np.mean(record["accuracies"])) - record["merged"]["accuracy"]}


def merged_accuracy(record: Record) -> Values:
    """Accuracy of the average of k models, by k."""
    return {f"{len(record['accuracies'])} models": record["merged"]["accuracy"]}


def merged_lewc(record: Record) -> Values:
    """cos(f_L(Σ λ_i θ_i), Σ λ_i^L f_L(θ_i)) of the logits of the average of k models, by k."""
    return {f"{len(record['accuracies'])} models": merged_last_lewc(record)[""]}


def merged_last_lewc(record: Record) -> Values:
    """The same, whatever k is."""
    return {"": list(record["outputs"].values())[-1]["lewc_cosine"]}
