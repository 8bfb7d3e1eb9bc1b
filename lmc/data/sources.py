"""Where datasets come from: embedded digits, prepared files, image folders, torchvision.

A dataset called NAME is looked for, in this order: in the table of `lmc.datasets`, where it is embedded or somebody
registered it; ``<data dir>/NAME.safetensors`` (prepared); ``<data dir>/NAME/train/<class>/*.png`` (image folder); in
that table again for a torchvision download, which is announced and then kept as a prepared file.

A spec's dataset must stand in that table: a run asks it for the size before anything is loaded. Other files and folders
are read for `lmc.training.engine.train` and the like; `lmc.datasets.register_dataset` makes them a dataset of runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lmc.data.dataset import Dataset
from lmc.datasets import GREY_MODES, DatasetInfo, Embedded, Torchvision, dataset_info, dataset_names
from lmc.errors import DataError

DIGITS_TRAIN = 1000
_TENSORS = ("train_images", "train_labels", "test_images", "test_labels")
_MAX_HEADER = 1 << 20


def load_dataset(name: str, data_dir: Path, *, download: bool = True) -> Dataset:
    """Load a dataset by name.

    Args:
        name: see this module's description.
        data_dir: folder of prepared files and image folders; need not exist for ``"digits"``.
        download: whether torchvision may fetch what is missing.

    Raises:
        DataError: it is unknown, missing, unreadable, of the wrong shape, or cannot be downloaded.

    Example:
        >>> load_dataset("digits", Path("data")).test_images.shape
        torch.Size([797, 1, 8, 8])
    """
    info = dataset_info(name) if name in dataset_names() else None
    if info is not None and not isinstance(info.source, Torchvision):
        return _made(info)
    if name in ("", "..") or Path(name).name != name:
        raise DataError(f"dataset name {name!r} is not a plain name; put the data under {data_dir}")
    prepared = data_dir / f"{name}.safetensors"
    folder = data_dir / name
    try:
        is_prepared, is_folder = prepared.exists(), folder.is_dir()
    except OSError as error:
        raise DataError(f"cannot look for dataset {name!r} in {data_dir}: {error}") from error
    if is_prepared:
        return read_prepared(prepared)
    if is_folder:
        return read_image_folder(folder)
    if info is None:
        raise DataError(
            f"unknown dataset {name!r}: there is no {prepared} and no folder {folder}, "
            f"and it is none of {', '.join(dataset_names())}; put it there, or register it (lmc.register_dataset)"
        )
    if not download:
        raise DataError(f"dataset {name!r} is not in {data_dir}; allow its download or put {prepared} there")
    assert isinstance(info.source, Torchvision)
    return _download(name, info.source, prepared)


def _made(info: DatasetInfo) -> Dataset:
    """A dataset that is embedded or registered; it must be as large as the table says."""
    if isinstance(info.source, Embedded):
        dataset = _digits()
    elif isinstance(info.source, Path):
        dataset = replace(read_image_folder(info.source), name=info.name)
    else:
        assert not isinstance(info.source, Torchvision)
        given: object = info.source()
        if not isinstance(given, Dataset):
            raise DataError(
                f"dataset {info.name!r} comes from a function that gives a {type(given).__name__}; give an lmc.Dataset"
            )
        dataset = replace(given, name=info.name)
    found, stated = dataset.size, info.stated
    if stated is not None and stated not in (found, found.uncounted):
        more = found.uncounted == stated.uncounted
        has, was = (f"{each}{each.by_class if more else ''}" for each in (found, stated))
        raise DataError(f"dataset {info.name!r} has {has}, but was registered with {was}; say what it has")
    return dataset


def _digits() -> Dataset:
    """scikit-learn's 1,797 real 8x8 digits in a fixed random order: 1,000 to train, 797 to test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    pixels = np.rint(digits.images[order] * (255 / 16)).astype(np.uint8)[:, None]
    images = torch.from_numpy(pixels)
    labels = torch.from_numpy(digits.target[order].astype(np.int64))
    return Dataset(
        "digits",
        images[:DIGITS_TRAIN],
        labels[:DIGITS_TRAIN],
        images[DIGITS_TRAIN:],
        labels[DIGITS_TRAIN:],
        tuple(str(digit) for digit in range(10)),
        "scikit-learn load_digits",
    )


