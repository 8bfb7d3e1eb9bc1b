"""Text is made of data in one place: what is asked, what was measured, seeds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from documents import setting

from lmc.claims.asked import Asked
from lmc.claims.comparisons import Contrast, Ordered
from lmc.claims.equivalence import Near, NonInferior, Similar
from lmc.claims.expectations import Level, Trend, Within
from lmc.claims.parts import Expectation
from lmc.claims.scaling import PowerLaw
from lmc.results.wording import asked_in_words, measured_in_words, seeds_in_words, subject_in_words

RISES, FALLS = Trend(increasing=True, by=0.5), Trend(increasing=False, by=0.5)
STRONGER = Contrast("strong", "weak", by=0.1)
SAME = Similar("unpermuted", "matching", within=0.2)
POOLED = "on average over layers"


@pytest.mark.parametrize(
    ("expectation", "text"),
    [
        (RISES, "rises by at least 0.5, p <= 0.05"),
        (FALLS, "falls by at least 0.5, p <= 0.05"),
        (replace(RISES, pooled=True), f"rises by at least 0.5 {POOLED}, none falls significantly, p <= 0.05"),
        (
            replace(FALLS, pooled=True, slack=0.03),
            f"falls by at least 0.5 {POOLED}, none rises significantly by more than 0.03, p <= 0.05",
        ),
        (Trend(increasing=False, by=0.0), "falls by at least 0, p <= 0.05"),
        (Level(above=0.5), "above 0.5 at the widest width, p <= 0.05"),
        (Level(below=0.1, at="narrowest"), "below 0.1 at the narrowest width, p <= 0.05"),
        (STRONGER, "strong exceeds weak by at least 0.1, p <= 0.05"),
        (
            replace(STRONGER, pooled=True),
            f"strong exceeds weak by at least 0.1 {POOLED}, weak significantly at none, p <= 0.05",
        ),
        (Within(target=8.0, tolerance=0.1), "within 0.1 of 8"),
        (SAME, "unpermuted and matching differ by less than 0.2, p <= 0.05"),
        (replace(SAME, pooled=True), f"unpermuted and matching differ by less than 0.2 {POOLED}, p <= 0.05"),
        (NonInferior("random", "matching", margin=0.2), "random exceeds matching by less than 0.2, p <= 0.05"),
        (Near(1.0, within=0.2), "within 0.2 of 1 at the widest width, p <= 0.05"),
        (Ordered(("zero", "weak", "strong"), by=0.3), "rises by at least 0.3 along zero, weak, strong, p <= 0.05"),
        (PowerLaw(exponent=0.25, tolerance=0.1), "width^-a with a above 0.25, p <= 0.05"),
    ],
    ids=str,
)
def test_what_is_asked(expectation: Expectation, text: str) -> None:
    assert asked_in_words(expectation.asked) == text


def test_nothing_asked_is_no_text() -> None:
    assert asked_in_words(None) == ""


@pytest.mark.parametrize(
    ("found", "subject"),
    [
        ({}, ""),
        ({"part": "relu1"}, "relu1"),
        ({"mean_of": 3}, "mean of 3 layers"),
        ({"mean_of": 3, "part": "relu1"}, "mean of 3 layers"),
    ],
)
def test_what_was_measured_follows_the_part_it_is_of(found: dict[str, Any], subject: str) -> None:
    judged = setting("mlp", reason="0.1, p = 1", **found)
    assert subject_in_words(judged) == subject
    assert measured_in_words(judged) == (f"{subject}: 0.1, p = 1" if subject else "0.1, p = 1")


def test_seeds() -> None:
    assert [seeds_in_words(each) for each in ((), (6,), (6, 7), (6, 7, 8))] == ["", "6", "6-7", "6-7-8"]


@pytest.mark.parametrize(
    "asked",
    [
        {"quantity": "value"},
        {"quantity": "value", "low": 0.0, "high": 1.0},
        {"quantity": "value", "low": 0.0, "target": 1.0},
        {"quantity": "value", "low": 0.0, "groups": ["a"]},
        {"quantity": "change", "low": 0.0, "high": 1.0},
        {"quantity": "difference", "low": 0.0, "groups": ["a"]},
        {"quantity": "difference", "groups": ["a", "b"]},
        {"quantity": "rise", "high": 0.0, "groups": ["a", "b"]},
        {"quantity": "rise", "low": 0.0, "groups": ["a"]},
        {"quantity": "deviation", "low": 0.0, "high": 1.0},
        {"quantity": "deviation", "low": 0.0, "target": 1.0},
        {"quantity": "exponent", "high": 1.0},
        {"quantity": "length", "low": 1.0},
        {"quantity": "exponent", "low": 1e101},
    ],
    ids=str,
)
def test_what_no_expectation_asks_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(asked, Asked)
