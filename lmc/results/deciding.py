"""Whether a run is red, and for what reason: everything else that does not hold is shown, not red.

Red is a failure without an explanation that survives Holm over all cases of the run, an invalid case, and more
inconclusive cases than were predicted (each at 5 %). A run cannot predict how many of its own cases are inconclusive:
the fewer it decides, the more it would allow. An earlier run predicts that, the baseline or else the committed run of
the tier. A case that neither has counts as a coin: a design that decides less than every other of its cases is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from lmc.claims.verdicts import (
    CHECK,
    CLAIM,
    FAILS,
    FAILS_BY_CHANCE,
    FAILS_EXPLAINED,
    FOUND_HERE,
    HOLDS,
    INCONCLUSIVE,
    INVALID,
    NOT_RUN,
    ROLES,
    Role,
)
from lmc.results.chances import expected_flips, most_inconclusive
from lmc.results.document import Document, Judged

UNPREDICTED = 0.5
"""The chance of being inconclusive of a case that no earlier run predicts."""

_PLURALS = {CLAIM: "claims", CHECK: "checks", FOUND_HERE: "found here"}


@dataclass(frozen=True)
class Decision:
    """What a run comes to.

    Args:
        document: of the run.
    """

    document: Document

    @cached_property
    def judged(self) -> list[Judged]:
        """Every case that was judged."""
        return [judged for _, judged in self.document.judged() if judged.verdict != NOT_RUN]

    @cached_property
    def inconclusive(self) -> int:
        """How many cases are inconclusive."""
        return sum(judged.verdict == INCONCLUSIVE for judged in self.judged)

    @cached_property
    def limit(self) -> int:
        """How many may be."""
        settings: dict[str, list[float]] = {}
        for judged in self.judged:
            if judged.verdict == INCONCLUSIVE or judged.p_contrary is not None:
                chance = UNPREDICTED if judged.predicted is None else judged.predicted
                settings.setdefault(judged.name, []).append(chance)
        return most_inconclusive(settings.values())

    def why_red(self, judged: Judged) -> str:
        """Why a case makes the run red, or nothing."""
        if judged.verdict == INVALID:
            return "invalid"
        if judged.verdict == FAILS and judged.shown == FAILS:
            return f"fails beyond what chance does to {len(self.judged)} cases, and nothing explains it"
        if judged.verdict == INCONCLUSIVE and self.inconclusive > self.limit:
            return f"one of {self.inconclusive} inconclusive cases, where at most {self.limit} were to be expected"
        return ""

    @cached_property
    def red(self) -> list[tuple[str, str, str]]:
        """Claim, setting and reason of every case that makes the run red."""
        found = ((claim.id, each.name, self.why_red(each)) for claim, each in self.document.judged())
        return [each for each in found if each[2]]

    def lines(self) -> list[str]:
        """The counts, what is red, and what to expect on fresh seeds."""
        flips = expected_flips(self.document)
        reasons = [f"  {claim} on {name}: {why}" for claim, name, why in self.red]
        chance = (
            f"on fresh seeds about {flips:.1f} of {len(self.judged)} verdicts would be others; "
            f"{self.inconclusive} inconclusive, at most {self.limit} to be expected"
        )
        return [
            "; ".join(counted(self.document)),
            *([chance] if any(judged.p_contrary is not None for judged in self.judged) else []),
            *([f"red, for {len(reasons)} of {len(self.judged)} cases:", *reasons] if reasons else ["not red"]),
        ]


def counted(document: Document) -> list[str]:
    """How many cases have which verdict: claims, checks and what was found here apart."""
    found = []
    for role in ROLES:
        shown = [judged.shown for claim, judged in document.judged() if claim.role == role]
        if shown:
            found.append(f"{_PLURALS[role]}: {counts_in_words(shown, role)}")
    return found


def counts_in_words(shown: Sequence[str], role: Role = CLAIM) -> str:
    """How often each verdict is among those shown, failures whether they are explained or not.

    Args:
        shown: see `lmc.results.document.Judged.shown`.
        role: what was judged; of all but claims it is said how many hold of how many that were run.
    """
    count = Counter(shown)
    run = len(shown) - count[NOT_RUN]
    rest = [f"{count[INCONCLUSIVE]} inconclusive"] if count[INCONCLUSIVE] else []
    failing = count[FAILS] + count[FAILS_EXPLAINED] + count[FAILS_BY_CHANCE]
    if failing or (role == CLAIM and run):
        why = [f"{count[FAILS_EXPLAINED]} explained"] if count[FAILS_EXPLAINED] else []
        why += [f"{count[FAILS_BY_CHANCE]} not beyond chance"] if count[FAILS_BY_CHANCE] else []
        rest.append(f"{failing} fail" + (f" ({', '.join(why)})" if why else ""))
    rest += [f"{count[INVALID]} invalid"] if count[INVALID] else []
    if role != CLAIM and run:
        return f"{count[HOLDS]} of {run}" + (f", {', '.join(rest)}" if rest else "")
    not_run = [f"{count[NOT_RUN]} not run"] if count[NOT_RUN] else []
    return ", ".join([*([f"{count[HOLDS]} hold"] if run else []), *rest, *not_run])
