"""The report's figures as files for a paper, drawn by matplotlib; the same to the last byte for the same document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc.errors import SpecError, StoreError
from lmc.reporting.evidence_figures import training_figures
from lmc.reporting.figures import Figure, Mean, Panel, Series
from lmc.reporting.scales import Scale, x_scale, y_scale
from lmc.reporting.sections import sections
from lmc.reporting.svg import marked
from lmc.results.document import Document

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

FORMATS = ("svg", "pdf")
"""What figures can be written as."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D00", "#56B4E9", "#555555")
"""Okabe and Ito's, told apart by the colour-blind; yellow, too pale for thin lines, is darkened."""

_MARKERS = ("o", "s", "D", "^", "v", "P", "_")
_COLUMNS = 3
_HALVINGS = 4  # how often every second name under an axis is left out before they may touch
_LONGEST = 120  # of a file's name, which with the ending must stay below 255 bytes
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "lmc",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8,
    "text.parse_math": False,  # a name with dollar signs is no formula
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 7,
}


def all_figures(document: Document) -> Iterator[Figure]:
    """Every figure of the report, each once."""
    seen: dict[int, Figure] = {}  # by identity: a claim stands in several sections, and a setting may be called as it
    for section in sections(document):
        for figure in (*section.figures, *section.of_claim.values()):
            if id(figure) not in seen:
                seen[id(figure)] = figure
                yield figure
    yield from training_figures(document)


def file_names(figures: Sequence[Figure]) -> list[str]:
    """A file's name, without its ending, for each figure: letters, digits, dots and dashes, no two alike.

    A figure is called after a claim or a setting, and a results file may call those ``../elsewhere``.
    """
    found: dict[str, str] = {}  # by lower case: not every disk tells the cases apart
    for figure in figures:
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", figure.name).strip(".-")[:_LONGEST] or "figure"
        name, at = base, 1
        while name.lower() in found:
            at += 1
            name = f"{base}-{at}"
        found[name.lower()] = name
    return list(found.values())


