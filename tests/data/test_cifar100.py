"""CIFAR-100 as it is prepared by hand and as torchvision unpacks it; nothing is downloaded."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lmc.data import load_dataset
from lmc.datasets import dataset_info
from lmc.errors import DataError

NAMES = [f"class {number:02d}" for number in range(100)]


def pixels(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def prepared(folder: Path, labels: torch.Tensor) -> None:
    tensors = {
        "train_images": torch.from_numpy(pixels(100, 0)),
        "train_labels": labels,
        "test_images": torch.from_numpy(pixels(5, 1)),
        "test_labels": torch.tensor([99, 0, 50, 7, 98]),
    }
    metadata = {"name": "cifar100", "classes": json.dumps(NAMES), "source": "made here"}
    save_file(tensors, folder / "cifar100.safetensors", metadata=metadata)


def test_a_prepared_file_of_a_hundred_classes(tmp_path: Path) -> None:
    prepared(tmp_path, torch.arange(100).flip(0))
    found = load_dataset("cifar100", tmp_path, download=False)
    assert (found.name, found.source, list(found.classes)) == ("cifar100", "made here", NAMES)
    size = dataset_info("cifar100").size
    assert (found.shape, len(found.classes)) == (size.shape, size.classes)
    assert found.train_labels.tolist() == list(range(99, -1, -1))
    assert found.test_labels.tolist() == [99, 0, 50, 7, 98]
    assert torch.equal(found.test_images, torch.from_numpy(pixels(5, 1)))


def test_a_hundred_and_first_class_is_refused(tmp_path: Path) -> None:
    prepared(tmp_path, torch.arange(1, 101))
    with pytest.raises(DataError, match="train_labels run from 1 to 100, but there are 100 classes"):
        load_dataset("cifar100", tmp_path)


def test_torchvisions_archive_is_read_with_fine_labels_and_the_right_axes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stand-in for the unpacked archive, in its layout: rows of 3072 bytes, the red plane first."""
    datasets = pytest.importorskip("torchvision.datasets")
    home = tmp_path / "torchvision" / datasets.CIFAR100.base_folder
    home.mkdir(parents=True)
    fine = {"train": [number % 100 for number in range(200)], "test": [5, 99, 42]}
    for split, labels in fine.items():
        entry = {
            "data": pixels(len(labels), len(labels)).reshape(len(labels), -1),
            "fine_labels": labels,
            "coarse_labels": [label // 5 for label in labels],
            "filenames": [f"{split}{number}.png" for number in range(len(labels))],
        }
        (home / split).write_bytes(pickle.dumps(entry))
    meta = {"fine_label_names": NAMES, "coarse_label_names": [f"coarse {number}" for number in range(20)]}
    (home / "meta").write_bytes(pickle.dumps(meta))

    def digest(name: str) -> str:
        return hashlib.md5((home / name).read_bytes()).hexdigest()

    monkeypatch.setattr(datasets.CIFAR100, "train_list", [["train", digest("train")]])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", [["test", digest("test")]])
    monkeypatch.setattr(datasets.CIFAR100, "meta", {**datasets.CIFAR100.meta, "md5": digest("meta")})

    found = load_dataset("cifar100", tmp_path)
    assert "downloading cifar100 (169 MB)" in capsys.readouterr().err
    assert list(found.classes) == NAMES
    assert found.source == "torchvision CIFAR100"
    for split, labels in fine.items():
        assert getattr(found, f"{split}_labels").tolist() == labels
        assert torch.equal(getattr(found, f"{split}_images"), torch.from_numpy(pixels(len(labels), len(labels))))

    again = load_dataset("cifar100", tmp_path, download=False)
    assert torch.equal(again.train_images, found.train_images)
    assert capsys.readouterr().err == ""
