"""What the runs under faults make: two blocks of six models and thirty measurements, in about a second."""

from __future__ import annotations

from dataclasses import replace

from tiny_claim import CLAIM, RECIPE, SETTING

from lmc import tiers

FAMILY = tiers.Family(replace(RECIPE, epochs=5), (1 / 64, 1 / 32))
TIER = tiers.Tier("faults", (replace(SETTING, name="faults", families={"strong": FAMILY}),), "for tests")
MODELS, MEASUREMENTS = 12, 30


def register() -> None:
    """Let ``lmc run --tier faults`` find it."""
    from lmc.running import session

    tiers._TIERS["faults"] = lambda: TIER
    session.CLAIMS = (CLAIM,)
