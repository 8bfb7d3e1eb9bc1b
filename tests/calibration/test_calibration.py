"""How often a claim holds where it is false: at most 6 % at a nominal 5 %, for every expectation and design in use.

Writes the table that the documentation shows. ``tox -e calibration``
"""

from __future__ import annotations

import csv
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated import CALIBRATED, DESIGNS, KINDS, PRINTED, Kind, Sample, power_law

from lmc.claims.parts import ALPHA
from lmc.claims.scaling import PowerLaw, least_squares
from lmc.claims.statistics import Observation, by_width, estimate, one_sided_p_value

REPLICATES = int(os.environ.get("LMC_CALIBRATION_REPLICATES", "10000"))
FEWER = max(REPLICATES // 10, 1)  # of what is printed and not asserted
MOST = 0.06 + 3 * (0.05 * 0.95 / REPLICATES) ** 0.5 * (REPLICATES < 10000)
TABLE = Path(__file__).parents[2] / "docs" / "calibration.csv"
COLUMNS = ("claim", "design", "noise", "holds at the bound", "fails at the bound", "holds inside", "asserted")

Row = tuple[str, str, str, float, float, float, str]


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    found: list[Row] = []
    yield found
    if REPLICATES >= 10000 and len({row[0] for row in found}) == len(KINDS) + 1:
        with TABLE.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows((*row[:3], *(f"{100 * share:.1f} %" for share in row[3:6]), row[6]) for row in found)


def rates(p_value: Any, p_contrary: Any) -> tuple[float, float]:
    """The shares of replicates that hold and that fail."""
    fails = np.asarray(p_contrary <= ALPHA)
    holds = ~fails & np.asarray(p_value <= ALPHA)
    return float(holds.mean()), float(fails.mean())


def sample(design: str, noise: str, name: str, replicates: int = REPLICATES) -> Sample:
    seed = zlib.crc32(f"{design} {noise} {name}".encode())
    return Sample(np.random.default_rng(seed), DESIGNS[design], (CALIBRATED | PRINTED)[noise], replicates)


@pytest.mark.parametrize("name", KINDS)
def test_false_verdicts_are_as_rare_as_they_say(name: str, rows: list[Row]) -> None:
    kind = KINDS[name]

    def judged(design: str, noise: str, inside: float, replicates: int) -> tuple[float, float]:
        tests = kind.expect.tests(kind.made(sample(design, noise, name, replicates), inside))
        return rates(tests.p_value, tests.p_contrary)

    add(rows, name, DESIGNS, kind.calibrated, judged)


def test_power_laws_are_claimed_as_rarely(rows: list[Row]) -> None:
    law = PowerLaw(exponent=0.5, tolerance=1.0)

    def judged(design: str, noise: str, inside: float, replicates: int) -> tuple[float, float]:
        return rates(*of_law(law, power_law(sample(design, noise, "law", replicates), inside)))

    add(rows, "PowerLaw, exponent above 1/2", DESIGNS, tuple(CALIBRATED), judged)


def add(
    rows: list[Row],
    name: str,
    designs: Iterable[str],
    calibrated: Sequence[str],
    judged: Callable[[str, str, float, int], tuple[float, float]],
) -> None:
    """Add a claim's rows, and find none that holds or fails too often at its bound."""
    often = []
    for design in designs:
        for noise in CALIBRATED | PRINTED:
            asserted = noise in calibrated
            held, failed = judged(design, noise, 0.0, REPLICATES if asserted else FEWER)
            power, _ = judged(design, noise, 1.0, FEWER)
            rows.append((name, design, noise, held, failed, power, "yes" if asserted else "no"))
            if asserted and max(held, failed) > MOST:
                often.append(rows[-1])
    assert not often, "\n".join(map(str, often))


def of_law(law: PowerLaw, observations: list[Observation]) -> tuple[Any, Any]:
    """The p-values as `PowerLaw.tests` has them, of all replicates; 1 where there is no barrier to fit a law to."""
    points = {width: estimate(group) for width, group in by_width(observations).items()}
    tests = law.of_fit(least_squares(points))
    unsure = one_sided_p_value(points[min(points)], 0.0, above=True) > ALPHA
    return np.where(unsure, 1.0, tests.p_value), np.where(unsure, 1.0, tests.p_contrary)


@pytest.mark.parametrize("name", KINDS)
def test_replicates_at_once_are_judged_as_one_by_one(name: str) -> None:
    kind: Kind = KINDS[name]
    observations = kind.made(sample("6 models, 15 pairs, 4 draws", "lognormal", name, 20), 0.5)
    together = kind.expect.tests(observations)
    for index in range(20):
        one: Any = [replace(each, value=float(np.asarray(each.value)[index])) for each in observations]
        judged = kind.expect.judge(one)  # type: ignore[attr-defined]
        assert judged.p_value == pytest.approx(float(np.asarray(together.p_value)[index]), rel=1e-9)
        assert judged.p_contrary == pytest.approx(float(np.asarray(together.p_contrary)[index]), rel=1e-9)


def test_power_laws_at_once_are_judged_as_one_by_one() -> None:
    law = PowerLaw(exponent=0.5, tolerance=1.0)
    observations = power_law(sample("6 models, 6 pairs", "lognormal", "law", 40), 0.5)
    p_value, p_contrary = of_law(law, observations)
    for index in range(40):
        values: Any = [each.value for each in observations]
        judged = law.judge([replace(o, value=float(v[index])) for o, v in zip(observations, values, strict=True)])
        assert (1.0 if judged.p_value is None else judged.p_value) == pytest.approx(p_value[index], rel=1e-6)
        assert (1.0 if judged.p_contrary is None else judged.p_contrary) == pytest.approx(p_contrary[index], rel=1e-6)


@pytest.mark.parametrize(("models", "most"), [(6, 0.39), (12, 0.22)])
def test_what_models_without_a_bad_one_exclude(models: int, most: float) -> None:
    """None bad of n at a true share s happens with probability (1 - s)^n, which is 5 % at this share."""
    from lmc.claims.shares import share_p_values

    assert share_p_values(0.0, models, most + 0.005)[0] < ALPHA < share_p_values(0.0, models, most - 0.005)[0]
