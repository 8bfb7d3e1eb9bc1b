"""A page for every claim, made of the claim itself and of the committed results when the documentation is built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from committed import Run, committed
from pictures import picture
from verdict_tables import TITLES, claims_of, table

from lmc.claims.claim import Claim
from lmc.claims.explanation import Explanation
from lmc.claims.null import Null
from lmc.claims.paper import CLAIMS, ITEMS
from lmc.claims.verdicts import NOT_RUN, Role
from lmc.reporting.claim_figures import claim_figure
from lmc.reporting.marks import MARKS
from lmc.results.deciding import counts_in_words
from lmc.results.document import Found
from lmc.results.wording import asked_in_words, measured_in_words, remark_in_words

_ROLES: Mapping[Role, str] = {
    "claim": "The paper says it.",
    "check": "A check: it follows from a symmetry or from another bound, so it tests the suite and not the paper.",
    "found here": "Found by this suite; the paper does not report it.",
}


def write_pages(folder: Path) -> None:
    """Write the list of claims, a page for each, and their figures.

    Args:
        folder: made where it is missing; what else lies there is left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {"index.md": index()}
    for claim in CLAIMS:
        figures = dict(figures_of(claim))
        files[f"{claim.id}.md"] = page(claim, figures)
        files |= {f"{claim.id}-{tier}.svg": drawn for tier, drawn in figures.items()}
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:  # Sphinx rebuilds what is written
            path.write_text(text, "utf-8")


def linked(text: str, folder: str = "") -> str:
    """``text`` with every claim's id in backticks turned into a link to its page.

    Args:
        text: Markdown.
        folder: from where the text lies to that of the pages, with a slash at its end.
    """
    known = {claim.id for claim in CLAIMS}

    def link(found: re.Match[str]) -> str:
        return f"[{found[0]}]({folder}{found[1]}.md)" if found[1] in known else found[0]

    return re.sub(r"(?<!\[)`([\w.-]+)`", link, text)


def index() -> str:
    """The paper's figures, tables and theorems with the claims that stand for them, then the other claims."""
    rows = []
    for item in ITEMS:
        for number, claim in enumerate(item.encoded_by()):
            named = [item.name, item.about] if number == 0 else ["", ""]
            rows.append([*named, f"`{claim.id}`", latest(claim)])
    named_items = {item.name for item in ITEMS}
    parts = [
        "# Claims",
        f"{len(CLAIMS)} claims, each with a page: what it says, how it is judged, and the latest numbers. "
        "The [verdict matrix](../verdicts.md) shows all of them at a glance.",
        "## The paper, figure by figure",
        table(["paper", "shows", "claim", "latest verdicts"], rows),
    ]
    for role, title in TITLES.items():
        beyond = [claim for claim in claims_of(role) if named_items.isdisjoint(claim.items)]
        if beyond:
            listed = [[f"`{claim.id}`", _plain(claim.statement), latest(claim)] for claim in beyond]
            parts += [f"## {title}, of no one figure", table(["claim", "says", "latest verdicts"], listed)]
    toctree = "\n".join(claim.id for claim in CLAIMS)
    parts.append(f"```{{toctree}}\n:hidden:\n\n{toctree}\n```")
    return linked("\n\n".join(parts)) + "\n"


def latest(claim: Claim) -> str:
    """The counts of its verdicts, tier by tier."""
    told = []
    for run in committed().values():
        shown = [judged.shown for _, judged in run.of_claim(claim.id)]
        if set(shown) - {NOT_RUN}:
            told.append(f"{run.tier}: {counts_in_words(shown, claim.role)}")
    return "; ".join(told) or "not yet run"


def figures_of(claim: Claim) -> Iterator[tuple[str, str]]:
    """A figure for each tier whose committed results have values of the claim."""
    for run in committed().values():
        if found := _judged(run, claim):
            whole = msgspec.structs.replace(found[0][0], settings=tuple(judged for _, judged in found))
            if (figure := claim_figure(whole)) is not None:
                yield run.tier, picture(f"{claim.id}, {run.tier} tier", figure.panels)


