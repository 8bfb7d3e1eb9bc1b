"""The record of one model: what it says of the test images, its ranks, and its neurons."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from lmc.measuring.activity import Moments, active, active_share, histogram
from lmc.measuring.endpoints import Endpoint
from lmc.measuring.inputs import Inputs
from lmc.measuring.ranks import measure_ranks


@torch.no_grad()
def measure_model(model: Endpoint, inputs: Inputs) -> dict[str, Any]:
    """Measure one model on all test inputs.

    Args:
        model: the model.
        inputs: the test inputs.

    Returns:
        A JSON-ready record; see `lmc.measuring.records.measure`.

    Raises:
        MergeError: a weight, a moment or a logit is not finite.
    """
    moments, weights = Moments(), {}
    for index, batch in enumerate(inputs.test_batches()):
        tapped = model.see(index, batch, keep=False).tapped
        moments.add(tapped.activations)
        weights = tapped.weights
    evaluation, varying = model.judged().evaluation, moments.varying_shares()
    return {
        "accuracies": [evaluation.accuracy],
        "evaluation": asdict(evaluation),
        "ranks": measure_ranks(weights),
        "activations": {
            name: {
                "active_share": active_share(active(each)),
                "varying_share": varying[name],
                "histogram": histogram(each),
            }
            for name, each in moments.roots().items()
        },
    }
