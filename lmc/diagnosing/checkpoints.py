"""Checkpoints and data of a reader from files. Nothing in a file is ever executed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmc.data import Dataset, Normaliser
from lmc.data.sources import read_image_folder, read_prepared
from lmc.errors import DataError, MergeError, in_one_line

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights", "module")
"""Where training scripts keep the weights in a checkpoint."""

PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

Pair = tuple[Tensor, Tensor]


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict in a safetensors or ``torch.save`` file, prefixes and wrappers removed, on the CPU.

    Raises:
        MergeError: the file cannot be read, holds pickled objects, or no state dict.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
        found = _read_torch(path) if _is_torch(start) else _read_safetensors(path)
    except OSError as error:
        raise MergeError(f"cannot read {path}: {error}; name a checkpoint file") from error
    for _ in WRAPPERS:  # as deep as that at most: a mapping may hold itself
        inner = [
            found[name] for name in WRAPPERS if isinstance(found, Mapping) and isinstance(found.get(name), Mapping)
        ]
        found = inner[0] if inner else found
    if not isinstance(found, Mapping) or not found:
        raise MergeError(f"{path} holds a {type(found).__name__}, no state dict; save model.state_dict()")
    odd = [(name, value) for name, value in found.items() if not isinstance(value, Tensor) or not isinstance(name, str)]
    if odd:
        name, value = odd[0]
        raise MergeError(
            f"{path} holds {name!r}, a {type(value).__name__}, beside tensors; save model.state_dict() "
            f"or put it under one of {', '.join(WRAPPERS[:3])}"
        )
    state = {str(name): value for name, value in found.items()}
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _is_torch(start: bytes) -> bool:
    """Whether a file starts as a zip archive or a pickle does; safetensors start with a length and ``{``."""
    return start[:2] == b"PK" or (start[:1] == b"\x80" and start[8:9] != b"{")


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise MergeError(
            f"{path} holds pickled objects, which could run code when read; nothing was read. "
            "Save only the weights: torch.save(model.state_dict(), path)"
        ) from error
    except Exception as error:  # a damaged file makes torch.load fail in ways it does not list
        raise MergeError(f"cannot read {path}: {in_one_line(error)}; save the checkpoint again") from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise MergeError(
            f"cannot read {path}: neither torch.save nor safetensors wrote it ({error}); save the checkpoint again"
        ) from error


def read_data(path: Path) -> tuple[Pair, Tensor | None]:
    """Test inputs with labels, and training inputs where there are any.

    Args:
        path: a safetensors file with ``inputs`` and ``labels`` (and perhaps ``train_inputs``), as the models read them;
            a prepared data set (see `lmc.data.sources`); or a folder ``{train,test}/<class>/*.png``. Images are
            normalised with the mean and deviation of the training images.

    Raises:
        DataError: it is none of these.
    """
    if path.is_dir():
        return _normalised(read_image_folder(path))
    if not path.exists():
        raise DataError(f"there is no {path}; name a safetensors file with inputs and labels, or an image folder")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            if "inputs" in names and "labels" in names:
                train = file.get_tensor("train_inputs") if "train_inputs" in names else None
                return (file.get_tensor("inputs"), file.get_tensor("labels")), train
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot read {path}: {error}; it must be a safetensors file with inputs and labels") from error
    if "test_images" not in names:
        raise DataError(
            f"{path} holds {', '.join(sorted(names)[:6]) or 'nothing'}; it needs inputs and labels, "
            "or test_images, test_labels, train_images and train_labels"
        )
    return _normalised(read_prepared(path))


def _normalised(dataset: Dataset) -> tuple[Pair, Tensor]:
    normalise = Normaliser.fit(dataset.train_images)
    return (normalise(dataset.test_images), dataset.test_labels), normalise(dataset.train_images)
