"""The pictures of the README and the documentation, drawn of the committed results.

Each is one SVG with its own background, whose colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

import msgspec
from committed import Run, committed
from verdict_tables import table

from lmc.reporting.claim_figures import claim_figure
from lmc.reporting.figures import Axis, Panel, Series, mean_at, width_name
from lmc.reporting.svg import COLOURS, HEIGHT, WIDTH, key_svg, panel_svg
from lmc.results.document import Value

TITLES = {
    "mlp-digits": "MLP on digits",
    "vgg-digits": "VGG on digits",
    "resnet-digits": "ResNet-8 on digits",
    "vgg-cifar10-2": "VGG-11 on CIFAR-10, 2 classes",
    "resnet-cifar10-2": "ResNet-20 on CIFAR-10, 2 classes",
    "vgg-cifar10-4": "VGG-11 on CIFAR-10, 4 classes",
}
"""The settings that are drawn, where there are results of them."""

DIGITS = tuple(TITLES)[:3]
COLUMNS = 3

_LIGHT = "--back:#fdfdfc;--text:#1b1c1e;--soft:#55585d;--grid:#dddedb;--c0:#bd4a00;--c1:#0b62a8;--c2:#00755a;"
_LIGHT += "--c3:#8f3a86;--c4:#7a5c00;--c5:#2e7f9e;--c6:#565a60"
_DARK = "--back:#141518;--text:#e9e9e6;--soft:#b0b3b8;--grid:#303339;--c0:#ff9f5c;--c1:#6cb6ff;--c2:#41cfa4;"
_DARK += "--c3:#e59bdc;--c4:#e3c34e;--c5:#8fd4ee;--c6:#bfc3c9"
STYLE = (
    f"svg{{{_LIGHT};--good:#13693a;--zone:#2c9a5c}}"
    f"@media(prefers-color-scheme:dark){{svg{{{_DARK};--good:#6fd79b;--zone:#49b97a}}}}"
    "text{fill:var(--text);font:10.5px system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}"
    "text.head{font-weight:600;font-size:11.5px}text.small{font-size:8.5px}text.key{font-size:12px}"
    ".back{fill:var(--back)}.axis{stroke:var(--soft);fill:none}.grid{stroke:var(--grid);fill:none}"
    ".zone{fill:var(--zone);opacity:.14}.threshold{stroke:var(--good);stroke-dasharray:5 3;fill:none}"
    + "".join(f".s{at}{{--c:var(--c{at})}}" for at in range(COLOURS))
    + ".thin{stroke:var(--c);stroke-width:.8;opacity:.3;fill:none}"
    ".cloud{stroke:var(--c);stroke-width:3.6;stroke-linecap:round;opacity:.38;fill:none}"
    ".mean,.bar{stroke:var(--c);stroke-width:1.7;fill:none}.mark{fill:var(--c);stroke:var(--back);stroke-width:.6}"
)


def barrier() -> str:
    """Loss barrier by width: of the average, of the calibrated average, and of the complementary sum."""
    panels = [
        _barrier_panel(run, setting)
        for setting in TITLES
        for run in committed().values()
        if run.tier in ("quick", "laptop") and setting in run.settings
    ]
    return picture("Loss barrier of merged models by width", panels)


def lewc() -> str:
    """The cosine of merged layers and the models' sum, by layer and width."""
    return picture("LEWC by layer and width", _of_claim("fig3-lewc-rises-with-width", "cosine"))


def conditions() -> str:
    """Weak additivity above, reciprocal orthogonality below, by layer and width."""
    additivity = _of_claim("fig4-additivity-rises-with-width", "weak additivity (cosine)")
    orthogonality = _of_claim("fig7-orthogonality-ratio-falls-with-width", "orthogonality ratio")
    return picture("The two conditions by layer and width", [*additivity, *orthogonality])


PICTURES: dict[str, Callable[[], str]] = {
    "docs/images/barrier.svg": barrier,
    "docs/images/lewc.svg": lewc,
    "docs/images/conditions.svg": conditions,
}
"""By file, what draws it."""


def picture(title: str, panels: Sequence[Panel]) -> str:
    """Panels in rows of three, and one legend for all of them."""
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    wide, high = columns * WIDTH, rows * HEIGHT + 24
    names = list(dict.fromkeys(series.label for panel in panels for series in panel.series if series.label))
    body = [
        _placed(panel_svg(panel, f"p{at}"), at % columns * WIDTH, at // columns * HEIGHT, WIDTH, HEIGHT)
        for at, panel in enumerate(panels)
    ]
    left = 58.0
    for at, name in enumerate(names):
        body.append(_placed(key_svg(at), left, high - 19, 20, 12))
        body.append(f'<text class="key" x="{left + 26:.0f}" y="{high - 9}">{escape(name)}</text>')
        left += 56 + 6.6 * len(name)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
        f'role="img"><title>{escape(title)}</title><style>{STYLE}</style>'
        f'<rect class="back" width="{wide}" height="{high}" rx="6"/>{"".join(body)}</svg>\n'
    )