def page(claim: Claim, figures: Mapping[str, str]) -> str:
    """The page of a claim.

    Args:
        claim: of `lmc.claims.paper.CLAIMS`.
        figures: the tiers that have a figure.
    """
    where = ", ".join([claim.ref, *(item for item in claim.items if item not in claim.ref)])
    parts = [
        f"# {claim.id}",
        f"> {_plain(claim.statement)}",
        f"{where}. {_ROLES[claim.role]}",
        "## What is asked",
        table(["of", "statement", "bound", "why this bound"], _asked(claim)),
        f"**Null.** {_plain(claim.null.text)} {_null_in_words(claim.null)} The claim must not hold there.",
    ]
    if claim.history:
        parts.append(f"**History.** {_plain(claim.history)}")
    for setting, explanation in claim.explanations.items():
        parts.append(_explained(setting, explanation))
    parts.append("## Latest numbers")
    runs = {run: found for run in committed().values() if (found := _judged(run, claim))}
    for run, found in runs.items():
        parts += _numbers(claim, run, found)
        if run.tier in figures:
            parts.append(f"![{claim.id}, {run.tier} tier]({claim.id}-{run.tier}.svg)")
    if not runs:
        parts.append("Not yet run.")
    elif figures:
        parts.append(
            "Small points are single pairs or models, marks their mean with its 95 % interval. The shaded zone "
            "satisfies the bound; p ≤ 0.05 is asked in addition."
        )
    parts += ["## Judge it yourself", f"```sh\npytest -m paper -k {claim.id}\n```"]
    return "\n\n".join(parts) + "\n"


def _judged(run: Run, claim: Claim) -> tuple[Found, ...]:
    """The claim's cases that were run."""
    return tuple(found for found in run.of_claim(claim.id) if found[1].verdict != NOT_RUN)


def _asked(claim: Claim) -> Sequence[Sequence[str]]:
    rows = [["the paper's own strength", claim.statement, asked_in_words(claim.expect.asked), claim.why]]
    if claim.small is None:
        rows[0][0] = "every tier"
    else:
        small = claim.small
        rows.append(["small tiers", small.statement, asked_in_words(small.expect.asked), small.why])
    return [[_plain(cell) for cell in row] for row in rows]


def _null_in_words(null: Null) -> str:
    if isinstance(null.values, Mapping):
        return f"({', '.join(f'{_plain(group)} {value:g}' for group, value in null.values.items())}.)"
    if isinstance(null.values, tuple):
        return f"({', '.join(f'{value:g}' for value in null.values)} at three widths.)"
    return f"({null.values:g} at every width.)"


def _explained(setting: str, explanation: Explanation) -> str:
    refuted = explanation.refuted_by
    result = refuted.result or "Not run."
    return (
        f"**Why it may fail on {setting}.** {_plain(explanation.why)} *Would be refuted by:* "
        f"{_plain(refuted.what)} {_plain(result)}"
    )


def _numbers(claim: Claim, run: Run, found: Sequence[Found]) -> Iterator[str]:
    yield f"### {run.tier} tier"
    said = found[0][0].statement
    yield (f"Values are in: {claim.unit}." if said == claim.statement else f"Judged: {_plain(said)} ({claim.unit})")
    rows = []
    for _, judged in found:
        told = [MARKS[judged.shown] + " " + judged.shown, measured_in_words(judged), asked_in_words(judged.asked)]
        rows.append([judged.name, *map(_plain, told)])
    yield table(["setting", "verdict", "measured", "asked"], rows)
    for _, judged in found:
        if judged.explained and judged.name not in claim.explanations:
            yield f"*{judged.name}:* {_plain(remark_in_words(judged))}"


def _plain(text: str) -> str:
    """Text in which nothing is taken for Markdown but code in backticks."""
    return re.sub(r"([*_<\[\]#$~])", r"\\\1", text) if "`" not in text else text
