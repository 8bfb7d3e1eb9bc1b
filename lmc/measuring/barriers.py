"""Barriers: how far loss and accuracy along a path lie above the straight line between its ends."""

from __future__ import annotations

from collections.abc import Sequence

from lmc.measuring.evaluation import Evaluation


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
            sign * (value - lam * values[-1] - (1 - lam) * values[0]) for lam, value in zip(lams, values, strict=True)
        ]
        found[f"{name}_barrier_midpoint"] = excess[list(lams).index(0.5)] if 0.5 in lams else None
        found[f"{name}_barrier_maximum"] = max(excess) if len(lams) > 3 else None
    return found
