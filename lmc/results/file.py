"""The results file: one document as JSON in one line, its rows as tables, see `lmc.results.tables`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any

import msgspec

from lmc.errors import StoreError
from lmc.results.document import SCHEMA, Document
from lmc.results.recorded import Evidence
from lmc.results.tables import compact, expanded
from lmc.results.wording import seeds_in_words

_SCHEMAS_BEFORE = ("lmc-results/2", "lmc-results/3", "lmc-results/4")


def write_results(document: Document, path: Path, *, option: str = "--lmc-results") -> None:
    """Write a results file; it appears under its name only once it is whole.

    Args:
        document: what to write.
        path: where; its folder is made where it is missing.
        option: that named the file.

    Raises:
        StoreError: the folder cannot be written, or the document holds what a reader would refuse, such as NaN.
    """
    try:
        msgspec.convert(msgspec.to_builtins(document), Document)  # JSON would turn NaN into nothing
    except ValueError as error:
        raise StoreError(f"{path} was not written: {error}; what measured that number must leave it out") from error
    data = msgspec.json.encode(compact(document)) + b"\n"
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise StoreError(f"cannot write {path}: {error.strerror}; choose another file with {option}") from error


def read_results(path: Path) -> Document:
    """Read a results file, of the three schemas before this one too.

    Raises:
        StoreError: it is unreadable, not JSON, holds NaN, is of another schema, or lacks a part or has a wrong one:
            a number beyond ±1e100, a path without points, a control character in a text.
    """
    found = _json_of(path)
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema not in (SCHEMA, *_SCHEMAS_BEFORE):
        read = f"{', '.join(map(repr, _SCHEMAS_BEFORE))} and {SCHEMA!r}"
        raise StoreError(f"{path} has schema {schema!r}, this version reads {read}; make it again with lmc run")
    try:
        document = msgspec.convert(expanded(found), Document) if schema == SCHEMA else _migrated(found)
    except ValueError as error:  # msgspec.ValidationError is one
        raise StoreError(f"{path} is incomplete or damaged: {error}; make it again with lmc run") from error
    if odd := _ragged(document.evidence):
        raise StoreError(f"{path} is damaged: {odd} has lists of different lengths; make it again with lmc run")
    return document


def _migrated(found: Mapping[str, Any]) -> Document:
    if found["schema"] == _SCHEMAS_BEFORE[2]:  # the same, but for its rows
        return msgspec.convert({**found, "schema": SCHEMA}, Document)
    if found["schema"] == _SCHEMAS_BEFORE[1]:
        from lmc.results.known_gaps import migrated  # here, as most files need none of it
    else:
        from lmc.results.migration import migrated
    return migrated(found)


def _json_of(path: Path) -> Any:
    if path.is_dir():
        raise StoreError(f"{path} is a folder; name a results file in it")
    if not path.exists():
        raise StoreError(f"there is no results file {path}; name another, or make one with lmc run --results {path}")
    try:
        data = path.read_bytes()
        return msgspec.json.decode(data)  # stricter than Python's: no NaN, no 1e999, no half characters
    except msgspec.DecodeError as error:
        why = next((f"it holds {odd}" for odd in ("NaN", "Infinity") if odd.encode() in data), error)
        raise StoreError(f"cannot read the results file {path}: {why}; make it again with lmc run") from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"cannot read the results file {path}: {error}; make it again with lmc run") from error


def _ragged(evidence: Evidence) -> str | None:
    """Which row has lists that should be equally long and are not."""
    for path in evidence.paths:
        if _differ(path.lams, path.accuracy, path.loss, path.beta, path.calibrated_loss):
            return f"the path of {seeds_in_words(path.seeds)} on {path.setting}"
    for outputs in evidence.outputs:
        if _differ(outputs.layers, outputs.norm_merged, outputs.norm_endpoints, outputs.endpoint_cosine):
            return f"the outputs of {seeds_in_words(outputs.seeds)} on {outputs.setting}"
    for step in evidence.random_steps:
        if _differ(step.alphas, step.accuracy, step.loss):
            return f"the random step of {seeds_in_words(step.seeds)} on {step.setting}"
    return None


def _differ(*rows: Sized) -> bool:
    return len({len(row) for row in rows}) > 1
