"""Numbers of several records: against hand-made examples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from lmc.claims.claim import Study
from lmc.claims.derived import Derived, at_each_width, derived, rank_correlation
from lmc.claims.statistics import Observation
from lmc.measuring.measurements import ModelMeasurement
from lmc.specs import RunSpec
from lmc.tiers import Setting

RECIPE = RunSpec(dataset="digits", arch="mlp", width=1)
HERE = Setting("here", {}, 0.0)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3, 4], [2, 4, 8, 16], 1.0),
        ([1, 2, 3, 4], [16, 8, 4, 2], -1.0),
        ([1, 2, 3, 4], [0.1, 0.5, 0.4, 9.0], 0.8),  # 1 - 6 Σd² / n(n² - 1) = 1 - 6·2 / 60
        ([1, 1, 2, 2], [1, 2, 3, 4], 4 / math.sqrt(20)),  # mean ranks: ±1 twice, against ±1/2 and ±3/2
        ([1, 1, 1], [1, 2, 3], 0.0),
        ([1, 2, 3], [5, 5, 5], 0.0),
    ],
)
def test_rank_correlations_by_hand(one: list[float], other: list[float], expected: float) -> None:
    assert rank_correlation(one, other) == pytest.approx(expected)
    assert rank_correlation(other, one) == pytest.approx(expected)


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_a_rank_correlation_of_what_is_missing_is_undefined(missing: float | None) -> None:
    assert rank_correlation([1, 2, missing], [1, 2, 3]) is None
    assert rank_correlation([1, 2, 3], [missing, 2, 3]) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=9))
def test_rank_correlations_are_those_of_scipy(pairs: list[tuple[int, int]]) -> None:
    one, other = ([float(each[at]) for each in pairs] for at in (0, 1))
    if min(map(np.ptp, (one, other))) > 0:
        assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic, abs=1e-9)


def test_a_derived_study_reads_each_measurement_once_and_gives_every_number_its_own() -> None:
    reads = [ModelMeasurement(RECIPE.with_seed(seed)) for seed in range(3)]

    def choose(_: Setting) -> list[Derived]:
        return [
            Derived(2.0, (0, 1), True, (reads[0], reads[1]), lambda found: found[0]["x"] - found[1]["x"], "one"),
            Derived(2.0, (1, 2), False, (reads[1], reads[2]), lambda found: found[0]["x"] - found[1]["x"], "other"),
        ]

    found = derived(choose, "many")
    assert found.groups == ("many",)
    assert found.needs(HERE) == reads
    records: dict[str, dict[str, Any]] = {each.key: {"x": 10.0**place} for place, each in enumerate(reads)}
    assert found.observe(HERE, records) == [
        Observation(2.0, (0, 1), -9.0, True, group="one"),
        Observation(2.0, (1, 2), -90.0, False, group="other"),
    ]
    assert derived(choose).groups == ("strong",)


def test_widths_become_parts() -> None:
    given_ones = [Observation(width, (0, 1), width, part="relu") for width in (0.5, 2.0)]
    found = at_each_width(Study(lambda _: [], lambda *_: given_ones, ("weak",)))
    assert found.groups == ("weak",)
    assert [(each.part, each.value) for each in found.observe(HERE, {})] == [("width 0.5", 0.5), ("width 2", 2.0)]
