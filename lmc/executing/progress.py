"""How far a run is: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lmc.executing.jobs import Job
from lmc.executing.supervising import OnDone

LINE_EVERY = 15.0
"""Seconds between plain lines."""


@contextmanager
def showing_progress(jobs: Sequence[Job]) -> Iterator[OnDone]:
    """Show progress over the models and measurements of ``jobs``, weighted by cost; yields what to call after each."""
    total, count = sum(job.cost for job in jobs), sum(len(job.makes) for job in jobs)
    if not jobs:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar(total, count) as advance:
            yield advance
    else:
        yield _lines(total, count)


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

        def advance(job: Job) -> None:
            nonlocal done
            done += len(job.makes)
            progress.update(task, advance=job.cost, description=f"{done}/{count} pieces")

        yield advance


def _lines(total: float, count: int) -> OnDone:
    started = last = time.monotonic()
    done, spent = 0, 0.0

    def advance(job: Job) -> None:
        nonlocal done, spent, last
        done, spent = done + len(job.makes), spent + job.cost
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
