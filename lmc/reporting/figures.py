"""What is in a figure, apart from how it is drawn: `lmc.reporting.svg` and `lmc.reporting.plots` draw the same ones.

Here are the figures of claims, made of the values their verdicts rest on; those made of a run's evidence are in
`lmc.reporting.evidence_figures`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from lmc.claims.statistics import Observation, estimate
from lmc.reporting.thresholds import Zone, needed_change, zone_of_effect, zone_of_values

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
        zone: the values that satisfy the threshold.
        column: the one position that the threshold is asked at; ``None`` for all.
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
        """The numbers in words, for who cannot see them."""
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


def mean_at(x: float, values: Sequence[Mapping[str, Any]]) -> Mean | None:
    """Mean and interval at ``x`` of a results file's values, as verdicts have them; ``None`` of none.

    The interval comes from leaving out one model at a time (`lmc.claims.statistics.estimate`); with fewer
    than three models or disjoint pairs there is none.
    """
    found = [Observation(each["width"], each["pair"], each["value"]) for each in values if finite([each["value"]])]
    if not found:
        return None
    try:
        estimated = estimate(found)
    except ValueError:
        return Mean(x, sum(finite(each.value for each in found)) / len(found), count=len(found))
    low, high = estimated.interval()
    return Mean(x, estimated.mean, low, high, len(found))


def claim_figure(claim: Mapping[str, Any]) -> Figure | None:
    """The values of a claim by setting, and its effects against the threshold; ``None`` without values.

    Args:
        claim: of a results document.
    """
    notes: list[str] = []
    panels = [
        panel for setting in claim["settings"] if (panel := _setting_panel(setting, claim["unit"], notes)) is not None
    ]
    if not panels:
        return None
    if (effects := _effect_panel(claim)) is not None:
        panels.append(effects)
    caption = (
        "Small points are single pairs or models, marks their mean with its 95 % interval. The shaded zone "
        "satisfies the threshold; significance (p ≤ 0.05) is asked in addition."
    )
    return Figure(str(claim["id"]), str(claim["statement"]), caption, tuple(panels), tuple(dict.fromkeys(notes)))


def _setting_panel(setting: Mapping[str, Any], unit: str, notes: list[str]) -> Panel | None:
    values = [each for each in setting["values"] if finite([each["value"]])]
    if not values:
        return None
    parts, groups = (list(dict.fromkeys(each[name] for each in values)) for name in ("part", "group"))
    widths = sorted({each["width"] for each in values})
    if len(parts) > 1 or widths == [0.0]:
        layers = widths != [0.0] and _are_layers(parts)  # what rests on no model has no layers
        axis = categories("layer" if layers else "part", parts, setting["name"], notes)
        positions: dict[Any, float] = {part: float(at) for at, part in enumerate(parts)}
        by = "part"
    elif len(widths) > 1:
        positions = {width: math.log2(width) for width in widths}
        axis = Axis("width", tuple((positions[width], width_name(width)) for width in widths))
        by = "width"
    else:
        axis = categories(f"at width {width_name(widths[0])}", groups, setting["name"], notes)
        positions = {group: float(at) for at, group in enumerate(groups)}
        by = "group"
    series = tuple(_series_of(values, by, positions))
    threshold = str(setting["threshold"])
    column = positions[widths[0 if "narrowest" in threshold else -1]] if by == "width" else None
    zone, rule = zone_of_values(threshold), _rule(series, by, threshold)
    if zone and by != "width" and len(widths) > 1:
        notes.append("The threshold is asked at one width only, see the table.")
    return Panel(str(setting["name"]), axis, Axis(unit), series, zone, column, rule)


def _rule(series: Sequence[Series], by: str, threshold: str) -> tuple[float, str] | None:
    change = needed_change(threshold)
    if by != "width" or len(series) != 1 or change is None or not series[0].means:
        return None
    return series[0].means[0].value + change, "to be reached at the widest"


def _are_layers(parts: Sequence[str]) -> bool:
    return not any(" " in part or part.endswith(("midpoint", "maximum")) for part in parts)


def categories(label: str, names: Sequence[str], where: str, notes: list[str]) -> Axis:
    """Names as ticks where they are short, else numbers, and a note of what is what."""
    room = 44 / max(len(names), 1)
    if all(len(name) <= room for name in names):
        return Axis(label, tuple((float(at), name or "all") for at, name in enumerate(names)))
    listed = "; ".join(f"{at}: {name}" for at, name in enumerate(names, start=1))
    notes.append(f"{where}, {label}s: {listed}.")
    return Axis(label, tuple((float(at), str(at + 1)) for at in range(len(names))))


def _series_of(values: Sequence[Mapping[str, Any]], by: str, positions: Mapping[Any, float]) -> Iterable[Series]:
    varying = [name for name in ("group", "width") if name != by and len({each[name] for each in values}) > 1]
    keys = list(dict.fromkeys(tuple(each[name] for name in varying) for each in values))
    for key in keys:
        mine = [each for each in values if tuple(each[name] for name in varying) == key]
        label = ", ".join(
            f"width {width_name(one)}" if name == "width" else str(one) for name, one in zip(varying, key, strict=True)
        )
        grouped = {x: [each for each in mine if each[by] == x] for x in positions}
        means = (mean_at(position, grouped[x]) for x, position in positions.items())
        yield Series(
            label,
            tuple((positions[each[by]], each["value"]) for each in mine),
            tuple(mean for mean in means if mean is not None),
            joined=by != "group",
        )


def _effect_panel(claim: Mapping[str, Any]) -> Panel | None:
    means: list[Mean] = []
    names: list[str] = []
    for setting in claim["settings"]:
        if not finite([setting["effect"]]):
            continue
        low, high = setting["interval"] or (None, None)
        means.append(Mean(float(len(names)), setting["effect"], low, high))
        names.append(str(setting["name"]))
    if not means:
        return None
    threshold = next((str(each["threshold"]) for each in claim["settings"] if each["threshold"]), "")
    ticks = tuple((float(at), name) for at, name in enumerate(names))
    series = Series("", means=tuple(means), joined=False)
    label = f"effect ({claim['unit']})"
    return Panel("Effect against threshold", Axis("setting", ticks), Axis(label), (series,), zone_of_effect(threshold))
