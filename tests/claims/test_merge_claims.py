"""Claims on merges, packing and forecasts: the numbers they take from records made by hand, and what they conclude."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from lmc.claims.forecasts import FORECASTS, LEAST
from lmc.claims.merge_extracts import (
    above_ensemble,
    lacking_additivity,
    lost_by_pruning,
    needed_share,
    occupied_share,
    pruning_barrier,
)
from lmc.claims.merging import MERGING
from lmc.claims.packing import PACKING
from lmc.claims.placing import PLACING
from lmc.claims.statistics import Observation, by_width
from lmc.claims.verdicts import FAILS, HOLDS
from lmc.measuring.measurements import Measurement, MergeMeasurement, PairMeasurement, PruneMeasurement
from lmc.specs import RunSpec
from lmc.tiers import Family, Setting
from lmc.tiers.families import variant

STRONG = Family(RunSpec(dataset="digits", arch="mlp", width=1, weight_decay=0.1), (0.5, 1.0, 2.0), tuple(range(6)))
SETTING = Setting(
    "here",
    {
        "strong": replace(STRONG, draws=4),
        "weak": variant(STRONG, weight_decay=0.01, widths=(1.0, 2.0)),
        "many": variant(STRONG, lr=0.2, seeds=tuple(range(12))),
    },
    0.0,
)
CLAIMS = {claim.id: claim for claim in (*MERGING, *PLACING, *PACKING, *FORECASTS)}

Records = dict[str, dict[str, Any]]


def records(claim_id: str, make: Callable[[Any], Mapping[str, Any]]) -> Records:
    return {each.key: dict(make(each)) for each in CLAIMS[claim_id].study.needs(SETTING)}


def observed(claim_id: str, make: Callable[[Any], Mapping[str, Any]]) -> list[Observation]:
    return list(CLAIMS[claim_id].study.observe(SETTING, records(claim_id, make)))


def pair(calibrated: float) -> dict[str, Any]:
    name = "calibrated_loss_barrier_midpoint"
    return {"path": {"barriers": {name: calibrated}, "errors": {name: 0.0}}}


def merge(loss: float = 0.0, accuracy: float = 0.0, own: float = 0.0) -> dict[str, Any]:
    """``loss`` above the models', and so much less accurate."""
    models = [{"loss": own, "accuracy": 1.0, "calibrated_loss": own}] * 2
    return {"models": models, "merged": {"loss": own + loss, "accuracy": 1 - accuracy, "calibrated_loss": own + loss}}


def pruning(*lost: float, own: float = 0.98, function: float | None = None, norm: float = 0.5) -> dict[str, Any]:
    """Accuracy lost with a half, a third and a quarter of the channels."""
    keeps = (1 / 2, 1 / 3, 1 / 4)
    points = [{"keep": keep, "accuracy": own - each} for keep, each in zip(keeps, lost, strict=False)]
    return {"model": {"accuracy": own}, "points": points, "occupancy": {"function": function, "norm": norm}}


def noise(measurement: Measurement) -> float:
    """Small, of its own for every model."""
    return 1e-4 * sum(((spec.seed * 7 + 3) % 5) * (place + 1) for place, spec in enumerate(measurement.specs))


def test_numbers_of_single_records() -> None:
    assert above_ensemble({"merged": {"loss": 0.5}, "mean_logits": {"loss": 0.375}}) == {"": 0.125}
    assert needed_share(pruning(0.1, function=0.25)) == {"": 0.25}
    assert needed_share(pruning(0.1)) == {"": 1.0}
    assert occupied_share(pruning(0.1, norm=0.375)) == {"": 0.375}
    assert lost_by_pruning(pruning(0.01, 0.02, 0.04), 1 / 3) == pytest.approx(0.02)
    losses: dict[str, Any] = {"model": {"calibrated_loss": 0.25}, "points": [{"keep": 1.0, "calibrated_loss": 0.5}]}
    losses["points"].append({"keep": 0.5, "calibrated_loss": 1.0})
    assert pruning_barrier(losses) == {"": 0.75}
    with pytest.raises(KeyError, match=r"no point at 0\.3 of the channels, only at \[0\.5\]"):
        lost_by_pruning(pruning(0.01), 0.3)
    cosines = {"one": 0.75, "other": 1.0, "above": 1.5, "dead": None}
    layers = {"activations": {name: {"additivity_cosine": cosine} for name, cosine in cosines.items()}}
    floor = pytest.approx(-9.96578, abs=1e-4)
    assert lacking_additivity({"layers": layers}) == {"one": -2.0, "other": floor, "above": floor, "dead": None}


