"""What the soak run judges: each fault of the process that it must find is put into made-up rounds, one at a time."""

from __future__ import annotations

import importlib.util
import math
import random
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("soak", Path(__file__).parents[2] / "benchmarks" / "soak.py")
assert _SPEC is not None
assert _SPEC.loader is not None
soak = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(soak)

LEAK = {"memory_mib": 10.5, "open_files": 1, "threads": 1, "processes": 1, "store_mib": 0.3}
"""What a round leaves behind that is too much; of memory, its results."""


def rounds(count: int, leak: dict[str, float] | None = None, late: bool = False) -> list[dict[str, float]]:
    """Of a process that is noisy but sound, and what each leaves behind beside; where ``late``, the last half only."""
    chance, found = random.Random(0), []
    for number in range(count):
        times = max(0, number - count // 2) if late else number
        sound = {
            "memory_mib": 400 + chance.uniform(-6, 6) + (200 if number == count // 2 else 0),
            "open_files": 40 + chance.choice((0, 0, 0, 1, 2)),
            "threads": 12 + chance.choice((0, 0, 1)),
            "processes": 3,
            "store_mib": 100 + chance.uniform(-0.01, 0.01),
            "leases": 0,
            "workers_left": 0,
        }
        found.append({name: value + times * (leak or {}).get(name, 0.0) for name, value in sound.items()})
    return found


@pytest.mark.parametrize("count", [soak.SETTLED + soak.FEWEST, 20, 60])
def test_a_sound_process_passes(count: int) -> None:
    assert soak.problems(rounds(count), 0) == []


@pytest.mark.parametrize("count", [soak.SETTLED + soak.FEWEST, 20, 60])
@pytest.mark.parametrize("name", LEAK)
def test_a_leak_fails(name: str, count: int) -> None:
    (said,) = soak.problems(rounds(count, {name: LEAK[name]}), 0)
    assert name in said
    assert soak.growth(rounds(count, {name: LEAK[name]}), name)["per_round"] == pytest.approx(LEAK[name], rel=0.7)


@pytest.mark.parametrize("name", LEAK)
def test_a_leak_that_begins_late_fails(name: str) -> None:
    (said,) = soak.problems(rounds(40, {name: LEAK[name]}, late=True), 0)
    assert name in said


def test_no_number_is_no_pass() -> None:
    spoilt = [{**each, "memory_mib": math.nan} for each in rounds(20)]
    (said,) = soak.problems(spoilt, 0)
    assert "memory_mib" in said


@pytest.mark.parametrize("count", range(soak.SETTLED + soak.FEWEST))
def test_too_few_rounds_are_no_pass(count: int) -> None:
    for name in soak.LIMITS:
        soak.growth(rounds(count), name)
    (said,) = soak.problems(rounds(count), 0)
    assert "too few rounds" in said


@pytest.mark.parametrize("name", ["leases", "workers_left"])
def test_what_is_left_behind_in_one_round_fails(name: str) -> None:
    found = rounds(20)
    found[7][name] = 1
    assert [name.split("_")[0] in said for said in soak.problems(found, 0)] == [True]


def test_another_number_fails() -> None:
    assert soak.problems(rounds(20), 1) == ["1 rounds with other numbers"]
