"""How far a run is: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lmc.executing.jobs import Cell
from lmc.executing.local import OnDone

LINE_EVERY = 15.0
"""Seconds between plain lines."""


@contextmanager
def showing_progress(cells: Sequence[Cell]) -> Iterator[OnDone]:
    """Show progress over ``cells``, weighted by cost; yields what to call after each cell."""
    total = sum(cell.cost for cell in cells)
    if not cells:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar(total, len(cells)) as advance:
            yield advance
    else:
        yield _lines(total, len(cells))


@contextmanager
def _bar(total: float, count: int) -> Iterator[OnDone]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(f"0/{count} pieces", total=total)
        done = 0

        def advance(cell: Cell) -> None:
            nonlocal done
            done += 1
            progress.update(task, advance=cell.cost, description=f"{done}/{count} pieces")

        yield advance


def _lines(total: float, count: int) -> OnDone:
    started = last = time.monotonic()
    done, spent = 0, 0.0

    def advance(cell: Cell) -> None:
        nonlocal done, spent, last
        done, spent = done + 1, spent + cell.cost
        now = time.monotonic()
        if now - last >= LINE_EVERY or done == count:
            last, elapsed = now, now - started
            left = elapsed * (total - spent) / spent
            print(
                f"lmc: {done}/{count} pieces, {elapsed:.0f} s elapsed, about {max(left, 0):.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    return advance
