"""Two runs side by side: the same claims on two machines, or of two tiers."""

from __future__ import annotations

from dataclasses import dataclass

from lmc.results.comparing import difference_between
from lmc.results.difference import Difference, Limit
from lmc.results.document import Claim, Document, Judged


@dataclass(frozen=True)
class Row:
    """A claim on a setting that both runs judge.

    Args:
        claim: as this run has it.
        here: what this run found.
        there: what the other found.
        differs: what differs, and whether other models explain it; else empty.
    """

    claim: Claim
    here: Judged
    there: Judged
    differs: str


@dataclass(frozen=True)
class Beside:
    """Two runs.

    Args:
        here: one line about this run.
        there: one about the other.
        summary: how many verdicts differ, and why.
        limits: what limits the comparison.
        rows: where verdicts differ, where effects do, then the rest; all in paper order.
    """

    here: str
    there: str
    summary: str
    limits: tuple[Limit, ...]
    rows: tuple[Row, ...]


def beside(document: Document, other: Document) -> Beside:
    """``document`` beside ``other``.

    Raises:
        StoreError: they have no claim and setting in common.
    """
    found = difference_between(other, document, time_counts=False)
    there = {(claim.id, judged.name): judged for claim, judged in other.judged()}
    rows = [
        Row(
            claim, judged, there[claim.id, judged.name], _differs(found, claim.id, judged, there[claim.id, judged.name])
        )
        for claim, judged in document.judged()
        if (claim.id, judged.name) in there
    ]
    verdicts = [change for change in found.changes if change.what == "verdict"]
    explained = sum(change.by_models for change in verdicts)
    summary = (
        f"{len(verdicts)} of {found.compared} verdicts differ. Of {explained} of these other models were asked the "
        "same, and their effects agree within the errors of both runs: nothing says that more than the models differs."
    )
    ordered = sorted(rows, key=lambda row: (not row.differs, row.here.shown == row.there.shown))
    return Beside(found.new, found.old, summary, found.limits, tuple(ordered))


def _differs(found: Difference, claim: str, here: Judged, there: Judged) -> str:
    rest = "another threshold" if here.asked != there.asked else "other models do not explain it"
    return "; ".join(
        f"{change.what}: {'other models' if change.by_models else change.uncounted or rest}"
        for change in found.changes
        if (change.claim, change.setting) == (claim, here.name)
    )
