"""Specs: what is refused and how it is said, the content key, and the arithmetic of steps and decay."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmc import specs
from lmc.architectures import architecture, architecture_names
from lmc.errors import SpecError
from lmc.specs import RunSpec, content_key, stack_seeds

BASE = RunSpec(dataset="digits", arch="mlp", width=1)
OF_THREE_EPOCHS = dataclasses.replace(BASE, epochs=3)

REFUSED = [  # field, value, what the message must say is allowed
    ("arch", "lenet", "mlp, mlp-bn, mlp-skip, vgg11, vgg-small, resnet20, resnet8"),
    ("optimizer", "SGD", "sgd, adam, sophia"),
    ("decay", "l2", "coupled, decoupled"),
    ("schedule", "cosine", "constant, warmup-linear"),
    ("precision", "fp16", "fp32, bf16"),
    ("width", 0, "(0, inf)"),
    ("width", -1.0, "(0, inf)"),
    ("width", math.nan, "(0, inf)"),
    ("width", math.inf, "(0, inf)"),
    ("width", "1", "(0, inf)"),
    ("width", True, "(0, inf)"),
    ("lr", 0.0, "(0, inf)"),
    ("lr", math.nan, "(0, inf)"),
    ("lr", None, "(0, inf)"),
    ("momentum", -0.1, "[0, 1)"),
    ("momentum", 1.0, "[0, 1)"),
    ("weight_decay", -1e-9, "[0, inf)"),
    ("weight_decay", math.inf, "[0, inf)"),
    ("warmup", -0.1, "[0, 1)"),
    ("warmup", 1.0, "[0, 1)"),
    ("warmup", math.nan, "[0, 1)"),
    ("depth", 0, "at least 1"),
    ("depth", 2.0, "at least 1"),
    ("depth", True, "at least 1"),
    ("epochs", 0, "at least 1"),
    ("epochs", 1.0, "at least 1"),
    ("epochs", True, "at least 1"),
    ("batch_size", 0, "at least 1"),
    ("batch_size", "50", "at least 1"),
    ("train_size", 0, "at least 1"),
    ("train_size", 1.5, "at least 1"),
    ("init_seed", -1, "at least 0"),
    ("data_seed", -1, "at least 0"),
    ("data_seed", 0.0, "at least 0"),
    ("shared_epochs", -1, "at least 0"),
    ("shared_epochs", 0.5, "at least 0"),
    ("shared_epochs", True, "at least 0"),
    ("shared_epochs", 1, "leave one at least that is not shared"),
    ("classes", 3, "give class numbers or groups of them"),
    ("classes", None, "give class numbers or groups of them"),
    ("classes", "16", "whole number of at least 0"),
    ("classes", (1, -6), "whole number of at least 0"),
    ("classes", (1, 6.0), "whole number of at least 0"),
    ("classes", (False, True), "whole number of at least 0"),
    ("classes", (1, 6, 1), "class 1 stands in it twice; name each once"),
    ("classes", ((0, 1), (2, 0)), "class 0 stands in it twice; name each once"),
    ("classes", (1,), "at least two groups"),
    ("classes", ((0, 1, 2),), "at least two groups"),
    ("classes", ((0, 1), ()), "each of at least one class"),
    ("bias", 0, "True or False"),
    ("augment", "no", "True or False"),
]

ACCEPTED = [  # field, value at the edge of what is allowed
    ("width", 1e-3),
    ("momentum", 0.0),
    ("weight_decay", 0.0),
    ("warmup", 0.0),
    ("depth", 1),
    ("depth", 30),
    ("optimizer", "sophia"),
    ("epochs", 1),
    ("batch_size", 1),
    ("train_size", None),
    ("train_size", 1),
    ("init_seed", 0),
    ("data_seed", 2**40),
    ("decay", "decoupled"),
    ("shared_epochs", 0),
    ("classes", ()),
    ("classes", ((9,), (0,))),
]

OTHER: dict[str, Any] = {  # a valid value of every field that differs from BASE's
    "dataset": "mnist",
    "arch": "mlp-bn",
    "width": 2.0,
    "depth": 4,
    "bias": False,
    "classes": ((0,), (1,)),
    "train_size": 1000,
    "augment": True,
    "optimizer": "adam",
    "lr": 0.2,
    "momentum": 0.8,
    "weight_decay": 1e-9,
    "decay": "decoupled",
    "schedule": "constant",
    "warmup": 0.1,
    "epochs": 2,
    "batch_size": 51,
    "init_seed": 1,
    "data_seed": 1,
    "shared_epochs": 1,
    "precision": "bf16",
}


@pytest.mark.parametrize(("field", "value", "allowed"), REFUSED)
def test_refusal_names_the_field_the_value_and_what_is_allowed(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(SpecError) as refused:
        dataclasses.replace(BASE, **{field: value})
    message = str(refused.value)
    assert field in message
    assert repr(value) in message
    assert allowed in message


@pytest.mark.parametrize(("field", "value"), ACCEPTED)
def test_values_at_the_edge_are_accepted(field: str, value: Any) -> None:
    assert getattr(dataclasses.replace(BASE, **{field: value}), field) == value


@pytest.mark.parametrize("arch", ["mlp", "mlp-bn", "mlp-skip"])
def test_every_mlp_may_have_another_depth(arch: str) -> None:
    assert dataclasses.replace(BASE, arch=arch, depth=5).depth == 5


@pytest.mark.parametrize("arch", [arch for arch in architecture_names() if architecture(arch).kind != "mlp"])
def test_only_mlps_have_a_depth_to_choose(arch: str) -> None:
    assert dataclasses.replace(BASE, arch=arch).depth == 3
    with pytest.raises(SpecError, match=f"depth is 4, but {arch} has its own depth; leave it at 3"):
        dataclasses.replace(BASE, arch=arch, depth=4)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        BASE.lr = 1.0  # type: ignore[misc]


def test_key_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored model is found again by any later version with the same recipe."""
    monkeypatch.setattr(specs, "RECIPE_VERSION", 3)
    assert dataclasses.replace(BASE).key == "010c27c2476eca037198"


