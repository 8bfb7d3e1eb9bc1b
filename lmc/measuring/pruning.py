"""How much of its width a model needs: pruned to its strongest channels, by norm and by function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from lmc.measuring.endpoints import Endpoint
from lmc.measuring.evaluation import evaluate_logits, logits_of
from lmc.measuring.inputs import Inputs
from lmc.measuring.paths import BN_IMAGES
from lmc.merging import reset_bn_stats
from lmc.merging.permutation_spec import PermutationSpec
from lmc.merging.pruning import needed_share, prune, strongest
from lmc.merging.strengths import norm_strengths

WITHIN = 0.01
"""Accuracy that a model may lose to count as the same."""


@torch.no_grad()
def measure_pruning(
    model: Endpoint, pruned: nn.Module, keeps: Sequence[float], inputs: Inputs, spec: PermutationSpec
) -> dict[str, Any]:
    """Evaluate a model with only its strongest channels, and say how many it needs.

    Args:
        model: in evaluation mode.
        pruned: a network of its architecture, overwritten.
        keeps: shares of the channels of every group that are kept, each in (0, 1].
        inputs: test images, and training images for the BatchNorm reset.
        spec: of their architecture, see `lmc.merging.tracing.trace_permutation_spec`.

    Returns:
        A JSON-ready record, ``accuracies`` and ``model`` of the whole model, ``points``, per share from the largest
        ``keep`` and the evaluation (accuracy, loss, β, calibrated loss), and ``occupancy``: ``groups``, by group the
        share of channels that it needs by norm (see `lmc.merging.pruning.needed_share`), ``norm``, their mean weighted
        by the groups' channels, and ``function``, the smallest share kept whose accuracy, and that of all larger ones,
        lies within `WITHIN` of the model's own; ``None`` where not even the largest does.

    Raises:
        MergeError: the specification does not fit the model, a share is out of range, or logits are not finite.
    """
    state = model.network.state_dict()
    strengths = norm_strengths(spec, state)
    whole = evaluate_logits(model.logits(), inputs.labels)
    points: list[dict[str, float]] = []
    enough: list[float] = []
    for keep in sorted(set(keeps), reverse=True):
        pruned.load_state_dict(prune(state, spec, strongest(spec, strengths, keep)))
        reset_bn_stats(pruned, inputs.train_batches(BN_IMAGES))
        found = evaluate_logits(logits_of(pruned, inputs), inputs.labels)
        points.append({"keep": keep, **asdict(found)})
        if len(enough) + 1 == len(points) and found.accuracy >= whole.accuracy - WITHIN:
            enough.append(keep)
    groups = {group: needed_share(each) for group, each in strengths.items()}
    channels = sum(spec.groups.values())
    return {
        "accuracies": [whole.accuracy],
        "model": asdict(whole),
        "points": points,
        "occupancy": {
            "groups": groups,
            "norm": sum(spec.groups[group] * share for group, share in groups.items()) / channels if channels else 1.0,
            "function": enough[-1] if enough else None,
        },
    }
