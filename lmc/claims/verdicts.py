"""The verdicts there are. Imports nothing heavy, so that reading a results file stays light."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

Verdict = Literal["holds", "fails", "inconclusive", "invalid", "not-run"]

HOLDS: Final = "holds"
FAILS: Final = "fails"
INCONCLUSIVE: Final = "inconclusive"
INVALID: Final = "invalid"
NOT_RUN: Final = "not-run"
SEVERITY: tuple[Verdict, ...] = (HOLDS, NOT_RUN, INCONCLUSIVE, INVALID, FAILS)
"""Verdicts from best to worst; a claim's verdict is the worst of its settings', theirs of their parts'."""

FAILS_EXPLAINED: Final = "fails, explained"
FAILS_BY_CHANCE: Final = "fails, not beyond chance"
"""How a failure is shown for which there is a reason, and one such as so many cases bring by chance."""

Role = Literal["claim", "check", "found here"]
CLAIM: Final = "claim"
CHECK: Final = "check"
FOUND_HERE: Final = "found here"
ROLES: tuple[Role, ...] = (CLAIM, CHECK, FOUND_HERE)
"""What a claim is; each kind is counted apart. The paper says the first; the second follows from a symmetry or from
another bound, so that it tests the suite, not the paper; the third was found by this suite."""


def worst_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of at least one."""
    return max(verdicts, key=SEVERITY.index)
