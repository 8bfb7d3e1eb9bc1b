"""The average of k models, layer by layer: f_ℓ(Σ λ_i θ_i) against Σ λ_i^ℓ f_ℓ(θ_i) (Thm. 5.3 for k models)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from lmc.measuring import conditions
from lmc.measuring.capture import capturing
from lmc.measuring.evaluation import Inputs, evaluate_logits
from lmc.measuring.layers import OUTPUT, RowMean
from lmc.measuring.paths import BN_IMAGES
from lmc.merging import merge, reset_bn_stats
from lmc.shares import checked_shares


@torch.no_grad()
def measure_merge(
    models: Sequence[nn.Module],
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
        loss; the ensemble weights the logits as the λ law does, λ_i^L), and ``outputs``, for each ReLU output in
        order, then the logits, ``lewc_cosine`` and ``lewc_norm_ratio``, of f_ℓ(merged) and Σ λ_i^ℓ f_ℓ(θ_i).

    Raises:
        MergeError: there is no model, the weights do not fit, or logits are not finite.
    """
    shares = checked_shares(list(weights) or None, len(models))
    merged.load_state_dict(merge([model.state_dict() for model in models], shares))
    reset_bn_stats(merged, inputs.train_batches(BN_IMAGES))
    logits: list[list[Tensor]] = [[] for _ in range(len(models) + 1)]
    sums: dict[tuple[str, str], RowMean] = defaultdict(RowMean)
    for batch in inputs.test_batches():
        wanted = limit is None or sum(map(len, logits[0])) < limit
        found: list[dict[str, Tensor]] = []
        for model, parts in zip((*models, merged), logits, strict=True):
            if not wanted:
                parts.append(model(batch))
                continue
            with capturing(model) as caught:
                parts.append(model(batch))
            found.append({**caught.activations, OUTPUT: parts[-1]})
        for depth, name in enumerate(found[-1] if found else (), start=1):
            target = sum(lam**depth * each[name] for lam, each in zip(shares, found, strict=False))
            assert isinstance(target, Tensor)
            sums[name, "lewc_cosine"].add(conditions.cosine(found[-1][name], target))
            sums[name, "lewc_norm_ratio"].add(conditions.ratio(found[-1][name], target))
    joined = [torch.cat(parts) for parts in logits]
    outputs: dict[str, dict[str, float | None]] = {}
    for (name, quantity), mean in sums.items():
        outputs.setdefault(name, {})[quantity] = mean.value
    layers = len(outputs)
    ensemble = sum(lam**layers * each.double() for lam, each in zip(shares, joined, strict=False))
    assert isinstance(ensemble, Tensor)
    return {
        "accuracies": [evaluate_logits(each, inputs.labels).accuracy for each in joined[:-1]],
        "merged": asdict(evaluate_logits(joined[-1], inputs.labels)),
        "ensemble": asdict(evaluate_logits(ensemble, inputs.labels)),
        "outputs": outputs,
    }
