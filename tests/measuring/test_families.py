"""Measurements that share models: the same records as one by one, every model loaded once, within bounded memory."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from tiny import DIGITS, SPECS, State, inputs_of, measured, network, pair, seeds, state_of

from lmc.measuring import alignments, endpoints
from lmc.measuring.endpoints import Endpoints
from lmc.measuring.families import families_of
from lmc.measuring.measurements import (
    FULL_PATH,
    FlatnessMeasurement,
    LayerFitMeasurement,
    Measurement,
    MergeMeasurement,
    ModelMeasurement,
    PairMeasurement,
)
from lmc.measuring.records import measure_all
from lmc.merging.permutation_spec import PermutationSpec
from lmc.merging.weight_matching import MatchingResult, weight_matching
from lmc.specs import RunSpec


def pairs(name: str, count: int, **changes: Any) -> list[Measurement]:
    """All pairs of so many models, the first along the whole path."""
    found = [PairMeasurement(*each, **changes) for each in combinations(seeds(name, count), 2)]
    return [replace(found[0], lams=FULL_PATH), *found[1:]]


def everything(name: str) -> list[Measurement]:
    a, b, c = seeds(name, 3)
    ways: tuple[dict[str, Any], ...] = ({}, {"alignment": "matching"}, {"draw": 1, "layers": False}, {"draw": 2})
    found = [each for way in ways for each in pairs(name, 3, **way)]
    return [*found, *map(ModelMeasurement, (a, b)), FlatnessMeasurement(a, b), MergeMeasurement((a, b, c))]


@pytest.mark.parametrize("budget", [0, 2**28], ids=["nothing kept", "all kept"])
@pytest.mark.parametrize("name", SPECS)
def test_all_at_once_gives_the_records_of_one_by_one(name: str, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MODEL_BYTES", budget)
    monkeypatch.setattr(endpoints, "SEEN_BYTES", budget)
    wanted = everything(name)
    found = dict(measure_all(wanted, state_of, DIGITS, "cpu"))
    assert set(found) == set(wanted)
    for measurement, record in found.items():
        assert record == measured(measurement), measurement.describe()


def test_every_model_of_a_family_is_loaded_once() -> None:
    loads: Counter[RunSpec] = Counter()

    def load(spec: RunSpec) -> State:
        loads[spec] += 1
        return state_of(spec)

    wanted = pairs("mlp", 5)
    assert len(list(measure_all(wanted, load, DIGITS, "cpu"))) == len(wanted) == 10
    assert loads == dict.fromkeys(seeds("mlp", 5), 1)


def test_a_pair_is_matched_once_whatever_is_measured_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three pairs of three models, three fits and a merge: every ordered pair of models has one matching."""
    a, b, c = seeds("mlp", 3)
    wanted: list[Measurement] = [PairMeasurement(*each, alignment="matching") for each in ((a, b), (a, c), (b, c))]
    wanted += [LayerFitMeasurement(*each, alignment="matching") for each in ((a, b, c), (a, c, b), (b, c, a))]
    wanted += [MergeMeasurement((a, b), alignment="matching")]
    matched: Counter[str] = Counter()

    def counted(spec: PermutationSpec, one: State, other: State, *, restarts: int) -> MatchingResult:
        matched["all"] += 1
        return weight_matching(spec, one, other, restarts=restarts)

    monkeypatch.setattr(alignments, "weight_matching", counted)
    found = dict(measure_all(wanted, state_of, DIGITS, "cpu"))
    assert matched["all"] == 4, "a with b, a with c, b with c, and b with a for the last fit"
    for measurement, record in found.items():
        assert record == measured(measurement), measurement.describe()


def test_models_that_do_not_fit_are_loaded_again_but_for_the_one_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MODEL_BYTES", 0)
    held, most = [], 0
    taken_out = Endpoints.make_room

    def make_room(self: Endpoints, now: tuple[RunSpec, ...], later: set[RunSpec]) -> None:
        nonlocal most
        taken_out(self, now, later)
        most = max(most, len({*self._held, *now}))

    def load(spec: RunSpec) -> State:
        held.append(spec)
        return state_of(spec)

    monkeypatch.setattr(Endpoints, "make_room", make_room)
    assert len(list(measure_all(pairs("mlp", 4)[::-1], load, DIGITS, "cpu"))) == 6
    assert most == 2
    assert len(held) < 12, "one of two models serves the next pair"


def test_one_that_fails_does_not_stop_the_others() -> None:
    a, b, c = seeds("mlp", 3)
    broken = {**state_of(b), "head.bias": torch.full_like(state_of(b)["head.bias"], math.nan)}
    wanted = [PairMeasurement(*each) for each in ((a, b), (a, c), (b, c))]
    found = dict(measure_all(wanted, lambda spec: broken if spec == b else state_of(spec), DIGITS, "cpu"))
    assert found[wanted[1]] == measured(wanted[1])
    for each in (wanted[0], wanted[2]):
        assert list(found[each]) == ["status"]
        assert "NaN or infinite" in found[each]["status"]


@pytest.mark.parametrize("batches", [0, 1, 3, 100])
def test_no_more_activations_are_kept_than_there_is_room_for(batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = replace(inputs_of(), batch=20)  # five batches
    a, b = seeds("vgg", 2)
    first = next(inputs.test_batches())
    size = Endpoints(lambda spec: network(spec, state_of(spec)), inputs)[a].see(0, first).tapped.bytes
    monkeypatch.setattr(endpoints, "SEEN_BYTES", batches * size)
    models = Endpoints(lambda spec: network(spec, state_of(spec)), inputs)
    for spec in (a, b):
        for index, batch in enumerate(inputs.test_batches()):
            models[spec].see(index, batch)
    seen = {spec: list(models[spec]._seen) for spec in (a, b)}
    assert sum(map(len, seen.values())) == min(batches, 10)
    assert sum(each[1] for spec in (a, b) for each in models[spec]._seen.values()) <= batches * size
    assert models._room.left >= 0
    models.make_room((b,), {b})
    assert models._room.left == (batches - len(models[b]._seen)) * size, "who goes gives back its room"


def test_what_is_kept_is_what_is_computed_anew() -> None:
    inputs, (a,) = inputs_of(), seeds("resnet", 1)
    model = Endpoints(lambda spec: network(spec, state_of(spec)), inputs)[a]
    batch = next(inputs.test_batches())
    assert model.see(0, batch) is model.see(0, batch)
    plain = torch.cat([network(a, state_of(a))(each) for each in inputs.test_batches()])
    assert torch.equal(model.logits(), plain)


def test_families_are_equal_up_to_seeds() -> None:
    wide = [replace(each, a=replace(each.a, width=1 / 16), b=replace(each.b, width=1 / 16)) for each in [pair("mlp")]]
    wanted = [*everything("mlp"), *pairs("vgg", 3), *wide, pair("mlp", lams=FULL_PATH)]
    found = families_of(wanted)
    assert Counter(each for family in found for each in family) == Counter(wanted)
    assert [len(family) for family in found] == [len(everything("mlp")) + 1, 3, 1]
    for family in found:
        assert len({spec.with_seed(0) for each in family for spec in each.specs}) == 1
    assert families_of([]) == []
