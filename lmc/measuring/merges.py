"""k models merged into one, against the models and their ensemble; its layers against what the laws say of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from lmc.measuring.endpoints import Endpoint, compare
from lmc.measuring.evaluation import evaluate_logits, logits_of
from lmc.measuring.inputs import Inputs
from lmc.measuring.paths import BN_IMAGES
from lmc.measuring.tapping import Seeing
from lmc.merging import State, merge, reset_bn_stats
from lmc.merging.permutation_spec import PermutationSpec
from lmc.merging.pruning import transplant
from lmc.merging.strengths import norm_strengths
from lmc.merging.sums import sum_merge, sum_parts
from lmc.merging.tracing import trace_permutation_spec
from lmc.precision import double
from lmc.shares import checked_shares


@torch.no_grad()
def measure_merge(
    models: Sequence[Endpoint],
    merged: nn.Module,
    weights: Sequence[float],
    inputs: Inputs,
    limit: int | None = None,
    *,
    rule: str = "mean",
    bn: str = "reset",
    spec: PermutationSpec | None = None,
) -> dict[str, Any]:
    """Evaluate a merge of k models, the models, and their ensemble.

    Args:
        models: k >= 1 networks of one architecture, in evaluation mode.
        merged: a network of that architecture, overwritten.
        weights: λ_1 .. λ_k; empty for 1/k each.
        inputs: test images, and training images for the BatchNorm reset.
        limit: layers are measured on the first ``limit`` test inputs, rounded up to whole batches; on none with 0.
        rule: ``"mean"``, ``"sum"`` (see `lmc.merging.sums`) or ``"transplant"`` (see `lmc.merging.pruning`).
        bn: ``"reset"`` or, of a sum, ``"summed"``, which leaves what the rule gives.
        spec: of the architecture, which a transplant needs; ``None`` traces it.

    Returns:
        A JSON-ready record, ``accuracies`` of the models, ``models``, ``merged``, ``ensemble`` (of each accuracy,
        loss, β and calibrated loss; the ensemble weights the logits as the λ law does, λ_i^L) and ``mean_logits`` (the
        ensemble Σ λ_i f_L); ``fixed``, losses of the merge at β = k^(L-1), k and √k; and ``outputs``, see
        `lmc.measuring.layers.measure_layers`, empty where no layer was measured. Of a sum the latter compare with
        Σ f_ℓ, the logits with Σ λ_i f_L.

    Raises:
        MergeError: there is no model, the weights do not fit, or logits are not finite.
    """
    shares = checked_shares(list(weights) or None, len(models))
    states = [model.network.state_dict() for model in models]
    merged.load_state_dict(_merged(rule, states, merged, shares, inputs.examples(2), spec))
    if bn == "reset":
        reset_bn_stats(merged, inputs.train_batches(BN_IMAGES))
    law = shares if rule == "mean" else [1.0] * len(models)
    outputs, of_merged = _compared(models, merged, law, inputs, limit)
    depth = len(outputs) or len(Seeing(merged)(inputs.examples(2)).tapped.activations) + 1
    logits = [model.logits() for model in models]
    mean = _combined(shares, logits)
    if outputs and rule != "mean":
        outputs["logits"] |= _against(of_merged, mean)
    evaluated = [evaluate_logits(each, inputs.labels) for each in logits]
    return {
        "accuracies": [each.accuracy for each in evaluated],
        "models": [asdict(each) for each in evaluated],
        "merged": asdict(evaluate_logits(of_merged, inputs.labels)),
        "ensemble": asdict(evaluate_logits(_combined([lam**depth for lam in shares], logits), inputs.labels)),
        "mean_logits": asdict(evaluate_logits(mean, inputs.labels)),
        "fixed": fixed_losses(of_merged, inputs.labels, len(models), depth),
        "outputs": outputs,
    }


def _compared(
    models: Sequence[Endpoint], merged: nn.Module, law: Sequence[float], inputs: Inputs, limit: int | None
) -> tuple[dict[str, dict[str, Any]], Tensor]:
    """Outputs by layer, and the logits of the merge."""
    if limit == 0:
        return {}, logits_of(merged, inputs)
    records, of_merged = compare(models, merged, law, inputs, limit)
    return records["outputs"], of_merged


def fixed_losses(logits: Tensor, labels: Tensor, models: int, layers: int) -> dict[str, float]:
    """Mean cross-entropy of softmax(β · logits), nats, at what β would be without fitting it.

    Args:
        logits: of the merge, (N, classes).
        labels: int64 (N,).
        models: k.
        layers: L.

    Returns:
        Under ``k^(L-1)`` (averages of nets without biases and normalisation), ``k`` (averages where every layer is
        normalised) and ``sqrt(k)`` (Kim et al., 2404.04616).
    """
    betas = {"k^(L-1)": float(models) ** (layers - 1), "k": float(models), "sqrt(k)": math.sqrt(models)}
    wide = double(logits)
    return {
        name: float(nn.functional.cross_entropy(beta * wide, labels.to(wide.device))) for name, beta in betas.items()
    }


def _merged(
    rule: str,
    states: Sequence[State],
    module: nn.Module,
    shares: Sequence[float],
    example: Tensor,
    spec: PermutationSpec | None,
) -> dict[str, Tensor]:
    if rule == "mean":
        return merge(states, shares)
    parts = sum_parts(module, example)
    if rule == "sum":
        return sum_merge(states, parts, shares)
    assert rule == "transplant", rule
    spec = spec or trace_permutation_spec(module, example)
    return transplant(states, spec, [norm_strengths(spec, state) for state in states], parts, shares)


def _combined(factors: Sequence[float], logits: Sequence[Tensor]) -> Tensor:
    parts = [factor * double(each) for factor, each in zip(factors, logits, strict=True)]
    total: Tensor = sum(parts[1:], start=parts[0])
    return total


def _against(found: Tensor, expected: Tensor) -> dict[str, float | None]:
    """How the logits (N, classes) of a sum compare with the mean of the models'."""
    norms = [torch.linalg.vector_norm(double(each), dim=1) for each in (found, expected)]
    cosines = (double(found) * expected).sum(1) / (norms[0] * norms[1])
    ratios = norms[0] / norms[1]

    def mean(rows: Tensor) -> float | None:
        value = float(rows[rows.isfinite()].mean())
        return value if math.isfinite(value) else None

    ratio = mean(ratios)
    return {"lewc_cosine": mean(cosines), "lewc_norm_ratio": ratio, "llfc_norm_ratio": ratio}
