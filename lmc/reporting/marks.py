"""A sign for each verdict, so that none is told by colour alone."""

from __future__ import annotations

from lmc.claims.verdicts import FAILS, FAILS_BY_CHANCE, FAILS_EXPLAINED, HOLDS, INCONCLUSIVE, INVALID, NOT_RUN

MARKS = {
    HOLDS: "✓",
    FAILS: "✗",
    FAILS_EXPLAINED: "≠",
    FAILS_BY_CHANCE: "~",
    INCONCLUSIVE: "?",
    INVALID: "!",
    NOT_RUN: "–",
}
"""By `lmc.results.document.Judged.shown`."""
