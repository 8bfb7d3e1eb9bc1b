"""The figure of a claim: the values its verdicts rest on, and its effects against what is asked of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lmc.claims.asked import Asked
from lmc.reporting.figures import Axis, Figure, Mean, Panel, Series, categories, finite, mean_at, width_name
from lmc.reporting.zones import needed_change, zone_of_effect, zone_of_values
from lmc.results.document import Claim, Judged, Value


def claim_figure(claim: Claim) -> Figure | None:
    """The values of a claim by setting, and its effects against what is asked; ``None`` without values.

    Args:
        claim: of a results document.
    """
    notes: list[str] = []
    panels = [panel for each in claim.settings if (panel := _setting_panel(each, claim.unit, notes)) is not None]
    if not panels:
        return None
    if (effects := _effect_panel(claim)) is not None:
        panels.append(effects)
    caption = (
        "Small points are single pairs or models, marks their mean with its 95 % interval. The shaded zone "
        "satisfies the threshold; significance (p ≤ 0.05) is asked in addition."
    )
    return Figure(claim.id, claim.statement, caption, tuple(panels), tuple(dict.fromkeys(notes)))


@dataclass(frozen=True)
class _Across:
    """What the horizontal axis of a setting's diagram tells apart.

    Args:
        by: what it is; the legend tells the rest.
        axis: with its ticks.
        of: what of a value decides where it stands.
        positions: of each of those.
    """

    by: Literal["part", "width", "group"]
    axis: Axis
    of: Callable[[Value], str | float]
    positions: Mapping[str | float, float]


def _setting_panel(judged: Judged, unit: str, notes: list[str]) -> Panel | None:
    values = [each for each in judged.values if finite([each.value])]
    if not values:
        return None
    across = _across(values, judged.name, notes)
    series = tuple(_series_of(values, across))
    widths = sorted({each.width for each in values})
    asked, column = judged.asked, None
    zone = zone_of_values(asked)
    if asked and asked.at:
        if across.by == "width":
            column = across.positions[widths[0] if asked.at == "narrowest" else widths[-1]]
        elif zone and len(widths) > 1:
            notes.append("The threshold is asked at one width only, see the table.")
    rule = _rule(series, asked) if across.by == "width" else None
    return Panel(judged.name, across.axis, Axis(unit), series, zone, column, rule)


def _across(values: Sequence[Value], where: str, notes: list[str]) -> _Across:
    """Parts where there are several, else widths, else groups."""
    parts, groups = (
        list(dict.fromkeys(each.part for each in values)),
        list(dict.fromkeys(each.group for each in values)),
    )
    widths = sorted({each.width for each in values})
    if len(parts) > 1 or widths == [0.0]:
        layers = widths != [0.0] and _are_layers(parts)  # what rests on no model has no layers
        axis = categories("layer" if layers else "part", parts, where, notes)
        return _Across("part", axis, lambda each: each.part, {part: float(at) for at, part in enumerate(parts)})
    if len(widths) > 1:
        positions: dict[str | float, float] = {width: math.log2(width) for width in widths}
        axis = Axis("width", tuple((positions[width], width_name(width)) for width in widths))
        return _Across("width", axis, lambda each: each.width, positions)
    axis = categories(f"at width {width_name(widths[0])}", groups, where, notes)
    return _Across("group", axis, lambda each: each.group, {group: float(at) for at, group in enumerate(groups)})


def _are_layers(parts: Sequence[str]) -> bool:
    return not any(" " in part or part.endswith(("midpoint", "maximum")) for part in parts)


def _rule(series: Sequence[Series], asked: Asked | None) -> tuple[float, str] | None:
    change = needed_change(asked)
    if len(series) != 1 or change is None or not series[0].means:
        return None
    return series[0].means[0].value + change, "to be reached at the widest"


def _series_of(values: Sequence[Value], across: _Across) -> Iterable[Series]:
    by_group = across.by != "group" and len({each.group for each in values}) > 1
    by_width = across.by != "width" and len({each.width for each in values}) > 1

    def key(each: Value) -> tuple[str, float]:
        return each.group if by_group else "", each.width if by_width else 0.0

    for group, width in dict.fromkeys(map(key, values)):
        mine = [each for each in values if key(each) == (group, width)]
        means = (
            mean_at(position, [each for each in mine if across.of(each) == place])
            for place, position in across.positions.items()
        )
        yield Series(
            ", ".join([group] * by_group + [f"width {width_name(width)}"] * by_width),
            tuple((across.positions[across.of(each)], each.value) for each in mine if each.value is not None),
            tuple(mean for mean in means if mean is not None),
            joined=across.by != "group",
        )


def _effect_panel(claim: Claim) -> Panel | None:
    means: list[Mean] = []
    names: list[str] = []
    for each in claim.settings:
        if each.effect is not None and math.isfinite(each.effect):
            low, high = each.interval or (None, None)
            means.append(Mean(float(len(names)), each.effect, low, high))
            names.append(each.name)
    if not means:
        return None
    asked = next((each.asked for each in claim.settings if each.asked), None)
    axis = Axis("setting", tuple((float(at), name) for at, name in enumerate(names)))
    series = Series("", means=tuple(means), joined=False)
    return Panel("Effect against threshold", axis, Axis(f"effect ({claim.unit})"), (series,), zone_of_effect(asked))
