"""Where on a diagram what a claim asks is satisfied."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lmc.claims.asked import Asked


@dataclass(frozen=True)
class Zone:
    """Where a number satisfies what is asked.

    Args:
        low: its lower end; minus infinity where there is none.
        high: its upper end.
    """

    low: float = -math.inf
    high: float = math.inf

    @property
    def ends(self) -> list[float]:
        """The finite ends."""
        return [end for end in (self.low, self.high) if math.isfinite(end)]


def zone_of_values(asked: Asked | None) -> Zone | None:
    """Where single values must lie; ``None`` where nothing, or a change or a difference, is asked."""
    if asked is None:
        return None
    if asked.quantity == "value":
        return _zone(asked.low, asked.high)
    if asked.quantity == "deviation" and asked.target is not None:
        return _zone(asked.low, asked.high, around=asked.target)
    return None


def zone_of_effect(asked: Asked | None) -> Zone | None:
    """Where the effect must lie; ``None`` where nothing is asked."""
    return None if asked is None else _zone(asked.low, asked.high)


def needed_change(asked: Asked | None) -> float | None:
    """By how much a mean must change from the narrowest width to the widest; ``None`` where it is no trend."""
    if asked is None or asked.quantity != "change":
        return None
    return asked.low if asked.low is not None else asked.high


def _zone(low: float | None, high: float | None, around: float = 0.0) -> Zone:
    return Zone(-math.inf if low is None else around + low, math.inf if high is None else around + high)