def read_prepared(path: Path) -> Dataset:
    """Read a prepared safetensors file.

    Raises:
        DataError: it is unreadable, truncated, or does not hold the four tensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        _check_header(path)
        with safe_open(path, framework="pt") as file:
            missing = set(_TENSORS) - set(file.keys())
            if missing:
                raise DataError(f"{path} lacks {', '.join(sorted(missing))}; prepare it again")
            tensors = {key: file.get_tensor(key) for key in _TENSORS}
            metadata = file.metadata() or {}
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}; delete it and prepare it again") from error
    classes = _classes(path, metadata, tensors["train_labels"])
    name, source = metadata.get("name", path.stem), metadata.get("source", str(path))
    return Dataset(name=name, **tensors, classes=classes, source=source)


def _check_header(path: Path) -> None:
    """Refuse a file whose declared header is larger than the file or than any real one."""
    with path.open("rb") as file:
        prefix = file.read(8)
    if len(prefix) < 8:
        raise ValueError(f"only {len(prefix)} bytes long")
    (length,) = struct.unpack("<Q", prefix)
    if length > min(_MAX_HEADER, path.stat().st_size - 8):
        raise ValueError(f"its header claims {length} bytes")


def _classes(path: Path, metadata: dict[str, str], labels: Tensor) -> tuple[str, ...]:
    if "classes" not in metadata:
        if labels.dtype != torch.int64 or not labels.numel():
            return ()  # refused as a dataset
        return tuple(str(label) for label in range(min(int(labels.max()) + 1, labels.numel())))
    try:
        classes = json.loads(metadata["classes"])
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: its classes are not JSON ({error}); prepare it again") from error
    if not isinstance(classes, list) or not classes:
        raise DataError(f"{path}: its classes are {classes!r}, not a list of names; prepare it again")
    return tuple(str(name) for name in classes)


def write_prepared(dataset: Dataset, path: Path) -> None:
    """Write ``dataset`` as a prepared file, which appears under its name only once it is whole.

    Raises:
        DataError: the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    partial = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(
            {key: getattr(dataset, key).contiguous() for key in _TENSORS},
            partial,
            metadata={
                "name": dataset.name,
                "classes": json.dumps(dataset.classes),
                "source": dataset.source,
            },
        )
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise DataError(f"cannot write {path}: {error}; free space or choose another data folder") from error


def read_image_folder(folder: Path) -> Dataset:
    """Read ``folder/{train,test}/<class>/*.png``; all images share one size and mode.

    Raises:
        DataError: a split or class is missing or empty, or an image is unreadable or of another shape.
    """
    names = tuple(sorted(path.name for path in _subfolders(folder / "train")))
    splits: dict[str, Tensor] = {}
    for split in ("train", "test"):
        found = tuple(sorted(path.name for path in _subfolders(folder / split)))
        if found != names:
            raise DataError(f"{folder / split} has classes {found}, but train has {names}; make them the same")
        images: list[Tensor] = []
        labels: list[int] = []
        for label, name in enumerate(names):
            files = sorted((folder / split / name).glob("*.png"))
            if not files:
                raise DataError(f"{folder / split / name} holds no .png files; add images or remove the folder")
            for file in files:
                image = _read_png(file)
                if images and image.shape != images[0].shape:
                    raise DataError(
                        f"{file} is {tuple(image.shape)}, others are {tuple(images[0].shape)}; "
                        "give all images one size and mode"
                    )
                images.append(image)
                labels.append(label)
        splits[f"{split}_images"] = torch.stack(images)
        splits[f"{split}_labels"] = torch.tensor(labels)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(splits["train_labels"])))
    return Dataset(
        folder.name,
        splits["train_images"][order],
        splits["train_labels"][order],
        splits["test_images"],
        splits["test_labels"],
        names,
        str(folder),
    )


def _subfolders(folder: Path) -> list[Path]:
    try:
        found = [path for path in folder.iterdir() if path.is_dir()]
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error}; expected one folder per class in it") from error
    if not found:
        raise DataError(f"{folder} holds no class folders; expected {folder}/<class>/*.png")
    return found


def _read_png(path: Path) -> Tensor:
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):
                raise ValueError("it has 16 bits per channel, not 8")
            mode = "L" if image.mode in GREY_MODES else "RGB"
            pixels = np.array(image.convert(mode))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read {path}: {error}; replace or remove it") from error
    return torch.from_numpy(pixels if pixels.ndim == 3 else pixels[:, :, None]).permute(2, 0, 1)


def _download(name: str, source: Torchvision, prepared: Path) -> Dataset:
    root = prepared.parent / "torchvision"
    print(f"lmc: downloading {name} ({source.download}) through torchvision to {root}", file=sys.stderr, flush=True)
    try:
        from torchvision import datasets

        make = getattr(datasets, source.class_name)
        train, test = (make(root, train=split, download=True) for split in (True, False))
    except (OSError, RuntimeError, ImportError) as error:
        raise DataError(
            f"cannot download {name}: {error}; check the network, or put a prepared file at {prepared}"
        ) from error
    dataset = Dataset(
        name,
        _images(train.data),
        torch.as_tensor(train.targets, dtype=torch.int64),
        _images(test.data),
        torch.as_tensor(test.targets, dtype=torch.int64),
        tuple(train.classes),
        f"torchvision {source.class_name}",
    )
    write_prepared(dataset, prepared)
    return dataset


def _images(pixels: Tensor | np.ndarray) -> Tensor:
    """torchvision keeps (N, H, W) tensors or (N, H, W, C) arrays; return uint8 (N, C, H, W)."""
    tensor = torch.as_tensor(pixels)
    return tensor[:, None] if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2).contiguous()
