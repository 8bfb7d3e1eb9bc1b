"""Barriers: how far loss and accuracy along a path lie above the straight line between its ends."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from lmc.measuring.evaluation import Evaluation, Judged
from lmc.precision import double

QUANTITIES = {"loss": 1, "calibrated_loss": 1, "accuracy": -1}
"""What has a barrier, and its sign, 1 where more is worse."""

_BY_IMAGE = {"loss": "losses", "calibrated_loss": "calibrated_losses", "accuracy": "right"}


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
    for name, excess in _excesses(lams, path).items():
        found[f"{name}_barrier_midpoint"] = excess[list(lams).index(0.5)] if 0.5 in lams else None
        found[f"{name}_barrier_maximum"] = max(excess) if len(lams) > 3 else None
    return found


def barrier_places(lams: Sequence[float], path: Sequence[Evaluation]) -> dict[str, float | None]:
    """The λ at which each of `barriers` lies, the smallest of several; ``None`` where there is none."""
    found: dict[str, float | None] = {}
    for name, excess in _excesses(lams, path).items():
        found[f"{name}_barrier_midpoint"] = 0.5 if 0.5 in lams else None
        found[f"{name}_barrier_maximum"] = float(lams[excess.index(max(excess))]) if len(lams) > 3 else None
    return found


def _excesses(lams: Sequence[float], path: Sequence[Evaluation]) -> dict[str, list[float]]:
    found = {}
    for name, sign in QUANTITIES.items():
        values = [getattr(point, name) for point in path]
        found[name] = [
            sign * (value - lam * values[-1] - (1 - lam) * values[0]) for lam, value in zip(lams, values, strict=True)
        ]
    return found


def barrier_errors(lams: Sequence[float], path: Sequence[Judged]) -> dict[str, float | None]:
    """The standard error of each of `barriers` that is due to the finite number of test images.

    The excess of the merged model over the line between the endpoints is taken image by image, so that what is hard
    for all three cancels; the error is their standard deviation over √N. Each β counts as given, and so does the λ of
    the maximum.

    Args:
        lams: as for `barriers`.
        path: what is said of every image at each λ.

    Returns:
        By the barriers' names, ``None`` where there is none.
    """
    errors: dict[str, float | None] = {}
    for barrier, lam in barrier_places(lams, [each.evaluation for each in path]).items():
        if lam is None:
            errors[barrier] = None
        else:
            by_image = _BY_IMAGE[barrier.partition("_barrier_")[0]]
            errors[barrier] = _error(lam, path[list(lams).index(lam)], path[-1], path[0], by_image)
    return errors


def _error(lam: float, merged: Judged, a: Judged, b: Judged, by_image: str) -> float:
    values, of_a, of_b = (double(getattr(each, by_image)) for each in (merged, a, b))
    excess = values - lam * of_a - (1 - lam) * of_b
    return float(torch.std(excess, correction=1)) / math.sqrt(len(excess))
