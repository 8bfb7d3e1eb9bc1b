"""The content-addressed store of trained models and measurements.

A cell is named by the content key of everything that determines it. Its JSON record appears last, by an
atomic rename, and carries a checksum of itself and of its weights file: a cell with a valid record is
finished, anything else never happened. A cell that fails its checksum is moved to ``damaged/`` and made
again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lmc.errors import StoreError

if TYPE_CHECKING:
    from torch import Tensor

_MAX_RECORD = 64 << 20


class Store:
    """Records and weights in one folder, safe for several processes at once.

    Args:
        root: the folder; created when something is first written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def record_path(self, kind: str, key: str) -> Path:
        """Where the record of cell ``key`` of kind ``models`` or ``measurements`` stands."""
        return self.root / kind / key[:2] / f"{key}.json"

    def weights_path(self, key: str) -> Path:
        """Where the weights of model ``key`` stand."""
        return self.root / "models" / key[:2] / f"{key}.safetensors"

    def read(self, kind: str, key: str) -> dict[str, Any] | None:
        """The record of a finished cell, or ``None``; a damaged one is set aside and said.

        Raises:
            StoreError: the store is unreadable.
        """
        path = self.record_path(kind, key)
        try:
            if path.stat().st_size > _MAX_RECORD:
                raise ValueError("it is far too large")
            envelope = json.loads(path.read_bytes())
            body: dict[str, Any] = envelope["body"]
            if envelope["checksum"] != _checksum(_canonical(body)):
                raise ValueError("its checksum does not match")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}; choose another store") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self._set_aside(path, error)
            return None
        return body

    def write(self, kind: str, key: str, body: dict[str, Any]) -> None:
        """Write the record of a finished cell.

        Raises:
            StoreError: the disk is full or read-only.
        """
        envelope = {"checksum": _checksum(_canonical(body)), "body": body}
        with self._atomic(self.record_path(kind, key)) as file:
            file.write(_canonical(envelope))

    def has(self, kind: str, key: str) -> bool:
        """Whether cell ``key`` has a valid record (a model's weights are verified when they are read)."""
        return self.read(kind, key) is not None and (kind != "models" or self.weights_path(key).exists())

    def save_model(self, key: str, state: dict[str, Tensor], body: dict[str, Any]) -> None:
        """Write a model's weights, then its record.

        Args:
            key: the spec's key.
            state: CPU tensors by name.
            body: what the record holds beside the checksum of the weights.

        Raises:
            StoreError: the disk is full or read-only.
        """
        from safetensors.torch import save

        data = save(state)
        with self._atomic(self.weights_path(key)) as file:
            file.write(data)
        self.write("models", key, {**body, "weights_sha256": _checksum(data), "weights_bytes": len(data)})

    def load_model(self, key: str) -> dict[str, Tensor] | None:
        """A finished model's weights, verified, or ``None``; damaged ones are set aside and said.

        Raises:
            StoreError: the store is unreadable.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        record = self.read("models", key)
        if record is None:
            return None
        path = self.weights_path(key)
        try:
            data = path.read_bytes()
            if _checksum(data) != record.get("weights_sha256"):
                raise ValueError(f"its checksum does not match ({len(data)} bytes)")
            return load(data)
        except FileNotFoundError:
            self._set_aside(self.record_path("models", key), ValueError("its weights are missing"))
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error}; choose another store") from error
        except (ValueError, SafetensorError) as error:
            self._set_aside(path, error)
            self._set_aside(self.record_path("models", key), error)
        return None

    def _set_aside(self, path: Path, why: Exception) -> None:
        target = self.root / "damaged" / path.name
        print(f"lmc: {path} is damaged ({why}); moved to {target.parent}, it will be made again", file=sys.stderr)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
        except FileNotFoundError:
            pass  # another process was faster
        except OSError as error:
            raise StoreError(f"cannot set {path} aside: {error}; make the store writable") from error

    @contextlib.contextmanager
    def _atomic(self, path: Path) -> Iterator[BinaryIO]:
        """A file that appears under ``path`` once it is whole and on disk."""
        partial: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o644)  # mkstemp's 0600 would hide a shared store from others
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
            partial = None
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; {_remedy(error)}") from error
        finally:
            if partial is not None:
                with contextlib.suppress(OSError):
                    os.unlink(partial)


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space or choose another store; everything finished is kept"
    return "choose a writable store (--lmc-store or LMC_STORE); everything finished is kept"


def _canonical(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
