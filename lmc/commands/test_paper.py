"""The paper's claims as tests: ``pytest -m paper``, or ``pytest --pyargs lmc.commands -m paper`` anywhere."""

from __future__ import annotations

import pytest

from lmc.claims.verdicts import HOLDS, NOT_RUN
from lmc.commands.plugin import Verdict
from lmc.results.wording import asked_in_words, measured_in_words, remark_in_words


@pytest.mark.paper
def test_claim(lmc_verdict: Verdict) -> None:
    """One claim on one setting: fails only where it makes the run red, see `lmc.results.deciding`.

    Passes where it holds; is skipped where it was not run; is an expected failure where it fails for a known reason, as
    such claims fail by chance, or is inconclusive.
    """
    claim, found = lmc_verdict.result.case.claim, lmc_verdict.judged
    if found.verdict == NOT_RUN:
        pytest.skip(found.reason)
    remark = remark_in_words(found)
    if lmc_verdict.why_red:
        explained = (
            f"{claim.ref}: {claim.statement}\n"
            f"  setting    {found.name}\n"
            f"  verdict    {found.shown}\n"
            f"  measured   {measured_in_words(found)} ({claim.unit})\n"
            f"  threshold  {asked_in_words(found.asked)}\n"
            f"  effect     {found.effect}\n"
            f"  p-value    {found.p_value}, of the contrary {found.p_contrary}\n"
            f"  red        {lmc_verdict.why_red}"
        )
        pytest.fail(f"{explained}\n  explained  {remark}" if remark else explained, pytrace=False)
    if found.verdict != HOLDS:
        pytest.xfail(f"{found.shown}: {remark or measured_in_words(found)}")
