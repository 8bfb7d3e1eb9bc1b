"""The difference of two runs: verdicts, effects and run time, on documents small enough to read."""

from __future__ import annotations

import math

import pytest
from documents import BELOW, RISES, Edit, document, edited, machine, on, other_seeds, top, versions, without
from msgspec.structs import replace

from lmc.claims import comparisons, equivalence, expectations
from lmc.claims.asked import Asked
from lmc.claims.parts import Expectation
from lmc.claims.scaling import PowerLaw
from lmc.claims.verdicts import SEVERITY
from lmc.errors import SpecError
from lmc.results.comparing import difference_between
from lmc.results.document import MadeCounts


def test_unchanged_runs_give_nothing() -> None:
    found = difference_between(document(), edited(top(started="later", commit="def")))
    assert found.lines() == ["nothing differs in 4 pairs of claim and setting"]
    assert not found.worse
    assert found.compared == 4
    assert (found.changes, found.only_old, found.only_new, found.limits) == ((), (), (), ())


@pytest.mark.parametrize("was", SEVERITY)
@pytest.mark.parametrize("is_", SEVERITY)
def test_verdicts(was: str, is_: str) -> None:
    found = difference_between(edited(on(0, 1, verdict=was)), edited(on(0, 1, verdict=is_)))
    if was == is_:
        assert found.changes == ()
        return
    (change,) = found.changes
    assert (change.what, change.claim, change.setting, change.old, change.new) == ("verdict", "a", "vgg", was, is_)
    assert change.direction == ("worse" if SEVERITY.index(is_) > SEVERITY.index(was) else "better")
    assert found.worse == (change.direction == "worse")
    assert any(f"{change.direction:<6}  a on vgg: {was} -> {is_}" in line for line in found.lines())


def test_a_known_gap_is_shown_and_does_not_count() -> None:
    gap = on(0, 0, verdict="fails", effect=0.5, known_gap="known")
    found = difference_between(document(), edited(gap))
    assert [change.direction for change in found.changes] == ["worse", "worse"]
    assert [change.uncounted for change in found.changes] == ["a known gap", "a known gap"]
    assert not found.worse
    assert difference_between(document(), edited(gap, on(0, 0, known_gap=""))).worse


ABOVE = Asked(quantity="value", low=0.3, at="narrowest", alpha=0.05)
FALLS = Asked(quantity="change", high=-0.3, pooled=True, alpha=0.05)
LARGER = Asked(quantity="difference", low=0.02, groups=("weak", "strong"), alpha=0.05)
NEAR = Asked(quantity="value", low=0.0, high=0.2, target=0.1, at="widest", alpha=0.05)


@pytest.mark.parametrize(
    ("asked", "effect", "direction"),
    [
        (BELOW, 0.16, "worse"),
        (BELOW, 0.04, "better"),
        (ABOVE, 0.04, "worse"),
        (ABOVE, 0.16, "better"),
        (RISES, 0.04, "worse"),
        (RISES, 0.16, "better"),
        (FALLS, 0.16, "worse"),
        (FALLS, 0.04, "better"),
        (LARGER, 0.04, "worse"),
        (LARGER, 0.16, "better"),
        (NEAR, 0.16, "moved"),
        (BELOW, 0.149, None),
        (BELOW, 0.051, None),
        (BELOW, 0.15 + 1e-12, None),
        (BELOW, None, None),
    ],
)
def test_effects(asked: Asked, effect: float | None, direction: str | None) -> None:
    old, new = edited(on(0, 0, asked=asked)), edited(on(0, 0, asked=asked, effect=effect))
    found = difference_between(old, new)
    if direction is None:
        assert found.changes == ()
        return
    (change,) = found.changes
    assert (change.what, change.old, change.new, change.direction) == ("effect", 0.1, effect, direction)
    assert found.worse == (direction == "worse")
    assert any(f"{direction:<6}  a on mlp: 0.1 -> {effect:.4g}; [0.05, 0.15] nats" in line for line in found.lines())


