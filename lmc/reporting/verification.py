"""A run as lines to paste into an issue: what ran where, then one line for each item of the paper."""

from __future__ import annotations

from collections.abc import Sequence

from lmc.claims.verdicts import FAILS, FAILS_BY_CHANCE, FAILS_EXPLAINED, HOLDS, INCONCLUSIVE, INVALID, NOT_RUN
from lmc.reporting.marks import MARKS
from lmc.reporting.sections import Group, grouped_claims
from lmc.results.deciding import Decision, counts_in_words
from lmc.results.document import Document
from lmc.results.selection import described

_WORST_FIRST = (FAILS, INVALID, FAILS_EXPLAINED, FAILS_BY_CHANCE, INCONCLUSIVE, HOLDS, NOT_RUN)
_FACTS = ("gpu", "processor", "cores", "memory_gib", "system", "device")
_PACKAGES = ("torch", "numpy", "python")


def verification(document: Document) -> list[str]:
    """What a run says of every item of the paper, as a block of Markdown.

    A claim that stands for several items counts at each of them.

    Args:
        document: a results document.

    Returns:
        Lines between two fences: tier and commit, machine, versions; then for each item the mark of its worst verdict,
        its name, what it shows and how many verdicts it has; and whether the run is red.
    """
    machine = ", ".join(
        f"{name.replace('_gib', ' (GiB)')} {document.machine[name]}" for name in _FACTS if name in document.machine
    )
    versions = ", ".join(f"{name} {document.versions.get(name, 'unknown')}" for name in _PACKAGES)
    reds = len(Decision(document).red)
    return [
        "```",
        f"lmc {document.versions.get('lmc', 'unknown')}, tier {document.tier}, {described(document)}",
        f"commit {document.commit}, {document.started}, {document.seconds:.0f} s",
        f"machine: {machine or 'unknown'}",
        f"versions: {versions}",
        "",
        *map(_line, grouped_claims(document)),
        "",
        f"red, for {reds} cases" if reds else "not red",
        "```",
    ]


def _line(group: Group) -> str:
    shown = [judged.shown for claim in group.claims for judged in claim.settings]
    counts = counts_in_words(shown) if shown else "not in this run"
    return f"{MARKS[_worst(shown)]} {group.name}, {group.about}: {counts}"


def _worst(shown: Sequence[str]) -> str:
    return next((verdict for verdict in _WORST_FIRST if verdict in shown), NOT_RUN)
