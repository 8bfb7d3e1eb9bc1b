"""The content-addressed store of trained models and measurements.

A cell is named by the content key of everything that determines it. Its JSON record appears last, by an
atomic rename, and carries a checksum of itself and of its weights file: a cell with a valid record is
finished, anything else never happened. A cell that fails its checksum is moved to ``damaged/`` and made
again. A model's record may outlive its weights (they are large): then it says how the model was trained,
and the model is trained again once its weights are needed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lmc.errors import StoreError
from lmc.store.weights import checksums, read_weights

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("measurements", "models", "checkpoints")
"""Kinds of cells; all but measurements have weights beside their record."""
MAX_RECORD = 64 << 20
_NAME = re.compile(rf"({'|'.join(KINDS)})/([0-9a-f]{{2}})/(\2[0-9a-f]{{18}})\.(json|safetensors)")


class Store:
    """Records and weights in one folder, safe for several processes and hosts at once.

    Args:
        root: the folder; created when something is first written.

    Attributes:
        set_aside: the files this object found damaged, where they stood.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.set_aside: list[Path] = []

    def record_path(self, kind: str, key: str) -> Path:
        """Where the record of cell ``key`` of a kind (see `KINDS`) stands."""
        return self.root / kind / key[:2] / f"{key}.json"

    def weights_path(self, key: str, kind: str = "models") -> Path:
        """Where the weights of model ``key`` stand, or the tensors of a checkpoint."""
        return self.root / kind / key[:2] / f"{key}.safetensors"

    def read(self, kind: str, key: str) -> dict[str, Any] | None:
        """The record of a finished cell, or ``None``; a damaged one is set aside and said.

        Raises:
            StoreError: the store is unreadable.
        """
        path = self.record_path(kind, key)
        try:
            if path.stat().st_size > MAX_RECORD:
                raise ValueError("it is far too large")
            return parse_record(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unread(path, error) from error
        except ValueError as error:
            self._set_aside(path, error)
            return None

    def write(self, kind: str, key: str, body: dict[str, Any]) -> None:
        """Write the record of a finished cell.

        Raises:
            StoreError: the disk is full or read-only.
        """
        data = record_bytes(body)
        with writing(self.record_path(kind, key)) as file:
            file.write(data)

    def has(self, kind: str, key: str) -> bool:
        """Whether cell ``key`` has a valid record and its weights (they are verified when they are read)."""
        return self.read(kind, key) is not None and (kind == "measurements" or self.weights_path(key, kind).exists())

    def save_model(self, key: str, state: dict[str, Tensor], body: dict[str, Any], kind: str = "models") -> None:
        """Write a model's weights, then its record.

        Args:
            key: the spec's key.
            state: CPU tensors by name.
            body: what the record holds beside the checksums of the weights.
            kind: ``"checkpoints"`` for the state of an unfinished training.

        Raises:
            StoreError: the disk is full or read-only.
        """
        from safetensors.torch import save

        data = save(state)
        with self.new_weights(key, {**body, **checksums(data)}, kind) as file:
            file.write(data)

    @contextlib.contextmanager
    def new_weights(self, key: str, body: dict[str, Any], kind: str = "models") -> Iterator[BinaryIO]:
        """A file to write the weights to that ``body`` has the checksum of; both appear once it is whole.

        Raises:
            StoreError: the disk is full or read-only.
        """
        with writing(self.weights_path(key, kind)) as file:
            yield file
            earlier = self.read(kind, key)
            if earlier is not None and earlier.get("weights_sha256") != body["weights_sha256"]:
                self.record_path(kind, key).unlink(missing_ok=True)  # it must not vouch for these
        self.write(kind, key, body)

    def load_model(self, key: str, kind: str = "models") -> dict[str, Tensor] | None:
        """A finished model's weights, verified, or ``None``; damaged ones are set aside and said.

        They are mapped from their file, see `lmc.store.weights.read_weights`.

        Raises:
            StoreError: the store is unreadable.
        """
        record = self.read(kind, key)
        if record is None:
            return None
        path = self.weights_path(key, kind)
        try:
            return read_weights(path, record)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unread(path, error) from error
        except ValueError as error:
            self.distrust(kind, key, record, error)
        return None

    def check_weights(self, kind: str, key: str, record: dict[str, Any]) -> int:
        """Bytes of a cell's weights, 0 where there are none; damaged ones, by their SHA-256, are set aside and said.

        Raises:
            StoreError: the store is unreadable.
        """
        path = self.weights_path(key, kind)
        try:
            with path.open("rb") as file:
                found, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise _unread(path, error) from error
        if found != record.get("weights_sha256"):
            self.distrust(kind, key, record, ValueError(f"its checksum does not match ({size} bytes)"))
        return size

    def keys(self, kind: str) -> list[str]:
        """Keys of every record of a kind, sorted."""
        paths = (self.root / kind).glob("??/*.json")
        return sorted(path.stem for path in paths if cell_of(path.relative_to(self.root).as_posix()))

    def remove(self, kind: str, key: str) -> None:
        """Remove a cell; nothing happens where there is none.

        Raises:
            StoreError: the store is read-only.
        """
        remove([self.record_path(kind, key), self.weights_path(key, kind)])

    def distrust(self, kind: str, key: str, record: dict[str, Any], why: Exception) -> None:
        """Set weights and record aside, unless another process has replaced ``record`` since."""
        if self.read(kind, key) == record:
            self._set_aside(self.weights_path(key, kind), why)
            self._set_aside(self.record_path(kind, key), why)

    def _set_aside(self, path: Path, why: Exception) -> None:
        target = self.root / "damaged" / path.name
        print(f"lmc: {path} is damaged ({why}); moved to {target.parent}, it will be made again", file=sys.stderr)
        self.set_aside.append(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
        except FileNotFoundError:
            pass  # another process was faster
        except OSError as error:
            raise StoreError(f"cannot set {path} aside: {error}; make the store writable") from error


def cell_of(name: str) -> tuple[str, str, str] | None:
    """Kind, key and ``"json"`` or ``"safetensors"`` of a file's name below the root, if the store writes such."""
    found = _NAME.fullmatch(name)
    if found is None or (found[1], found[4]) == ("measurements", "safetensors"):
        return None
    return found[1], found[3], found[4]


def is_key(text: str) -> bool:
    """Whether a cell can have this key; any other text might lead out of the store."""
    return cell_of(f"models/{text[:2]}/{text}.json") is not None


def remove(paths: Iterable[Path]) -> None:
    """Remove files, in their order; nothing happens where there is none.

    Raises:
        StoreError: the store is read-only.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot remove {path}: {error.strerror}; make the store writable") from error


def record_bytes(body: dict[str, Any]) -> bytes:
    """A record as it stands on disk, with its checksum."""
    return _canonical({"checksum": _checksum(_canonical(body)), "body": body})


def parse_record(data: bytes) -> dict[str, Any]:
    """The body of a record as it stands on disk.

    Raises:
        ValueError: it is damaged.
    """
    if len(data) > MAX_RECORD:
        raise ValueError("it is far too large")
    try:
        envelope = json.loads(data)
        body, checksum = envelope["body"], envelope["checksum"]
        intact = isinstance(body, dict) and checksum == _checksum(_canonical(body))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no record: {error!r}"[:200]) from None
    if not intact:
        raise ValueError("its checksum does not match")
    return dict(body)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under ``path`` once it is whole and on disk.

    Raises:
        StoreError: the disk is full or read-only.
    """
    partial: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            os.chmod(partial, 0o644)  # mkstemp's 0600 would hide a shared store from others
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


def _unread(path: Path, error: OSError) -> Exception:
    """What to raise of a file that cannot be read: want of memory is no fault of the store."""
    if error.errno == errno.ENOMEM:
        return MemoryError(f"cannot read {path}: {error.strerror}")
    return StoreError(f"cannot read {path}: {error.strerror}; choose another store")


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space or choose another store; everything finished is kept"
    return "choose a writable store (--lmc-store or LMC_STORE); everything finished is kept"


def _canonical(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
