"""Expectations of no difference (Similar, Near) and of an order (Ordered): what holds, and what must not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from lmc.claims.asked import Asked
from lmc.claims.comparisons import Ordered
from lmc.claims.equivalence import Near, NonInferior, Similar
from lmc.claims.parts import ALPHA, Expectation, Judgement
from lmc.claims.statistics import Observation, design_factor
from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE

BOTH = ("unpermuted", "matching")
SAME = Similar(*BOTH, within=0.2)
CLOSE = Near(1.0, within=0.2)
RISING = Ordered(("zero", "weak", "strong"), by=0.3)


def family(
    means: Mapping[float, float], group: str = "unpermuted", *, spread: float = 0.01, models: int = 6, part: str = ""
) -> list[Observation]:
    """All pairs of ``models`` per width: the width's mean plus a fixed deviation of either model, 0 on average."""
    found = []
    for seed, (width, mean) in enumerate(means.items()):
        deviation = np.random.default_rng([seed, *group.encode()]).standard_normal(models)
        deviation = spread * (deviation - deviation.mean())
        found += [
            Observation(
                width, (i, j), float(mean + deviation[i] + deviation[j]), j == i + 1 and i % 2 == 0, part, group
            )
            for i, j in combinations(range(models), 2)
        ]
    return found


def two(one: float, other: float, **more: float) -> list[Observation]:
    return family({1.0: one}, "unpermuted", **more) + family({1.0: other}, "matching", **more)  # type: ignore[arg-type]


def three(zero: float, weak: float, strong: float, **more: float) -> list[Observation]:
    pairs = (("zero", zero), ("weak", weak), ("strong", strong))
    return [each for name, mean in pairs for each in family({1.0: mean}, name, **more)]  # type: ignore[arg-type]


def without(observations: Iterable[Observation], seeds: tuple[int, ...]) -> list[Observation]:
    return [each for each in observations if each.seeds != seeds]


