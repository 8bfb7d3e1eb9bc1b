"""The table of datasets: how large each is and where it comes from, known without loading it. Imports no torch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmc.errors import DataError, SpecError

Groups = tuple[tuple[int, ...], ...]
"""Classes that are kept, see the ``classes`` of `lmc.specs.RunSpec`."""
GREY_MODES = ("1", "L")
"""Modes of PNG files with one channel; all others are read as three."""


@dataclass(frozen=True)
class Size:
    """How large a dataset is.

    Args:
        shape: (C, H, W) of one image.
        classes: number of classes.
        train_images: number of training images.
        test_images: number of test images.
        train_counts: training images of every class; empty where they are not known, so that no spec may restrict the
            classes.
        test_counts: test images of every class, likewise.

    Raises:
        SpecError: the counts do not fit the numbers.
    """

    shape: tuple[int, int, int]
    classes: int
    train_images: int
    test_images: int
    train_counts: tuple[int, ...] = ()
    test_counts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for split, images in (("train", self.train_images), ("test", self.test_images)):
            counts: tuple[int, ...] = getattr(self, f"{split}_counts")
            if counts and (len(counts), sum(counts)) != (self.classes, images):
                raise SpecError(
                    f"{split}_counts are {len(counts)} numbers that sum to {sum(counts)}, but there are {self.classes} "
                    f"classes and {images} images; give one number for each class"
                )

    @property
    def largest_class(self) -> float:
        """The largest class's share of the test images, an even one where they are not counted."""
        return max(self.test_counts) / self.test_images if self.test_counts else 1 / self.classes

    @property
    def uncounted(self) -> Size:
        """The same without the counts of every class."""
        return replace(self, train_counts=(), test_counts=())

    @property
    def by_class(self) -> str:
        """The counts, to be said after the rest."""
        return f": {self.train_counts} to train, {self.test_counts} to test"

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return f"{self.train_images} and {self.test_images} images of {shape} in {self.classes} classes"


@dataclass(frozen=True)
class Torchvision:
    """A dataset that torchvision downloads: the name of its class there, and how much that is."""

    class_name: str
    download: str


@dataclass(frozen=True)
class Embedded:
    """A dataset that an installed package holds, of which ``lmc.data.sources`` knows how to read it."""


Source = Embedded | Torchvision | Path | Callable[[], Any]


@dataclass(frozen=True)
class DatasetInfo:
    """A row of the table.

    Args:
        name: how specs refer to it. The store finds models by it, so images that are changed need another name.
        source: where it comes from; a path is of a folder with ``{train,test}/<class>/*.png``.
        stated: its size; ``None`` where its folder is asked.
    """

    name: str
    source: Source
    stated: Size | None = None

    @property
    def size(self) -> Size:
        """Its size, of a folder counted without decoding an image.

        Raises:
            DataError: the folder cannot be read.
        """
        if self.stated is not None:
            return self.stated
        assert isinstance(self.source, Path), "register_dataset asks for the size of all others"
        return _size_of_folder(self.source)


def _even(shape: tuple[int, int, int], classes: int, train: int, test: int) -> Size:
    """A size with so many images of every class."""
    return Size(shape, classes, classes * train, classes * test, (train,) * classes, (test,) * classes)