def test_a_mean_is_of_one_quantity_whatever_it_should_be_near() -> None:
    moved = Asked(quantity="value", low=0.1, high=0.3, target=0.2, at="widest", alpha=0.05)
    (change,) = difference_between(edited(on(0, 0, asked=NEAR)), edited(on(0, 0, asked=moved, effect=0.16))).changes
    assert (change.what, change.new) == ("effect", 0.16)
    from_one, from_half = (expectations.Within(target, 0.1).asked for target in (1.0, 0.5))
    found = difference_between(edited(on(0, 0, asked=from_one)), edited(on(0, 0, asked=from_half, effect=0.16)))
    assert found.changes == ()  # deviations from two targets


@pytest.mark.parametrize(
    ("expectation", "direction"),
    [
        (expectations.Level(above=0.05), "better"),
        (expectations.Level(below=0.2, at="narrowest"), "worse"),
        (expectations.Trend(increasing=True, by=0.1), "better"),
        (expectations.Trend(increasing=True, by=-0.03, pooled=True), "better"),
        (expectations.Trend(increasing=False, by=0.1, pooled=True), "worse"),
        (expectations.Trend(increasing=False, by=-0.03), "worse"),
        (comparisons.Contrast("weak", "strong", by=0.02), "better"),
        (comparisons.Ordered(("zero", "weak", "strong"), by=0.02), "better"),
        (PowerLaw(exponent=0.05, tolerance=0.1), "better"),
        (equivalence.Similar("strong", "bn", within=0.1), "moved"),
        (equivalence.Similar("strong", "bn", within=0.1, pooled=True), "moved"),
        (equivalence.Near(-1.0, within=0.25), "moved"),
        (equivalence.NonInferior("unpermuted", "matching", margin=0.2), "worse"),
        (expectations.Within(0.0, 0.1), "moved"),
    ],
    ids=str,
)
def test_the_direction_follows_what_every_expectation_asks(expectation: Expectation, direction: str) -> None:
    """Of an effect above its interval."""
    old = edited(on(0, 0, asked=expectation.asked))
    new = edited(on(0, 0, asked=expectation.asked, effect=0.3))
    assert [change.direction for change in difference_between(old, new).changes] == [direction]


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ([other_seeds], "other models"),
        ([top(tier="standard")], "another tier"),
        ([on(0, 0, part="relu1")], "of relu1, was of all layers"),
        ([on(0, 0, mean_of=3, part="relu1")], "of mean of 3 layers, was of all layers"),
    ],
    ids=["seeds", "tier", "layer", "mean"],
)
def test_an_effect_that_does_not_count_is_shown(edits: list[Edit], why: str) -> None:
    found = difference_between(document(), edited(on(0, 0, effect=0.5), *edits))
    (change,) = found.changes
    assert (change.direction, change.uncounted) == ("worse", why)
    assert not found.worse
    assert any(line.endswith(f"(not counted: {why})") for line in found.lines())


@pytest.mark.parametrize(
    "rounding",
    [machine(processor="Q"), machine(device="cuda"), machine(gpu="G"), versions(numpy="3")],
    ids=["processor", "device", "gpu", "numpy"],
)
@pytest.mark.parametrize(
    ("interval", "counts"),
    [((0.14, 0.86), False), ((0.2, 0.8), True), ((None, 0.8), False), ((0.2, None), True), (None, False)],
)
def test_where_rounding_differs_an_effect_counts_whose_interval_does_not_reach_the_old_one(
    rounding: Edit, interval: tuple[float | None, float | None] | None, counts: bool
) -> None:
    found = difference_between(document(), edited(on(0, 0, effect=0.5, interval=interval), rounding))
    assert [change.direction for change in found.changes] == ["worse"]
    assert found.worse == counts
    below = difference_between(edited(on(0, 0, asked=RISES)), edited(on(0, 0, asked=RISES, effect=-1.0), rounding))
    assert not below.worse  # [0.05, 0.15] in both
    apart = edited(on(0, 0, asked=RISES, effect=-1.0, interval=(-2.0, 0.0)), rounding)
    assert difference_between(edited(on(0, 0, asked=RISES)), apart).worse


