"""Fail where a benchmark got worse: ``python benchmarks/gate.py BASELINE.json NEW.json``.

Both are files of pytest-benchmark, whole or trimmed. What is compared first is ``extra_info["ratio"]``, the peer's
seconds over ours in the same run, so a slower machine is no regression. A row has regressed where its median
ratio fell by more than a quarter and the spreads do not overlap: one of the two alone is what a busy machine does.
What is held to a limit instead (``measures``, the seconds of a whole command and its memory) has regressed where it
is above its limit and was within it, or has risen by more than a quarter; below the limit it may rise as it will.

``BASELINE`` may be a folder: then it is ``bench-CLASS.json`` in it, after the class of the machine in ``NEW``.
``--trim RAW.json... [--out OUT.json]`` makes a baseline: no raw times, nothing that identifies a machine beyond its
class. Of several files that share a row the last one's counts; they must be of one commit.

Exits with 1 on a regression, and with 2 and one line on input that cannot be compared. Needs nothing installed.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_files import GateError, machine_class, merged, read_document, write_baseline

FALL = 0.25
"""Share of its ratio that a row may lose."""
RISE = 0.25
"""Share by which a value beyond its limit may rise."""


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
    def figure(self) -> float:
        """What a change is told of."""
        return self.ratio

    @property
    def shown(self) -> str:
        """The ratio with its spread."""
        return f"{self.ratio:.2f} ({self.least:.2f}–{self.largest:.2f})"


@dataclass(frozen=True)
class Limited:
    """What is held to a limit.

    Args:
        name: pytest's id of the benchmark, and what of it was measured.
        work: what was measured.
        value: the less the better.
        limit: the most that is wanted.
    """

    name: str
    work: str
    value: float
    limit: float

    @property
    def figure(self) -> float:
        """What a change is told of."""
        return self.value

    @property
    def shown(self) -> str:
        """The value with its limit."""
        return f"{self.value:.4g} (at most {self.limit:.4g})"


@dataclass(frozen=True)
class Compared:
    """What became of one row; ``old`` or ``new`` is ``None`` where a file lacks it."""

    old: Row | Limited | None
    new: Row | Limited | None
    verdict: str


def timed_rows(document: dict[str, Any], path: Path) -> dict[str, Row]:
    """The rows with a ratio, by name.

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


def limited_rows(document: dict[str, Any], path: Path) -> dict[str, Limited]:
    """What is held to a limit, by name: every measure, and the seconds and the memory of whole commands.

    Raises:
        GateError: a value or its limit is no finite number, or below 0.
    """
    found = {}
    for row in document["benchmarks"]:
        facts, work = row["extra_info"], str(row["extra_info"].get("work") or row["fullname"])
        measures = facts.get("measures") or []
        if not all(isinstance(each, dict) and {"measure", "value", "limit"} <= each.keys() for each in measures):
            raise GateError(f"{path}: a measure of {row['fullname']} lacks measure, value or limit")
        numbers = [(str(each["measure"]), each["value"], each["limit"]) for each in measures]
        for value, limit, unit in (("run_seconds", "target_seconds", "seconds"), ("peak_pss_mib", "target_mib", "MiB")):
            if limit in facts:
                numbers.append((f"{work}, {unit}", facts.get(value), facts[limit]))
        for what, *pair in numbers:
            if not all(isinstance(each, (int, float)) and math.isfinite(each) and each >= 0 for each in pair):
                raise GateError(f"{path}: the value and the limit of {what!r} must be at least 0, not {pair}")
            name = f"{row['fullname']}, {what}"
            found[name] = Limited(name, what, *pair)
    return found


def compare(
    old: Mapping[str, Row | Limited], new: Mapping[str, Row | Limited], *, fall: float = FALL
) -> list[Compared]:
    """Every row of either, regressions first, then in the order of ``old``."""
    rows = [Compared(old.get(name), new.get(name), "") for name in [*old, *(name for name in new if name not in old)]]
    judged = [Compared(row.old, row.new, _verdict(row.old, row.new, fall)) for row in rows]
    return sorted(judged, key=lambda row: row.verdict != "REGRESSED")


