"""The average of k models, layer by layer: f_ℓ(Σ λ_i θ_i) against Σ λ_i^ℓ f_ℓ(θ_i) (Thm. 5.3 for k models)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from lmc.measuring.endpoints import Endpoint, compare
from lmc.measuring.evaluation import evaluate_logits
from lmc.measuring.inputs import Inputs
from lmc.measuring.paths import BN_IMAGES
from lmc.merging import merge, reset_bn_stats
from lmc.shares import checked_shares


@torch.no_grad()
def measure_merge(
    models: Sequence[Endpoint],
    merged: nn.Module,
    weights: Sequence[float],
    inputs: Inputs,
    limit: int | None = None,
) -> dict[str, Any]:
    """Evaluate the average of k models, the models, and their ensemble.

    Args:
        models: k >= 1 networks of one architecture, in evaluation mode.
        merged: a network of that architecture, overwritten with Σ λ_i θ_i.
        weights: λ_1 .. λ_k; empty for 1/k each.
        inputs: test images, and training images for the BatchNorm reset.
        limit: layers are measured on the first ``limit`` test inputs, rounded up to whole batches.

    Returns:
        A JSON-ready record, ``accuracies`` of the models, ``merged`` and ``ensemble`` (accuracy, loss, β, calibrated
        loss; the ensemble weights the logits as the λ law does, λ_i^L), and ``outputs``, see
        `lmc.measuring.layers.measure_layers`.

    Raises:
        MergeError: there is no model, the weights do not fit, or logits are not finite.
    """
    shares = checked_shares(list(weights) or None, len(models))
    merged.load_state_dict(merge([model.network.state_dict() for model in models], shares))
    reset_bn_stats(merged, inputs.train_batches(BN_IMAGES))
    records, of_merged = compare(models, merged, shares, inputs, limit)
    outputs = records["outputs"]
    logits = [model.logits() for model in models]
    parts = [lam ** len(outputs) * each.double() for lam, each in zip(shares, logits, strict=True)]
    ensemble: Tensor = sum(parts[1:], start=parts[0])
    return {
        "accuracies": [evaluate_logits(each, inputs.labels).accuracy for each in logits],
        "merged": asdict(evaluate_logits(of_merged, inputs.labels)),
        "ensemble": asdict(evaluate_logits(ensemble, inputs.labels)),
        "outputs": outputs,
    }
