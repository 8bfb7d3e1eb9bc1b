"""The difference of two runs: verdicts, effects and run time, on documents small enough to read."""

from __future__ import annotations

import math

import pytest
from documents import (
    BELOW,
    RISES,
    Edit,
    claim,
    document,
    edited,
    machine,
    on,
    other_seeds,
    setting,
    top,
    versions,
    without,
)
from msgspec.structs import replace

from lmc.claims import comparisons, equivalence, expectations
from lmc.claims.asked import Asked
from lmc.claims.parts import Expectation
from lmc.claims.scaling import PowerLaw
from lmc.claims.verdicts import SEVERITY
from lmc.errors import SpecError
from lmc.results.comparing import difference_between
from lmc.results.document import Explained, MadeCounts


def test_unchanged_runs_give_nothing() -> None:
    found = difference_between(document(), edited(top(started="later", commit="def")))
    assert found.lines() == ["nothing differs in 4 pairs of claim and setting"]
    assert not found.worse
    assert found.compared == 4
    assert (found.changes, found.only_old, found.only_new, found.limits) == ((), (), (), ())


@pytest.mark.parametrize("was", SEVERITY)
@pytest.mark.parametrize("is_", SEVERITY)
def test_verdicts(was: str, is_: str) -> None:
    """Where there is no effect to compare."""
    old, new = (edited(on(0, 1, verdict=each, effect=None)) for each in (was, is_))
    found = difference_between(old, new)
    if was == is_:
        assert found.changes == ()
        return
    (change,) = found.changes
    assert (change.what, change.claim, change.setting, change.old, change.new) == ("verdict", "a", "vgg", was, is_)
    assert change.direction == ("worse" if SEVERITY.index(is_) > SEVERITY.index(was) else "better")
    assert found.worse == (change.direction == "worse")
    assert any(f"{change.direction:<6}  a on vgg: {was} -> {is_}" in line for line in found.lines())


@pytest.mark.parametrize(("effect", "counts"), [(0.1, False), (0.12, False), (0.15, False), (0.17, True)])
def test_a_verdict_that_changes_counts_where_its_effect_moved_beyond_chance(effect: float, counts: bool) -> None:
    """Of three effects, errors of 0.0255: Holm asks for 0.05 / 3, 2.13 errors, 0.154; the old interval ends at 0.15."""
    found = difference_between(document(), edited(on(0, 0, verdict="fails", effect=effect)))
    (change,) = [each for each in found.changes if each.what == "verdict"]
    assert (change.direction, change.uncounted) == ("worse", "" if counts else "within chance over 3 effects")
    assert found.worse == counts


def test_the_more_effects_the_more_chance_moves_one() -> None:
    many = tuple(claim(f"c{at}", setting("s")) for at in range(100))
    moved = claim("c0", setting("s", effect=0.17))
    assert difference_between(document(*many[:3]), document(moved, *many[1:3])).worse
    found = difference_between(document(*many), document(moved, *many[1:]))
    assert [each.uncounted for each in found.changes] == ["within chance over 100 effects"]


def test_an_explained_failure_is_shown_and_does_not_count() -> None:
    gap = on(0, 0, verdict="fails", effect=0.5, explained=Explained("known"))
    found = difference_between(document(), edited(gap))
    assert [change.direction for change in found.changes] == ["worse", "worse"]
    assert [change.uncounted for change in found.changes] == ["explained", "explained"]
    assert not found.worse
    assert difference_between(document(), edited(gap, on(0, 0, explained=None))).worse


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
        (NEAR, 0.16, "worse"),
        (NEAR, 0.151, "moved"),
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
        (equivalence.Similar("strong", "bn", within=0.1), "worse"),
        (equivalence.Similar("strong", "bn", within=0.1, pooled=True), "worse"),
        (equivalence.Near(-1.0, within=0.25), "worse"),
        (equivalence.NonInferior("unpermuted", "matching", margin=0.2), "worse"),
        (expectations.Within(0.0, 0.1), "worse"),
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
        ([top(tier="standard")], "another tier"),
        ([on(0, 0, part="relu1")], "of relu1, was of all layers"),
        ([on(0, 0, mean_of=3, part="relu1")], "of mean of 3 layers, was of all layers"),
    ],
    ids=["tier", "layer", "mean"],
)
def test_an_effect_that_does_not_count_is_shown(edits: list[Edit], why: str) -> None:
    found = difference_between(document(), edited(on(0, 0, effect=0.5), *edits))
    (change,) = found.changes
    assert (change.direction, change.uncounted) == ("worse", why)
    assert not found.worse
    assert any(line.endswith(f"(not counted: {why})") for line in found.lines())


