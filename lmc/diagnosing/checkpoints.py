"""Checkpoints of a reader from files. Nothing in a file is ever executed."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmc.errors import MergeError, SpecError, in_one_line

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module")
"""Where training scripts keep the weights in a checkpoint."""

AVERAGES = (
    "ema",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
    "ema_model",
    "ema_weights",
    "averaged_model",
    "swa_model",
)
"""Where they keep an average of them."""

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""What the files of a folder that may be a checkpoint are called."""

INDEX = ".index.json"


@dataclass(frozen=True)
class Checkpoint:
    """The weights in a file.

    Args:
        state: state dict, as its file names the tensors.
        notes: what was taken of several.
    """

    state: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def read_checkpoint(path: Path, *, ema: bool = False) -> Checkpoint:
    """The state dict in a safetensors or ``torch.save`` file, wrappers removed, on the CPU.

    Names may still have prefixes, as those of DataParallel: `lmc.diagnosing.loading` knows the model's.

    Args:
        path: a file; an index of several (``*.index.json``); or a folder with one of these.
        ema: whether the moving average of the weights is taken where there is one beside them.

    Raises:
        MergeError: it cannot be read, holds pickled objects, or no state dict.
        SpecError: ``ema`` is asked for, and there is none.
    """
    file = _file_of(path)
    found = _read_shards(file) if file.name.endswith(INDEX) else _read(file)
    notes = []
    average = _average_in(found)
    if average is not None:
        name, inner = average
        taken = f"its average {name!r}" if ema else f"the weights, not their average {name!r} (--ema takes that)"
        if ema or _weights_in({key: value for key, value in found.items() if key != name}) is not None:
            notes.append(f"{path}: took {taken}")
        found = inner if ema else {key: value for key, value in found.items() if key != name} or inner
    elif ema and not any("ema" in str(name).lower().split(".")[0] for name in _names(found)):
        raise SpecError(f"{path} holds no moving average under {', '.join(AVERAGES[:4])}; leave out --ema")
    for _ in range(8):  # as deep as that at most: a mapping may hold itself
        inner = _weights_in(found)
        if inner is None:
            break
        found = inner
    return Checkpoint(_state_of(found, path), tuple(notes))


def _weights_in(found: Any) -> Any:
    """What a mapping keeps the weights under; ``None`` where it has no such name."""
    if not isinstance(found, Mapping):
        return None
    return next((found[name] for name in WRAPPERS if isinstance(found.get(name), Mapping)), None)


def _names(found: Any) -> list[Any]:
    """Of what a mapping holds, wrapped or not."""
    for _ in range(8):
        inner = _weights_in(found)
        found = found if inner is None else inner
    return list(found) if isinstance(found, Mapping) else []


def _average_in(found: Any) -> tuple[str, Any] | None:
    if not isinstance(found, Mapping):
        return None
    for name in AVERAGES:
        inner = found.get(name)
        if isinstance(inner, Mapping) and inner:
            shadow = inner.get("shadow_params", inner.get("shadow"))
            return name, shadow if isinstance(shadow, Mapping) else inner
    return None


def _state_of(found: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(found, Mapping) or not found:
        raise MergeError(f"{path} holds a {type(found).__name__}, no state dict; save model.state_dict()")
    state = {name: value for name, value in found.items() if isinstance(value, Tensor) and isinstance(name, str)}
    odd = [(name, value) for name, value in found.items() if name not in state and not _is_extra(name)]
    if odd:
        name, value = odd[0]
        raise MergeError(
            f"{path} holds {name!r}, a {type(value).__name__}, beside tensors; save model.state_dict() "
            f"or put it under one of {', '.join(WRAPPERS[:4])}"
        )
    return state


def _is_extra(name: object) -> bool:
    """Whether it is what a module keeps besides tensors, which torch calls so."""
    return isinstance(name, str) and name.rpartition(".")[2] == "_extra_state"


def _file_of(path: Path) -> Path:
    """The file that holds the weights: of a folder its index, or its only checkpoint."""
    if not path.is_dir():
        return path
    indices = sorted(path.glob(f"*{INDEX}"))
    found = indices or sorted(each for each in path.iterdir() if each.suffix in SUFFIXES and each.is_file())
    known = [each for each in found if each.name.startswith(("model.safetensors", "pytorch_model.bin"))]
    found = known[:1] if len(found) > 1 and known else found
    if len(found) != 1:
        what = f"{len(found)} checkpoints ({', '.join(each.name for each in found[:4])})" if found else "no checkpoint"
        raise MergeError(f"the folder {path} holds {what}; name one file of weights, such as {path}/model.safetensors")
    return found[0]


def _read_shards(path: Path) -> dict[str, Any]:
    """The tensors that an index lists, from the files beside it."""
    try:
        files = json.loads(path.read_text("utf-8"))["weight_map"]
        names = dict.fromkeys(map(str, files.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MergeError(
            f"cannot read {path}: {in_one_line(error)}; it must list the files under weight_map"
        ) from error
    found: dict[str, Any] = {}
    for name in names:
        if Path(name).name != name:
            raise MergeError(f"{path} names {name!r}; its files must lie beside it")
        part = _read(path.parent / name)
        if not isinstance(part, Mapping):
            raise MergeError(f"{path.parent / name} holds a {type(part).__name__}, no state dict; save it again")
        found |= part
    missing = sorted(set(files) - set(found))
    if missing:
        raise MergeError(f"{path} lists {missing[0]!r}, which its files do not hold; save the checkpoint again")
    return found


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            start = file.read(9)
        return _read_torch(path) if _is_torch(start) else _read_safetensors(path)
    except OSError as error:
        raise MergeError(f"cannot read {path}: {error}; name a checkpoint file") from error


def _is_torch(start: bytes) -> bool:
    """Whether a file starts as a zip archive or a pickle does; safetensors start with a length and ``{``."""
    return start[:2] == b"PK" or (start[:1] == b"\x80" and start[8:9] != b"{")


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a message of ours follows, or none is due
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
