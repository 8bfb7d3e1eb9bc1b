"""Every claim, on a tier with every family, small enough to train here: all can be judged."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import tiny
import torch

from lmc.claims.cases import Case, cases, judge, needed
from lmc.claims.paper import CLAIMS
from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE
from lmc.measuring.measurements import (
    FlatnessMeasurement,
    LayerFitMeasurement,
    MergeMeasurement,
    ModelMeasurement,
    PairMeasurement,
    PruneMeasurement,
)
from lmc.measuring.records import measure

TIER = tiny.tier()
ANYWHERE = [replace(claim, dataset="") if claim.dataset == "mnist" else claim for claim in CLAIMS]
"""What is claimed of MNIST is judged on digits here."""
CASES = [case for case in cases(ANYWHERE, TIER) if not case.skip]

Records = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """As in a worker process: nets this small only lose by more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def records(one_thread: None) -> Records:
    """Every measurement that some claim needs, of models trained for one epoch."""
    wanted = needed(CASES)
    states: dict[Any, Any] = {}
    for setting in TIER.settings:
        for family in setting.families.values():
            for width in family.widths:
                states |= tiny.trained(family, width)
    assert {spec for each in wanted for spec in each.specs} <= set(states)
    return {
        each.key: measure(each, [states[spec] for spec in each.specs], tiny.dataset(each.specs[0].dataset), "cpu")
        for each in wanted
    }


def test_every_claim_is_judged_wherever_it_is_made() -> None:
    found = {(case.claim.id, case.name) for case in CASES}
    assert len(found) == len(CASES)
    for claim in ANYWHERE:
        expected = {f"{kind}-tiny" for kind in claim.kinds} if not claim.dataset else set()
        if "sophia" in claim.study.groups:
            expected -= {"resnet-tiny"}
        if "vgg" in claim.kinds and claim.study.groups == ("strong",):
            expected |= {"vgg-cifar100"}
        assert {name for claim_id, name in found if claim_id == claim.id} == (expected or {"theory"}), claim.id


def test_all_kinds_of_measurement_are_needed() -> None:
    wanted = needed(CASES)
    assert len({each.key for each in wanted}) == len(wanted)
    kinds = Counter(type(each) for each in wanted)
    assert set(kinds) == {
        PairMeasurement,
        ModelMeasurement,
        FlatnessMeasurement,
        MergeMeasurement,
        LayerFitMeasurement,
        PruneMeasurement,
    }
    merges = {(each.alignment, each.draw) for each in wanted if isinstance(each, PairMeasurement)}
    assert merges == {
        ("unpermuted", 0),
        ("matching", 0),
        ("complementary", 0),
        *(("unpermuted", draw) for draw in (1, 2, 3)),
    }
    assert {len(each.specs) for each in wanted if isinstance(each, MergeMeasurement)} == set(range(2, 9))


def test_every_record_is_measured_and_json_ready(records: Records) -> None:
    for record in records.values():
        assert record["status"] == "measured"
        assert json.loads(json.dumps(record, allow_nan=False)) == record


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.claim.id}-{case.name}")
def test_every_claim_can_be_judged(case: Case, records: Records) -> None:
    found = judge(case, records)
    assert found.judgement.verdict in (HOLDS, FAILS, INCONCLUSIVE)
    assert found.judgement.reason
    assert found.judgement.asked == case.claim.expect.asked
    assert found.observations
    if case.setting is None:
        assert found.judgement.verdict == HOLDS, "a theorem"
        return
    assert "too few" not in found.judgement.reason
    assert "no width in common" not in found.judgement.reason
    assert "fewer than" not in found.judgement.reason
    json.dumps([found.judgement.effect, found.judgement.p_value, found.judgement.interval])
    wanted = {each.key for each in case.claim.study.needs(case.setting)}
    assert wanted <= set(records)
    defined = [each for each in found.observations if each.value is not None]
    assert len(defined) > len(found.observations) / 2, "most numbers are defined even here"
