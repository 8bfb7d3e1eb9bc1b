"""Verdicts do not depend on how fast models were trained: side by side or in bf16, against the reference path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lmc.claims.cases import CaseResult, cases, judge, needed
from lmc.claims.paper import CLAIMS
from lmc.claims.verdicts import FAILS, HOLDS
from lmc.data import load_dataset
from lmc.measuring.records import measure
from lmc.merging.weights import State
from lmc.specs import RunSpec
from lmc.tiers import Family, Setting, Tier, load_tier
from lmc.training.engine import TrainedModel, train, train_stack

DIGITS = load_dataset("digits", Path("data"), download=False)
RECIPE = replace(load_tier("quick").settings[0].families["strong"].recipe, epochs=10, train_size=500)
FAMILY = Family(RECIPE, (1 / 32, 1 / 8, 1 / 2), tuple(range(6)))
TIER = Tier("short", (Setting("mlp-short", {"strong": FAMILY}, min_accuracy=0.5),), "for tests")
JUDGED = ("control-", "fig1-", "fig2", "fig3-", "fig4-", "fig7-", "fig8-")
CASES = cases([claim for claim in CLAIMS if claim.id.startswith(JUDGED)], TIER)

Train = Callable[[Sequence[RunSpec]], list[TrainedModel]]


def one_by_one(specs: Sequence[RunSpec]) -> list[TrainedModel]:
    return [train(spec, DIGITS) for spec in specs]


def side_by_side(specs: Sequence[RunSpec]) -> list[TrainedModel]:
    return train_stack(specs, DIGITS)


def in_bf16(specs: Sequence[RunSpec]) -> list[TrainedModel]:
    return [train(replace(spec, precision="bf16"), DIGITS) for spec in specs]


def judged(path: Train) -> list[CaseResult]:
    states: dict[RunSpec, State] = {}
    for width in FAMILY.widths:
        specs = [FAMILY.spec(width, seed) for seed in FAMILY.seeds]
        states |= {spec: model.state for spec, model in zip(specs, path(specs), strict=True)}
    records = {each.key: measure(each, [states[spec] for spec in each.specs], DIGITS, "cpu") for each in needed(CASES)}
    return [judge(case, records) for case in CASES]


@pytest.fixture(scope="module")
def reference() -> list[CaseResult]:
    return judged(one_by_one)


@pytest.mark.parametrize("path", [side_by_side, in_bf16])
def test_the_same_verdicts_from_a_fast_path(path: Train, reference: list[CaseResult]) -> None:
    found = judged(path)
    assert {HOLDS, FAILS} <= {each.judgement.verdict for each in reference}, "the cases must tell verdicts apart"
    assert any(one.judgement.effect != other.judgement.effect for one, other in zip(found, reference, strict=True))
    for one, other in zip(found, reference, strict=True):
        assert one.judgement.verdict == other.judgement.verdict, f"{one.case.claim.id}: {one} {other}"
