"""The verdict table that closes a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmc.claims.verdicts import KNOWN_GAP, shown

_MARKS = {"holds": "✓", "fails": "✗", "inconclusive": "?", "invalid": "!", "not-run": "-"}


def verdict_table(document: Mapping[str, Any]) -> list[str]:
    """One line per claim and setting, in paper order, then the count of each verdict.

    Args:
        document: a results document.
    """
    rows = [
        (claim["id"] if index == 0 else "", setting["name"], _verdict(setting), setting["reason"])
        for claim in document["claims"]
        for index, setting in enumerate(claim["settings"])
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in rows
    ]
    counts: dict[str, int] = {}
    for claim in document["claims"]:
        for setting in claim["settings"]:
            verdict = shown(setting)
            counts[verdict] = counts.get(verdict, 0) + 1
    return [*lines, "", ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))]


def _verdict(setting: Mapping[str, Any]) -> str:
    verdict = setting["verdict"]
    return f"{_MARKS[verdict]} {verdict}{' (known gap)' if shown(setting) == KNOWN_GAP else ''}"
