"""The verdict table that closes a run: what does not hold first, then every claim under the item that it stands for."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from lmc.claims.verdicts import FAILS, HOLDS, NOT_RUN, SEVERITY
from lmc.reporting.marks import MARKS
from lmc.reporting.sections import grouped_claims
from lmc.results.deciding import Decision
from lmc.results.document import Claim, Document, Found, Judged
from lmc.results.wording import asked_in_words, measured_in_words

WIDTH = 100
"""Columns."""

_SETTLED = (HOLDS, NOT_RUN)
_ID, _CELL = 48, 32  # columns of an id and of a cell


def verdict_table(document: Document) -> list[str]:
    """What does not hold, with its numbers; every claim by the paper's items; the counts, and what is red.

    Args:
        document: a results document.

    Returns:
        Lines of at most `WIDTH` columns, but for names that are longer.
    """
    decision = [part for line in Decision(document).lines() for part in _wrapped(line)]
    return [*_open(document), *_by_item(document), "", *decision]


def _open(document: Document) -> Iterator[str]:
    """What neither holds nor was left out, the worst first: red ones, then other failures, then the rest."""
    red = {(claim, name) for claim, name, _ in Decision(document).red}

    def rank(found: Found) -> tuple[bool, int]:
        claim, judged = found
        return (claim.id, judged.name) not in red, -SEVERITY.index(judged.verdict)

    shown = sorted((found for found in document.judged() if found[1].verdict not in _SETTLED), key=rank)
    for claim, judged in shown:
        yield from _wrapped(f"{_verdict(judged)}: {claim.id} on {judged.name}")
        asked = asked_in_words(judged.asked)
        said = measured_in_words(judged) + (f"; expected: {asked}" if asked else "")
        yield from _wrapped(f"    {said}", 0)
    if shown:
        yield ""


def _wrapped(line: str, further: int = 2) -> list[str]:
    """``line`` in lines of at most `WIDTH` columns, those after the first indented by so many more."""
    indent = len(line) - len(line.lstrip()) + further
    return textwrap.wrap(line, WIDTH, subsequent_indent=" " * indent)


def _by_item(document: Document) -> Iterator[str]:
    for group in grouped_claims(document):
        if group.own:
            yield f"{group.name}: {group.about}"
        for claim in group.own:
            yield from _claim(claim)


def _claim(claim: Claim) -> Iterator[str]:
    """The claim, and where it was judged with a mark and the effect: beside it if that is one place, else below."""
    cells = [_cell(judged) for judged in claim.settings]
    beside = f"  {claim.id:<{_ID}} {cells[0]}"
    if len(cells) == 1 and len(beside) <= WIDTH:
        yield beside
        return
    yield f"  {claim.id}"
    line = ""
    for cell in cells:
        if line and len(line) + len(cell) > WIDTH - 4:
            yield f"    {line.rstrip()}"
            line = ""
        line += f"{cell:<{_CELL - 2}}  "
    yield f"    {line.rstrip()}"


def _cell(judged: Judged) -> str:
    if judged.verdict == NOT_RUN:
        return f"{MARKS[NOT_RUN]} {judged.name}: {judged.reason}"
    effect = "" if judged.effect is None else f" {judged.effect:.3g}"
    remark = ", though a failure is explained" if judged.explained and judged.verdict == HOLDS else ""
    return f"{MARKS[judged.shown]} {judged.name}{effect}{remark}"


def _verdict(judged: Judged) -> str:
    remark = ", though a failure is explained" if judged.explained and judged.verdict != FAILS else ""
    return f"{MARKS[judged.shown]} {judged.shown}{remark}"