CASES: list[tuple[str, Expectation, list[Observation], str, str]] = [
    ("the same", SAME, two(0.5, 0.5), HOLDS, "unpermuted 0.5, matching 0.5 at width 1, p = "),
    ("a little above", SAME, two(0.6, 0.5), HOLDS, "unpermuted 0.6"),
    ("a little below", SAME, two(0.4, 0.5), HOLDS, "unpermuted 0.4"),
    ("exactly the same", SAME, two(0.5, 0.5, spread=0.0), INCONCLUSIVE, "p = 1"),
    ("beyond the margin above", SAME, two(0.75, 0.5), FAILS, "unpermuted 0.75"),
    ("beyond the margin below", SAME, two(0.25, 0.5), FAILS, "unpermuted 0.25"),
    ("exactly the margin apart", SAME, two(0.3, 0.5), INCONCLUSIVE, "p = 0.5"),
    ("the same but noisy", SAME, two(0.5, 0.5, spread=0.5), INCONCLUSIVE, "of the contrary "),
    ("nearly the margin apart", SAME, two(0.69, 0.5, spread=0.1), INCONCLUSIVE, "of the contrary "),
    ("nearly the margin below", SAME, two(0.31, 0.5, spread=0.1), INCONCLUSIVE, "of the contrary "),
    ("similar of two pairs", SAME, without(two(0.5, 0.5), (4, 5)), INCONCLUSIVE, "2 independent pairs at width 1"),
    ("similar to nothing", SAME, family({1.0: 0.5}), INCONCLUSIVE, "no width in common"),
    (
        "similar at other widths",
        SAME,
        family({1.0: 0.5}) + family({2.0: 0.5}, "matching"),
        INCONCLUSIVE,
        "no width in common",
    ),
    (
        "similar where both are",
        SAME,
        family({1.0: 9.0, 2.0: 0.5}) + family({2.0: 0.5, 4.0: -9.0}, "matching"),
        HOLDS,
        "at width 2,",
    ),
    ("near", CLOSE, family({1.0: 1.05}), HOLDS, "at width 1, p = "),
    ("near from below", CLOSE, family({1.0: 0.95}), HOLDS, "at width 1"),
    ("near at the widest", CLOSE, family({4.0: 1.0, 1.0: 0.0, 2.0: 5.0}), HOLDS, "at width 4"),
    ("near at the narrowest only", CLOSE, family({1.0: 1.0, 2.0: 5.0}), FAILS, "at width 2"),
    ("too high", CLOSE, family({1.0: 1.25}), FAILS, "1.25 ["),
    ("too low", CLOSE, family({1.0: 0.75}), FAILS, "0.75 ["),
    ("on the edge", Near(1.0, within=0.25), family({1.0: 1.25}), INCONCLUSIVE, "p = 0.5"),
    ("near but noisy", CLOSE, family({1.0: 1.0}, spread=0.5), INCONCLUSIVE, "of the contrary "),
    ("near of two pairs", CLOSE, without(family({1.0: 1.0}), (4, 5)), INCONCLUSIVE, "2 independent pairs at width 1"),
    ("rising", RISING, three(0.1, 0.3, 0.5), HOLDS, "zero 0.1, weak 0.3, strong 0.5, p = "),
    ("rising with a dent", RISING, three(0.2, 0.1, 0.6), FAILS, "from zero to weak, p of the contrary = "),
    ("falling", RISING, three(0.5, 0.3, 0.1), FAILS, "zero 0.5"),
    ("flat", RISING, three(0.3, 0.3, 0.3), FAILS, "zero 0.3"),
    ("rising too little", RISING, three(0.1, 0.2, 0.35), FAILS, "strong 0.35"),
    ("rising but only in the middle", RISING, three(0.1, 0.9, 0.1), FAILS, "weak 0.9"),
    ("rising but noisy", RISING, three(0.1, 0.3, 0.5, spread=0.4), INCONCLUSIVE, "of the contrary "),
    ("order of two pairs", RISING, without(three(0.1, 0.3, 0.5), (4, 5)), INCONCLUSIVE, "2 independent pairs"),
    (
        "order without the middle",
        RISING,
        [each for each in three(0.1, 0.3, 0.5) if each.group != "weak"],
        INCONCLUSIVE,
        "zero, weak and strong have no width in common",
    ),
    (
        "order of two families",
        Ordered(("zero", "strong"), by=0.3),
        three(0.1, 9.0, 0.5),
        HOLDS,
        "zero 0.1, strong 0.5",
    ),
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
    if verdict == HOLDS:
        assert found.p_value is not None
        assert found.p_value <= ALPHA
    again = expectation.judge(observations[::-1])
    assert (again.verdict, again.p_value) == (found.verdict, pytest.approx(found.p_value))


HOLDING = [(SAME, two(0.5, 0.5)), (CLOSE, family({1.0: 1.0})), (RISING, three(0.1, 0.3, 0.5))]
IDS = ["similar", "near", "ordered"]


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
    assert expectation.judge(spoiled[-1:]).verdict == FAILS, "before it is said that there are too few pairs"


@pytest.mark.parametrize("expectation", [case[0] for case in HOLDING], ids=IDS)
def test_nothing_measured_fails(expectation: Expectation) -> None:
    assert expectation.judge([]) == Judgement(FAILS, "nothing was measured", asked=expectation.asked)


# -- The margin is tested from both sides. --


def pairs(samples: Mapping[str, np.ndarray], first: int = 0) -> list[Observation]:
    """Disjoint pairs, of other models in each group."""
    return [
        Observation(1.0, (2 * index + 100 * at, 2 * index + 1 + 100 * at), float(value), group=group)
        for at, (group, values) in enumerate(samples.items(), start=first)
        for index, value in enumerate(values)
    ]


@pytest.mark.parametrize("mean", [-0.15, -0.05, 0.0, 0.1, 0.19, 0.3])
def test_equivalence_takes_the_larger_of_two_one_sided_tests(mean: float) -> None:
    """On disjoint pairs, whose errors are those of a plain sample but for the design's factor."""
    factor = design_factor(7, shared=False)
    sample = mean + 0.1 * stats.zscore(np.random.default_rng(0).standard_normal(7), ddof=1)
    tests = [stats.ttest_1samp(sample, bound).statistic / factor for bound in (-0.2, 0.2)]
    expected = max(stats.t.sf(tests[0], 6), stats.t.cdf(tests[1], 6))
    found = Near(0.0, within=0.2).judge(pairs({"unpermuted": sample}))
    assert found.p_value == pytest.approx(expected, rel=1e-9)
    assert found.p_contrary == pytest.approx(min(1, 2 * min(stats.t.cdf(tests[0], 6), stats.t.sf(tests[1], 6))))
    assert Near(5.0, within=0.2).judge(pairs({"": sample + 5})).p_value == pytest.approx(expected, rel=1e-6)


def test_similar_agrees_with_welchs_two_one_sided_tests() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.normal(0.5, 0.1, 5), rng.normal(0.52, 0.05, 7)
    found = SAME.judge(pairs({"unpermuted": one, "matching": other}))
    widened = [  # to the error that the design asks for
        sample.mean() + design_factor(len(sample), shared=False) * (sample - sample.mean()) for sample in (one, other)
    ]
    tests = [
        stats.ttest_ind(widened[0] + 0.2, widened[1], equal_var=False, alternative="greater").pvalue,
        stats.ttest_ind(widened[0] - 0.2, widened[1], equal_var=False, alternative="less").pvalue,
    ]
    assert found.p_value == pytest.approx(max(tests), rel=1e-9)
    assert found.effect == pytest.approx(one.mean() - other.mean(), rel=1e-9)


def test_pairs_that_both_groups_have_are_compared_one_by_one() -> None:
    """What every pair shares drops out; what is measured of other pairs is not compared."""
    rng = np.random.default_rng(1)
    common, own = rng.normal(0, 5, 6), rng.normal(0, 0.01, 6)
    one, other = pairs({"unpermuted": common + 0.1 + own}), pairs({"matching": common})
    widened = 0.1 + own.mean() + design_factor(6, shared=False) * (own - own.mean())
    found = SAME.judge([*one, *other])
    assert found.verdict == HOLDS
    tests = [stats.ttest_1samp(widened, -0.2).statistic, -stats.ttest_1samp(widened, 0.2).statistic]
    assert found.p_value == pytest.approx(stats.t.sf(min(tests), 5), rel=1e-6)
    more = [replace(one[0], seeds=(90, 91), value=1e6)]
    assert SAME.judge([*one, *other, *more]).p_value == pytest.approx(found.p_value)
    apart = [replace(each, seeds=tuple(seed + 200 for seed in each.seeds)) for each in other]
    assert SAME.judge([*one, *apart]).verdict == INCONCLUSIVE
    assert "2 independent pairs at width 1" in SAME.judge([*one[:2], *other]).reason


def test_two_different_families_are_seldom_called_similar() -> None:
    """With a true difference as large as the margin, at most one verdict in twenty is wrong."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(300):
        observations = [
            Observation(1.0, (2 * index, 2 * index + 1), float(mean + 0.1 * rng.standard_normal()), group=group)
            for group, mean in (("unpermuted", 0.7), ("matching", 0.5))
            for index in range(3)
        ]
        wrong += SAME.judge(observations).verdict == HOLDS
    assert wrong / 300 <= 0.09  # three sigma above 0.05


# -- Several layers. --


def layers(*pairs: tuple[float, float], spread: float = 0.01) -> list[Observation]:
    return [
        replace(each, part=f"relu{index}")
        for index, (one, other) in enumerate(pairs)
        for each in two(one, other, spread=spread)
    ]


def test_every_layer_must_be_similar_unless_only_the_mean_is_asked_for() -> None:
    opposite = layers((0.9, 0.5), (0.1, 0.5))
    assert SAME.judge(opposite).verdict == FAILS
    pooled = replace(SAME, pooled=True)
    found = pooled.judge(opposite)
    assert found.verdict == FAILS, "what cancels in the mean is found in its layers"
    assert (found.mean_of, found.part in ("relu0", "relu1")) == (2, True)
    assert "goes the other way: unpermuted" in found.reason
    assert found.asked == pooled.asked != SAME.asked
    noisy = layers((0.65, 0.5), (0.4, 0.5), spread=0.05)
    assert SAME.judge(noisy).verdict == INCONCLUSIVE
    found = pooled.judge(noisy)
    assert found.verdict == HOLDS, "the mean can be sure where no layer is"
    assert (found.mean_of, found.part, found.effect) == (2, "", pytest.approx(0.025, abs=1e-9))


def test_the_mean_over_layers_must_be_similar() -> None:
    pooled = replace(SAME, pooled=True)
    assert pooled.judge(layers((0.9, 0.5), (0.7, 0.5))).verdict == FAILS
    assert pooled.judge(layers((0.9, 0.5), (0.1, 0.5), spread=0.5)).verdict == INCONCLUSIVE
    spoiled = layers((0.5, 0.5), (0.5, 0.5))
    spoiled[3] = replace(spoiled[3], value=None)
    assert pooled.judge(spoiled).verdict == FAILS
    few = without(layers((0.5, 0.5), (0.5, 0.5)), (4, 5))
    assert pooled.judge(few).verdict == INCONCLUSIVE


@pytest.mark.parametrize(("expectation", "good", "bad"), [(CLOSE, 1.0, 2.0)])
def test_every_layer_must_be_near(expectation: Expectation, good: float, bad: float) -> None:
    first, second = family({1.0: good}, part="3 layers"), family({1.0: bad}, part="4 layers")
    assert expectation.judge(first + family({1.0: good}, part="4 layers")).verdict == HOLDS
    found = expectation.judge(first + second)
    assert found.verdict == FAILS
    assert found.part == "4 layers"


def test_the_slope_of_an_order_does_not_see_the_widths() -> None:
    """An order is along families; where widths differ in level, only their mean counts."""
    observations = [
        each
        for name, mean in (("zero", 0.1), ("weak", 0.3), ("strong", 0.5))
        for each in family({1.0: mean + 3, 2.0: mean}, name)
    ]
    found = RISING.judge(observations)
    assert found.verdict == HOLDS
    assert found.effect == pytest.approx(0.4)


def test_an_order_is_judged_at_the_widths_that_all_families_have() -> None:
    """At width 1 the values are 3 higher, but ``weak`` is not there: averaging it in would hide the order."""
    means = {
        "zero": {1.0: 3.1, 2.0: 0.1},
        "weak": {2.0: 0.3},
        "strong": {1.0: 3.5, 2.0: 0.5},
    }
    found = RISING.judge([each for name, mean in means.items() for each in family(mean, name)])
    assert "zero 0.1, weak 0.3, strong 0.5" in found.reason
    assert found.effect == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("expectation", "asked"),
    [
        (SAME, Asked(quantity="difference", low=-0.2, high=0.2, groups=BOTH, alpha=0.05)),
        (
            replace(SAME, pooled=True),
            Asked(quantity="difference", low=-0.2, high=0.2, groups=BOTH, pooled=True, alpha=0.05),
        ),
        (NonInferior(*BOTH, margin=0.2), Asked(quantity="difference", high=0.2, groups=BOTH, alpha=0.05)),
        (CLOSE, Asked(quantity="value", low=0.8, high=1.2, target=1.0, at="widest", alpha=0.05)),
        (RISING, Asked(quantity="rise", low=0.3, groups=("zero", "weak", "strong"), alpha=0.05)),
    ],
)
def test_what_is_asked_is_data(expectation: Expectation, asked: Asked) -> None:
    assert expectation.asked == asked


# -- Non-inferiority. --


@pytest.mark.parametrize(
    ("one", "other", "spread", "verdict"),
    [
        (0.1, 0.0, 0.01, HOLDS),
        (0.1, 0.5, 0.01, HOLDS),  # better than the other by any amount
        (0.5, 0.1, 0.01, FAILS),
        (0.1, 0.0, 0.3, INCONCLUSIVE),
    ],
)
def test_no_worse_by_a_margin(one: float, other: float, spread: float, verdict: str) -> None:
    found = NonInferior(*BOTH, margin=0.2).judge(two(one, other, spread=spread))
    assert found.verdict == verdict, found
