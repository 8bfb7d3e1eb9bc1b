"""Figures as inline SVG: no script, no font, colours from the page's style sheet so that they follow dark mode.

Bulk goes into few elements: all points of a series are one path of round dots, all thin lines another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from lmc.reporting.figures import Mean, Panel, Point, Series
from lmc.reporting.scales import Scale, x_scale, y_scale

WIDTH, HEIGHT = 340, 224
COLOURS = 7  # how many the style sheet has

_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 332, 24, 178
_DODGE = 7  # between series that share positions
_HALF_COLUMN = 18
_FEW = 5  # marks on a curve


class _Frame:
    """Where numbers of a panel lie on the drawing."""

    def __init__(self, panel: Panel) -> None:
        self.x, self.y = x_scale(panel), y_scale(panel)

    def across(self, value: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * self.x.share(value)

    def up(self, value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * self.y.share(value)


def panel_svg(panel: Panel, name: str) -> str:
    """A diagram as an ``<svg>`` element.

    Args:
        panel: what to draw.
        name: unique in the page; the ids of its title and description begin with it.
    """
    frame = _Frame(panel)
    body = [*_zone(panel, frame), *_y_axis(panel, frame.y, frame), *_x_axis(panel, frame), *_rule(panel, frame)]
    for at, series in enumerate(panel.series):
        shift = (at - (len(panel.series) - 1) / 2) * _spread(panel) if series.points else 0.0
        body.append(f'<g class="s{at % COLOURS}">{"".join(_series(series, frame, shift, at))}</g>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(panel.title)}</title><desc id="{name}-d">{escape(panel.described())}</desc>'
        f'<text class="head" x="{_LEFT}" y="14">{escape(panel.title)}</text>{"".join(body)}</svg>'
    )


def key_svg(at: int) -> str:
    """The marker of the series number ``at``, for the legend."""
    return (
        f'<svg class="key s{at % COLOURS}" viewBox="0 0 20 12" aria-hidden="true">'
        f'<path class="mean" d="M1 6H19"/><path class="mark" d="{_marker(at, 10, 6)}"/></svg>'
    )


def _spread(panel: Panel) -> float:
    """Pixels between series at one position: no more than the positions leave room for."""
    slots = max(len(panel.x.ticks), 1)
    return min(_DODGE, 0.7 * (_RIGHT - _LEFT) / slots / max(len(panel.series), 1))


def _zone(panel: Panel, frame: _Frame) -> Iterable[str]:
    if panel.zone is None or not panel.zone.ends:
        return
    top, bottom = frame.up(min(panel.zone.high, frame.y.high)), frame.up(max(panel.zone.low, frame.y.low))
    left, right = _columns(panel, frame)
    if bottom > top:
        size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
        yield f'<rect class="zone" x="{left:.1f}" y="{top:.1f}" {size}/>'
    for end in panel.zone.ends:
        yield f'<path class="threshold" d="M{_LEFT} {frame.up(end):.1f}H{_RIGHT}"/>'


def _columns(panel: Panel, frame: _Frame) -> tuple[float, float]:
    """The part of the width that the zone covers."""
    if panel.column is None:
        return _LEFT, _RIGHT
    middle = frame.across(panel.column)
    return max(_LEFT, middle - _HALF_COLUMN), min(_RIGHT, middle + _HALF_COLUMN)


def _rule(panel: Panel, frame: _Frame) -> Iterable[str]:
    if panel.rule is not None:
        height = frame.up(panel.rule[0])
        yield f'<path class="threshold" d="M{_LEFT} {height:.1f}H{_RIGHT}"/>'
        above = height - 4 if height > _TOP + 16 else height + 12
        yield f'<text class="small" x="{_RIGHT - 2}" y="{above:.1f}" text-anchor="end">{escape(panel.rule[1])}</text>'


def _y_axis(panel: Panel, scale: Scale, frame: _Frame) -> Iterable[str]:
    ticks = scale.ticks()
    grid = "".join(f"M{_LEFT} {frame.up(value):.1f}H{_RIGHT}" for value, _ in ticks)
    yield f'<path class="grid" d="{grid}"/>'
    for value, label in ticks:
        yield f'<text x="{_LEFT - 5}" y="{frame.up(value) + 3.5:.1f}" text-anchor="end">{label}</text>'
    middle = (_TOP + _BOTTOM) / 2
    yield f'<text text-anchor="middle" transform="translate(10 {middle}) rotate(-90)">{escape(panel.y.label)}</text>'


def _x_axis(panel: Panel, frame: _Frame) -> Iterable[str]:
    ticks = list(panel.x.ticks) or frame.x.ticks()
    marks = "".join(f"M{frame.across(value):.1f} {_BOTTOM}v4" for value, _ in ticks)
    yield f'<path class="axis" d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}{marks}"/>'
    for value, label in ticks:
        yield _tick_label(label, frame.across(value), (_RIGHT - _LEFT) / len(ticks))
    middle = (_LEFT + _RIGHT) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">{escape(panel.x.label)}</text>'


def _tick_label(label: str, x: float, room: float) -> str:
    """A label under the axis, on two lines where it is long."""
    first, dash, second = label.partition("-") if len(label) * 6 > room else (label, "", "")
    lines = [first + dash, second] if second else [label]
    spans = "".join(
        f'<tspan x="{x:.1f}" dy="{0 if at == 0 else 11}">{escape(line)}</tspan>' for at, line in enumerate(lines)
    )
    fitted = ' class="small"' if max(map(len, lines)) * 6 > room else ""
    return f'<text y="{_BOTTOM + 15}" text-anchor="middle"{fitted}>{spans}</text>'


def _series(series: Series, frame: _Frame, shift: float, at: int) -> Iterable[str]:
    if series.lines:
        drawn = "".join(_polyline(line, frame) for line in series.lines)
        yield f'<path class="thin" d="{drawn}"/>'
    if series.points:
        dots = dict.fromkeys(f"M{frame.across(x) + shift:.1f} {frame.up(y):.1f}h0" for x, y in series.points)
        yield f'<path class="cloud" d="{"".join(dots)}"/>'
    if series.joined and len(series.means) > 1:
        line = [(mean.x, mean.value) for mean in series.means]
        yield f'<path class="mean" d="{_polyline(line, frame, shift)}"/>'
    bars = "".join(_bar(mean, frame, shift) for mean in series.means)
    if bars:
        yield f'<path class="bar" d="{bars}"/>'
    marks = (_marker(at, frame.across(mean.x) + shift, frame.up(mean.value)) for mean in marked(series, at))
    yield f'<path class="mark" d="{"".join(marks)}"/>'


def marked(series: Series, at: int) -> Sequence[Mean]:
    """The means that get a marker: all, or a few along a curve, elsewhere for each series."""
    if series.marked or len(series.means) <= _FEW:
        return series.means
    step = len(series.means) // _FEW
    return series.means[(step // 2 + at * max(1, step // 3)) % step :: step]


def _polyline(line: Sequence[Point], frame: _Frame, shift: float = 0.0) -> str:
    return "M" + "L".join(f"{frame.across(x) + shift:.1f} {frame.up(y):.1f}" for x, y in line)


def _bar(mean: Mean, frame: _Frame, shift: float) -> str:
    if mean.low is None or mean.high is None:
        return ""
    x = frame.across(mean.x) + shift
    low, high = frame.up(mean.low), frame.up(mean.high)
    return f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 3:.1f} {low:.1f}h6M{x - 3:.1f} {high:.1f}h6"


def _marker(at: int, x: float, y: float) -> str:
    """Circle, square, diamond, triangle up, triangle down, cross, bar: told apart without colour."""
    shapes = (
        "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
        "m-3.5 -3.5h7v7h-7z",
        "m0 -5l5 5l-5 5l-5 -5z",
        "m0 -5l4.6 8h-9.2z",
        "m0 5l4.6 -8h-9.2z",
        "m-1.5 -5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z",
        "m-5 -1.8h10v3.6h-10z",
    )
    return f"M{x:.1f} {y:.1f}{shapes[at % len(shapes)]}"
