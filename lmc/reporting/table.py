"""The verdict table that closes a run."""

from __future__ import annotations

from lmc.claims.verdicts import FAILS
from lmc.reporting.marks import MARKS
from lmc.results.deciding import Decision
from lmc.results.document import Document, Judged
from lmc.results.wording import measured_in_words


def verdict_table(document: Document) -> list[str]:
    """One line per claim and setting, in paper order, then the counts, what is red, and what to expect by chance.

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
    return [*lines, "", *Decision(document).lines()]


def _verdict(judged: Judged) -> str:
    remark = ", though a failure is explained" if judged.explained and judged.verdict != FAILS else ""
    return f"{MARKS[judged.shown]} {judged.shown}{remark}"