def test_key_changes_with_the_recipe_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = BASE.key
    monkeypatch.setattr(specs, "RECIPE_VERSION", specs.RECIPE_VERSION + 1)
    assert dataclasses.replace(BASE).key != before


def test_key_changes_with_every_field() -> None:
    fields = [field.name for field in dataclasses.fields(RunSpec)]
    assert fields == list(OTHER)
    base = OF_THREE_EPOCHS
    keys = {name: dataclasses.replace(base, **{name: OTHER[name]}).key for name in fields}
    assert len({base.key, *keys.values()}) == len(fields) + 1, keys


@pytest.mark.parametrize("field", ["width", "lr", "momentum", "weight_decay", "warmup"])
def test_equal_specs_have_equal_keys(field: str) -> None:
    """0 and 0.0, 1 and 1.0 are one recipe and must not be trained twice."""
    number = 1 if field in ("width", "lr") else 0
    made: list[Any] = [{field: kind(number)} for kind in (int, float)]
    whole, fraction = (dataclasses.replace(BASE, **each) for each in made)
    assert whole == fraction
    assert whole.key == fraction.key


@pytest.mark.parametrize(
    ("given", "groups"),
    [
        ((1, 6), ((1,), (6,))),
        ([6, 1], ((6,), (1,))),
        ([[3, 0], 7], ((0, 3), (7,))),
        (((0, 1, 8, 9, 2), (3, 4, 5, 6, 7)), ((0, 1, 2, 8, 9), (3, 4, 5, 6, 7))),
    ],
)
def test_groups_of_classes_have_one_spelling_and_keep_their_order(
    given: Any, groups: tuple[tuple[int, ...], ...]
) -> None:
    spec = dataclasses.replace(BASE, classes=given)
    assert spec.classes == groups
    assert spec.key == dataclasses.replace(BASE, classes=groups).key
    assert spec.key != dataclasses.replace(BASE, classes=groups[::-1]).key, "labels are numbered in the groups' order"
    assert RunSpec(**json.loads(json.dumps(dataclasses.asdict(spec)))) == spec, "as it is read from a store"


def test_spawned_models_are_told_apart_by_the_seed_of_their_batches() -> None:
    spawned = [dataclasses.replace(OF_THREE_EPOCHS, init_seed=4, data_seed=seed, shared_epochs=2) for seed in (4, 5)]
    assert [each.seed for each in spawned] == [4, 5]
    assert len({each.key for each in spawned}) == 2
    assert [each.describe() for each in spawned] == [
        f"mlp x1 on digits, decay 0, seed {seed} spawned from 4 after 2 of 3 epochs" for seed in (4, 5)
    ]


def test_with_seed_sets_both_seeds_and_nothing_else() -> None:
    seeded = BASE.with_seed(7)
    assert (seeded.init_seed, seeded.data_seed) == (7, 7)
    assert dataclasses.replace(seeded, init_seed=0, data_seed=0) == BASE


