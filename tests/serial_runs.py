"""Runs in this process: an executor that makes one job after another, and settings for a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lmc.executing.jobs import Job
from lmc.executing.making import Workplace
from lmc.executing.settings import Settings
from lmc.executing.supervising import OnJob, unheeded


class Serial:
    """Makes one job after another in this process; remembers what it was asked for."""

    def __init__(self) -> None:
        self.rounds: list[list[Job]] = []

    def run(self, jobs: Sequence[Job], workplace: Workplace, on_done: OnJob, on_start: OnJob = unheeded) -> None:
        self.rounds.append(list(jobs))
        for job in sorted(jobs, key=lambda each: bool(each.needs)):
            on_start(job)
            job.make(workplace)
            on_done(job)


def settings_in(folder: Path) -> Settings:
    return Settings.resolve({"LMC_HOME": str(folder)}, device="cpu", workers=1)
