"""What is in a figure, apart from how it is drawn: `lmc.reporting.svg` and `lmc.reporting.plots` draw the same ones.

Those of claims, made of the values their verdicts rest on, are in `lmc.reporting.claim_figures`; those made of a run's
evidence are in `lmc.reporting.evidence_figures`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from lmc.claims.statistics import Observation, estimate
from lmc.reporting.zones import Zone
from lmc.results.document import Value

Point = tuple[float, float]


@dataclass(frozen=True)
class Mean:
    """A mean over pairs, with its 95 % interval where there is one.

    Args:
        x: position.
        value: the mean.
        low: lower end of the interval, or ``None``.
        high: upper end, or ``None``.
        count: over how many pairs or models.
    """

    x: float
    value: float
    low: float | None = None
    high: float | None = None
    count: int = 1


@dataclass(frozen=True)
class Series:
    """What has one colour and one marker.

    Args:
        label: its name in the legend; empty where there is only one.
        points: every pair.
        means: by position, increasing.
        lines: thin lines, one per pair or model.
        joined: whether the means are joined by a line.
        marked: whether every mean is marked; else a few are.
    """

    label: str
    points: tuple[Point, ...] = ()
    means: tuple[Mean, ...] = ()
    lines: tuple[tuple[Point, ...], ...] = ()
    joined: bool = True
    marked: bool = True


@dataclass(frozen=True)
class Axis:
    """An axis.

    Args:
        label: quantity and unit.
        ticks: positions and names; empty where they are chosen when drawn.
        log: logarithmic.
    """

    label: str
    ticks: tuple[tuple[float, str], ...] = ()
    log: bool = False


@dataclass(frozen=True)
class Panel:
    """One diagram.

    Args:
        title: above it.
        x: horizontal axis.
        y: vertical axis.
        series: in the order of the legend.
        zone: the values that satisfy what is asked.
        column: the one position that it is asked at; ``None`` for all.
        rule: a horizontal reference and its name.
    """

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    zone: Zone | None = None
    column: float | None = None
    rule: tuple[float, str] | None = None

    def described(self) -> str:
        """The numbers in words, for those who cannot see them."""
        names = dict(self.x.ticks)
        said = [f"{self.y.label} against {self.x.label}."]
        for series in self.series:
            shown = [each for each in series.means if each.x in names] or _some(series.means)
            numbers = "; ".join(_in_words(each, names) for each in shown)
            said.append(f"{series.label or 'mean'}: {numbers or 'nothing'}.")
        if self.zone and self.zone.ends:
            said.append(f"Threshold: {' to '.join(f'{end:.4g}' for end in self.zone.ends)}.")
        if self.rule:
            said.append(f"{self.rule[1]}: {self.rule[0]:.4g}.")
        return " ".join(said)


@dataclass(frozen=True)
class Figure:
    """Diagrams that belong together.

    Args:
        name: unique within a report, fit for a file.
        title: what it shows.
        caption: how to read it.
        panels: at least one.
        notes: more for the caption, such as the names of numbered layers.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    notes: tuple[str, ...] = field(default=())


def _some(means: Sequence[Mean]) -> list[Mean]:
    """First, middle and last."""
    return [means[at] for at in sorted({0, len(means) // 2, len(means) - 1})] if means else []


def _in_words(mean: Mean, names: Mapping[float, str]) -> str:
    where = names.get(mean.x, f"{mean.x:.3g}")
    interval = "" if mean.low is None or mean.high is None else f" (95 % interval {mean.low:.4g} to {mean.high:.4g})"
    return f"at {where} {mean.value:.4g}{interval}"


def width_name(width: float) -> str:
    """A width multiplier as text: ``1/16``, ``3/4``, ``2``."""
    return str(Fraction(width).limit_denominator(1024))


def finite(values: Iterable[float | None]) -> list[float]:
    """The numbers among ``values``."""
    return [value for value in values if value is not None and math.isfinite(value)]


def mean_at(x: float, values: Sequence[Value]) -> Mean | None:
    """Mean and interval at ``x`` of a claim's values, as verdicts have them; ``None`` of none.

    The interval comes from leaving out one model at a time (`lmc.claims.statistics.estimate`); with fewer
    than three models or disjoint pairs there is none.
    """
    found = [Observation(each.width, each.seeds, each.value) for each in values if finite([each.value])]
    if not found:
        return None
    try:
        estimated = estimate(found)
    except ValueError:
        return Mean(x, sum(finite(each.value for each in found)) / len(found), count=len(found))
    low, high = estimated.interval()
    return Mean(x, estimated.mean, low, high, len(found))


def categories(label: str, names: Sequence[str], where: str, notes: list[str]) -> Axis:
    """Names as ticks where they are short, else numbers, and a note of what is what."""
    room = 44 / max(len(names), 1)
    if all(len(name) <= room for name in names):
        return Axis(label, tuple((float(at), name or "all") for at, name in enumerate(names)))
    listed = "; ".join(f"{at}: {name}" for at, name in enumerate(names, start=1))
    notes.append(f"{where}, {label}s: {listed}.")
    return Axis(label, tuple((float(at), str(at + 1)) for at in range(len(names))))
