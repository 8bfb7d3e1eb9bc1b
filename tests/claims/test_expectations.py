"""Every expectation: an input that holds, and inputs that must not."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from observations import (
    ABOVE,
    BELOW,
    EXACT,
    FALLING,
    FALLS,
    RISES,
    RISING,
    SCRAMBLED,
    SPREAD,
    STRONGER,
    TWO_PAIRS,
    WIDTHS,
    contrast,
    disjoint,
    family,
)

from lmc.claims.asked import Asked
from lmc.claims.expectations import Level, Within
from lmc.claims.parts import ALPHA, MIN_PAIRS, Expectation, Judgement
from lmc.claims.statistics import Observation
from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE
from lmc.errors import SpecError

CASES: list[tuple[str, Expectation, list[Observation], str, str]] = [
    ("trend rises", RISES, family(RISING), HOLDS, "0.2 -> 0.5 -> 0.9"),
    ("trend falls", FALLS, family(FALLING), HOLDS, "0.9 -> 0.5 -> 0.2"),
    ("trend of disjoint pairs", RISES, disjoint(SPREAD), HOLDS, "0.1 -> 0.4 -> 0.8"),
    ("trend of equal pairs", RISES, disjoint([[0.1, 0.4, 0.8]] * 3), INCONCLUSIVE, "0.1 -> 0.4 -> 0.8, p = 1"),
    ("trend the other way", RISES, family(FALLING), FAILS, "0.9 -> 0.5 -> 0.2"),
    ("trend falling the other way", FALLS, family(RISING), FAILS, "0.2 -> 0.5 -> 0.9"),
    ("trend too small", RISES, family({1.0: 0.2, 2.0: 0.4, 4.0: 0.6}, spread=0.001), FAILS, "0.2 -> 0.4 -> 0.6"),
    (
        "trend falls too little",
        FALLS,
        family({1.0: 0.6, 2.0: 0.4, 4.0: 0.2}, spread=0.001),
        FAILS,
        "0.6 -> 0.4 -> 0.2",
    ),
    ("trend flat", RISES, family(dict.fromkeys(WIDTHS, 0.5)), FAILS, "0.5 -> 0.5 -> 0.5"),
    ("trend scrambled", RISES, disjoint(SCRAMBLED), INCONCLUSIVE, "of the contrary "),
    ("trend of two pairs", RISES, TWO_PAIRS, INCONCLUSIVE, "2 independent pairs at width 1 are fewer than 3"),
    ("trend of two widths", RISES, family({1.0: 0.1, 2.0: 0.9}), INCONCLUSIVE, "2 widths are too few"),
    ("level above", ABOVE, family(RISING), HOLDS, "at width 4"),
    ("level below", BELOW, family(FALLING), HOLDS, "at width 4"),
    ("level at the narrowest", Level(above=0.5, at="narrowest"), family(FALLING), HOLDS, "at width 1"),
    ("level below at the narrowest", Level(below=0.5, at="narrowest"), family(RISING), HOLDS, "at width 1"),
    ("level too low", ABOVE, family(FALLING), FAILS, "0.2 ["),
    ("level too high", BELOW, family(RISING), FAILS, "0.9 ["),
    ("level of the wrong end", Level(above=0.5, at="narrowest"), family(RISING), FAILS, "at width 1"),
    ("level just reached", ABOVE, family({1.0: 0.5}), INCONCLUSIVE, "0.5 ["),
    ("level uncertain", ABOVE, family({1.0: 0.6}, spread=0.3), INCONCLUSIVE, "of the contrary "),
    ("level uncertain below", BELOW, family({1.0: 0.4}, spread=0.3), INCONCLUSIVE, "of the contrary "),
    ("level of two pairs", ABOVE, TWO_PAIRS, INCONCLUSIVE, "2 independent pairs at width 4"),
    ("level of two pairs elsewhere", ABOVE, family({8.0: 0.9}) + TWO_PAIRS, HOLDS, "at width 8"),
    ("contrast", STRONGER, contrast(RISING, {w: m - 0.2 for w, m in RISING.items()}), HOLDS, "at width 1, 2, 4"),
    ("contrast at the common width", STRONGER, contrast(RISING, {4.0: 0.7, 8.0: 9.0}), HOLDS, "at width 4,"),
    (
        "contrast reversed",
        STRONGER,
        contrast({w: m - 0.2 for w, m in RISING.items()}, RISING),
        FAILS,
        "strong 0.33",
    ),
    ("contrast none", STRONGER, contrast(RISING, RISING), FAILS, "weak 0.53"),
    (
        "contrast too small",
        STRONGER,
        contrast({1.0: 0.55}, {1.0: 0.5}, spread=0.001),
        FAILS,
        "strong 0.55, weak 0.5",
    ),
    ("contrast uncertain", STRONGER, contrast({1.0: 0.7}, {1.0: 0.5}, spread=0.4), INCONCLUSIVE, "of the contrary "),
    ("contrast without the other", STRONGER, family(RISING), INCONCLUSIVE, "no width in common"),
    ("contrast at other widths", STRONGER, contrast({1.0: 0.9}, {2.0: 0.1}), INCONCLUSIVE, "no width in common"),
    (
        "contrast of two pairs",
        STRONGER,
        family(RISING) + [replace(each, group="weak", value=0.0) for each in TWO_PAIRS],
        INCONCLUSIVE,
        "2 independent pairs",
    ),
    ("within", EXACT, disjoint([[8.05], [7.95], [8.0]]), HOLDS, "of 3 values is"),
    ("within of one pair", EXACT, disjoint([[8.0]]), HOLDS, "of 1 values is 8"),
    ("within but one above", EXACT, disjoint([[8.0], [8.0], [8.11]]), FAILS, "8.11"),
    ("within but one below", EXACT, disjoint([[7.5, 8.0], [8.05, 8.0]]), FAILS, "7.5"),
]


@pytest.mark.parametrize(
    ("expectation", "observations", "verdict", "reason"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_verdict(expectation: Expectation, observations: list[Observation], verdict: str, reason: str) -> None:
    found = expectation.judge(observations)
    assert found.verdict == verdict, found
    assert reason in found.reason
    assert found.asked == expectation.asked
    if verdict == HOLDS and not isinstance(expectation, Within):
        assert found.p_value <= ALPHA
    # The order in which observations come is no evidence.
    again = expectation.judge(observations[::-1])
    assert (again.verdict, again.p_value) == (found.verdict, pytest.approx(found.p_value))


HOLDING = [
    (RISES, family(RISING)),
    (ABOVE, family(RISING)),
    (BELOW, family(FALLING)),
    (STRONGER, contrast({1.0: 0.9}, {1.0: 0.1})),
    (EXACT, disjoint([[8.0]] * 3)),
]
IDS = ["trend", "above", "below", "contrast", "within"]


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("expectation", "observations"), HOLDING, ids=IDS)
def test_an_undefined_value_fails_first(
    expectation: Expectation, observations: list[Observation], value: float | None
) -> None:
    assert expectation.judge(observations).verdict == HOLDS
    spoiled = [*observations[:-1], replace(observations[-1], value=value, part="relu3")]
    found = expectation.judge(spoiled)
    assert found.verdict == FAILS
    assert found.reason.startswith(f"1 of {len(observations)} values are undefined")
    assert "relu3" in found.reason
    assert expectation.judge(spoiled[-1:]).verdict == FAILS, "before it is said that there are too few pairs"


@pytest.mark.parametrize("expectation", [case[0] for case in HOLDING], ids=IDS)
def test_nothing_measured_fails(expectation: Expectation) -> None:
    assert expectation.judge([]) == Judgement(FAILS, "nothing was measured", asked=expectation.asked)


def test_no_less_than_five_percent_and_three_pairs_decide() -> None:
    assert (ALPHA, MIN_PAIRS) == (0.05, 3)


def test_single_models_are_units_of_their_own() -> None:
    """Numbers of one model each, labelled by its seed."""
    alone = [Observation(1.0, (seed,), 0.9 + 0.01 * seed) for seed in range(6)]
    assert ABOVE.judge(alone).verdict == HOLDS
    assert ABOVE.judge(alone[:3]).verdict == HOLDS
    found = ABOVE.judge(alone[:2])
    assert found.verdict == INCONCLUSIVE
    assert "2 independent pairs at width 1 are fewer than 3" in found.reason


@pytest.mark.parametrize(
    ("expectation", "asked"),
    [
        (RISES, Asked(quantity="change", low=0.5, alpha=0.05)),
        (FALLS, Asked(quantity="change", high=-0.5, alpha=0.05)),
        (
            replace(FALLS, pooled=True, slack=0.03),
            Asked(quantity="change", high=-0.5, pooled=True, slack=0.03, alpha=0.05),
        ),
        (ABOVE, Asked(quantity="value", low=0.5, at="widest", alpha=0.05)),
        (Level(below=0.1, at="narrowest"), Asked(quantity="value", high=0.1, at="narrowest", alpha=0.05)),
        (STRONGER, Asked(quantity="difference", low=0.1, groups=("strong", "weak"), alpha=0.05)),
        (EXACT, Asked(quantity="deviation", low=-0.1, high=0.1, target=8.0)),
    ],
)
def test_what_is_asked_is_data(expectation: Expectation, asked: Asked) -> None:
    assert expectation.asked == asked


def test_effects_carry_their_interval() -> None:
    found = ABOVE.judge(family({1.0: 0.9}))
    assert found.effect == pytest.approx(0.9)
    assert found.interval[0] < 0.9 < found.interval[1]
    gap = STRONGER.judge(contrast({1.0: 0.9, 2.0: 0.7}, {1.0: 0.1, 2.0: 0.3}))
    assert gap.effect == pytest.approx(0.6)
    fall = FALLS.judge(family(FALLING))
    assert fall.effect == pytest.approx(-0.7)
    assert fall.interval[0] < -0.7 < fall.interval[1]


def test_a_trend_that_turns_back_fails() -> None:
    found = RISES.judge(family({1.0: 0.2, 2.0: 5.0, 4.0: 0.9}))
    assert found.verdict == FAILS
    assert "the step to width 4, p of the contrary = " in found.reason


@pytest.mark.parametrize("arguments", [{}, {"above": 0.0, "below": 1.0}, {"above": 0.0, "at": "middle"}])
def test_level_checks_its_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="needs one of above and below"):
        Level(**arguments)