@pytest.mark.parametrize(
    ("epochs", "batch_size", "images", "steps"),
    [(1, 50, 1000, 20), (3, 50, 1049, 60), (2, 7, 6, 2), (100, 500, 50_000, 10_000)],
)
def test_steps(epochs: int, batch_size: int, images: int, steps: int) -> None:
    assert dataclasses.replace(BASE, epochs=epochs, batch_size=batch_size).steps(images) == steps


@pytest.mark.parametrize(
    ("schedule", "weight_decay", "horizon"),
    [("warmup-linear", 0.003, 6.0), ("warmup-linear", 1e-4, 0.2), ("constant", 0.003, 12.0)],
)
def test_decay_horizon_of_the_papers_recipe(schedule: str, weight_decay: float, horizon: float) -> None:
    spec = dataclasses.replace(BASE, lr=0.4, epochs=100, batch_size=500, schedule=schedule, weight_decay=weight_decay)
    assert spec.decay_horizon(50_000) == pytest.approx(horizon, rel=1e-12)


def test_describe_names_what_tells_models_apart() -> None:
    spec = RunSpec(dataset="digits", arch="vgg-small", width=0.25, weight_decay=0.03).with_seed(5)
    assert spec.describe() == "vgg-small x0.25 on digits, decay 0.03, seed 5"
    other = dataclasses.replace(BASE, depth=4, optimizer="sophia", weight_decay=0.1)
    assert other.describe() == "mlp x1 of 4 hidden layers on digits, decay 0.1 (sophia), seed 0"
    for changes, said in [
        ({"classes": (1, 6)}, "on digits (classes 1, 6), decay 0, seed 0"),
        ({"classes": ((0, 9), (3, 4, 5))}, "on digits (classes 0+9, 3+4+5), decay 0, seed 0"),
        ({"classes": tuple(range(20))}, "on digits (classes 20 in 20 groups), decay 0, seed 0"),
        ({"classes": (range(50), range(50, 99))}, "on digits (classes 99 in 2 groups), decay 0, seed 0"),
        ({"decay": "decoupled"}, "on digits, decay 0 (decoupled), seed 0"),
        ({"decay": "decoupled", "optimizer": "sophia"}, "on digits, decay 0 (sophia, decoupled), seed 0"),
        ({"data_seed": 3}, "on digits, decay 0, seed 3 from the start of 0"),
    ]:
        assert dataclasses.replace(BASE, **changes).describe() == f"mlp x1 {said}"  # type: ignore[arg-type]


@pytest.mark.parametrize(("changes", "blocks"), [({"width": 1 / 16}, 6), ({}, 3), ({"width": 2}, 1)])
def test_seeds_are_trained_side_by_side_in_blocks_that_only_the_spec_decides(
    changes: dict[str, Any], blocks: int
) -> None:
    spec = dataclasses.replace(BASE, **changes)
    for seed in (0, 5, 7, 1206):
        found = stack_seeds(spec.with_seed(seed))
        assert seed in found
        assert (len(found), found.start % blocks) == (blocks, 0)
        assert all(stack_seeds(spec.with_seed(other)) == found for other in found)


@pytest.mark.parametrize("changes", [{"precision": "bf16"}, {"data_seed": 1}, {"shared_epochs": 1}])
def test_what_stacks_cannot_train_is_trained_alone(changes: dict[str, Any]) -> None:
    narrow = dataclasses.replace(OF_THREE_EPOCHS, width=1 / 16)
    assert len(stack_seeds(narrow)) == 6
    assert len(stack_seeds(dataclasses.replace(narrow, optimizer="sophia"))) == 6
    assert stack_seeds(dataclasses.replace(narrow, **changes)) == range(0, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, derandomize=True)
@given(content=st.dictionaries(st.text(), JSON, max_size=4))
def test_content_key_ignores_the_order_of_names(content: dict[str, Any]) -> None:
    assert content_key(content) == content_key(dict(reversed(content.items())))


@settings(deadline=None, derandomize=True)
@given(content=st.lists(st.integers(), min_size=1), position=st.integers(0))
def test_content_key_sees_every_value(content: list[int], position: int) -> None:
    changed = list(content)
    changed[position % len(content)] += 1
    assert content_key(changed) != content_key(content)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, {1, 2}, object(), b"bytes"])
def test_content_key_refuses_what_has_no_exact_form(value: Any) -> None:
    with pytest.raises(SpecError, match="cannot derive a key"):
        content_key({"a": [1, {"b": value}]})
