"""Small inputs on which a claim is false or cannot be known: none of them may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from observations import family

from lmc.claims.comparisons import Contrast, Ordered
from lmc.claims.equivalence import NonInferior, Similar
from lmc.claims.expectations import Level, Monotone, Trend
from lmc.claims.parts import Expectation
from lmc.claims.scaling import PowerLaw
from lmc.claims.shares import Share
from lmc.claims.statistics import Observation
from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE


def groups(**means: float) -> list[Observation]:
    return [each for name, mean in means.items() for each in family({1.0: mean}, group=name)]


def layers(widths: tuple[float, ...], *rows: tuple[float, ...], **more: Any) -> list[Observation]:
    return [
        each
        for index, row in enumerate(rows)
        for each in family(dict(zip(widths, row, strict=True)), part=f"l{index}", **more)
    ]


def disjoint(group: str, *values: float, error: float = 0.0) -> list[Observation]:
    return [Observation(1.0, (2 * at, 2 * at + 1), v, group=group, error=error) for at, v in enumerate(values)]


FALLING_LAYERS = layers((1.0, 4.0, 16.0), (0.95, 0.94, 0.925), (0.95, 0.94, 0.925), (0.80, 0.85, 0.90), spread=0.001)
DENTED_LAYER = layers((1.0, 4.0, 16.0), (0.80, 0.60, 0.81), (0.60, 0.90, 0.90))
OPPOSED = [
    *(each for part, mean in (("l1", 0.2), ("l2", 0.5)) for each in family({1.0: mean}, part=part)),
    *(each for part, mean in (("l1", 0.5), ("l2", 0.2)) for each in family({1.0: mean}, part=part, group="bn")),
]
WIDTHS = 1 / 16, 1 / 4, 1.0


def along(*means: float, **more: Any) -> list[Observation]:
    found: Mapping[float, float] = dict(zip(WIDTHS, means, strict=True))
    return family(found, **more)


CASES: dict[str, tuple[Expectation, list[Observation], str]] = {
    "an order that falls at the end": (
        Ordered(("a", "b", "c"), by=0.02),
        groups(a=0.1, b=0.9, c=0.5),
        FAILS,
    ),
    "layers that differ in opposite ways": (Similar("strong", "bn", within=0.07, pooled=True), OPPOSED, FAILS),
    "a difference just under the bound": (
        Contrast("a", "b", by=0.001),
        [*family({1.0: 0.9711}, group="a", spread=2e-4), *family({1.0: 0.9702}, group="b", spread=2e-4)],
        INCONCLUSIVE,
    ),
    "a trend that may turn back": (Trend(increasing=True, by=0.1), along(0.3, 0.9, 0.86, spread=0.03), INCONCLUSIVE),
    "a trend that seems to turn back": (
        Trend(increasing=True, by=0.1),
        along(0.3, 0.95, 0.80, spread=0.08),
        INCONCLUSIVE,
    ),
    "no power law: late": (PowerLaw(0.25, 0.1), along(1.0, 1.0, 0.2, spread=0.02), FAILS),
    "no power law: early": (PowerLaw(0.25, 0.1), along(1.0, 0.2, 0.2, spread=0.02), FAILS),
    "no power law: rises again": (PowerLaw(0.25, 0.1), along(1.0, 0.1, 0.3, spread=0.02), FAILS),
    "two of three layers fall": (
        Trend(increasing=True, by=0.01, pooled=True, slack=0.01),
        FALLING_LAYERS,
        FAILS,
    ),
    "a layer goes back between the ends": (
        Trend(increasing=True, by=0.01, pooled=True, slack=0.01),
        DENTED_LAYER,
        FAILS,
    ),
    "equal pairs": (
        Contrast("a", "b", by=0.001),
        [*disjoint("a", *[0.1015] * 3), *disjoint("b", *[0.1] * 3)],
        INCONCLUSIVE,
    ),
    "equal pairs, few images": (
        Contrast("a", "b", by=0.001),
        [*disjoint("a", *[0.1015] * 3, error=0.001), *disjoint("b", *[0.1] * 3, error=0.001)],
        INCONCLUSIVE,
    ),
    "equal pairs, no worse": (
        NonInferior("a", "b", margin=0.1),
        [*disjoint("a", *[0.1] * 3), *disjoint("b", *[0.1] * 3)],
        INCONCLUSIVE,
    ),
    "a star of pairs": (
        Level(below=0.2),
        [Observation(1.0, (0, i), v, i in (1, 2, 3)) for i, v in enumerate((0.05, 0.06, 0.05, 0.06, 0.05), 1)],
        INCONCLUSIVE,
    ),
    "a level of three widths reversed at one": (
        Contrast("strong", "weak", by=0.1),
        [*along(0.9, 0.9, 0.5), *along(0.1, 0.1, 0.6, group="weak")],
        FAILS,
    ),
    "not worse but at one width": (
        NonInferior("strong", "weak", margin=0.1),
        [*along(0.1, 0.1, 0.5), *along(0.5, 0.5, 0.1, group="weak")],
        FAILS,
    ),
    "a flat step": (Monotone(increasing=True), along(0.1, 0.5, 0.5), INCONCLUSIVE),
    "a step back": (Monotone(increasing=False), along(0.9, 0.1, 0.3), FAILS),
    "a third of the merges bad": (
        Share(limit=0.2, at_most=0.1),
        [Observation(1.0, (at,), 0.5 if at < 4 else 0.1) for at in range(12)],
        FAILS,
    ),
    "none of six bad": (Share(limit=0.2, at_most=0.38), family({1.0: 0.1}), INCONCLUSIVE),
}


@pytest.mark.parametrize(("expectation", "observations", "verdict"), CASES.values(), ids=list(CASES))
def test_what_is_false_or_unknown_does_not_hold(
    expectation: Expectation, observations: list[Observation], verdict: str
) -> None:
    found = expectation.judge(observations)
    assert found.verdict == verdict, found


@pytest.mark.parametrize(
    ("expectation", "observations"),
    [
        (Ordered(("a", "b", "c"), by=0.02), groups(a=0.1, b=0.5, c=0.9)),
        (Contrast("a", "b", by=0.001), [*disjoint("a", *[0.2] * 3, error=0.001), *disjoint("b", *[0.1] * 3)]),
        (Monotone(increasing=True), along(0.1, 0.5, 0.9)),
        (Monotone(increasing=True, slack=0.1), along(0.1, 0.5, 0.5)),
        (Monotone(increasing=False), along(0.9, 0.5, 0.1)),
        (Share(limit=0.2, at_most=0.4), family({1.0: 0.1})),
        (Share(limit=0.2, at_most=0.4, bad="below", at="narrowest"), along(0.9, 0.1, 0.1)),
    ],
    ids=str,
)
def test_what_is_shown_holds(expectation: Expectation, observations: list[Observation]) -> None:
    found = expectation.judge(observations)
    assert found.verdict == HOLDS, found
