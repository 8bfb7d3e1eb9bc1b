"""What a run is doing, how far it is by what it costs, and its verdicts as they fall.

A bar on a terminal, plain lines elsewhere.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

from lmc.executing.jobs import Job

LINE_EVERY = 15.0
"""Seconds between plain lines."""

Show = Callable[[str, float], None]
"""Shows what is being made and the share that is done."""


class Progress:
    """Follows the jobs of a run.

    Args:
        jobs: all of them.
        show: called with what is being made and the share of the cost that is done, after every change.
        say: prints a line.
    """

    def __init__(self, jobs: Sequence[Job], show: Show, say: Callable[[str], None]) -> None:
        self.say = say
        self._show, self._total = show, sum(job.cost for job in jobs)
        self._spent = 0.0
        self._running: dict[str, Job] = {}

    def began(self, job: Job) -> None:
        """A job, or a part of one, is being made."""
        self._running[job.makes[0]] = job
        self._changed()

    def done(self, job: Job) -> None:
        """It is made."""
        self._running.pop(job.makes[0], None)
        self._spent += job.cost
        self._changed()

    def _changed(self) -> None:
        share = self._spent / self._total if self._total else 1.0
        self._show(_now(list(self._running.values())), min(share, 1.0))


@contextmanager
def showing_progress(jobs: Sequence[Job]) -> Iterator[Progress]:
    """Show the progress of ``jobs``; yields what to tell of each."""
    if jobs and sys.stderr.isatty():
        with _bar() as (show, say):
            yield Progress(jobs, show, say)
    else:
        yield Progress(jobs, _lines() if jobs else lambda *_: None, _print)


def _now(running: Sequence[Job]) -> str:
    """What has been made for the longest, and how much else."""
    if not running:
        return ""
    job = running[0]
    spec, count = job.specs[0], len(job.specs)
    what = f"{'measuring' if job.needs else 'training'} {spec.arch} x{Fraction(spec.width).limit_denominator(1024)}"
    seeds = f"seed {spec.seed}" + (f" and {count - 1} more" if count > 1 else "")
    more = f"; {len(running) - 1} more at once" if len(running) > 1 else ""
    return f"{what} on {spec.dataset}, {seeds}{more}"


@contextmanager
def _bar() -> Iterator[tuple[Show, Callable[[str], None]]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        BarColumn(20),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=1.0)

        def show(now: str, share: float) -> None:
            progress.update(task, completed=share, description=now, refresh=True)

        yield show, lambda line: console.print(line, markup=False, highlight=False)


def _lines() -> Show:
    started = last = time.monotonic()

    def show(now: str, share: float) -> None:
        nonlocal last
        time_now = time.monotonic()
        if (now and time_now - last >= LINE_EVERY) or (share == 1.0 and not now):
            last, elapsed = time_now, time_now - started
            left = f", about {elapsed * (1 - share) / share:.0f} s left" if share else ""
            _print(f"{share:.0%}, {elapsed:.0f} s elapsed{left}{now and f'; {now}'}")

    return show


def _print(line: str) -> None:
    print(f"lmc: {line}", file=sys.stderr, flush=True)
