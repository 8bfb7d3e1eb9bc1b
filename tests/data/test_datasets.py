"""The table of datasets: sizes that are known without loading, and what somebody else adds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lmc import datasets
from lmc.data import Dataset, load_dataset
from lmc.datasets import Size, dataset_info, dataset_names, register_dataset
from lmc.errors import DataError, SpecError
from lmc.executing.costs import shape_of
from lmc.specs import RunSpec

SIZE = Size((3, 5, 4), 2, 6, 4, (3, 3), (2, 2))


def made() -> Dataset:
    pixels, labels = torch.zeros(6, 3, 5, 4, dtype=torch.uint8), torch.tensor([0, 1] * 3)
    return Dataset("another name", pixels, labels, pixels[:4], labels[:4], ("a", "b"), "made here")


@pytest.fixture(autouse=True)
def _table_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_TABLE", dict(datasets._TABLE))
    datasets._size_of_folder.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images to train and four to test, 4 pixels wide and 5 high, in two classes."""
    for split, count in (("train", 3), ("test", 2)):
        for label in ("cat", "dog"):
            place = tmp_path / "pets" / split / label
            place.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(np.full((5, 4, 3), number, np.uint8)).save(place / f"{number}.png")
    return tmp_path / "pets"


def test_the_embedded_digits_are_as_large_as_the_table_says(tmp_path: Path) -> None:
    digits = load_dataset("digits", tmp_path)
    assert digits.size == dataset_info("digits").size
    assert (digits.size.train_images, digits.size.test_images) == (len(digits.train_images), len(digits.test_images))


def test_a_folder_is_asked_for_its_size_and_read_when_it_is_needed(folder: Path, tmp_path: Path) -> None:
    register_dataset("own-pets", folder)
    assert "own-pets" in dataset_names()
    assert dataset_info("own-pets").size == SIZE
    spec = RunSpec(dataset="own-pets", arch="mlp", width=1, train_size=2)
    assert shape_of(spec) == ((3, 5, 4), 2, 2, 4)
    found = load_dataset("own-pets", tmp_path / "absent")
    assert (found.name, found.source, found.shape, len(found.train_images)) == ("own-pets", str(folder), (3, 5, 4), 6)


def test_its_images_are_counted_and_not_decoded(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        if path != folder / "train" / "cat" / "0.png":
            path.write_bytes(b"not an image")
    register_dataset("own-pets", str(folder))
    assert dataset_info("own-pets").size == SIZE


def _empty(folder: Path) -> None:
    for path in (folder / "test").rglob("*.png"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: folder.rename(folder.with_name("gone")), "expected one folder per class in it"),
        (_empty, r"test holds no images; expected .*test/<class>/\*\.png"),
        (
            lambda folder: (folder / "test" / "dog").rename(folder / "test" / "cow"),
            r"test has classes \('cat', 'cow'\), but train has \('cat', 'dog'\); make them the same",
        ),
        (lambda folder: [path.write_bytes(b"") for path in folder.rglob("*.png")], "replace or remove it"),
    ],
)
def test_a_folder_that_cannot_be_asked_is_refused(
    damage: Callable[[Path], object], message: str, folder: Path, tmp_path: Path
) -> None:
    register_dataset("own-pets", folder)  # it need not be there yet
    damage(folder)
    with pytest.raises(DataError, match=message):
        _ = dataset_info("own-pets").size


def test_a_function_gives_a_dataset_of_the_name_it_is_registered_under(tmp_path: Path) -> None:
    register_dataset("own", made, SIZE)
    assert dataset_info("own").size == SIZE
    assert load_dataset("own", tmp_path).name == "own"


@pytest.mark.parametrize(
    ("source", "size", "message"),
    [
        (made, Size((3, 5, 4), 2, 7, 4), r"has 6 and 4 images of 3x5x4 in 2 classes, but was registered with 7 and 4"),
        (lambda: "images", SIZE, "comes from a function that gives a str; give an lmc.Dataset"),
    ],
)
def test_a_function_that_gives_something_else_is_refused(source: Any, size: Size, message: str, tmp_path: Path) -> None:
    register_dataset("own", source, size)
    with pytest.raises(DataError, match=message):
        load_dataset("own", tmp_path)


def test_names_and_sizes_are_checked_at_once(folder: Path) -> None:
    register_dataset("own", folder)
    register_dataset("own", folder)
    for name, source, size, message in [
        ("own", folder.parent, None, "there is a dataset 'own' already, from .*; rename yours"),
        ("digits", folder, None, "there is a dataset 'digits' already"),
        ("a/b", folder, None, "dataset name 'a/b' is not a plain name"),
        ("", folder, None, "is not a plain name"),
        ("more", made, None, "comes from a function; say its size"),
    ]:
        with pytest.raises(SpecError, match=message):
            register_dataset(name, source, size)  # type: ignore[arg-type]


def test_what_is_not_in_the_table_cannot_be_planned_for() -> None:
    spec = RunSpec(dataset="imagenet", arch="mlp", width=1)
    for ask in (lambda: dataset_info("imagenet"), lambda: shape_of(spec)):
        with pytest.raises(SpecError) as refused:
            ask()
        assert str(refused.value) == (
            "nothing is known of dataset 'imagenet', not even its size, which every run asks for; choose one of "
            "digits, mnist, fashion-mnist, cifar10, cifar100, or register yours: "
            "lmc.register_dataset('imagenet', folder), or a function and its size"
        )


def test_a_folder_that_nobody_registered_is_read_and_becomes_a_dataset_of_runs_by_its_name(folder: Path) -> None:
    """What the refusal advises is enough."""
    spec = RunSpec(dataset="pets", arch="mlp", width=1)
    assert len(load_dataset("pets", folder.parent).train_images) == 6
    with pytest.raises(SpecError, match=r"lmc\.register_dataset\('pets', folder\)"):
        shape_of(spec)
    register_dataset("pets", folder)
    assert shape_of(spec) == ((3, 5, 4), 2, 6, 4)
