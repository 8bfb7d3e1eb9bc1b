"""Measurements as cells of the store: what tells their keys apart, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lmc.errors import MergeError, SpecError
from lmc.measuring import measurements
from lmc.measuring.measurements import (
    ALIGNMENTS,
    FULL_PATH,
    MIDPOINT,
    FlatnessMeasurement,
    Measurement,
    MergeMeasurement,
    ModelMeasurement,
    PairMeasurement,
)
from lmc.specs import RunSpec

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
    PairMeasurement(A, B, alignment="random"),
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


def test_keys_change_with_the_version_of_the_measuring_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [each.key for each in DIFFERENT]
    monkeypatch.setattr(measurements, "MEASURE_VERSION", measurements.MEASURE_VERSION + 1)
    assert not {replace(each).key for each in DIFFERENT} & set(before)  # type: ignore[type-var]


def test_specs_are_the_models_in_order() -> None:
    assert ModelMeasurement(A).specs == (A,)
    assert PairMeasurement(B, A).specs == FlatnessMeasurement(B, A).specs == (B, A)
    assert MergeMeasurement((C, A, B)).specs == (C, A, B)


def test_one_line_says_what_is_measured() -> None:
    model = "mlp x0.25 on digits, decay 0, seed 0"
    assert ModelMeasurement(A).describe() == model
    assert PairMeasurement(A, B).describe() == f"pair 0-1 of {model}"
    assert PairMeasurement(A, B, alignment="random").describe() == f"pair 0-1 of {model} (random permutation)"
    assert FlatnessMeasurement(A, C).describe() == f"flatness of {model}, 2 away"
    assert MergeMeasurement((A, C, B)).describe() == f"merge of 0, 2, 1 of {model}"


def test_the_default_path_is_the_midpoint_and_the_full_one_has_tenths() -> None:
    assert PairMeasurement(A, B).lams == MIDPOINT == (0.0, 0.5, 1.0)
    assert pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]) == list(FULL_PATH)
    assert 0.5 in FULL_PATH
    assert ALIGNMENTS == ("unpermuted", "matching", "random")


@pytest.mark.parametrize(
    "lams", [(), (0.0, 1.0), (0.0, 0.5), (0.5, 1.0), (0.0, 1.0, 0.5), (0.0, 0.5, 0.5, 1.0), (-0.1, 0.0, 0.5, 1.0)]
)
def test_paths_that_lack_a_point_or_leave_the_segment_are_refused(lams: tuple[float, ...]) -> None:
    with pytest.raises(SpecError, match="lams"):
        PairMeasurement(A, B, lams)


def test_unknown_alignments_are_refused() -> None:
    with pytest.raises(SpecError, match="unknown alignment 'rebasin'; choose one of unpermuted, matching, random"):
        PairMeasurement(A, B, alignment="rebasin")


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
    for measure in (PairMeasurement, FlatnessMeasurement, lambda a, b: MergeMeasurement((a, A, b))):
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
