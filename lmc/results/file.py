"""The results file: every number a verdict, figure or table rests on, as one JSON document."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc.errors import StoreError
from lmc.results.document import Document, ragged

if TYPE_CHECKING:
    from lmc.claims.cases import CaseResult

SCHEMA = "lmc-results/2"


def results_document(
    results: Sequence[CaseResult],
    *,
    tier: str,
    machine: Mapping[str, Any],
    versions: Mapping[str, str],
    commit: str,
    started: str,
    seconds: float,
    made: Mapping[str, int],
    evidence: Mapping[str, Any],
    selection: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything about one run, JSON-ready.

    Args:
        results: verdicts, cases of one claim next to each other.
        tier: the tier's name.
        machine: see `lmc.commands.machine.machine_facts`.
        versions: package versions.
        commit: of the code.
        started: ISO 8601 time in UTC.
        seconds: duration of the run, training and measuring included.
        made: how many ``models`` the run trained and how many ``measurements`` it made; none where all was stored.
        evidence: see `lmc.results.evidence.evidence`.
        selection: what was asked to be judged, see `lmc.results.selection.selection_of`.
    """
    return {
        "schema": SCHEMA,
        "tier": tier,
        "started": started,
        "seconds": round(seconds, 1),
        "commit": commit,
        "machine": dict(machine),
        "versions": dict(versions),
        "made": dict(made),
        "selection": dict(selection),
        "claims": [_claim(list(group)) for _, group in groupby(results, key=lambda each: each.case.claim.id)],
        "evidence": dict(evidence),
    }


def _claim(results: list[CaseResult]) -> dict[str, Any]:
    from lmc.claims.cases import claim_verdict  # here, so that reading a file loads no scipy

    claim = results[0].case.claim
    verdict = claim_verdict(results)
    deciding = next((each for each in results if each.judgement.verdict == verdict), results[0])
    return {
        "id": claim.id,
        "ref": claim.ref,
        "statement": claim.statement,
        "verdict": verdict,
        "reason": deciding.judgement.reason,
        "unit": claim.unit,
        "why": claim.why,
        "settings": [_setting(each) for each in results],
    }


def _setting(result: CaseResult) -> dict[str, Any]:
    found = result.judgement
    return {
        "name": result.case.name,
        "verdict": found.verdict,
        "reason": found.reason,
        "known_gap": result.known_gap,
        "effect": _finite(found.effect),
        "interval": None if found.interval is None else [_finite(bound) for bound in found.interval],
        "p_value": _finite(found.p_value),
        "threshold": found.threshold,
        "values": [
            {
                "width": each.width,
                "pair": each.pair,
                "value": _finite(each.value),
                "part": each.part,
                "group": each.group,
                "independent": each.independent,
            }
            for each in result.observations
        ],
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def write_results(document: Mapping[str, Any], path: Path) -> None:
    """Write a results file; it appears under its name only once it is whole.

    Raises:
        StoreError: the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(
            json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=False) + "\n", "utf-8"
        )
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise StoreError(f"cannot write {path}: {error.strerror}; choose another file with --lmc-results") from error


def read_results(path: Path) -> dict[str, Any]:
    """Read a results file.

    Raises:
        StoreError: it is unreadable, not JSON, holds NaN, is of another schema, or lacks a part or has a wrong one:
            a number beyond ±1e100, a path without points, a control character in a text.
    """
    import msgspec

    if path.is_dir():
        raise StoreError(f"{path} is a folder; name a results file in it")
    if not path.exists():
        raise StoreError(f"there is no results file {path}; name another, or make one with lmc run --results {path}")
    try:
        data = path.read_bytes()
        found = msgspec.json.decode(data)  # stricter than Python's: no NaN, no 1e999, no half characters
        schema = found.get("schema") if isinstance(found, dict) else None
    except msgspec.DecodeError as error:
        why = next((f"it holds {odd}" for odd in ("NaN", "Infinity") if odd.encode() in data), error)
        raise StoreError(f"cannot read the results file {path}: {why}; make it again with lmc run") from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"cannot read the results file {path}: {error}; make it again with lmc run") from error
    if schema != SCHEMA:
        raise StoreError(f"{path} has schema {schema!r}, this version reads {SCHEMA!r}; make it again")
    try:
        checked = msgspec.convert(found, Document)
    except msgspec.ValidationError as error:
        raise StoreError(f"{path} is incomplete or damaged: {error}; make it again with lmc run") from error
    if odd := ragged(checked["evidence"]):
        raise StoreError(f"{path} is damaged: {odd} has lists of different lengths; make it again with lmc run")
    return dict(found)
