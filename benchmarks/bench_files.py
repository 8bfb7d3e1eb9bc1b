"""Files of pytest-benchmark: reading them, and making committed baselines out of them. Needs nothing installed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BASELINES = Path(__file__).resolve().parent / "baselines"

KEPT = ("cores", "threads", "amx", "device", "torch", "python_version", "cpu_capability", "omp_wait_policy")
"""What a trimmed file says of its machine: what the times depend on."""


class GateError(Exception):
    """The input cannot be compared; the message is one line."""


def read_document(path: Path) -> dict[str, Any]:
    """Read a file of pytest-benchmark.

    Raises:
        GateError: it is unreadable or of another kind.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise GateError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise GateError(f"{path} is no JSON: {error}") from None
    rows = document.get("benchmarks") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not isinstance(document.get("machine_info"), dict):
        raise GateError(f"{path} is no file of pytest-benchmark: it lacks machine_info or benchmarks")
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("extra_info"), dict) or not row.get("fullname"):
            raise GateError(f"{path} is no file of pytest-benchmark: a row lacks fullname or extra_info")
    names = [row["fullname"] for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GateError(f"{path} has {twice[0]} twice")
    return document


def machine_class(document: dict[str, Any]) -> str:
    """A short name for machines whose ratios compare: device, cores, and whether the processor has AMX."""
    info = document["machine_info"]
    cpu = info.get("cpu")
    cores = info.get("cores") or (cpu.get("count") if isinstance(cpu, dict) else None) or "any"
    device = re.sub(r"[^a-z0-9]+", "-", str(info.get("device") or "cpu").lower()).strip("-")
    return f"{device}-{cores}core{'-amx' if info.get('amx') else ''}"


def merged(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several files as one; a row that is in more than one counts as in the last.

    Raises:
        GateError: they are not all of one commit, as far as they tell, or of one class of machines.
    """
    commits = [document.get("commit_info") or {} for document in documents]
    known = sorted({_commit(each) for each in commits if each.get("id")})
    if len(known) > 1:
        raise GateError(f"the files are of several commits, {' and '.join(known)}; a baseline is of one")
    classes = sorted({machine_class(document) for document in documents})
    if len(classes) > 1:
        raise GateError(f"the files are of several classes of machines, {' and '.join(classes)}; a baseline is of one")
    rows = {row["fullname"]: row for document in documents for row in document["benchmarks"]}
    return {**documents[-1], "commit_info": max(commits, key=len), "benchmarks": list(rows.values())}


def _commit(info: dict[str, Any]) -> str:
    return f"{str(info['id'])[:10]}{' with changes' if info.get('dirty') else ''}"


def trimmed(document: dict[str, Any]) -> dict[str, Any]:
    """What the gate and the tables need of a file, which says nothing of times but medians."""
    info, commit = document["machine_info"], document.get("commit_info") or {}
    return {
        "machine_class": machine_class(document),
        "machine_info": {name: info[name] for name in KEPT if name in info},
        "commit_info": {name: commit[name] for name in ("id", "dirty") if name in commit},
        "datetime": document.get("datetime"),
        "benchmarks": [
            {"fullname": row["fullname"], "extra_info": _rounded(row["extra_info"])}
            for row in sorted(document["benchmarks"], key=lambda row: row["fullname"])
        ],
    }


def _rounded(value: Any) -> Any:
    """Numbers to six digits, so that a baseline can be read and its changes be reviewed."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def write_baseline(document: dict[str, Any], path: Path | None) -> Path:
    """Write the trimmed form of ``document``, by default as the baseline of its machine class.

    Raises:
        GateError: it cannot be written.
    """
    path = path or BASELINES / f"bench-{machine_class(document)}.json"
    text = json.dumps(trimmed(document), indent=1, ensure_ascii=False, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", "utf-8")
    except OSError as error:
        raise GateError(f"cannot write {path}: {error.strerror}") from None
    return path
