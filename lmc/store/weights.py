"""Weights in their file: verified and used where they lie, without a copy."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}
"""Names in safetensors and in torch."""
_LENGTH_BYTES = 8


def checksums(data: bytes) -> dict[str, Any]:
    """What a cell's record says of its weights file: SHA-256 for keeping, and XXH3, ten times as fast, for reading."""
    return {
        "weights_sha256": hashlib.sha256(data).hexdigest(),
        "weights_xxh3": xxhash.xxh3_64_hexdigest(data),
        "weights_bytes": len(data),
    }


def read_weights(path: Path, record: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a weights file, mapped into memory: what is written to them changes no file.

    Args:
        path: of the file, which is replaced by others but never changed.
        record: of its cell. One that was written before there were two checksums has the SHA-256 only.

    Raises:
        OSError: it cannot be read.
        ValueError: it does not match its checksum, or holds no tensors.
    """
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    if not _intact(data, record):
        size = len(data)
        data.close()  # Windows moves no file that is mapped
        raise ValueError(f"its checksum does not match ({size} bytes)")
    try:
        return _tensors(data)
    except (LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise ValueError(f"no tensors: {error!r}"[:200]) from None


def _intact(data: mmap.mmap, record: Mapping[str, Any]) -> bool:
    fast = record.get("weights_xxh3")
    if fast is None:
        return hashlib.sha256(data).hexdigest() == record.get("weights_sha256")
    return bool(xxhash.xxh3_64_hexdigest(data) == fast)


def _tensors(data: mmap.mmap) -> dict[str, Tensor]:
    """A file of safetensors: the length of the header, the header in JSON, then all numbers."""
    import torch

    start = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    numbers, found = memoryview(data)[start:], {}
    for name, entry in json.loads(data[_LENGTH_BYTES:start]).items():
        if name == "__metadata__":
            continue
        dtype, shape, (first, end) = getattr(torch, _DTYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
        count = math.prod(shape)
        if count * dtype.itemsize != end - first:  # torch would not notice a size that overflows
            raise ValueError(f"{name} of shape {shape} has {end - first} bytes")
        flat = torch.frombuffer(numbers, dtype=dtype, count=count, offset=first) if count else torch.empty(0)
        found[name] = flat.to(dtype).view(shape)
    return found
