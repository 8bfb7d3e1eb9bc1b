"""The share of bad merges: exact binomial limits, over draws and never over their averages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from lmc.claims.asked import Asked
from lmc.claims.shares import Share, share_interval, share_p_values
from lmc.claims.statistics import Observation
from lmc.errors import SpecError


@pytest.mark.parametrize("units", [3, 6, 12])
@pytest.mark.parametrize("at_most", [0.1, 0.5, 0.9])
def test_whole_numbers_give_the_binomial_test(units: int, at_most: float) -> None:
    for bad in range(units + 1):
        p_value, p_contrary = share_p_values(bad / units, units, at_most)
        assert p_value == pytest.approx(stats.binomtest(bad, units, at_most, alternative="less").pvalue)
        assert p_contrary == pytest.approx(stats.binomtest(bad, units, at_most, alternative="greater").pvalue)
        expected = stats.binomtest(bad, units).proportion_ci(0.95, method="exact")
        assert share_interval(bad / units, units) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_draws_are_counted_one_by_one() -> None:
    """A pair that is bad in one draw of four is a quarter bad, though its average is good."""
    good = [Observation(1.0, (at,), 0.0, draw=draw) for at in range(6) for draw in range(4)]
    spoiled = [replace(good[0], value=0.3), *good[1:]]
    found = Share(limit=0.2, at_most=0.5).judge(spoiled)
    assert found.effect == pytest.approx(1 / 24)
    assert found.p_value == pytest.approx(share_p_values(1 / 24, 6, 0.5)[0])
    assert found.reason.startswith("1 of 24 merges of 6 models above 0.2 at width 1")


def test_pairs_count_as_their_models() -> None:
    pairs = [Observation(1.0, (i, j), 0.0) for i in range(6) for j in range(i)]
    assert Share(limit=0.2, at_most=0.5).judge(pairs).p_value == pytest.approx(0.5**6)
    groups = [Observation(1.0, (3 * i, 3 * i + 1, 3 * i + 2), 0.0) for i in range(4)]
    assert Share(limit=0.2, at_most=0.5).judge(groups).p_value == pytest.approx(0.5**4)


def test_what_is_asked_is_data() -> None:
    asked = Asked(quantity="share", high=0.1, at="widest", alpha=0.05, limit=0.2, bad="above")
    assert Share(limit=0.2, at_most=0.1).asked == asked


@pytest.mark.parametrize("wrong", [{"at_most": 0.0}, {"at_most": 1.0}, {"bad": "beside"}, {"at": "middle"}])
def test_share_checks_its_arguments(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="needs a share between 0 and 1"):
        Share(**({"limit": 0.2, "at_most": 0.1} | wrong))