@pytest.mark.parametrize(
    "other",
    [other_seeds, machine(processor="Q"), machine(device="cuda"), machine(gpu="G"), versions(numpy="3")],
    ids=["seeds", "processor", "device", "gpu", "numpy"],
)
@pytest.mark.parametrize(("effect", "counts"), [(0.16, False), (0.17, False), (0.18, True)])
def test_of_other_models_an_effect_counts_beyond_the_errors_of_both(other: Edit, effect: float, counts: bool) -> None:
    """Errors of 0.0255 each, 0.036 together, of which Holm asks for 2.13: 0.177; of the same models 0.154."""
    found = difference_between(document(), edited(on(0, 0, effect=effect), other))
    assert [change.direction for change in found.changes] == ["worse"]
    assert found.worse == counts
    assert difference_between(document(), edited(on(0, 0, effect=effect))).worse


@pytest.mark.parametrize("interval", [(None, 0.8), (0.2, None), None])
def test_an_effect_whose_error_is_unknown_does_not_count(interval: tuple[float | None, float | None] | None) -> None:
    found = difference_between(document(), edited(on(0, 0, effect=0.5, interval=interval)))
    assert [(change.direction, change.uncounted) for change in found.changes] == [("worse", "its error is unknown")]


def test_an_effect_without_an_interval_is_left_to_its_verdict() -> None:
    assert difference_between(document(), edited(on(2, 0, effect=0.09))).changes == ()


@pytest.mark.parametrize(("interval", "directions"), [((None, 0.15), ["worse"]), ((0.05, None), [])])
def test_an_open_interval(interval: tuple[float | None, float | None], directions: list[str]) -> None:
    found = difference_between(edited(on(0, 0, interval=interval)), edited(on(0, 0, effect=0.5)))
    assert [change.direction for change in found.changes] == directions
    assert not found.worse


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


@pytest.mark.parametrize(("effect", "explained"), [(0.16, True), (0.2, False)])
def test_what_by_models_explain_is_told_apart_from_what_changed(effect: float, explained: bool) -> None:
    """Another processor trains other models. Errors are 0.0255 in both runs, 0.0361 together: 0.06 is 1.7 of them, 0.1
    is 2.8, and Holm over the three effects with an interval asks for 2.4."""
    worse = on(0, 0, verdict="fails", effect=effect, interval=(effect - 0.05, effect + 0.05))
    found = difference_between(document(), edited(worse, machine(processor="Q")))
    changes = {each.what: each.by_models for each in found.changes}
    assert changes == {"verdict": explained, "effect": explained}
    lines = found.lines()
    title = "verdicts that other models explain, within the errors of both runs:"
    assert (title in lines, "verdicts:" in lines) == (explained, not explained)
    at = lines.index(title if explained else "verdicts:")
    assert lines[at + 1].startswith("  worse   a on mlp: holds -> fails")


def test_the_same_models_explain_nothing() -> None:
    worse = on(0, 0, verdict="fails", effect=0.16, interval=(0.11, 0.21))
    assert [each.by_models for each in difference_between(document(), edited(worse)).changes] == [False, False]


def test_by_models_do_not_explain_a_precondition_that_is_unmet() -> None:
    invalid = on(0, 0, verdict="invalid", asked=None, effect=None, interval=None, values=())
    (change,) = difference_between(document(), edited(invalid, machine(processor="Q"))).changes
    assert (change.by_models, change.worse) == (False, True)


def test_by_models_do_not_explain_a_verdict_on_another_threshold() -> None:
    other = on(0, 0, verdict="fails", effect=0.11, asked=replace(BELOW, high=0.1))
    (change,) = difference_between(document(), edited(other, machine(processor="Q"))).changes
    assert (change.what, change.by_models) == ("verdict", False)
