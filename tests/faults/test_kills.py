"""A run that is killed anywhere ends, once it is run again, as one that never was."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from harness import Calm, Point, Runs, after_a_death, described, kill, points, rerun

COUNT = int(os.environ.get("LMC_FAULT_POINTS") or 6)
SEED = int(os.environ.get("LMC_FAULT_SEED") or 1)
TALLY: Counter[str] = Counter()
OVERHEADS: list[float] = []


@pytest.mark.parametrize(
    "point", points(COUNT, SEED), ids=lambda point: f"{point.who.replace(' ', '-')}-{point.when:.6f}"
)
def test_a_killed_run_loses_nothing(point: Point, runs: Runs, undisturbed: Calm, tmp_path: Path) -> None:
    died = kill(runs, tmp_path, point, undisturbed)
    kept = after_a_death(runs, tmp_path)
    TALLY[f"{point.who}: {'survived' if died.status == 0 else 'died'}"] += 1
    if point.who == "worker":
        assert died.status == 0, "a worker's death is no reason to give up"
    seconds = rerun(runs, tmp_path, undisturbed, kept)
    if died.status:
        OVERHEADS.append(died.seconds + seconds - undisturbed.seconds)


def test_going_on_costs_little() -> None:
    """What was spent in both runs beyond an undisturbed one: the second start, and the work that was lost."""
    print(f"\n{sum(TALLY.values())} kill points: {dict(sorted(TALLY.items()))}; overhead {described(OVERHEADS)}")
    assert len(OVERHEADS) > COUNT / 4, "most of the runs were killed too late"
    assert sorted(OVERHEADS)[len(OVERHEADS) // 2] < 5
