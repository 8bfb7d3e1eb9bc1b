"""How far a run is: said in lines, or by a bar on a terminal."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from tiny_claim import RECIPE

from lmc.executing import progress
from lmc.executing.jobs import TrainingJob
from lmc.executing.progress import showing_progress

JOBS = [TrainingJob(tuple(RECIPE.with_seed(seed) for seed in range(count)), float(count)) for count in (1, 2, 3)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_come_in_time_and_at_the_end(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 20.0, 30.0])  # the start, then after each job
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with showing_progress(JOBS) as done:
        for job in JOBS:
            done(job)
    assert capsys.readouterr().err.splitlines() == [
        "lmc: 3/6 pieces, 20 s elapsed, about 20 s left",
        "lmc: 6/6 pieces, 30 s elapsed, about 0 s left",
    ]


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    with showing_progress(JOBS) as done:
        for job in JOBS:
            done(job)
    assert "6/6 pieces" in shown.getvalue()
    assert "100%" in shown.getvalue()


def test_nothing_to_make_is_shown_as_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with showing_progress([]) as done:
        done(JOBS[0])
    assert capsys.readouterr().err == ""
