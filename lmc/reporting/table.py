"""The verdict table that closes a run."""

from __future__ import annotations

from collections import Counter

from lmc.claims.verdicts import KNOWN_GAP
from lmc.results.document import Document, Judged
from lmc.results.wording import measured_in_words

_MARKS = {"holds": "✓", "fails": "✗", "inconclusive": "?", "invalid": "!", "not-run": "-"}


def verdict_table(document: Document) -> list[str]:
    """One line per claim and setting, in paper order, then the count of each verdict.

    Args:
        document: a results document.
    """
    rows = [
        (claim.id if index == 0 else "", judged.name, _verdict(judged), measured_in_words(judged))
        for claim in document.claims
        for index, judged in enumerate(claim.settings)
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in rows
    ]
    counts = Counter(judged.shown for _, judged in document.judged())
    return [*lines, "", ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))]


def _verdict(judged: Judged) -> str:
    return f"{_MARKS[judged.verdict]} {judged.verdict}{' (known gap)' if judged.shown == KNOWN_GAP else ''}"
