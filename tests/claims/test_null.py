"""Every claim can fail: it does not hold where there is nothing in it."""

from __future__ import annotations

import dataclasses

import pytest
from tiny_claim import CLAIM

from lmc.claims.claim import Claim, Small
from lmc.claims.expectations import Level
from lmc.claims.null import Null, holds_at_its_null
from lmc.claims.paper import CLAIMS
from lmc.claims.statistics import by_width
from lmc.claims.verdicts import FAILS, ROLES


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_fails_at_its_null_at_either_strength(claim: Claim) -> None:
    assert not holds_at_its_null(claim)
    for asked in (claim, claim.at_small_strength()):
        found = asked.expect.judge(asked.null.observations(asked.expect.asked.groups))
        assert found.verdict == FAILS, f"{claim.id}: {found.reason}"
        assert asked.null.text.endswith(".")
    assert claim.role in ROLES


def test_a_claim_that_asks_for_nothing_is_found_out() -> None:
    assert not holds_at_its_null(CLAIM)
    assert holds_at_its_null(dataclasses.replace(CLAIM, null=Null("A small barrier.", 9.0)))  # it asks for below 10


def test_a_claim_that_asks_a_small_tier_for_nothing_is_found_out() -> None:
    for less in (
        Small("-", Level(below=30.0), "-"),
        Small("-", CLAIM.expect, "-", null=Null("A small barrier.", 9.0)),
    ):
        assert holds_at_its_null(dataclasses.replace(CLAIM, small=less))
    assert not holds_at_its_null(dataclasses.replace(CLAIM, small=Small("-", Level(below=19.0), "-")))


def test_a_null_may_have_a_value_for_every_width() -> None:
    widths = by_width(Null("-", (0.3, 0.9, 0.6)).observations())
    assert list(widths) == [0.25, 1.0, 4.0]
    for pairs, value in zip(widths.values(), (0.3, 0.9, 0.6), strict=True):
        assert len(pairs) == 66
        assert max(abs((each.value or 0.0) - value) for each in pairs) < 1e-3


def test_the_observations_of_a_null_are_pairs_around_its_values() -> None:
    found = Null("-", {"weak": 0.5, "strong": -2.0}).observations(("strong", "weak"))
    for group, value in (("weak", 0.5), ("strong", -2.0)):
        mine = by_width(each for each in found if each.group == group)
        assert list(mine) == [0.25, 1.0, 4.0]
        for pairs in mine.values():
            assert len({each.seeds for each in pairs}) == len(pairs) == 66
            assert sum(each.independent for each in pairs) == 6
            numbers = [each.value or 0.0 for each in pairs]
            assert max(abs(number - value) for number in numbers) < 1e-3
            assert len(set(numbers)) == 66
    assert found == Null("-", {"weak": 0.5, "strong": -2.0}).observations(("strong", "weak"))


def test_a_null_must_say_something_of_every_group() -> None:
    with pytest.raises(ValueError, match="no value for weak, only for strong"):
        Null("-", {"strong": 1.0}).observations(("strong", "weak"))