def test_an_effect_without_an_interval_is_left_to_its_verdict() -> None:
    assert difference_between(document(), edited(on(2, 0, effect=0.09))).changes == ()


@pytest.mark.parametrize(("interval", "directions"), [((None, 0.15), ["worse"]), ((0.05, None), [])])
def test_an_open_interval(interval: tuple[float | None, float | None], directions: list[str]) -> None:
    found = difference_between(edited(on(0, 0, interval=interval)), edited(on(0, 0, effect=0.5)))
    assert [change.direction for change in found.changes] == directions


def test_a_moved_threshold_is_said_and_the_effect_compares() -> None:
    found = difference_between(document(), edited(on(0, 0, asked=replace(BELOW, high=0.3), effect=0.5)))
    assert found.worse
    (limit,) = found.limits
    assert limit.what == "threshold of a on mlp"
    assert limit.so.endswith("the effect compares")


def test_an_invalid_setting_has_no_threshold_to_compare() -> None:
    found = difference_between(document(), edited(on(0, 0, verdict="invalid", asked=None, effect=None, values=())))
    assert found.limits == ()
    assert [each.new for each in found.changes] == ["invalid"]


def test_another_expectation_has_another_effect() -> None:
    found = difference_between(document(), edited(on(0, 0, asked=RISES, effect=0.5)))
    assert found.changes == ()
    assert found.limits[0].so.endswith("the effect does not compare")


@pytest.mark.parametrize(
    ("seconds", "tolerance", "edits", "direction", "worse"),
    [
        (125.0, 0.25, [], None, False),
        (126.0, 0.25, [], "worse", True),
        (126.0, 0.5, [], None, False),
        (101.0, 0.0, [], "worse", True),
        (79.0, 0.25, [], "better", False),
        (79.0, 0.25, [machine(cores=4)], "better", False),
        (81.0, 0.25, [], None, False),
        (126.0, 0.25, [machine(memory_gib=9.0)], "worse", True),
        (126.0, 0.25, [machine(cores=4)], "worse", False),
        (126.0, 0.25, [machine(device="cuda")], "worse", False),
        (126.0, 0.25, [machine(gpu="G")], "worse", False),
        (126.0, 0.25, [top(tier="standard")], "worse", False),
        (126.0, 0.25, [without(2)], "worse", False),
    ],
)
def test_run_time(seconds: float, tolerance: float, edits: list[Edit], direction: str | None, worse: bool) -> None:
    found = difference_between(document(), edited(top(seconds=seconds), *edits), tolerance=tolerance)
    assert [change.direction for change in found.changes] == ([direction] if direction else [])
    assert found.worse == worse
    assert [bool(change.uncounted) for change in found.changes] == [bool(edits) and not worse] * bool(direction)


@pytest.mark.parametrize(("models", "worse"), [(3, True), (2, False), (0, False)])
def test_run_time_counts_where_both_made_as_much(models: int, worse: bool) -> None:
    old = edited(top(made=MadeCounts(models=3)))
    new = edited(top(made=MadeCounts(models=models), seconds=300.0))
    assert [change.what for change in difference_between(old, new).changes] == ["seconds"]
    assert difference_between(old, new).worse == worse
    assert not difference_between(old, new, time_counts=False).worse


def test_run_time_of_nothing() -> None:
    """A run without a measured duration neither divides by zero nor counts as fast."""
    assert [each.direction for each in difference_between(edited(top(seconds=0.0)), document()).changes] == ["worse"]


@pytest.mark.parametrize("tolerance", [-0.1, math.nan])
def test_a_tolerance_is_a_share(tolerance: float) -> None:
    with pytest.raises(SpecError, match="tolerance of run time"):
        difference_between(document(), document(), tolerance=tolerance)
