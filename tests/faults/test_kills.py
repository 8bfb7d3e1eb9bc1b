"""A run that is killed anywhere ends, once it is run again, as one that never was."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from harness import Calm, Point, Runs, after_a_death, described, killed, points, rerun

COUNT = int(os.environ.get("LMC_FAULT_POINTS") or 6)
SEED = int(os.environ.get("LMC_FAULT_SEED") or 1)
TALLY: Counter[str] = Counter()
OVERHEADS: list[float] = []


@pytest.mark.parametrize(
    "point", points(COUNT, SEED), ids=lambda point: f"{point.who.replace(' ', '-')}-{point.when:.6f}"
)
def test_a_killed_run_loses_nothing(point: Point, runs: Runs, undisturbed: Calm, tmp_path: Path) -> None:
    for folder, died in killed(runs, tmp_path, point, undisturbed):
        TALLY["hit" if died.hit else "missed"] += 1
        kept = after_a_death(runs, folder)
        if point.who == "worker":
            assert died.status == 0, "a worker's death is no reason to give up"
        seconds = rerun(runs, folder, undisturbed, kept)
        if died.hit:
            TALLY[f"{point.who} hit"] += 1
        if died.status:
            OVERHEADS.append(died.seconds + seconds - undisturbed.seconds)


def test_the_kills_hit() -> None:
    """At least 200 of 240, however often one was tried; runs so short lose little (see `test_going_on.py`)."""
    print(f"\n{COUNT} kill points: {dict(sorted(TALLY.items()))}; overhead {described(OVERHEADS)}")
    assert TALLY["hit"] * 240 >= 200 * COUNT