def _verdict(old: Row | Limited | None, new: Row | Limited | None, fall: float) -> str:
    if old is None:
        return "new"
    if new is None:
        return "missing"
    if isinstance(old, Row) and isinstance(new, Row):
        return _verdict_on_ratio(old, new, fall)
    assert isinstance(old, Limited)
    assert isinstance(new, Limited)
    return _verdict_on_limit(old, new)


def _verdict_on_ratio(old: Row, new: Row, fall: float) -> str:
    if new.ratio < old.ratio * (1 - fall):
        return "REGRESSED" if new.largest < old.least else "slower, spreads overlap"
    if old.ratio < new.ratio * (1 - fall) and old.largest < new.least:
        return "faster"
    return "as before"


def _verdict_on_limit(old: Limited, new: Limited) -> str:
    """By the limit of ``new``: a limit that is changed judges both."""
    if new.value <= new.limit:
        return "within its limit now" if old.value > new.limit else "as before"
    return "REGRESSED" if old.value <= new.limit or new.value > old.value * (1 + RISE) else "as before"


def table(compared: Iterable[Compared]) -> list[str]:
    """Lines for a terminal: what happened, both figures with their spreads or limits, and the work."""
    cells: list[tuple[str, ...]] = [("", "baseline", "now", "change", "work")]
    for row in compared:
        shown = [each.shown if each else "-" for each in (row.old, row.new)]
        change = f"{row.new.figure / row.old.figure - 1:+.0%}" if row.old and row.new and row.old.figure else "-"
        at_hand = row.new or row.old
        assert at_hand is not None
        place = at_hand.name.partition(", ")[0].rpartition("/")[2]
        cells.append((row.verdict, *shown, change, f"{at_hand.work} [{place}]"))
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in cells
    ]


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
    rows = comparable_rows(before, baseline), comparable_rows(document, new)
    if not rows[0].keys() & rows[1].keys():
        raise GateError(f"{baseline} and {new} have no row with a ratio or a limit in common")
    return compare(*rows, fall=fall)


def comparable_rows(document: dict[str, Any], path: Path) -> dict[str, Row | Limited]:
    """All that can be compared of a file; growths cannot."""
    return {**timed_rows(document, path), **limited_rows(document, path)}


def trim(raw: Sequence[Path], out: Path | None) -> Path:
    """Write the trimmed form of ``raw`` in one, by default as the baseline of its machine class.

    Raises:
        GateError: a file is unreadable, they are of several commits or machines, or the outcome would hold nothing
            or cannot be written.
    """
    documents = [read_document(path) for path in raw]
    rows = [comparable_rows(document, path) for document, path in zip(documents, raw, strict=True)]  # checks every one
    if not any(rows):
        raise GateError(f"{raw[0]} has no row with a ratio or a limit; is it from pytest benchmarks?")
    return write_baseline(merged(documents), out)


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(prog="gate.py", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="BASELINE (or its folder) and NEW; with --trim, RAW ..."
    )
    parser.add_argument("--trim", action="store_true", help="make a baseline out of raw files")
    parser.add_argument("--out", type=Path, help="with --trim: the baseline; after the class of the machine by default")
    parser.add_argument("--fall", type=float, default=FALL, help=f"share a ratio may lose, {FALL:g} by default")
    parser.add_argument("--any-machine", action="store_true", help="compare across classes of machines")
    asked = parser.parse_args(arguments)
    try:
        if asked.trim:
            print(f"wrote {trim(asked.files, asked.out)}")
            return 0
        if len(asked.files) != 2:
            raise GateError("give two files: BASELINE.json NEW.json")
        if not 0 <= asked.fall < 1:
            raise GateError(f"--fall is {asked.fall:g}; it must be at least 0 and below 1")
        compared = gate(*asked.files, fall=asked.fall, any_machine=asked.any_machine)
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
