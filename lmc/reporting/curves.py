"""Curves of a run's evidence: its rows by what they share, and a thin line for each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from lmc.reporting.figures import Mean, Point, Series, width_name
from lmc.results.recorded import Home


class OfWidth(Protocol):
    """What was found at one width."""

    @property
    def width(self) -> float:
        """The width multiplier."""
        ...


Row = TypeVar("Row")
Key = TypeVar("Key", bound=Hashable)
AtHome = TypeVar("AtHome", bound=Home)
AtWidth = TypeVar("AtWidth", bound=OfWidth)

SHARES = tuple((float(at) / 4, name) for at, name in enumerate(("0", "¼", "½", "¾", "1")))
"""Ticks of an axis from 0 to 1."""


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> list[tuple[Key, list[Row]]]:
    """Rows with the same key together, in the order in which the keys come first."""
    found: dict[Key, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return list(found.items())


def by_setting(rows: Iterable[AtHome]) -> list[tuple[str, list[AtHome]]]:
    """Rows of the same setting together, as they come."""
    return grouped(rows, lambda row: row.setting)


def by_width(rows: Iterable[AtWidth]) -> list[tuple[float, list[AtWidth]]]:
    """Rows of the same width together, widths increasing."""
    return sorted(grouped(rows, lambda row: row.width), key=lambda each: each[0])


def curves(rows: Iterable[AtHome], points: Callable[[AtHome], list[Point]]) -> Iterator[Series]:
    """A series for each width: a thin line for each of its rows, and their mean."""
    for width, of_width in by_width(rows):
        lines = [each for row in of_width if (each := points(row))]
        at: dict[float, list[float]] = {}
        for x, y in (point for line in lines for point in line):
            at.setdefault(x, []).append(y)
        means = tuple(Mean(x, sum(ys) / len(ys), count=len(ys)) for x, ys in sorted(at.items()))
        yield Series(f"width {width_name(width)}", means=means, lines=tuple(map(tuple, lines)), marked=False)


def defined(xs: Iterable[float], ys: Sequence[float | None]) -> list[Point]:
    """The points whose number is defined."""
    return [(x, y) for x, y in zip(xs, ys, strict=False) if y is not None and math.isfinite(y)]