def _placed(drawn: str, left: float, top: float, wide: int, high: int) -> str:
    return drawn.replace("<svg ", f'<svg x="{left:.0f}" y="{top:.0f}" width="{wide}" height="{high}" ', 1)


def barriers(run: Run, setting: str) -> dict[str, list[Value]]:
    """What the front figure draws of a setting: values by the name of the merge, as shares of the loss of chance.

    The claim of Figure 2(a) keeps the calibrated barrier less half of the raw one: both together give the raw one.
    """
    calibrated = _values(run, "fig2b-calibrated-barrier-falls-with-width", setting)
    left = {(each.width, each.seeds, each.draw): each.value for each in _values(run, _LEFT, setting)}
    raw = [
        msgspec.structs.replace(each, value=2 * (each.value - other))
        for each in calibrated
        if each.value is not None and (other := left.get((each.width, each.seeds, each.draw))) is not None
    ]
    summed = {(each.width, each.seeds): each for claim, group in _SUMS for each in _values(run, claim, setting, group)}
    return {"average": raw, "average, calibrated": calibrated, "complementary sum, not calibrated": [*summed.values()]}


_LEFT = "fig2a-calibration-removes-the-barrier"
_SUMS = (  # claims that look at several widths, and their group
    ("sum-needs-no-temperature", ""),
    ("sum-beats-matching-past-the-narrowest", "complementary"),
    ("sum-beats-matching-at-every-width", "complementary"),
)


def _values(run: Run, claim: str, setting: str, group: str = "") -> list[Value]:
    """Those of a claim, of one group if it has several; barriers in nats as shares of the loss of chance."""
    if (claim, setting) not in run.found:
        return []
    of, judged = run.found[claim, setting]
    by = run.chance(setting) if of.unit == "nats" else 1.0
    values = (each for each in judged.values if each.value is not None and group in ("", each.group))
    return [msgspec.structs.replace(each, value=each.value / by) for each in values]


def _barrier_panel(run: Run, setting: str) -> Panel:
    found = barriers(run, setting)
    widths = sorted({each.width for values in found.values() for each in values})
    series = tuple(_by_width(name, values) for name, values in found.items())
    ticks = tuple((math.log2(width), width_name(width)) for width in widths)
    return Panel(
        TITLES[setting], Axis("width", ticks), Axis("loss barrier at λ = ½ (of chance)"), series, rule=(0.0, "")
    )


def _by_width(name: str, values: Iterable[Value]) -> Series:
    at: dict[float, list[Value]] = {}
    for each in values:
        at.setdefault(each.width, []).append(each)
    means = (mean_at(math.log2(width), of_width) for width, of_width in sorted(at.items()))
    return Series(name, means=tuple(mean for mean in means if mean is not None))


def _of_claim(claim_id: str, unit: str) -> list[Panel]:
    """A claim's panels on digits with its means only; widths as narrow, middle and wide, as settings differ in them."""
    run = committed()["quick"]
    figure = claim_figure(next(claim for claim, _ in run.of_claim(claim_id)))
    assert figure is not None
    names = ("narrow", "middle", "wide")
    panels = {panel.title: panel for panel in figure.panels}
    return [
        dataclasses.replace(
            panels[setting],
            title=TITLES[setting],
            y=Axis(unit),
            series=tuple(
                dataclasses.replace(series, label=name, points=())
                for name, series in zip(names, panels[setting].series, strict=True)
            ),
            zone=None,
        )
        for setting in DIGITS
    ]


def sums() -> str:
    """The README's table of what the front figure shows at the widest width, and the barrier after matching."""
    rows = []
    for setting, title in TITLES.items():
        for run in committed().values():
            if run.tier in ("quick", "laptop") and setting in run.settings:
                matched = _values(run, _MATCHED, setting, "matching")
                columns = [*barriers(run, setting).values(), matched]
                raw, calibrated, summed, matching = (_at_the_widest(values) for values in columns)
                rows.append([title, raw, calibrated, matching, summed])
    return table(["", "average", "average with β", "matched, with β", "complementary sum"], rows)


_MATCHED = "table1-permutation-is-not-needed"


def _at_the_widest(values: Sequence[Value]) -> str:
    series = _by_width("", values)
    return f"{series.means[-1].value:.2f}".replace("-0.00", "0.00") if series.means else ""
