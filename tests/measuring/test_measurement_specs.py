"""Measurements as cells of the store: what tells their keys apart, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lmc.errors import MergeError, SpecError
from lmc.measuring import measurements
from lmc.measuring.measurements import (
    FULL_PATH,
    MIDPOINT,
    FlatnessMeasurement,
    LayerFitMeasurement,
    Measurement,
    MergeMeasurement,
    ModelMeasurement,
    PairMeasurement,
    PruneMeasurement,
)
from lmc.measuring.mergeable import ALIGNMENTS
from lmc.specs import RunSpec, content_key

RECIPE = RunSpec(dataset="digits", arch="mlp", width=1 / 4)
A, B, C = (RECIPE.with_seed(seed) for seed in range(3))

DIFFERENT: list[Measurement] = [
    ModelMeasurement(A),
    ModelMeasurement(B),
    PairMeasurement(A, B),
    PairMeasurement(B, A),
    PairMeasurement(A, C),
    PairMeasurement(A, A),
    PairMeasurement(A, B, FULL_PATH),
    PairMeasurement(A, B, alignment="matching"),
    PairMeasurement(B, A, alignment="matching"),
    PairMeasurement(A, B, FULL_PATH, "matching"),
    *(PairMeasurement(A, B, alignment=each) for each in ("complementary", "reversed", "distance")),
    PairMeasurement(A, B, layers=False),
    PairMeasurement(A, B, draw=1),
    PairMeasurement(A, B, draw=2),
    PairMeasurement(B, A, draw=1),
    PairMeasurement(A, A, draw=1),
    PairMeasurement(A, B, draw=1, layers=False),
    PairMeasurement(replace(A, weight_decay=0.1), replace(B, weight_decay=0.1)),
    FlatnessMeasurement(A, B),
    FlatnessMeasurement(B, A),
    FlatnessMeasurement(A, B, (0.0, 1.0)),
    MergeMeasurement((A, B)),
    MergeMeasurement((B, A)),
    MergeMeasurement((A, B, C)),
    MergeMeasurement((A, C, B)),
    MergeMeasurement((A, B), (0.25, 0.75)),
    MergeMeasurement((A, B), (0.75, 0.25)),
    MergeMeasurement((A, B, C), (0.5, 0.3, 0.2)),
    MergeMeasurement((A, B), alignment="matching"),
    MergeMeasurement((A, B), alignment="complementary"),
    MergeMeasurement((A, B), draw=1),
    MergeMeasurement((A, B), rule="sum"),
    MergeMeasurement((A, B), rule="sum", bn="summed"),
    MergeMeasurement((A, B), layers=False),
    MergeMeasurement((A, B), alignment="complementary", layers=False),
    *(MergeMeasurement((A, B), alignment="complementary", dose=dose) for dose in (0.0, 0.5)),
    MergeMeasurement((A, B), alignment="complementary", dose=0.5, layers=False),
    PruneMeasurement(A, (0.5,)),
    PruneMeasurement(B, (0.5,)),
    PruneMeasurement(A, (0.5, 0.25)),
    LayerFitMeasurement(A, B, C),
    LayerFitMeasurement(A, C, B),
    LayerFitMeasurement(B, A, C),
    LayerFitMeasurement(A, B, C, 0.25),
    LayerFitMeasurement(A, B, C, alignment="matching"),
]


def test_keys_differ_by_kind_models_their_order_and_every_setting() -> None:
    keys = [each.key for each in DIFFERENT]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 20 for key in keys)


@pytest.mark.parametrize("index", range(len(DIFFERENT)))
def test_equal_measurements_have_equal_keys(index: int) -> None:
    each = DIFFERENT[index]
    again = replace(each)  # type: ignore[type-var]
    assert again is not each
    assert (again, again.key) == (each, each.key)
    assert hash(again) == hash(each)


def test_a_whole_merge_keeps_the_key_that_it_had_without_a_dose() -> None:
    """Stored measurements stay: only what is new has a new key."""
    settings = [[], "complementary", "sum", "reset", 0]
    expected = content_key(["merge", measurements.MEASURE_VERSION, [A.key, B.key], *settings])
    assert MergeMeasurement((A, B), (), "complementary", "sum").key == expected


def test_keys_change_with_the_version_of_the_measuring_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [each.key for each in DIFFERENT]
    monkeypatch.setattr(measurements, "MEASURE_VERSION", measurements.MEASURE_VERSION + 1)
    assert not {replace(each).key for each in DIFFERENT} & set(before)  # type: ignore[type-var]


def test_specs_are_the_models_in_order() -> None:
    assert ModelMeasurement(A).specs == (A,)
    assert PairMeasurement(B, A).specs == FlatnessMeasurement(B, A).specs == (B, A)
    assert MergeMeasurement((C, A, B)).specs == LayerFitMeasurement(C, A, B).specs == (C, A, B)
    assert PruneMeasurement(B, (0.5,)).specs == (B,)


def test_one_line_says_what_is_measured() -> None:
    model = "mlp x0.25 on digits, decay 0, seed 0"
    assert ModelMeasurement(A).describe() == model
    assert PairMeasurement(A, B).describe() == f"pair 0-1 of {model}"
    assert PairMeasurement(A, B, alignment="matching").describe() == f"pair 0-1 of {model} (matching permutation)"
    assert PairMeasurement(A, B, draw=3).describe() == f"pair 0-1 of {model} (draw 3)"
    assert FlatnessMeasurement(A, C).describe() == f"flatness of {model}, 2 away"
    assert MergeMeasurement((A, C, B)).describe() == f"merge of 0, 2, 1 of {model}"
    summed = MergeMeasurement((A, B), (0.25, 0.75), "complementary", "sum", "summed")
    how = "statistics summed, of 0, 1 with weights 0.25, 0.75"
    assert summed.describe() == f"sum, {how} of {model} (complementary permutation)"
    half = MergeMeasurement((A, B), (), "complementary", "sum", dose=0.5)
    assert half.describe() == f"sum of 0, 1 of {model} (complementary permutation) of 0.5 of the channels"
    assert PruneMeasurement(A, (0.5,)).describe() == f"pruning of {model}"
    assert LayerFitMeasurement(A, C, B, 0.25).describe() == f"layer fit of 0-2 at 0.25 with 1 of {model}"


def test_the_default_path_is_the_midpoint_and_the_full_one_has_tenths() -> None:
    assert PairMeasurement(A, B).lams == MIDPOINT == (0.0, 0.5, 1.0)
    assert pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]) == list(FULL_PATH)
    assert 0.5 in FULL_PATH
    assert ALIGNMENTS == ("unpermuted", "matching", "complementary", "reversed", "distance")


@pytest.mark.parametrize(
    "lams", [(), (0.0, 1.0), (0.0, 0.5), (0.5, 1.0), (0.0, 1.0, 0.5), (0.0, 0.5, 0.5, 1.0), (-0.1, 0.0, 0.5, 1.0)]
)
def test_paths_that_lack_a_point_or_leave_the_segment_are_refused(lams: tuple[float, ...]) -> None:
    with pytest.raises(SpecError, match="lams"):
        PairMeasurement(A, B, lams)


def test_unknown_alignments_are_refused() -> None:
    with pytest.raises(SpecError, match="unknown alignment 'rebasin'; choose one of unpermuted, matching, compl"):
        PairMeasurement(A, B, alignment="rebasin")
    with pytest.raises(SpecError, match="unknown alignment 'random'; choose one of"):
        MergeMeasurement((A, B), alignment="random")
    with pytest.raises(SpecError, match=r"unknown alignment 'reversed'; choose one of unpermuted, matching$"):
        LayerFitMeasurement(A, B, C, alignment="reversed")


def merge_of_two(a: RunSpec, b: RunSpec, **changes: Any) -> MergeMeasurement:
    return MergeMeasurement((a, b), **changes)


@pytest.mark.parametrize("kind", [PairMeasurement, merge_of_two])
def test_draws_of_aligned_models_or_of_models_with_one_start_are_refused(kind: Any) -> None:
    for alignment in ALIGNMENTS[1:]:
        with pytest.raises(SpecError, match=f"no draw 1 of {alignment} models: {alignment} undoes a random perm"):
            kind(A, B, alignment=alignment, draw=1)
    sibling = replace(A, data_seed=7)
    with pytest.raises(SpecError, match=r"no draw 2 of models that start from the same weights \(init_seed 0\)"):
        kind(A, sibling, draw=2)
    assert kind(A, sibling).draw == 0
    assert kind(A, A, draw=1).draw == 1, "a model with itself is a forecast"
    assert kind(A, replace(B, data_seed=A.data_seed), draw=1).draw == 1, "the same batches are no common start"


def test_the_message_names_the_start_that_two_models_share() -> None:
    with pytest.raises(SpecError, match="init_seed 1"):
        MergeMeasurement((A, B, replace(B, data_seed=5)), draw=1)


@pytest.mark.parametrize("draw", [-1, 1.0, True, "1"])
def test_a_draw_is_a_number_from_one_on(draw: Any) -> None:
    with pytest.raises(SpecError, match=f"draw is {draw!r}"):
        PairMeasurement(A, B, draw=draw)


def test_unknown_rules_are_refused_and_so_are_summed_statistics_of_a_mean() -> None:
    with pytest.raises(SpecError, match="unknown rule 'median'; choose one of mean, sum"):
        MergeMeasurement((A, B), rule="median")
    with pytest.raises(SpecError, match="unknown bn 'kept'; choose one of reset, summed"):
        MergeMeasurement((A, B), bn="kept")
    with pytest.raises(SpecError, match="statistics of a mean cannot be summed"):
        MergeMeasurement((A, B), bn="summed")


@pytest.mark.parametrize(
    ("alignment", "dose"), [("unpermuted", 0.5), ("matching", 0.0), ("complementary", 1.5), ("complementary", -0.1)]
)
def test_a_dose_is_of_a_complementary_permutation(alignment: str, dose: float) -> None:
    with pytest.raises(SpecError, match=f"dose is {dose!r} of {alignment} models; it must be a share"):
        MergeMeasurement((A, B), alignment=alignment, dose=dose)


@pytest.mark.parametrize("keeps", [(), (0.0,), (0.5, 1.5), (-0.5,), (float("nan"),)])
def test_shares_to_keep_are_within_range(keeps: tuple[float, ...]) -> None:
    with pytest.raises(SpecError, match="keeps is"):
        PruneMeasurement(A, keeps)


def test_a_layer_fit_needs_three_models_and_a_merge_of_two() -> None:
    for specs in ((A, A, B), (A, B, A), (A, B, B)):
        with pytest.raises(SpecError, match="name a model twice"):
            LayerFitMeasurement(*specs)
    for lam in (0.0, 1.0, -0.5, float("nan")):
        with pytest.raises(SpecError, match="lam is"):
            LayerFitMeasurement(A, B, C, lam)


OTHER: dict[str, Any] = {
    "dataset": "mnist",
    "classes": ((0,), (1,)),
    "arch": "mlp-bn",
    "width": 1 / 2,
    "depth": 4,
    "train_size": 100,
    "bias": False,
}


@pytest.mark.parametrize("field", OTHER)
def test_models_that_cannot_be_averaged_are_refused_by_the_field_that_differs(field: str) -> None:
    other = replace(B, **{field: OTHER[field]})
    kinds = (PairMeasurement, FlatnessMeasurement)
    more = (lambda a, b: MergeMeasurement((a, A, b)), lambda a, b: LayerFitMeasurement(a, C, b))
    for measure in (*kinds, *more):
        with pytest.raises(MergeError, match=f"cannot merge {field} .* with {field} .*; choose equal specs"):
            measure(A, other)


@pytest.mark.parametrize("specs", [(), (A,)])
def test_fewer_than_two_models_are_no_merge(specs: tuple[RunSpec, ...]) -> None:
    with pytest.raises(MergeError, match=f"{len(specs)} models cannot be merged"):
        MergeMeasurement(specs)


@pytest.mark.parametrize("weights", [(1.0,), (0.5, 0.6), (0.5, 0.25, 0.25), (1.5, -0.5), (float("nan"), 1.0)])
def test_weights_that_do_not_fit_the_models_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(MergeError, match=r"must be non-negative and sum to 1|one weight per model"):
        MergeMeasurement((A, B), weights)
