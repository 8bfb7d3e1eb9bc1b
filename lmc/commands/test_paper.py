"""The paper's claims as tests: ``pytest -m paper``, or ``pytest --pyargs lmc.commands -m paper`` anywhere."""

from __future__ import annotations

import pytest

from lmc.claims.cases import CaseResult
from lmc.claims.verdicts import HOLDS, NOT_RUN
from lmc.results.wording import asked_in_words, measured_in_words


@pytest.mark.paper
def test_claim(lmc_result: CaseResult) -> None:
    """One claim on one setting: only ``holds`` passes; a known gap must still be a gap."""
    claim, found = lmc_result.case.claim, lmc_result.judgement
    if found.verdict == NOT_RUN:
        pytest.skip(found.reason)
    explained = (
        f"{claim.ref}: {claim.statement}\n"
        f"  setting    {lmc_result.case.name}\n"
        f"  verdict    {found.verdict}\n"
        f"  measured   {measured_in_words(found)} ({claim.unit})\n"
        f"  threshold  {asked_in_words(found.asked)}\n"
        f"  effect     {found.effect}\n"
        f"  p-value    {found.p_value}"
    )
    if lmc_result.known_gap:
        if found.verdict == HOLDS:
            pytest.fail(f"{explained}\n  this known gap is closed, remove it: {lmc_result.known_gap}", pytrace=False)
        pytest.xfail(lmc_result.known_gap)
    if found.verdict != HOLDS:
        pytest.fail(explained, pytrace=False)
