"""Numbers of Appendix C and D taken from records made by hand: the value that the formula gives."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lmc.claims.layer_extracts import (
    against_root_of_width,
    log_distance,
    loss_of_a_step,
    own_loss,
    raw_barrier,
    sides_apart,
)
from lmc.claims.studies import over_pairs
from lmc.datasets import Size
from lmc.specs import RunSpec
from lmc.tiers import Family, Setting

TEN = Size((1, 8, 8), 10, 1000, 500)


def weights(**last: float | None) -> dict[str, Any]:
    layers = {"first": {"relative_commutativity": 0.9}, "middle": {"relative_commutativity": None}, "head": last}
    return {"layers": {"weights": layers}}


def test_the_sides_of_the_last_layer_alone_are_taken_without_what_all_classes_share() -> None:
    record = weights(relative_commutativity=0.2, class_centred_relative_commutativity=0.7)
    assert sides_apart(record) == {"first": 0.9, "middle": None, "head": 0.7}
    assert record["layers"]["weights"]["head"]["relative_commutativity"] == 0.2, "the record is left as it is"


def test_a_last_layer_that_has_no_classes_is_taken_as_it_is() -> None:
    for centred in ({}, {"class_centred_relative_commutativity": None}):
        assert sides_apart(weights(relative_commutativity=0.2, **centred))["head"] == 0.2
    zero = weights(relative_commutativity=0.2, class_centred_relative_commutativity=0.0)
    assert sides_apart(zero)["head"] == 0.0, "equal sides are not missing ones"


def test_losses_are_shares_of_that_of_chance() -> None:
    points = [{"loss": 0.4, "calibrated_loss": 0.3}, {"loss": 9.0, "calibrated_loss": 9.0}]
    points.append({"loss": 1.1, "calibrated_loss": 0.8})
    barriers = {"loss_barrier_midpoint": 0.5, "calibrated_loss_barrier_midpoint": 7.0}
    errors = {"loss_barrier_midpoint": 0.02, "calibrated_loss_barrier_midpoint": 7.0}
    path = {"points": points, "barriers": barriers, "errors": errors}
    for classes in (10, 2):
        chance = math.log(classes)
        record = {"size": Size((1, 8, 8), classes, 1000, 500), "path": path, "points": points}
        assert loss_of_a_step(record) == {"": pytest.approx((1.1 - 0.4) / chance)}
        assert own_loss(record) == {"": pytest.approx((0.3 + 0.8) / 2 / chance)}
        assert raw_barrier(record) == {"": pytest.approx(0.5 / chance)}
        assert raw_barrier.error(record) == pytest.approx(0.02 / chance)
    unknown = {"size": TEN, "path": {"barriers": barriers, "errors": {"loss_barrier_midpoint": None}}}
    assert raw_barrier.error(unknown) == 0.0


def test_the_logarithm_of_a_distance_is_to_base_two() -> None:
    assert log_distance({"distance": 8.0}) == {"": 3.0}
    assert log_distance({"distance": 0.5}) == {"": -1.0}
    assert log_distance({"distance": 0.0}) == {"": None}


@pytest.mark.parametrize(("power", "values"), [(0.5, [1.0, 1.0, 1.0]), (0.0, [2.0, 1.0, 0.0]), (1.0, [0.0, 1.0, 2.0])])
def test_distances_are_held_against_the_root_of_the_width(power: float, values: list[float]) -> None:
    """One that grows like the root stays; one that stays falls by half a unit for every doubling."""
    strong = Family(RunSpec(dataset="digits", arch="mlp", width=1), (0.25, 1.0, 4.0), tuple(range(6)))
    setting = Setting("here", {"strong": strong}, 0.0)
    plain = over_pairs(log_distance)
    found = against_root_of_width(plain)
    needs = found.needs(setting)
    assert [each.key for each in needs] == [each.key for each in plain.needs(setting)]
    assert found.groups == ("strong",)
    records = {each.key: {"distance": 2.0 * each.specs[0].width ** power} for each in needs}
    observed = found.observe(setting, records)
    by_width = {each.width: each.value for each in observed}
    assert [by_width[width] for width in strong.widths] == pytest.approx(values)
    assert [each.seeds for each in observed] == [each.seeds for each in plain.observe(setting, records)]
    assert found.observe(setting, {each.key: {"distance": 0.0} for each in needs})[0].value is None