def write_figures(document: Document, folder: Path, formats: Sequence[str] = FORMATS, only: str = "") -> list[Path]:
    """Write every figure in every format.

    Args:
        document: a results document, see `lmc.results.file.read_results`.
        folder: made where it is missing.
        formats: of `FORMATS`.
        only: figures whose name contains this.

    Returns:
        The files.

    Raises:
        SpecError: a format is unknown, matplotlib is missing, or no figure is called so.
        StoreError: the folder cannot be written.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise SpecError(f"unknown format {', '.join(unknown) or '(none)'}; choose of {', '.join(FORMATS)}")
    figures = list(all_figures(document))
    named = list(zip(file_names(figures), figures, strict=True))
    chosen = [(name, figure) for name, figure in named if only in name]
    if only and not chosen:
        some = ", ".join(name for name, _ in named[:5])
        raise SpecError(f"no figure's name contains {only!r}; there are {some}, ...")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [path for name, figure in chosen for path in _write(figure, folder / name, dict.fromkeys(formats))]
    except OSError as error:
        raise StoreError(f"cannot write figures to {folder}: {error.strerror}; choose another folder, -o") from error


def _write(figure: Figure, stem: Path, formats: Iterable[str]) -> list[Path]:
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise SpecError("lmc figures needs matplotlib; pip install matplotlib") from error
    written = []
    with rc_context(STYLE):
        canvas = Canvas(layout="constrained")
        FigureCanvasAgg(canvas)
        draw(figure, canvas)
        for name in formats:
            path = stem.with_name(f"{stem.name}.{name}")
            nothing = {"Date": None} if name == "svg" else {"CreationDate": None, "ModDate": None}
            canvas.savefig(path, format=name, metadata={**nothing, "Title": figure.title})
            written.append(path)
    return written


def draw(figure: Figure, canvas: Canvas) -> None:
    """Draw a figure on an empty canvas of matplotlib, in the settings ``STYLE``."""
    columns = min(_COLUMNS, len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    canvas.set_size_inches(2.6 * columns, 2.15 * rows)
    axes = canvas.subplots(rows, columns, squeeze=False).flatten().tolist()
    for panel, place in zip(figure.panels, axes, strict=False):
        _draw(panel, place)
    for place in axes[len(figure.panels) :]:
        place.remove()
    _untangle(canvas)


def _untangle(canvas: Canvas) -> None:
    """Turn the names under an axis where they overlap; where they do even so, leave out every second."""
    canvas.draw_without_rendering()
    for axes in canvas.axes:
        if _overlapping(axes):
            axes.tick_params("x", rotation=90)
    for _ in range(_HALVINGS):
        canvas.draw_without_rendering()
        crowded = [axes for axes in canvas.axes if _overlapping(axes)]
        if not crowded:
            return
        for axes in crowded:
            low, high = axes.get_xlim()
            named = [
                (at, label.get_text()) for at, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
            ]
            axes.set_xticks(*zip(*[(at, name) for at, name in named if low <= at <= high][::2], strict=True))


def _overlapping(axes: Axes) -> bool:
    """Whether two names under an axis that was laid out touch each other."""
    boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_visible() and label.get_text()]
    boxes = sorted(boxes, key=lambda box: box.x0)
    return any(right.x0 < left.x1 for left, right in pairwise(boxes))


def _draw(panel: Panel, axes: Axes) -> None:
    across, up = x_scale(panel), y_scale(panel)
    axes.set_title(panel.title, fontsize=8)
    axes.set_xlabel(panel.x.label)
    axes.set_ylabel(panel.y.label)
    if up.log:
        axes.set_yscale("log")
        ticks = up.ticks()  # matplotlib's own would be formulas
        axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
        axes.set_yticks([], minor=True)
    axes.set_xlim(across.low, across.high)
    axes.set_ylim(up.low, up.high)
    if panel.x.ticks:
        names = [name.replace("-", "-\n", 1) if len(name) > 8 else name for _, name in panel.x.ticks]
        axes.set_xticks([at for at, _ in panel.x.ticks], names)
    if panel.zone and panel.zone.ends:
        _shade(panel, axes, (max(panel.zone.low, up.low), min(panel.zone.high, up.high)), across)
        for end in panel.zone.ends:
            axes.axhline(end, color="#13693A", lw=0.9, ls="--")
    if panel.rule:
        axes.axhline(panel.rule[0], color="#13693A", lw=0.9, ls="--", label=panel.rule[1])
    step = 0.02 * (across.high - across.low)
    for at, series in enumerate(panel.series):
        shift = (at - (len(panel.series) - 1) / 2) * step if series.points else 0.0
        _draw_series(series, axes, at, shift)
    if len(panel.series) > 1 or panel.rule:
        axes.legend()


def _shade(panel: Panel, axes: Axes, between: tuple[float, float], across: Scale) -> None:
    left, right = across.low, across.high
    if panel.column is not None:
        half = 0.06 * (right - left)
        left, right = max(left, panel.column - half), min(right, panel.column + half)
    axes.fill_between([left, right], *between, color="#2C9A5C", alpha=0.12, lw=0)


def _draw_series(series: Series, axes: Axes, at: int, shift: float) -> None:
    colour = COLOURS[at % len(COLOURS)]
    for line in series.lines:
        axes.plot(*zip(*line, strict=True), color=colour, lw=0.5, alpha=0.3)
    if series.points:
        xs, ys = zip(*series.points, strict=True)
        axes.plot([x + shift for x in xs], ys, ".", color=colour, ms=3, alpha=0.35, mew=0)
    if not series.means:
        return
    axes.errorbar(
        [mean.x + shift for mean in series.means],
        [mean.value for mean in series.means],
        yerr=list(zip(*(_errors(mean) for mean in series.means), strict=True)) if series.marked else None,
        color=colour,
        marker=_MARKERS[at % len(_MARKERS)],
        markevery=[series.means.index(mean) for mean in marked(series, at)],
        ms=4,
        lw=1.1 if series.joined else 0,
        elinewidth=1,
        capsize=2,
        label=series.label or None,
    )


def _errors(mean: Mean) -> tuple[float, float]:
    if mean.low is None or mean.high is None:
        return 0.0, 0.0
    return max(0.0, mean.value - mean.low), max(0.0, mean.high - mean.value)