def test_packing_is_beside_the_mean_of_both_models_that_are_pruned() -> None:
    def make(each: Measurement) -> dict[str, Any]:
        if isinstance(each, PruneMeasurement):
            return pruning(0.01 * each.spec.seed)
        assert isinstance(each, MergeMeasurement)
        assert (each.alignment, each.rule, each.specs[0].width) == ("complementary", "sum", 2.0)
        return merge(accuracy=0.001 * each.specs[0].seed + 0.0001 * each.specs[1].seed)

    found = observed("packing-costs-no-more-than-pruning", make)
    assert len(found) == 2 * 15
    for each in found:
        a, b = each.seeds
        expected = {"pruned": 0.01 * (a + b) / 2, "packed": 0.001 * a + 0.0001 * b}[each.group]
        assert each.value == pytest.approx(expected)
        assert each.independent == (each.seeds in STRONG.independent)


@pytest.mark.parametrize(("sign", "correlation", "verdict"), [(1, 1.0, HOLDS), (-1, -1.0, FAILS)])
def test_capacity_is_ranked_over_widths_and_numbers_of_models(sign: int, correlation: float, verdict: str) -> None:
    """Twelve models make three blocks, each ranked over three widths and three numbers of models."""

    def loss(width: float, k: int) -> float:
        return {0.5: 0.3, 1.0: 0.1, 2.0: 0.01}[width] * (1 + 0.1 * k)

    def make(each: Measurement) -> dict[str, Any]:
        width = each.specs[0].width
        if isinstance(each, PruneMeasurement):
            return pruning(*(loss(width, k) + noise(each) for k in (2, 3, 4)))
        assert isinstance(each, MergeMeasurement)
        return merge(accuracy=sign * loss(width, len(each.specs)) ** 2)

    found = observed("capacity-follows-pruning", make)
    assert [each.seeds for each in found] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)]
    assert [each.value for each in found] == pytest.approx([correlation] * 3)
    spread = [replace(each, value=(each.value or 0) - 0.01 * place) for place, each in enumerate(found)]
    assert CLAIMS["capacity-follows-pruning"].expect.judge(spread).verdict == verdict


def test_the_harm_of_matching_is_ranked_over_decays_and_widths() -> None:
    """What a quarter needs is harmed, what needs everything is helped: -1, and the models of no other pair count."""

    def sparse(spec: RunSpec) -> float:
        return 1.0 if spec.weight_decay < 0.1 else {0.5: 0.8, 1.0: 0.5, 2.0: 0.25}[spec.width]

    def make(each: Measurement) -> dict[str, Any]:
        spec = each.specs[0]
        if isinstance(each, PruneMeasurement):
            return pruning(function=sparse(spec))
        assert isinstance(each, PairMeasurement)
        base = {0.5: 1.0, 1.0: 0.5, 2.0: 0.1}[spec.width]
        return pair(base + (0.3 - sparse(spec) if each.alignment == "matching" else 0.0))

    found = observed("matching-harms-where-little-is-needed", make)
    assert len(found) == 15
    assert {each.value for each in found} == {-1.0}
    assert {each.width for each in found} == {2.0}


def test_doses_are_ranked_within_each_pair() -> None:
    """The sum of models as they are is the dose of nothing."""

    def make(each: Measurement) -> dict[str, Any]:
        assert isinstance(each, MergeMeasurement)
        dose = each.dose if each.alignment == "complementary" else 0.0
        if each.specs[0].seed == 1:
            dose = {0.75: 0.25, 0.25: 0.75}.get(dose, dose)  # 0 .75 .5 .25 1: 1 - 6 (4 + 4) / 120 = 0.6
        return merge(loss=1 - dose)

    found = observed("more-channels-placed-sum-better", make)
    assert {each.seeds for each in found} == set(STRONG.neighbours)
    assert {each.seeds[0]: each.value for each in found}[1] == pytest.approx(-0.6)
    assert {each.value for each in found if each.seeds[0] != 1} == {-1.0}
    assert CLAIMS["more-channels-placed-sum-better"].expect.judge(found).verdict == HOLDS


# -- Forecasts. --

PAIRS = {0.5: 1.0, 1.0: 0.4, 2.0: LEAST / 2}
"""Mean barriers of pairs by width; at the widest there is nothing to forecast."""


