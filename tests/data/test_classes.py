"""Some classes of a dataset: which images are kept, what they are labelled, and how many that is before loading."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from lmc import datasets
from lmc.data import Dataset, load_dataset
from lmc.data.sources import write_prepared
from lmc.datasets import Size, dataset_info, register_dataset, size_of
from lmc.errors import DataError, SpecError
from lmc.executing.costs import cost_of_net, shape_of, training_work
from lmc.executing.making import Workplace, measure_missing, train_missing
from lmc.measuring.measurements import Measurement, ModelMeasurement, PairMeasurement
from lmc.specs import RunSpec
from lmc.store.store import Store
from lmc.training.engine import train

DIGITS = load_dataset("digits", Path("absent"))
GROUPS = [
    ((1,), (6,)),
    ((6,), (1,)),
    ((3,), (0,), (9,)),
    ((0, 1, 2, 8, 9), (3, 4, 5, 6, 7)),
    ((4, 7), (2,)),
]


@pytest.mark.parametrize("groups", GROUPS)
def test_both_splits_are_what_numpy_picks(groups: tuple[tuple[int, ...], ...]) -> None:
    found = DIGITS.restricted(groups)
    for split in ("train", "test"):
        images, labels = (getattr(DIGITS, f"{split}_{what}").numpy() for what in ("images", "labels"))
        rows = [row for row in range(len(labels)) if any(labels[row] in group for group in groups)]
        expected = [next(new for new, group in enumerate(groups) if labels[row] in group) for row in rows]
        np.testing.assert_array_equal(getattr(found, f"{split}_images").numpy(), images[rows])
        np.testing.assert_array_equal(getattr(found, f"{split}_labels").numpy(), expected)
    assert len(found.classes) == len(groups)


def test_labels_are_named_by_the_classes_they_stand_for() -> None:
    assert DIGITS.restricted(((6,), (1,))).classes == ("6", "1")
    assert DIGITS.restricted(((4, 7), (2,))).classes == ("4+7", "2")


def test_images_are_not_copied_where_all_are_kept() -> None:
    relabelled = DIGITS.restricted(((0, 1, 2, 8, 9), (3, 4, 5, 6, 7)))
    assert relabelled.train_images.data_ptr() == DIGITS.train_images.data_ptr()
    assert relabelled.test_images.data_ptr() == DIGITS.test_images.data_ptr()
    assert torch.equal(relabelled.train_labels == 0, (DIGITS.train_labels < 3) | (DIGITS.train_labels > 7))


def test_the_training_images_are_counted_after_the_classes_are_chosen() -> None:
    spec = RunSpec(dataset="digits", arch="mlp", width=1, classes=((8,), (3,)), train_size=40)
    used = DIGITS.restricted(spec.classes).limited(spec.train_size)
    rows = np.flatnonzero(np.isin(DIGITS.train_labels.numpy(), [3, 8]))[:40]
    np.testing.assert_array_equal(used.train_images.numpy(), DIGITS.train_images.numpy()[rows])
    assert rows.max() > 40, "it would be the same the other way round"
    assert shape_of(spec) == ((1, 8, 8), 2, 40, 74 + 73)


def test_what_is_restricted_already_stays_as_it_is_and_becomes_nothing_else() -> None:
    found = DIGITS.restricted(((1,), (6,)))
    assert found.restricted(((1,), (6,))) is found
    assert DIGITS.restricted(()) is DIGITS
    for other in ((), ((0,), (1,))):
        with pytest.raises(DataError, match=r"is restricted to classes \(\(1,\), \(6,\)\) and cannot be to .*load it"):
            found.restricted(other)


def test_a_class_that_is_not_there_is_named() -> None:
    spec = RunSpec(dataset="digits", arch="mlp", width=1, classes=((9,), (10,)))
    said = "class 10 of dataset 'digits' is asked for, but it has 0 to 9; choose one"
    for ask in (lambda: DIGITS.restricted(spec.classes), lambda: shape_of(spec), lambda: train(spec, DIGITS)):
        with pytest.raises(SpecError, match=said):
            ask()


# -- Sizes that are known before anything is loaded. --


@pytest.mark.parametrize("groups", [(), *GROUPS])
def test_the_size_of_the_digits_classes_is_known(groups: tuple[tuple[int, ...], ...]) -> None:
    assert size_of("digits", groups) == DIGITS.restricted(groups).size


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("cifar10", 10_000, 2_000), ("fashion-mnist", 12_000, 2_000), ("cifar100", 1_000, 200), ("mnist", 12_660, 2_093)],
)
def test_two_classes_of_a_download(name: str, train: int, test: int) -> None:
    """MNIST's numbers are those of its label files: 6,742 and 5,918 to train, 1,135 and 958 to test."""
    size = size_of(name, ((1,), (6,)))
    assert (size.classes, size.train_images, size.test_images) == (2, train, test)
    whole = dataset_info(name).size
    assert (sum(whole.train_counts), sum(whole.test_counts)) == (whole.train_images, whole.test_images)
    assert len(whole.train_counts) == len(whole.test_counts) == whole.classes


