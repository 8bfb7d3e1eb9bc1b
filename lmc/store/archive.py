"""Cells of a store as one file: to bring a run home from a machine that is given back, or to resume it elsewhere.

The file is a plain tar of what the store itself would write, each record before its weights; the same cells
give the same bytes. What is read back is believed in nothing but its checksums: a name, a kind of file or a
size that the store would not have written ends the import, and what the store has already is never replaced.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from lmc.errors import StoreError
from lmc.store.leases import Leases
from lmc.store.store import KINDS, MAX_RECORD, Store, cell_of, parse_record, record_bytes, writing

_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 20


@dataclass
class Imported:
    """What an import did.

    Args:
        new: how many cells it brought, by kind.
        same: how many were there already.
        differing: records that are there with other numbers, which stay.
    """

    new: Counter[str] = field(default_factory=Counter)
    same: int = 0
    differing: list[Path] = field(default_factory=list)


def export_cells(store: Store, path: Path, only: frozenset[str] | None = None, *, weights: bool = True) -> Counter[str]:
    """Write cells of a store into one file; a damaged one is set aside, said and left out.

    Args:
        store: to read.
        path: of the file, which appears once it is whole.
        only: keys of the models and measurements to write; ``None`` for all.
        weights: whether with the models' weights, and the checkpoints of unfinished ones.

    Returns:
        How many cells were written, by kind.

    Raises:
        StoreError: the store is unreadable, or the file cannot be written.
    """
    written: Counter[str] = Counter()
    with writing(path) as archive:
        for kind in KINDS if weights else KINDS[:2]:
            for key in store.keys(kind):
                record, start = store.read(kind, key), archive.tell()
                if record is None or (only is not None and only.isdisjoint({key, *record.get("specs", ())})):
                    continue
                data = record_bytes(record)
                _add(archive, f"{kind}/{key[:2]}/{key}.json", io.BytesIO(data), len(data))
                if weights and not _add_weights(archive, store, kind, key, record):
                    store.check_weights(kind, key, record)
                    archive.seek(start)
                    archive.truncate()
                    continue
                written[kind] += 1
        archive.write(bytes(2 * _BLOCK))
    return written


def _add_weights(archive: BinaryIO, store: Store, kind: str, key: str, record: dict[str, Any]) -> bool:
    """Whether they are sound, or there are none."""
    try:
        source = store.weights_path(key, kind).open("rb")
    except FileNotFoundError:
        return True
    with source:
        size = os.fstat(source.fileno()).st_size
        digest = _add(archive, f"{kind}/{key[:2]}/{key}.safetensors", source, size)
    return digest == record.get("weights_sha256")


def _add(archive: BinaryIO, name: str, source: BinaryIO, size: int) -> str:
    header = tarfile.TarInfo(name)
    header.size = size
    archive.write(header.tobuf(tarfile.GNU_FORMAT, "ascii", "strict"))
    digest = _copy(source, archive, size)
    archive.write(bytes(-size % _BLOCK))
    return digest


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> str:
    """Copy ``size`` bytes; their SHA-256."""
    digest = hashlib.sha256()
    while size and (chunk := source.read(min(size, _CHUNK))):
        digest.update(chunk)
        target.write(chunk)
        size -= len(chunk)
    return digest.hexdigest()


def import_cells(store: Store, path: Path) -> Imported:
    """Put the cells of an exported file into a store, one by one, each whole or not at all.

    Args:
        store: to write; a record it has is kept, also where the file's differs.
        path: of the file.

    Raises:
        StoreError: the file is cut off, damaged or not an export (the cells before that place are in the
            store), or the store cannot be written.
    """
    done = Imported()
    try:
        with path.open("rb") as archive, Leases(store.root).claim([uuid.uuid4().hex[:20]]):
            for kind, key, record, size in _cells(archive):
                ours, place = store.read(kind, key), store.record_path(kind, key)
                if ours is not None and _lasting(ours) != _lasting(record):
                    done.differing.append(place)
                elif ours is not None and (size is None or store.weights_path(key, kind).exists()):
                    done.same += 1
                elif size is None:
                    store.write(kind, key, record)
                    done.new[kind] += 1
                else:
                    with store.new_weights(key, record, kind) as file:
                        if _copy(archive, file, size) != record["weights_sha256"]:
                            raise ValueError(f"the weights of {kind} {key} do not match their checksum")
                    done.new[kind] += 1
    except (OSError, ValueError, OverflowError, tarfile.TarError) as error:
        raise StoreError(
            f"cannot import {path}: {error}; export it again. "
            f"What came before is sound: {sum(done.new.values())} new cells are in the store"
        ) from error
    return done


def _lasting(record: dict[str, Any]) -> dict[str, Any]:
    """What of a record depends neither on how long it took nor on whether it was written with two checksums."""
    return {name: value for name, value in record.items() if name not in ("seconds", "resumed", "weights_xxh3")}


def _cells(archive: BinaryIO) -> Iterator[tuple[str, str, dict[str, Any], int | None]]:
    """Kind, key, record and, where the file then stands at the cell's weights, their size."""
    members = _members(archive)
    member = next(members, None)
    while member is not None:
        kind, key, suffix, size = member
        if suffix != "json" or size > MAX_RECORD:
            raise ValueError(f"{kind} {key} stands there without a record, or with an enormous one")
        record = parse_record(archive.read(size))
        if not _plausible(kind, record):
            raise ValueError(f"the record of {kind} {key} lacks what it must hold")
        if kind == "measurements":
            yield kind, key, record, None
            member = next(members, None)
            continue
        member = next(members, None)
        if member is None or member[:3] != (kind, key, "safetensors"):
            yield kind, key, record, None
        elif member[3] != record.get("weights_bytes") or not isinstance(record.get("weights_sha256"), str):
            raise ValueError(f"the weights of {kind} {key} are not those of its record")
        else:
            yield kind, key, record, member[3]
            member = next(members, None)


def _members(archive: BinaryIO) -> Iterator[tuple[str, str, str, int]]:
    """Kind, key, suffix and size of every file; the archive then stands at its content."""
    length = os.fstat(archive.fileno()).st_size
    while (block := archive.read(_BLOCK)) != bytes(_BLOCK):
        if len(block) < _BLOCK:
            raise ValueError("it ends early")
        header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        cell = cell_of(header.name)
        if cell is None or header.type != tarfile.REGTYPE:
            raise ValueError(f"it holds {header.name!r}, which no store writes")
        start = archive.tell()
        if not 0 <= header.size <= length - start:
            raise ValueError("it ends early")
        yield *cell, header.size
        archive.seek(start + header.size + -header.size % _BLOCK)


def _plausible(kind: str, record: dict[str, Any]) -> bool:
    if kind == "checkpoints":
        specs, step = record.get("specs"), record.get("step")
        return isinstance(step, int) and isinstance(specs, list) and all(isinstance(each, str) for each in specs)
    return isinstance(record.get("status"), str)
