"""What a dataset is, once loaded: four tensors and their checks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lmc.datasets import Groups, Size, check_classes
from lmc.errors import DataError


@dataclass(frozen=True)
class Dataset:
    """Labelled images, train and test.

    Args:
        name: how specs refer to it.
        train_images: uint8 (N, C, H, W).
        train_labels: int64 (N,), each in [0, len(classes)).
        test_images: uint8 (M, C, H, W).
        test_labels: int64 (M,).
        classes: class names, in label order.
        source: where it came from, for the record.
        groups: which classes of it were kept, see `restricted`; empty where all are.

    Raises:
        DataError: a tensor has the wrong dtype or shape, a split is empty, or a label is out of range.
    """

    name: str
    train_images: Tensor = field(repr=False)
    train_labels: Tensor = field(repr=False)
    test_images: Tensor = field(repr=False)
    test_labels: Tensor = field(repr=False)
    classes: tuple[str, ...]
    source: str
    groups: Groups = ()

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            self._check_split(split, getattr(self, f"{split}_images"), getattr(self, f"{split}_labels"))
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            self._refuse(
                f"train images are {tuple(self.train_images.shape[1:])}, "
                f"test images {tuple(self.test_images.shape[1:])}"
            )

    def _check_split(self, split: str, images: Tensor, labels: Tensor) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            self._refuse(f"{split}_images is {images.dtype} {tuple(images.shape)}; expected torch.uint8 (N, C, H, W)")
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            self._refuse(
                f"{split}_labels is {labels.dtype} {tuple(labels.shape)}; expected torch.int64 ({len(images)},)"
            )
        if images.numel() == 0:
            self._refuse(f"{split}_images is empty: {tuple(images.shape)}")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(self.classes):
            self._refuse(f"{split}_labels run from {low} to {high}, but there are {len(self.classes)} classes")

    def _refuse(self, problem: str) -> None:
        raise DataError(f"dataset {self.name!r} ({self.source}): {problem}; prepare it again")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @property
    def size(self) -> Size:
        """How large it is, class by class."""
        splits = [
            torch.bincount(labels, minlength=len(self.classes)) for labels in (self.train_labels, self.test_labels)
        ]
        train, test = (tuple(counts.tolist()) for counts in splits)
        return Size(self.shape, len(self.classes), sum(train), sum(test), train, test)

    def restricted(self, groups: Groups) -> Dataset:
        """Only some classes, each group of them with one label; the images keep their order.

        Images are copied only where some are left out. What is restricted to ``groups`` already stays as it is, so
        that whoever gets a spec and a dataset may ask for the spec's.

        Args:
            groups: class numbers, see the ``classes`` of `lmc.specs.RunSpec`; empty for no restriction.

        Raises:
            SpecError: a class is not there.
            DataError: other classes have been kept already, or a split has none of these.
        """
        if groups == self.groups:
            return self
        if self.groups:
            raise DataError(
                f"dataset {self.name!r} is restricted to classes {self.groups} and cannot be to {groups or 'all'}; "
                "load it again"
            )
        check_classes(self.name, len(self.classes), groups)
        label_of = torch.full((len(self.classes),), -1, device=self.train_labels.device)
        for label, group in enumerate(groups):
            label_of[list(group)] = label
        kept: dict[str, Any] = {}
        for split in ("train", "test"):
            images, labels = getattr(self, f"{split}_images"), label_of[getattr(self, f"{split}_labels")]
            there = labels >= 0
            kept[f"{split}_images"] = images if bool(there.all()) else images[there]
            kept[f"{split}_labels"] = labels[there]
        names = tuple("+".join(self.classes[each] for each in group) for group in groups)
        return replace(self, **kept, classes=names, groups=groups)

    def limited(self, train_size: int | None) -> Dataset:
        """The same dataset with only its first ``train_size`` training images.

        Raises:
            DataError: there are fewer.
        """
        if train_size is None or train_size == len(self.train_images):
            return self
        if train_size > len(self.train_images):
            raise DataError(f"{train_size} training images asked for, but {self.name!r} has {len(self.train_images)}")
        return replace(
            self,
            train_images=self.train_images[:train_size],
            train_labels=self.train_labels[:train_size],
        )

    def to(self, device: torch.device) -> Dataset:
        """The same dataset with its tensors on ``device``."""
        tensors = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})
