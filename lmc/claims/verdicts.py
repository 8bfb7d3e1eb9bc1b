"""The verdicts there are. Imports nothing heavy, so that reading a results file stays light."""

from __future__ import annotations

from typing import Final, Literal

Verdict = Literal["holds", "fails", "inconclusive", "invalid", "not-run"]

HOLDS: Final = "holds"
FAILS: Final = "fails"
INCONCLUSIVE: Final = "inconclusive"
INVALID: Final = "invalid"
NOT_RUN: Final = "not-run"
SEVERITY: tuple[Verdict, ...] = (HOLDS, NOT_RUN, INCONCLUSIVE, INVALID, FAILS)
"""Verdicts from best to worst; a claim's verdict is the worst of its settings', theirs of their parts'."""

KNOWN_GAP: Final = "known gap"
"""What is shown where a known gap explains that a claim does not hold, see `lmc.results.document.Judged.shown`."""
