"""Fail where a benchmark got slower against its peer: ``python benchmarks/gate.py BASELINE.json NEW.json``.

Both are files of pytest-benchmark, whole or trimmed. What is compared is ``extra_info["ratio"]``, the peer's
seconds over ours in the same run, so a slower machine is no regression. A row has regressed where its median
ratio fell by more than a quarter and the spreads do not overlap: one of the two alone is what a busy machine does.

``BASELINE`` may be a folder: then it is ``bench-CLASS.json`` in it, after the class of the machine in ``NEW``.
``--trim RAW.json [OUT.json]`` makes a baseline: no raw times, nothing that identifies a machine beyond its class.

Exits with 1 on a regression, and with 2 and one line on input that cannot be compared. Needs nothing installed.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BASELINES = Path(__file__).resolve().parent / "baselines"
FALL = 0.25
"""Share of its ratio that a row may lose."""

KEPT = ("cores", "threads", "amx", "device", "torch", "python_version", "cpu_capability", "omp_wait_policy")
"""What a trimmed file says of its machine: what the times depend on."""


class GateError(Exception):
    """The input cannot be compared; the message is one line."""


@dataclass(frozen=True)
class Row:
    """One benchmark that was timed against a peer.

    Args:
        name: pytest's id of it.
        work: what was timed.
        ratio: median of the peer's seconds over ours.
        least: the smallest ratio of a round.
        largest: the largest.
    """

    name: str
    work: str
    ratio: float
    least: float
    largest: float

    @property
    def shown(self) -> str:
        """The ratio with its spread."""
        return f"{self.ratio:.2f} ({self.least:.2f}–{self.largest:.2f})"


@dataclass(frozen=True)
class Compared:
    """What became of one row; ``old`` or ``new`` is ``None`` where a file lacks it."""

    old: Row | None
    new: Row | None
    verdict: str


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


def timed_rows(document: dict[str, Any], path: Path) -> dict[str, Row]:
    """The rows with a ratio, by name; growths and whole runs have none.

    Raises:
        GateError: a ratio or its spread is no positive finite number, or they are out of order.
    """
    found = {}
    for row in document["benchmarks"]:
        name, facts = row["fullname"], row["extra_info"]
        if "ratio" not in facts:
            continue
        numbers = [facts.get(each) for each in ("ratio_least", "ratio", "ratio_largest")]
        if not all(isinstance(each, (int, float)) and math.isfinite(each) and each > 0 for each in numbers):
            raise GateError(f"{path}: ratio, ratio_least and ratio_largest of {name} must be positive, not {numbers}")
        least, ratio, largest = numbers
        if not least <= ratio <= largest:
            raise GateError(f"{path}: the ratio {ratio} of {name} lies outside its spread, {least} to {largest}")
        found[name] = Row(name, str(facts.get("work") or name), ratio, least, largest)
    return found


def machine_class(document: dict[str, Any]) -> str:
    """A short name for machines whose ratios compare: device, cores, and whether the processor has AMX."""
    info = document["machine_info"]
    cpu = info.get("cpu")
    cores = info.get("cores") or (cpu.get("count") if isinstance(cpu, dict) else None) or "any"
    device = re.sub(r"[^a-z0-9]+", "-", str(info.get("device") or "cpu").lower()).strip("-")
    return f"{device}-{cores}core{'-amx' if info.get('amx') else ''}"


def compare(old: dict[str, Row], new: dict[str, Row], *, fall: float = FALL) -> list[Compared]:
    """Every row of either, regressions first, then in the order of ``old``."""
    rows = [Compared(old.get(name), new.get(name), "") for name in [*old, *(name for name in new if name not in old)]]
    judged = [Compared(row.old, row.new, _verdict(row.old, row.new, fall)) for row in rows]
    return sorted(judged, key=lambda row: row.verdict != "REGRESSED")


def _verdict(old: Row | None, new: Row | None, fall: float) -> str:
    if old is None:
        return "new"
    if new is None:
        return "missing"
    if new.ratio < old.ratio * (1 - fall):
        return "REGRESSED" if new.largest < old.least else "slower, spreads overlap"
    if old.ratio < new.ratio * (1 - fall) and old.largest < new.least:
        return "faster"
    return "as before"


def table(compared: Iterable[Compared]) -> list[str]:
    """Lines for a terminal: what happened, both ratios with their spreads, and the work."""
    cells = [("", "baseline", "now", "change", "work")]
    for row in compared:
        shown = [each.shown if each else "-" for each in (row.old, row.new)]
        change = f"{row.new.ratio / row.old.ratio - 1:+.0%}" if row.old and row.new else "-"
        at_hand = row.new or row.old
        assert at_hand is not None
        cells.append((row.verdict, *shown, change, f"{at_hand.work} [{at_hand.name.rpartition('/')[2]}]"))
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in cells
    ]


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


def trim(raw: Path, out: Path | None) -> Path:
    """Write the trimmed form of ``raw``, by default as the baseline of its machine class.

    Raises:
        GateError: it is unreadable, would hold nothing, or cannot be written.
    """
    document = read_document(raw)
    if not timed_rows(document, raw):
        raise GateError(f"{raw} has no row with a ratio; is it from pytest benchmarks?")
    path = out or BASELINES / f"bench-{machine_class(document)}.json"
    text = json.dumps(trimmed(document), indent=1, ensure_ascii=False, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", "utf-8")
    except OSError as error:
        raise GateError(f"cannot write {path}: {error.strerror}") from None
    return path


def gate(baseline: Path, new: Path, *, fall: float = FALL, any_machine: bool = False) -> list[Compared]:
    """Compare two files.

    Args:
        baseline: a file, or the folder of the baselines.
        new: the file in question.
        fall: see `FALL`.
        any_machine: compare also across classes of machines.

    Raises:
        GateError: a file is unreadable, they have nothing in common, or their machines are of different classes.
    """
    document = read_document(new)
    if baseline.is_dir():
        baseline = baseline / f"bench-{machine_class(document)}.json"
        if not baseline.exists():
            raise GateError(f"no {baseline} yet; make it with: python benchmarks/gate.py --trim {new}")
    before = read_document(baseline)
    classes = machine_class(before), machine_class(document)
    if classes[0] != classes[1] and not any_machine:
        raise GateError(f"{baseline} is of a {classes[0]}, {new} of a {classes[1]}; --any-machine compares them still")
    rows = timed_rows(before, baseline), timed_rows(document, new)
    if not rows[0].keys() & rows[1].keys():
        raise GateError(f"{baseline} and {new} have no row with a ratio in common")
    return compare(*rows, fall=fall)


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(prog="gate.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("first", type=Path, metavar="BASELINE", help="file or folder of baselines; with --trim, RAW")
    parser.add_argument("second", type=Path, nargs="?", metavar="NEW", help="file in question; with --trim, OUT")
    parser.add_argument("--trim", action="store_true", help="make a baseline out of a raw file")
    parser.add_argument("--fall", type=float, default=FALL, help=f"share a ratio may lose, {FALL:g} by default")
    parser.add_argument("--any-machine", action="store_true", help="compare across classes of machines")
    asked = parser.parse_args(arguments)
    try:
        if asked.trim:
            print(f"wrote {trim(asked.first, asked.second)}")
            return 0
        if asked.second is None:
            raise GateError("give two files: BASELINE.json NEW.json")
        if not 0 <= asked.fall < 1:
            raise GateError(f"--fall is {asked.fall:g}; it must be at least 0 and below 1")
        compared = gate(asked.first, asked.second, fall=asked.fall, any_machine=asked.any_machine)
    except GateError as error:
        print(f"gate: {error}", file=sys.stderr)
        return 2
    for line in table(compared):
        print(line)
    regressed, found = sum(row.verdict == "REGRESSED" for row in compared), [row.verdict for row in compared]
    print(
        f"\n{regressed} regressed of {len(found) - found.count('new') - found.count('missing')} compared, "
        f"{found.count('new')} new, {found.count('missing')} missing"
    )
    return int(regressed > 0)


if __name__ == "__main__":
    sys.exit(main())
