"""Where on a diagram what a claim asks is satisfied."""

from __future__ import annotations

import pytest

from lmc.claims.claim import Claim
from lmc.claims.comparisons import Contrast, Ordered
from lmc.claims.equivalence import Near, NonInferior, Similar
from lmc.claims.expectations import Level, Trend, Within
from lmc.claims.paper import CLAIMS
from lmc.claims.parts import Expectation
from lmc.claims.scaling import PowerLaw
from lmc.reporting.zones import Zone, needed_change, zone_of_effect, zone_of_values


@pytest.mark.parametrize("each", CLAIMS, ids=lambda each: each.id)
def test_every_claim_of_the_paper_has_a_zone(each: Claim) -> None:
    zone = zone_of_effect(each.expect.asked)
    assert zone is not None
    assert zone.ends


@pytest.mark.parametrize(
    ("expect", "values", "effect"),
    [
        (Level(above=0.2), Zone(low=0.2), Zone(low=0.2)),
        (Level(above=0.0), Zone(low=0.0), Zone(low=0.0)),
        (Level(below=-0.5, at="narrowest"), Zone(high=-0.5), Zone(high=-0.5)),
        (Near(-1.0, 0.25), Zone(-1.25, -0.75), Zone(-1.25, -0.75)),
        (Within(1.0, 1e-3), Zone(0.999, 1.001), Zone(-1e-3, 1e-3)),
        (Trend(True, 0.1, pooled=True), None, Zone(low=0.1)),
        (Trend(False, 0.1), None, Zone(high=-0.1)),
        (Trend(True, -0.03), None, Zone(low=-0.03)),
        (Trend(False, -0.05), None, Zone(high=0.05)),
        (Contrast("a", "b", 0.1), None, Zone(low=0.1)),
        (Ordered(("a", "b"), 0.05), None, Zone(low=0.05)),
        (Similar("a", "b", 0.2), None, Zone(-0.2, 0.2)),
        (NonInferior("a", "b", 0.2), None, Zone(high=0.2)),
        (PowerLaw(0.25, 0.1), None, Zone(low=0.25)),
    ],
    ids=str,
)
def test_zone_is_what_the_expectation_asks(expect: Expectation, values: Zone | None, effect: Zone) -> None:
    assert zone_of_values(expect.asked) == values
    assert zone_of_effect(expect.asked) == effect


def test_only_a_trend_needs_a_change() -> None:
    assert needed_change(Trend(True, 0.1).asked) == 0.1
    assert needed_change(Trend(True, 0.0).asked) == 0.0
    assert needed_change(Trend(False, 0.1).asked) == -0.1
    assert needed_change(Ordered(("a", "b"), 0.1).asked) is None
    assert needed_change(Level(below=0.1).asked) is None


def test_where_nothing_is_asked_there_is_no_zone() -> None:
    assert needed_change(None) is None
    assert zone_of_values(None) is None
    assert zone_of_effect(None) is None
