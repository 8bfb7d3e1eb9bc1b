"""The linear path between two models: loss, accuracy and calibrated loss along λ, and its barriers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from lmc.measuring.evaluation import Evaluation, Inputs, evaluate_logits, logits_of
from lmc.merging import State, interpolate, reset_bn_stats

BN_IMAGES = 5000
"""Training images the merged model's BatchNorm statistics are recomputed on, at most."""


def interpolation_path(
    model: nn.Module,
    a: State,
    b: State,
    lams: Sequence[float],
    inputs: Inputs,
    known: Mapping[float, Tensor] | None = None,
) -> tuple[list[Evaluation], list[Tensor]]:
    """Evaluate θ(λ) for every λ; BatchNorm statistics are reset except at the endpoints.

    Args:
        model: a module of the architecture, overwritten.
        a: state dict of model a (λ = 1).
        b: state dict of model b (λ = 0).
        lams: points in [0, 1].
        inputs: test images, and training images for the reset.
        known: logits (M, classes) already at hand, by λ; these are not computed again.

    Returns:
        One evaluation and one tensor of logits (M, classes) per λ.
    """
    found = dict(known or {})
    for lam in lams:
        if lam in found:
            continue
        model.load_state_dict(interpolate(a, b, lam))
        if 0 < lam < 1:
            reset_bn_stats(model, inputs.train_batches(BN_IMAGES))
        found[lam] = logits_of(model, inputs)
    logits = [found[lam] for lam in lams]
    return [evaluate_logits(each, inputs.labels) for each in logits], logits


def barriers(lams: Sequence[float], path: Sequence[Evaluation]) -> dict[str, float | None]:
    """Loss, calibrated-loss and accuracy barrier (Def. 2.1) at the midpoint and at the maximum over λ.

    A barrier is the excess over the straight line between the endpoints: L(θ(λ)) - λ L(θ_a)
    - (1-λ) L(θ_b); for the accuracy with the sign turned. The maximum includes the endpoints, so
    it is never negative; the midpoint's excess may be.

    Args:
        lams: increasing, from 0 (model b) to 1 (model a).
        path: the evaluation at each λ.

    Returns:
        ``{loss,calibrated_loss,accuracy}_barrier_{midpoint,maximum}``; the midpoint is ``None``
        where ½ is no point of the path, the maximum where the path is only the midpoint.
    """
    found: dict[str, float | None] = {}
    for name, sign in (("loss", 1), ("calibrated_loss", 1), ("accuracy", -1)):
        values = [getattr(point, name) for point in path]
        excess = [
            sign * (value - lam * values[-1] - (1 - lam) * values[0])
            for lam, value in zip(lams, values, strict=True)
        ]
        found[f"{name}_barrier_midpoint"] = excess[list(lams).index(0.5)] if 0.5 in lams else None
        found[f"{name}_barrier_maximum"] = max(excess) if len(lams) > 3 else None
    return found


def measure_path(
    model: nn.Module,
    a: State,
    b: State,
    lams: Sequence[float],
    inputs: Inputs,
    known: Mapping[float, Tensor] | None = None,
) -> dict[str, Any]:
    """JSON-ready record of a path from λ = 0 to 1: points, barriers, and the ensemble as reference.

    The ensemble averages the endpoints' logits; under LEWC the merged model's midpoint equals it up
    to scale. Arguments are those of `interpolation_path`.
    """
    path, logits = interpolation_path(model, a, b, lams, inputs, known)
    ensemble = evaluate_logits(logits[0].double() + logits[-1].double(), inputs.labels)
    return {
        "lams": list(lams),
        "points": [asdict(point) for point in path],
        "ensemble": asdict(ensemble),
        "barriers": barriers(lams, path),
    }
