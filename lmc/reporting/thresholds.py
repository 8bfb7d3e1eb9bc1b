"""What a claim's threshold, which a results file keeps as text, means for a figure: the zone that satisfies it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_N = r"(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)"
_LEVEL = re.compile(rf"(above|below) {_N} at the ")
_NEAR = re.compile(rf"within {_N} of {_N} at the ")
_EXACT = re.compile(rf"within {_N} of {_N}$")
_LAW = re.compile(rf".*\ba above {_N}")
_MOVES = re.compile(rf"(rises|falls) by at least {_N}")
_EXCEEDS = re.compile(rf".+ exceeds .+ by at least {_N}")
_NO_WORSE = re.compile(rf".+ exceeds .+ by less than {_N}")
_DIFFERS = re.compile(rf".+ differ by less than {_N}")


@dataclass(frozen=True)
class Zone:
    """Where a number satisfies a threshold.

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


def zone_of_values(threshold: str) -> Zone | None:
    """Where single values must lie; ``None`` where the threshold is about a change or a difference."""
    if found := _LEVEL.match(threshold):
        bound = float(found[2])
        return Zone(low=bound) if found[1] == "above" else Zone(high=bound)
    if found := _NEAR.match(threshold) or _EXACT.match(threshold):
        within, target = float(found[1]), float(found[2])
        return Zone(target - within, target + within)
    return None


def zone_of_effect(threshold: str) -> Zone | None:
    """Where the effect must lie; ``None`` where the text is of no known form."""
    if found := _EXACT.match(threshold):  # its effect is the deviation from the target
        return Zone(-float(found[1]), float(found[1]))
    if zone := zone_of_values(threshold):
        return zone
    if found := _MOVES.match(threshold):
        return Zone(low=float(found[2])) if found[1] == "rises" else Zone(high=-float(found[2]))
    if found := _EXCEEDS.match(threshold) or _LAW.match(threshold):
        return Zone(low=float(found[1]))
    if found := _NO_WORSE.match(threshold):
        return Zone(high=float(found[1]))
    if found := _DIFFERS.match(threshold):
        return Zone(-float(found[1]), float(found[1]))
    return None


def needed_change(threshold: str) -> float | None:
    """By how much a mean must change from the narrowest width to the widest; ``None`` where it is no trend."""
    found = _MOVES.match(threshold)
    if not found or " along " in threshold:
        return None
    return float(found[2]) if found[1] == "rises" else -float(found[2])