def forecasting(factor: float) -> Callable[[Measurement], dict[str, Any]]:
    """Models whose merges with themselves show so many times the barrier of pairs."""

    def make(each: Measurement) -> dict[str, Any]:
        assert isinstance(each, PairMeasurement)
        a, b = each.specs
        mean = PAIRS[a.width]
        return pair(mean * (factor if a == b else 1.0) * (1 + noise(each)) + 1e-4 * each.draw)

    return make


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, HOLDS), (1.1, HOLDS), (1.3, FAILS), (0.7, FAILS)])
def test_forecasts_are_compared_with_pairs_as_shares_of_their_mean(factor: float, verdict: str) -> None:
    found = observed("self-permutation-forecasts-pairs", forecasting(factor))
    assert {each.width for each in found} == {0.5, 1.0}, "pairs that show less than a tenth of a nat are left out"
    for group in by_width(found).values():
        means = {
            name: sum(each.value or 0 for each in group if each.group == name)
            / sum(each.group == name for each in group)
            for name in ("pairs", "forecast")
        }
        assert means["pairs"] == pytest.approx(1)
        assert means["forecast"] == pytest.approx(factor, rel=0.01)
    drawn = {name: {each.draw for each in found if each.group == name} for name in ("pairs", "forecast")}
    assert drawn == {"pairs": {0, 1, 2, 3}, "forecast": {0, 1, 2}}
    assert CLAIMS["self-permutation-forecasts-pairs"].expect.judge(found).verdict == verdict


def test_where_no_width_shows_a_barrier_errors_are_shares_of_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmc.claims.forecasts.LEAST", 2.0)
    found = observed("self-permutation-forecasts-pairs", forecasting(1.5))
    assert {each.width for each in found} == {0.5, 1.0, 2.0}
    half = [each.value or 0 for each in found if (each.width, each.group) == (0.5, "forecast")]
    assert sum(half) / len(half) == pytest.approx(1.5 / 2.0, rel=0.01)


def test_a_forecast_is_of_both_models_of_its_pair() -> None:
    def make(each: Measurement) -> dict[str, Any]:
        a, b = each.specs
        return pair(float(a.seed) if a == b else 1.0)

    found = observed("self-permutation-forecasts-pairs", make)
    values = {each.seeds: each.value for each in found if each.group == "forecast" and each.width == 1.0}
    assert values == {(a, b): (a + b) / 2 for a, b in values}
    assert len(values) == 15


def test_a_forecast_errs_less_than_the_nearer_neighbour() -> None:
    """At 0.5 and 1 the nearer neighbours' means are 0.4 for 1 and 0.05 for 0.4: off by 0.6 and by 0.875."""
    found = observed("forecast-beats-the-neighbouring-width", forecasting(1.1))
    means = {
        (width, name): sum(each.value or 0 for each in group if each.group == name) / 15
        for width, group in by_width(found).items()
        for name in ("neighbour", "forecast")
    }
    assert means == {
        (0.5, "neighbour"): pytest.approx(0.6, abs=0.01),
        (0.5, "forecast"): pytest.approx(0.1, abs=0.01),
        (1.0, "neighbour"): pytest.approx(0.875, abs=0.01),
        (1.0, "forecast"): pytest.approx(0.1, abs=0.01),
    }
    expect = CLAIMS["forecast-beats-the-neighbouring-width"].expect
    assert expect.judge(found).verdict == HOLDS
    assert expect.judge(observed("forecast-beats-the-neighbouring-width", forecasting(2.0))).verdict == FAILS


def test_every_width_is_asked_by_itself() -> None:
    """One width at which the sum is no better fails it, whatever the others gain."""
    claim = CLAIMS["sum-beats-matching-at-every-width"]

    def make(gain: Mapping[float, float]) -> Callable[[Measurement], dict[str, Any]]:
        def record(each: Measurement) -> dict[str, Any]:
            if isinstance(each, PairMeasurement):
                return pair(0.5 + noise(each))
            return merge(loss=0.5 - gain[each.specs[0].width] - 2 * noise(each))

        return record

    good = observed(claim.id, make({0.5: 0.1, 1.0: 0.1, 2.0: 0.1}))
    assert {each.part for each in good} == {"width 0.5", "width 1", "width 2"}
    assert claim.expect.judge(good).verdict == HOLDS
    bad = claim.expect.judge(observed(claim.id, make({0.5: 0.9, 1.0: 0.0, 2.0: 0.9})))
    assert (bad.verdict, bad.part) == (FAILS, "width 1")
    past = CLAIMS["sum-beats-matching-past-the-narrowest"].study.needs(SETTING)
    assert {each.specs[0].width for each in past} == {1.0, 2.0}
