"""How the parts (layers) of a claim come together: the worst decides, or their mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from observations import ABOVE, FALLING, RISING, STRONGER, family, in_part

from lmc.claims.expectations import Trend
from lmc.claims.parts import ALPHA, Conjunction, OneSided
from lmc.claims.statistics import Observation
from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE


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


UNSURE = family({1.0: 0.7}, spread=0.15), family({1.0: 0.5}, spread=0.15, group="weak")
SURE = family({1.0: 0.9}), family({1.0: 0.1}, group="weak")
CONTRARY = family({1.0: 0.1}), family({1.0: 0.3}, group="weak")
REVERSED = family({1.0: 0.5}, spread=0.15), family({1.0: 0.55}, spread=0.15, group="weak")


@pytest.mark.parametrize(
    ("parts", "apart", "pooled"),
    [
        ([SURE, SURE], HOLDS, HOLDS),
        ([SURE, UNSURE], INCONCLUSIVE, HOLDS),  # one layer alone is too noisy, the mean of the layers is not
        ([UNSURE, UNSURE], INCONCLUSIVE, INCONCLUSIVE),  # the same models again are no further evidence
        ([SURE, REVERSED], INCONCLUSIVE, HOLDS),  # a layer that goes the other way by chance does not count
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


def asked(p_value: float, p_contrary: float | None = None) -> OneSided:
    return OneSided(p_value, 1 - p_value if p_contrary is None else p_contrary, 0.0, (0.0, 0.0), str)


@pytest.mark.parametrize(
    ("must", "may_not", "p_value", "p_contrary", "verdict"),
    [
        ([0.01, 0.04], [], 0.04, 1.0, HOLDS),  # every one at 5 %: no correction
        ([0.01, 0.06], [], 0.06, 1.0, INCONCLUSIVE),
        ([0.01, 0.98], [], 0.98, 0.04, FAILS),  # one of two, at 5 % over two
        ([0.01, 0.97], [], 0.97, 0.06, INCONCLUSIVE),
        ([0.01], [0.6], 0.01, 0.8, HOLDS),  # what may not be need not be refuted
        ([0.01], [0.98], 0.01, 0.04, FAILS),
        ([0.01], [0.98, 0.5], 0.01, 0.06, HOLDS),
    ],
)
def test_all_must_be_shown_and_one_refuted_fails(
    must: list[float], may_not: list[float], p_value: float, p_contrary: float, verdict: str
) -> None:
    found = Conjunction([asked(each) for each in must], [asked(each) for each in may_not])
    assert (found.p_value, found.p_contrary) == (pytest.approx(p_value), pytest.approx(p_contrary))
    assert found.verdict() == verdict


def test_what_is_missing_cannot_hold_but_can_fail() -> None:
    assert Conjunction([asked(0.01)], missing="too few").verdict() == INCONCLUSIVE
    assert Conjunction([asked(0.99)], missing="too few").verdict() == FAILS
    assert Conjunction(missing="too few").verdict() == INCONCLUSIVE


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
    back = in_part(family({1.0: 0.5, 2.0: 0.48, 4.0: 0.4}, spread=0.022), "back")
    trend = Trend(increasing=True, by=0.1, pooled=True)
    p_value = trend._opposed(back).p_contrary / 3
    assert ALPHA / (3 + 3 * 10) < p_value < ALPHA / (3 + 3 * 2)  # two steps and the ends, of the mean and of each layer

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
