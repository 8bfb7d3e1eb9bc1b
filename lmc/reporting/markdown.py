"""The verdicts of a run as Markdown, for the summary page of a CI job."""

from __future__ import annotations

import html

from lmc.claims.verdicts import FAILS, FAILS_EXPLAINED, HOLDS, NOT_RUN
from lmc.results.deciding import Decision
from lmc.results.difference import Difference
from lmc.results.document import Claim, Document, Judged
from lmc.results.wording import asked_in_words, measured_in_words, remark_in_words

_HEAD = "| claim | where | verdict | measured | expected |\n|---|---|---|---|---|"
_ESCAPES = str.maketrans({mark: f"&#{ord(mark)};" for mark in "\\|`*$"} | {"\n": " ", "\r": " "})


def summary(document: Document, difference: Difference | None = None) -> str:
    """A Markdown summary: the counts, what is red, what does not hold, what differs from a baseline, the explanations.

    Args:
        document: a results document.
        difference: from the baseline, where there is one.

    Returns:
        Markdown ending in a line break. HTML, pipes, and marks that GitHub would typeset are escaped.
    """
    rows = list(document.judged())
    machine = document.machine
    about = (
        f"{document.seconds:.0f} s on {machine.get('gpu') or machine.get('processor', 'an unknown processor')} "
        f"({machine.get('device', 'unknown device')}), commit {document.commit}"
    )
    parts = [
        f"## lmc: tier {_escaped(document.tier)}",
        _escaped(about),
        "\n".join(f"- {_escaped(line.strip())}" for line in Decision(document).lines()),
    ]
    settled = (HOLDS, NOT_RUN, FAILS_EXPLAINED)
    open_rows = [_row(claim, judged) for claim, judged in rows if judged.shown not in settled]
    if open_rows:
        parts += ["### Does not hold", "\n".join([_HEAD, *open_rows])]
    if difference:
        title = "### Worse than the baseline" if difference.worse else "### Not worse than the baseline"
        parts += [title, "\n".join(["<pre>", *map(_escaped, difference.lines()), "</pre>"])]
    explained = [_explained(claim, judged) for claim, judged in rows if judged.explained]
    if explained:
        parts += ["### Explained", "\n".join(explained)]
    return "\n\n".join(parts) + "\n"


def _row(claim: Claim, judged: Judged) -> str:
    said = f"{claim.statement} ({claim.ref}; {claim.id})"
    cells = (said, judged.name, judged.shown, measured_in_words(judged), asked_in_words(judged.asked))
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _explained(claim: Claim, judged: Judged) -> str:
    verdict = "fails: " if judged.verdict == FAILS else ""
    return _escaped(f"- {claim.id} on {judged.name} {verdict}{remark_in_words(judged)}")


def _escaped(text: str) -> str:
    return html.escape(text, quote=False).translate(_ESCAPES)
