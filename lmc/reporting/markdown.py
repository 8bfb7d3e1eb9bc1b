"""The verdicts of a run as Markdown, for the summary page of a CI job."""

from __future__ import annotations

import html
from collections import Counter

from lmc.claims.verdicts import HOLDS, KNOWN_GAP
from lmc.results.difference import Difference
from lmc.results.document import Claim, Document, Judged
from lmc.results.wording import asked_in_words, measured_in_words

_HEAD = "| claim | where | verdict | measured | expected |\n|---|---|---|---|---|"
_ESCAPES = str.maketrans({mark: f"&#{ord(mark)};" for mark in "\\|`*$"} | {"\n": " ", "\r": " "})


def summary(document: Document, difference: Difference | None = None) -> str:
    """A Markdown summary: the count of each verdict, what does not hold, what differs from a baseline, the known gaps.

    Args:
        document: a results document.
        difference: from the baseline, where there is one.

    Returns:
        Markdown ending in a line break. HTML, pipes, and marks that GitHub would typeset are escaped.
    """
    rows = list(document.judged())
    counts = Counter(judged.shown for _, judged in rows)
    machine = document.machine
    about = (
        f"{document.seconds:.0f} s on {machine.get('gpu') or machine.get('processor', 'an unknown processor')} "
        f"({machine.get('device', 'unknown device')}), commit {document.commit}"
    )
    parts = [
        f"## lmc: tier {_escaped(document.tier)}",
        _escaped(about),
        "| verdict | claims and settings |\n|---|---|\n"
        + "\n".join(f"| {_escaped(kind)} | {count} |" for kind, count in sorted(counts.items())),
    ]
    open_rows = [_row(claim, judged) for claim, judged in rows if judged.shown not in (HOLDS, KNOWN_GAP)]
    if open_rows:
        parts += ["### Does not hold", "\n".join([_HEAD, *open_rows])]
    if difference:
        title = "### Worse than the baseline" if difference.worse else "### Not worse than the baseline"
        parts += [title, "\n".join(["<pre>", *map(_escaped, difference.lines()), "</pre>"])]
    gaps = [_gap(claim, judged) for claim, judged in rows if judged.known_gap]
    if gaps:
        parts += ["### Known gaps", "\n".join(gaps)]
    return "\n\n".join(parts) + "\n"


def _row(claim: Claim, judged: Judged) -> str:
    said = f"{claim.statement} ({claim.ref}; {claim.id})"
    cells = (said, judged.name, judged.verdict, measured_in_words(judged), asked_in_words(judged.asked))
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _gap(claim: Claim, judged: Judged) -> str:
    closed = ", so this gap is closed: remove it" if judged.verdict == HOLDS else ""
    return _escaped(f"- {claim.id} on {judged.name} {judged.verdict}{closed}. {judged.known_gap}")


def _escaped(text: str) -> str:
    return html.escape(text, quote=False).translate(_ESCAPES)