_DIGITS = Size(
    (1, 8, 8),
    10,
    1_000,
    797,
    (100, 102, 86, 109, 96, 106, 94, 109, 101, 97),
    (78, 80, 91, 74, 85, 76, 87, 70, 73, 83),
)
_MNIST = Size(
    (1, 28, 28),
    10,
    60_000,
    10_000,
    (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
)
_TABLE = {
    each.name: each
    for each in (
        DatasetInfo("digits", Embedded(), _DIGITS),
        DatasetInfo("mnist", Torchvision("MNIST", "12 MB"), _MNIST),
        DatasetInfo("fashion-mnist", Torchvision("FashionMNIST", "31 MB"), _even((1, 28, 28), 10, 6_000, 1_000)),
        DatasetInfo("cifar10", Torchvision("CIFAR10", "171 MB"), _even((3, 32, 32), 10, 5_000, 1_000)),
        DatasetInfo("cifar100", Torchvision("CIFAR100", "169 MB"), _even((3, 32, 32), 100, 500, 100)),
    )
}


def dataset_info(name: str) -> DatasetInfo:
    """What is known of a dataset.

    Raises:
        SpecError: there is none of that name in the table.
    """
    if name not in _TABLE:
        raise SpecError(
            f"nothing is known of dataset {name!r}, not even its size, which every run asks for; choose one of "
            f"{', '.join(_TABLE)}, "
            f"or register yours: lmc.register_dataset({name!r}, folder), or a function and its size"
        )
    return _TABLE[name]


def size_of(name: str, groups: Groups = ()) -> Size:
    """How large a dataset is where only some of its classes are kept, known without loading it.

    Args:
        name: in the table.
        groups: see the ``classes`` of `lmc.specs.RunSpec`.

    Raises:
        SpecError: there is no such dataset, it lacks a class, or how many images a class has is not known.
        DataError: the folder cannot be read.
    """
    size = dataset_info(name).size
    if not groups:
        return size
    check_classes(name, size.classes, groups)
    if not size.train_counts or not size.test_counts:
        raise SpecError(
            f"classes {groups} of dataset {name!r} are asked for, but not how many images each has; register it with "
            "a Size that has train_counts and test_counts"
        )
    train, test = (
        tuple(sum(counts[each] for each in group) for group in groups)
        for counts in (size.train_counts, size.test_counts)
    )
    return Size(size.shape, len(groups), sum(train), sum(test), train, test)


def check_classes(name: str, classes: int, groups: Groups) -> None:
    """Refuse groups of classes that dataset ``name`` does not have.

    Raises:
        SpecError: naming the first.
    """
    for each in (each for group in groups for each in group):
        if each >= classes:
            raise SpecError(f"class {each} of dataset {name!r} is asked for, but it has 0 to {classes - 1}; choose one")


def dataset_names() -> tuple[str, ...]:
    """Every dataset in the table."""
    return tuple(_TABLE)


def register_dataset(name: str, source: Path | str | Callable[[], Any], size: Size | None = None) -> None:
    """Add a dataset to the table, in this process.

    A run does so in its worker processes too, where the module that a tier or claims are named in registers it (or
    imports what does). To register the same again changes nothing.

    Args:
        name: how specs refer to it. The store finds models by it, so images that are changed need another name.
        source: a folder with ``{train,test}/<class>/*.png``, which need not exist yet, or a function that gives an
            `lmc.data.dataset.Dataset`.
        size: how large it is, so that a plan need not load it; a folder can be asked, a function cannot. With the
            counts of every class, specs may keep some of them.

    Raises:
        SpecError: there is another dataset of that name, the name is not plain, or the size of what a function
            gives is missing.
    """
    if name in ("", ".", "..") or Path(name).name != name:
        raise SpecError(f"dataset name {name!r} is not a plain name; choose one without slashes")
    if callable(source) and size is None:
        raise SpecError(f"dataset {name!r} comes from a function; say its size, which a plan needs without loading it")
    added = DatasetInfo(name, source if callable(source) else Path(source).resolve(), size)
    if _TABLE.setdefault(name, added) != added:
        raise SpecError(f"there is a dataset {name!r} already, from {_TABLE[name].source}; rename yours")


@functools.lru_cache(maxsize=8)
def _size_of_folder(folder: Path) -> Size:
    from PIL import Image

    counts: dict[str, dict[str, int]] = {}
    first = None
    for split in ("train", "test"):
        try:
            classes = [each for each in sorted((folder / split).iterdir()) if each.is_dir()]
            files = {each.name: list(each.glob("*.png")) for each in classes}
        except OSError as error:
            raise DataError(f"cannot read {folder / split}: {error}; expected one folder per class in it") from error
        if not any(files.values()):
            raise DataError(f"{folder / split} holds no images; expected {folder / split}/<class>/*.png")
        counts[split] = {name: len(found) for name, found in files.items()}
        first = first or min(file for found in files.values() for file in found)
    assert first is not None
    try:
        with Image.open(first) as image:
            channels = 1 if image.mode in GREY_MODES else 3
            shape = channels, image.height, image.width
    except (OSError, SyntaxError) as error:
        raise DataError(f"cannot read {first}: {error}; replace or remove it") from error
    train, test = counts["train"], counts["test"]
    if list(train) != list(test):
        raise DataError(
            f"{folder / 'test'} has classes {tuple(test)}, but train has {tuple(train)}; make them the same"
        )
    per_class = tuple(train.values()), tuple(test.values())
    return Size(shape, len(train), sum(train.values()), sum(test.values()), *per_class)
