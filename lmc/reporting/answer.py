"""What a report opens with: every verdict at a glance, and the four figures that say most."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lmc.reporting.curves import by_width, grouped
from lmc.reporting.figures import Axis, Figure, Panel, Series, categories, mean_at, width_name
from lmc.reporting.path_figures import CALIBRATED, LOSS, Quantity
from lmc.reporting.sections import grouped_claims
from lmc.results.document import Claim, Document, Judged, Value
from lmc.results.recorded import Path

BARRIER, ACCURACY = "fig2b-calibrated-barrier-falls-with-width", "fig1-accuracy-rises-with-width"
COSINE, SUM = "fig3-lewc-rises-with-width", "sum-needs-no-temperature"
ORTHOGONALITY = "fig7-orthogonality-ratio-falls-with-width"
"""The claims whose values the key figures show."""

_LINES = "Means over pairs with their 95 % intervals; colours are settings."


@dataclass(frozen=True)
class Row:
    """A claim in the matrix of verdicts.

    Args:
        claim: of the results document.
        cells: what was found on each of the matrix' settings; ``None`` where the claim does not speak of one.
    """

    claim: Claim
    cells: tuple[Judged | None, ...]


@dataclass(frozen=True)
class Block:
    """The claims of the matrix that stand for one item of the paper, or that name none.

    Args:
        name: of the item.
        about: what it shows.
        rows: one for each claim that no block before has.
    """

    name: str
    about: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Matrix:
    """Claims by setting.

    Args:
        settings: names of the columns: those that models were trained for, then the others.
        blocks: in paper order, each with at least one claim.
    """

    settings: tuple[str, ...]
    blocks: tuple[Block, ...]


def matrix(document: Document) -> Matrix:
    """Every claim once, at the first item that it stands for, by every setting.

    Args:
        document: a results document.
    """
    kinds = {judged.name: bool(judged.kind) for _, judged in document.judged()}
    settings = tuple(sorted(kinds, key=lambda name: not kinds[name]))  # else as they come
    blocks = (
        Block(group.name, group.about, tuple(_row(claim, settings) for claim in group.own))
        for group in grouped_claims(document)
        if group.own
    )
    return Matrix(settings, tuple(blocks))


def _row(claim: Claim, settings: Sequence[str]) -> Row:
    found = {judged.name: judged for judged in claim.settings}
    return Row(claim, tuple(found.get(name) for name in settings))


def key_figures(document: Document) -> list[Figure]:
    """Barrier, accuracy and LEWC by width, and the complementary sum beside the average, or else a condition.

    Args:
        document: a results document.

    Returns:
        Figures of one diagram each; fewer where the run lacks their values.
    """
    lewc = f"Mean over the layers beyond the first. {_LINES}"
    figures = [
        _of_widths(document, BARRIER, "Calibrated loss barrier by width", "barrier", _LINES),
        _of_widths(document, ACCURACY, "Accuracy of merged models by width", "accuracy", _LINES),
        _of_widths(document, COSINE, "LEWC by width", "cosine", lewc),
        _sums(document)
        or _of_widths(
            document, ORTHOGONALITY, "Reciprocal orthogonality by width", "ratio", f"Mean over layers. {_LINES}"
        ),
    ]
    return [figure for figure in figures if figure is not None]


def _claim(document: Document, name: str) -> Claim | None:
    return next((claim for claim in document.claims if claim.id == name), None)


def _of_widths(document: Document, name: str, title: str, quantity: str, caption: str) -> Figure | None:
    """The values of a claim by width, a line for each setting; ``None`` where it has none."""
    claim = _claim(document, name)
    found = {judged.name: _defined(judged.values) for judged in claim.settings} if claim else {}
    found = {setting: values for setting, values in found.items() if values}
    if not claim or not found:
        return None
    widths = sorted({each.width for values in found.values() for each in values})
    series = tuple(_line(setting, values) for setting, values in found.items())
    ticks = tuple((math.log2(width), width_name(width)) for width in widths)
    label = quantity if claim.unit == quantity else f"{quantity} ({claim.unit})"
    return Figure(f"key-{name}", title, caption, (Panel(title, Axis("width", ticks), Axis(label), series),))


def _line(setting: str, values: Iterable[Value]) -> Series:
    means = (mean_at(math.log2(width), mine) for width, mine in by_width(values))
    return Series(setting, means=tuple(mean for mean in means if mean is not None))


def _defined(values: Iterable[Value]) -> list[Value]:
    return [each for each in values if each.width > 0 and each.value is not None and math.isfinite(each.value)]


def _sums(document: Document) -> Figure | None:
    """The barrier of the complementary sum beside that of the same pairs' average, raw and calibrated."""
    claim = _claim(document, SUM)
    found = [(judged.name, _defined(judged.values)) for judged in claim.settings] if claim else []
    found = [(setting, values) for setting, values in found if values]
    if not found:
        return None
    paths = dict(grouped(document.evidence.paths, lambda path: (path.setting, path.role, path.alignment)))
    notes: list[str] = []
    axis = categories("setting", [setting for setting, _ in found], "Here", notes)
    merges: dict[str, list[list[Value]]] = {"average": [], "average, calibrated": [], "complementary sum": []}
    for setting, values in found:
        models = {(each.width, each.seeds) for each in values}
        mine = [each for each in paths.get((setting, "strong", "unpermuted"), []) if (each.width, each.seeds) in models]
        merges["average"].append(_barriers(mine, LOSS))
        merges["average, calibrated"].append(_barriers(mine, CALIBRATED))
        merges["complementary sum"].append(values)
    series = []
    for label, by_setting in merges.items():
        means = (mean_at(float(at), values) for at, values in enumerate(by_setting))
        series.append(Series(label, means=tuple(mean for mean in means if mean is not None), joined=False))
    title = "Complementary sum against average"
    caption = "Loss barrier of the same pairs at the largest width, with 95 % intervals; the sum is not calibrated."
    panel = Panel(title, axis, Axis("loss barrier (nats)"), tuple(series))
    return Figure(f"key-{SUM}", title, caption, (panel,), tuple(notes))


def _barriers(paths: Iterable[Path], quantity: Quantity) -> list[Value]:
    """How far the middle of each path lies above the mean of its ends."""
    found = []
    for path in paths:
        at = dict(quantity.points(path))
        if {0.0, 0.5, 1.0} <= at.keys():
            found.append(Value(path.width, path.seeds, at[0.5] - (at[0.0] + at[1.0]) / 2))
    return found
