"""Runs in this process: an executor that makes one cell after another, and settings for a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lmc.executing.jobs import Cell, Workplace, make_cell
from lmc.executing.local import OnDone
from lmc.executing.settings import Settings


class Serial:
    """Makes one cell after another in this process; remembers what it was asked for."""

    def __init__(self) -> None:
        self.rounds: list[list[Cell]] = []

    def run(self, cells: Sequence[Cell], workplace: Workplace, on_done: OnDone) -> None:
        self.rounds.append(list(cells))
        for cell in sorted(cells, key=lambda each: not each.trains):
            make_cell(cell, workplace)
            on_done(cell)


def settings_in(folder: Path) -> Settings:
    return Settings.resolve({"LMC_HOME": str(folder)}, device="cpu", workers=1)
