"""How far a run is: what it does now, said in lines or by a bar on a terminal."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from tiny_claim import RECIPE

from lmc.executing import progress
from lmc.executing.jobs import MeasuringJob, TrainingJob
from lmc.executing.progress import showing_progress
from lmc.measuring.measurements import PairMeasurement

JOBS = [
    TrainingJob(tuple(RECIPE.with_seed(10 * count + seed) for seed in range(count)), float(count))
    for count in (1, 2, 3)
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_say_what_is_done_now_and_count_by_cost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After jobs of 1 and 3 of 6 seconds two thirds are done, whatever they make; what is to come is not left out."""
    one, two, three = JOBS
    clock = iter([0.0, 1.0, 19.0, 20.0, 21.0, 60.0, 120.0])  # the start, then after each change
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with showing_progress(JOBS) as watch:
        watch.began(one)
        watch.done(one)  # nothing is made for a moment, of which nothing is said
        watch.began(three)
        watch.began(two)
        watch.done(three)
        watch.done(two)
    assert capsys.readouterr().err.splitlines() == [
        "lmc: 17%, 20 s elapsed, about 100 s left; training mlp x1/64 on digits, seed 30 and 2 more",
        "lmc: 67%, 60 s elapsed, about 30 s left; training mlp x1/64 on digits, seed 20 and 1 more",
        "lmc: 100%, 120 s elapsed, about 0 s left",
    ]


def test_how_many_more_are_made_at_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pair = MeasuringJob((PairMeasurement(JOBS[1].specs[0], JOBS[1].specs[1]),), (4.0,))
    clock = iter([0.0, 1.0, 40.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with showing_progress([pair, *JOBS]) as watch:
        watch.began(pair)
        watch.began(JOBS[0])
        watch.say("a verdict")
    assert capsys.readouterr().err.splitlines() == [
        "lmc: 0%, 40 s elapsed; measuring mlp x1/64 on digits, seed 20 and 1 more; 1 more at once",
        "lmc: a verdict",
    ]


def test_a_terminal_shows_a_bar_and_lines_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setenv("COLUMNS", "120")
    with showing_progress(JOBS) as watch:
        for job in JOBS:
            watch.began(job)
            watch.say("holds: [bold] is no markup")
            watch.done(job)
    assert "holds: [bold] is no markup" in shown.getvalue()
    assert "training mlp x1/64 on digits" in shown.getvalue()
    assert "100%" in shown.getvalue()


def test_nothing_to_make_is_shown_as_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with showing_progress([]) as watch:
        watch.done(JOBS[0])
    assert capsys.readouterr().err == ""
