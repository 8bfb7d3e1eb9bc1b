"""The weights λ_1 .. λ_k of an average, checked. Imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lmc.errors import MergeError

ROUNDING = 1e-6
"""How far the sum of the weights may be from 1, so that single-precision numbers that were normalised pass."""


def checked_shares(weights: Iterable[float] | None, models: int) -> list[float]:
    """λ_1 .. λ_k as floats.

    Args:
        weights: non-negative and summing to one; ``None`` means 1/k each.
        models: k.

    Raises:
        MergeError: k is 0, or the weights are not one per model, not finite, negative, or do not sum to one.
    """
    if not models:
        raise MergeError("there is no model to merge; pass at least one")
    if weights is None:
        return [1 / models] * models
    try:
        shares = [float(weight) for weight in weights]
    except (TypeError, ValueError) as error:
        raise MergeError(f"weights {weights!r} are no numbers; pass one per model, with the sum 1") from error
    if len(shares) != models:
        raise MergeError(f"{len(shares)} weights for {models} models; pass one weight per model")
    if any(not math.isfinite(share) or share < 0 for share in shares) or abs(sum(shares) - 1) > ROUNDING:
        raise MergeError(f"weights {shares} must be non-negative and sum to 1, not {sum(shares):g}")
    return shares
