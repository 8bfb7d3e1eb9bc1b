"""What it costs to go on: a training that is killed late is not begun again."""

from __future__ import annotations

import time
from pathlib import Path

from harness import Runs, content, judge_overhead, timed

from lmc.store.store import Store
from lmc.store.upkeep import prunable

EVERY = 1.0
"""Seconds between checkpoints."""


def step(store: Store) -> int:
    """At which the latest checkpoint of the one training stands."""
    records = [store.read("checkpoints", key) for key in store.keys("checkpoints")]
    return max((record["step"] for record in records if record), default=0)


def test_a_long_training_killed_late_goes_on(runs: Runs, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    undisturbed = timed(runs, whole, tier="LONG", do="nothing", every=EVERY)
    calm = [Store(whole / "store").read("models", key) for key in Store(whole / "store").keys("models")]
    steps = min(record["steps"] for record in calm if record)
    started = time.monotonic()
    run = runs.start(killed, tier="LONG", do="nothing", every=EVERY)
    while step(Store(killed / "store")) < 0.8 * steps and run.poll() is None:
        time.sleep(0.05)
    run.kill(9)
    assert run.wait() == -9, "the training was over before it was killed"
    died = time.monotonic() - started
    at = step(Store(killed / "store"))
    seconds = timed(runs, killed, tier="LONG", do="nothing", every=EVERY)
    models = [Store(killed / "store").read("models", key) for key in Store(killed / "store").keys("models")]
    assert [record["resumed"] for record in models if record] == [[at]] * 6, "it went on from the latest checkpoint"
    for paths in prunable(Store(killed / "store")).values():  # what was half-written
        for path in paths:
            path.unlink()
    assert content(killed) == content(whole)
    assert undisturbed > 10, "too short for a run that began again to show; give it more epochs"
    left = undisturbed * (1 - at / steps)
    judge_overhead(seconds - left, f"killed after {died:.1f} s of {undisturbed:.1f} s, rerun {seconds:.1f} s")
