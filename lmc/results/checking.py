"""Whether a results file from elsewhere can be believed: where it comes from, and its verdicts judged again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lmc.claims.paper import CLAIMS
from lmc.claims.parts import Expectation, Judgement
from lmc.claims.statistics import Observation
from lmc.results.document import Claim, Document, Judged, Value

_BY_ID = {claim.id: claim for claim in CLAIMS}


@dataclass(frozen=True)
class Checked:
    """What a look at a results file found.

    Args:
        problems: what is wrong with it, a sentence each.
        confirmed: how many verdicts its observations give again.
        unchecked: how many cannot be judged again: without observations, of claims that are not this version's, or
            where this version asks something else.
    """

    problems: tuple[str, ...]
    confirmed: int
    unchecked: int


def check(document: Document) -> Checked:
    """Look for what makes a run no evidence: an unknown commit or machine, or verdicts that are not its observations'.

    No code is loaded that the document names: claims of others are left unchecked.

    Args:
        document: a results document.
    """
    problems = list(_origin(document))
    confirmed = unchecked = 0
    for claim, judged in document.judged():
        again = judged_again(claim, judged)
        if again is None:
            unchecked += 1
        elif again.verdict == judged.verdict:
            confirmed += 1
        else:
            said = f"{claim.id} on {judged.name}: says {judged.verdict}, its observations give {again.verdict}"
            problems.append(f"{said} ({again.reason})")
    return Checked(tuple(problems), confirmed, unchecked)


def _origin(document: Document) -> Iterator[str]:
    if not re.fullmatch("[0-9a-f]{40}", document.commit):
        yield f"the commit is {document.commit!r}; run a clean checkout of a published commit"
    if not (document.machine.get("processor") or document.machine.get("gpu")):
        yield "the machine is not named; add processor or gpu to machine"
    if not document.machine.get("device"):
        yield "the device is not named; add device to machine"
    if document.versions.get("torch") in (None, "", "not installed"):
        yield "the version of torch is not named; add torch to versions"


def judged_again(claim: Claim, judged: Judged) -> Judgement | None:
    """What this version makes of a case's observations; ``None`` where it asks something else, or there are none."""
    expectation = _expectation(claim, judged)
    return None if expectation is None else expectation.judge([_observation(each) for each in judged.values])


def _expectation(claim: Claim, judged: Judged) -> Expectation | None:
    """What this version judges the case by, if it asks the same of it, in the same unit."""
    known = _BY_ID.get(claim.id)
    if known is None or judged.asked is None or not judged.values or claim.unit != known.unit:
        return None
    strengths = known.expect, known.at_small_strength().expect
    return next((each for each in strengths if each.asked == judged.asked), None)


def _observation(each: Value) -> Observation:
    return Observation(
        width=each.width,
        seeds=each.seeds,
        value=each.value,
        independent=each.independent,
        part=each.part,
        group=each.group,
        draw=each.draw,
        error=each.error,
    )
