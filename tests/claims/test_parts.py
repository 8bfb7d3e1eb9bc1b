"""How the parts (layers) of a claim come together: the worst decides, or their mean."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from observations import ABOVE, FALLING, RISING, STRONGER, family, in_part

from lmc.claims.expectations import Trend
from lmc.claims.parts import Judgement, worst
from lmc.claims.statistics import Observation
from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE, INVALID, NOT_RUN, SEVERITY


@pytest.mark.parametrize(
    ("second", "verdict", "named"),
    [
        (family({1.0: 0.9}), HOLDS, ""),
        (family({1.0: 0.6}, spread=0.3), INCONCLUSIVE, "relu2"),
        (family({1.0: 0.1}), FAILS, "relu2"),
    ],
)
def test_the_worst_part_decides(second: list[Observation], verdict: str, named: str) -> None:
    first = in_part(family({1.0: 0.9}), "relu1")
    for observations in (first + in_part(second, "relu2"), in_part(second, "relu2") + first):
        found = ABOVE.judge(observations)
        assert found.verdict == verdict
        assert found.part == named or verdict == HOLDS  # which of two that hold decides is of no account
        assert (found.asked, found.mean_of) == (ABOVE.asked, 0)


def test_parts_are_judged_apart() -> None:
    """Half the layers high and half low must not average to a pass."""
    mixed = in_part(family({1.0: 1.4}), "relu1") + in_part(family({1.0: 0.2}), "relu2")
    assert ABOVE.judge([replace(each, part="") for each in mixed]).effect == pytest.approx(0.8)
    assert ABOVE.judge(mixed).verdict == FAILS


UNSURE = family({1.0: 0.7}, spread=0.4), family({1.0: 0.5}, spread=0.4, group="weak")
SURE = family({1.0: 0.9}), family({1.0: 0.1}, group="weak")
CONTRARY = family({1.0: 0.1}), family({1.0: 0.3}, group="weak")
REVERSED = family({1.0: 0.5}, spread=0.4), family({1.0: 0.7}, spread=0.4, group="weak")


@pytest.mark.parametrize(
    ("parts", "apart", "pooled"),
    [
        ([SURE, SURE], HOLDS, HOLDS),
        ([SURE, UNSURE], INCONCLUSIVE, HOLDS),  # one layer alone is too noisy, the mean of the layers is not
        ([UNSURE, UNSURE], INCONCLUSIVE, INCONCLUSIVE),  # the same models again are no further evidence
        ([SURE, REVERSED], FAILS, HOLDS),  # a layer that goes the other way by chance does not count
        ([SURE, CONTRARY], FAILS, FAILS),  # one that surely does decides, whatever the mean
    ],
)
def test_the_mean_over_parts_decides_unless_a_part_is_surely_contrary(
    parts: list[tuple[list[Observation], list[Observation]]], apart: str, pooled: str
) -> None:
    observations = [
        each for index, (strong, weak) in enumerate(parts) for each in in_part(strong + weak, f"relu{index}")
    ]
    assert STRONGER.judge(observations).verdict == apart
    found = replace(STRONGER, pooled=True).judge(observations)
    assert found.verdict == pooled, found
    assert found.asked == replace(STRONGER, pooled=True).asked != STRONGER.asked
    assert found.mean_of == 2
    if pooled == FAILS:
        assert found.part == "relu1"
        assert "relu1 goes the other way" in found.reason
    else:
        assert found.part == ""
        means = [
            np.mean([each.value for each in strong]) - np.mean([each.value for each in weak]) for strong, weak in parts
        ]
        assert found.effect == pytest.approx(np.mean(means))


def test_severity_orders_verdicts_and_among_equals_the_larger_p_value_counts() -> None:
    assert SEVERITY == (HOLDS, NOT_RUN, INCONCLUSIVE, INVALID, FAILS)
    for better, graver in combinations(SEVERITY, 2):
        assert worst([Judgement(graver, "", p_value=0.0), Judgement(better, "", p_value=1.0)]).verdict == graver
    sure, unsure = Judgement(HOLDS, "", p_value=0.001), Judgement(HOLDS, "", p_value=0.04)
    assert worst([sure, unsure, sure]) is unsure
    near, far = Judgement(HOLDS, "", effect=0.01), Judgement(HOLDS, "", effect=-0.02)
    assert worst([near, far, near]) is far


def test_a_layer_may_go_back_by_chance_or_within_the_slack() -> None:
    steady = in_part(family(RISING), "relu1")
    falling = in_part(family({1.0: 0.5, 2.0: 0.47, 4.0: 0.45}), "relu2")
    trend = Trend(increasing=True, by=0.1, pooled=True)
    found = trend.judge(steady + falling)
    assert found.verdict == FAILS
    assert (found.mean_of, found.part) == (2, "relu2")
    assert "relu2 goes the other way" in found.reason
    assert replace(trend, slack=0.1).judge(steady + falling).verdict == HOLDS
    noisy = in_part(family({1.0: 0.5, 2.0: 0.47, 4.0: 0.45}, spread=0.08), "relu2")
    assert trend.judge(steady + noisy).verdict == HOLDS
    down = replace(trend, increasing=False)
    falls, rises = in_part(family(FALLING), "relu1"), in_part(family({1.0: 0.5, 2.0: 0.53, 4.0: 0.55}), "relu2")
    assert down.judge(falls + rises).verdict == FAILS
    assert replace(down, slack=0.1).judge(falls + rises).verdict == HOLDS


def test_layers_share_the_chance_of_a_false_alarm() -> None:
    """A step back at p = 0.02 counts where it is one of two layers, not where it is one of ten."""
    back = in_part(family({1.0: 0.5, 2.0: 0.48, 4.0: 0.4}, spread=0.025), "back")
    trend = Trend(increasing=True, by=0.0, pooled=True)
    p_value = trend._opposed(back)
    assert 0.005 < p_value < 0.025

    def among(layers: int) -> str:
        steady = [each for index in range(layers - 1) for each in in_part(family(RISING), f"relu{index}")]
        return trend.judge(steady + back).verdict

    assert among(2) == FAILS
    assert among(10) == HOLDS


def test_pooled_layers_without_data_decide() -> None:
    layers = [replace(each, part="one") for each in family(RISING)]
    lonely = [replace(each, part="two") for each in family(RISING) if each.seeds[-1] == 1]
    assert Trend(increasing=True, by=0.5, pooled=True).judge(layers).verdict == HOLDS
    found = Trend(increasing=True, by=0.5, pooled=True).judge([*layers, *lonely])
    assert (found.verdict, found.part) == (INCONCLUSIVE, "two")