@pytest.fixture
def _table_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_TABLE", dict(datasets._TABLE))


def _unequal() -> Dataset:
    pixels, labels = torch.zeros(6, 3, 5, 4, dtype=torch.uint8), torch.tensor([0, 1, 1, 2, 2, 2])
    return Dataset("made", pixels, labels, pixels[:4], labels[:4], ("a", "b", "c"), "made here")


@pytest.mark.usefixtures("_table_as_before")
def test_a_function_may_say_how_many_images_its_classes_have(tmp_path: Path) -> None:
    register_dataset("counted", _unequal, Size((3, 5, 4), 3, 6, 4, (1, 2, 3), (1, 2, 1)))
    assert size_of("counted", ((0, 2), (1,))) == Size((3, 5, 4), 2, 6, 4, (4, 2), (2, 2))
    assert load_dataset("counted", tmp_path).restricted(((2,), (0,))).size == size_of("counted", ((2,), (0,)))
    register_dataset("wrong", _unequal, Size((3, 5, 4), 3, 6, 4, (2, 2, 2), (1, 2, 1)))
    with pytest.raises(DataError, match=r"\(1, 2, 3\) to train.* registered with .*\(2, 2, 2\) to train"):
        load_dataset("wrong", tmp_path)


@pytest.mark.usefixtures("_table_as_before")
def test_without_counts_classes_cannot_be_planned_for() -> None:
    register_dataset("uncounted", _unequal, Size((3, 5, 4), 3, 6, 4))
    assert shape_of(RunSpec(dataset="uncounted", arch="mlp", width=1))[1] == 3
    with pytest.raises(SpecError, match=r"'uncounted' are asked for, .*a Size that has train_counts and test_counts"):
        shape_of(RunSpec(dataset="uncounted", arch="mlp", width=1, classes=((0,), (1,))))


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (((3, 3), (1, 2, 1)), "train_counts are 2 numbers that sum to 6, but there are 3 classes and 6 images"),
        (((1, 2, 3), (1, 2, 2)), "test_counts are 3 numbers that sum to 5, but there are 3 classes and 4 images"),
    ],
)
def test_counts_that_do_not_fit_are_refused(counts: tuple[Any, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Size((3, 5, 4), 3, 6, 4, *counts)


# -- Whoever uses a spec's dataset uses the classes that it keeps. --

SPEC = replace(tiny.MLP, classes=((1,), (6,)), epochs=30)


def test_a_net_has_a_logit_for_every_group_and_costs_what_that_takes() -> None:
    relabelled = replace(SPEC, classes=((0, 1), (2, 3), (4, 5)))
    for spec, labels, images in ((SPEC, 2, 196), (relabelled, 3, 599), (replace(SPEC, classes=()), 10, 1000)):
        assert cost_of_net(spec).parameters == 64 * 8 + 8 + 2 * (8 * 8 + 8) + 9 * labels
        assert training_work([spec]).steps == 30 * (images // 50)
        assert train(spec, DIGITS).state["head.weight"].shape == (labels, 8)


def test_a_run_trains_and_measures_on_the_classes_that_are_kept(tmp_path: Path) -> None:
    """The same weights and numbers as on a dataset that never had the other classes, read from one file."""
    write_prepared(replace(DIGITS, name="ten"), tmp_path / "ten.safetensors")
    groups = SPEC.classes
    write_prepared(replace(DIGITS.restricted(groups), name="two"), tmp_path / "two.safetensors")
    records, states = [], []
    for spec in (replace(SPEC, dataset="ten"), replace(SPEC, dataset="two", classes=())):
        workplace = Workplace(tmp_path / "store", tmp_path, "cpu")
        store = Store(workplace.store)
        a, b = spec.with_seed(0), spec.with_seed(1)
        train_missing((a, b), workplace)
        asked: list[Measurement] = [ModelMeasurement(a), PairMeasurement(a, b)]
        for each in asked:
            measure_missing([each], workplace)
        found = [store.read("measurements", each.key) for each in asked]
        records.append([{name: value for name, value in (each or {}).items() if name != "seconds"} for each in found])
        states.append(store.load_model(a.key))
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    assert records[0] == records[1]
    assert records[0][0]["evaluation"]["accuracy"] > 0.9


def test_a_dataset_of_other_classes_than_the_specs_trains_nothing() -> None:
    with pytest.raises(DataError, match="is restricted to classes"):
        train(replace(SPEC, classes=((0,), (1,))), DIGITS.restricted(SPEC.classes))
