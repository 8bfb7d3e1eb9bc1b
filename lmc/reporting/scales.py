"""Axes of a diagram: the range its numbers span, and round numbers for the ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lmc.reporting.figures import Panel, finite

_LEAST_LOG = 1e-12
_LEAST_SPAN = 1e-200  # what lies closer together is one number; divisions by less overflow


@dataclass(frozen=True)
class Scale:
    """Maps numbers of an axis to a share of its length.

    Args:
        low: the number at the start.
        high: the number at the end.
        log: logarithmic.
    """

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Where ``value`` lies, 0 at the start and 1 at the end; outside numbers are moved to the edge."""
        low, high, at = (self._moved(each) for each in (self.low, self.high, value))
        return min(1.0, max(0.0, (at - low) / (high - low)))

    def _moved(self, value: float) -> float:
        return math.log10(max(value, _LEAST_LOG)) if self.log else value

    def ticks(self) -> list[tuple[float, str]]:
        """About five round numbers with their names."""
        found = _decades(self.low, self.high) if self.log else []
        if len(found) < 2:
            found = _round_steps(self.low, self.high)
        return [(value, f"{value:.6g}".replace("-", "−")) for value in found]


def x_scale(panel: Panel) -> Scale:
    """The horizontal axis of ``panel``, with room beside single positions."""
    drawn = [mean.x for each in panel.series for mean in each.means]
    drawn += [x for each in panel.series for x, _ in each.points]
    drawn += [at for at, _ in panel.x.ticks]
    low, high = min(drawn, default=0.0), max(drawn, default=1.0)
    room = 0.08 * (high - low) if high - low > _LEAST_SPAN else max(0.5, abs(high) * 0.1)
    if panel.x.ticks and all(float(at).is_integer() for at, _ in panel.x.ticks):
        room = max(room, 0.4)
    return Scale(low - room, high + room)


def y_scale(panel: Panel) -> Scale:
    """The vertical axis of ``panel``: all that is drawn, intervals only as far as three times the rest."""
    drawn = [y for each in panel.series for _, y in each.points]
    drawn += [mean.value for each in panel.series for mean in each.means]
    drawn += [y for each in panel.series for line in each.lines for _, y in line]
    drawn = finite(drawn)
    if panel.y.log:
        drawn = [each for each in drawn if each > _LEAST_LOG] or [1.0]
        low, high = min(drawn), max(drawn)
        return Scale(low / 1.3, max(high, low * 1.5) * 1.3, log=True)
    drawn += [panel.rule[0]] if panel.rule else []
    drawn += panel.zone.ends if panel.zone else []
    low, high = min(drawn, default=0.0), max(drawn, default=1.0)
    reach = 1.5 * (high - low) or math.inf
    ends = [end for each in panel.series for mean in each.means for end in finite([mean.low, mean.high])]
    low = min([low, *(max(end, low - reach) for end in ends)])
    high = max([high, *(min(end, high + reach) for end in ends)])
    room = 0.07 * (high - low) if high - low > _LEAST_SPAN else max(abs(high) * 0.1, 1e-12)
    return Scale(low - room, high + room)


def _round_steps(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step)
    return [round(at * step, 12 - math.floor(math.log10(step))) + 0.0 for at in range(first, int(high // step) + 1)]


def _decades(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(exponents) <= 3 else (1,)
    found = [factor * 10.0**exponent for exponent in exponents for factor in factors]
    every = 1 + len(found) // 8 if factors == (1,) else 1
    return [value for value in found[::every] if low <= value <= high]
