"""The table of datasets: how large each is and where it comes from, known without loading it. Imports no torch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc.errors import DataError, SpecError

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
    """

    shape: tuple[int, int, int]
    classes: int
    train_images: int
    test_images: int

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


_MNIST = Size((1, 28, 28), 10, 60_000, 10_000)
_TABLE = {
    each.name: each
    for each in (
        DatasetInfo("digits", Embedded(), Size((1, 8, 8), 10, 1_000, 797)),
        DatasetInfo("mnist", Torchvision("MNIST", "12 MB"), _MNIST),
        DatasetInfo("fashion-mnist", Torchvision("FashionMNIST", "31 MB"), _MNIST),
        DatasetInfo("cifar10", Torchvision("CIFAR10", "171 MB"), Size((3, 32, 32), 10, 50_000, 10_000)),
        DatasetInfo("cifar100", Torchvision("CIFAR100", "169 MB"), Size((3, 32, 32), 100, 50_000, 10_000)),
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
        size: how large it is, so that a plan need not load it; a folder can be asked, a function cannot.

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

    counts = {}
    first = None
    for split in ("train", "test"):
        try:
            classes = [each for each in sorted((folder / split).iterdir()) if each.is_dir()]
            files = [file for each in classes for file in each.glob("*.png")]
        except OSError as error:
            raise DataError(f"cannot read {folder / split}: {error}; expected one folder per class in it") from error
        if not files:
            raise DataError(f"{folder / split} holds no images; expected {folder / split}/<class>/*.png")
        counts[split], first = (len(classes), len(files)), first or min(files)
    assert first is not None
    try:
        with Image.open(first) as image:
            channels = 1 if image.mode in GREY_MODES else 3
            shape = channels, image.height, image.width
    except (OSError, SyntaxError) as error:
        raise DataError(f"cannot read {first}: {error}; replace or remove it") from error
    (classes_there, train_images), (_, test_images) = counts["train"], counts["test"]
    return Size(shape, classes_there, train_images, test_images)
