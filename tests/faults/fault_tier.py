"""What the runs under faults make, in half a second of computing: two blocks of six models and eight measurements."""

from __future__ import annotations

from dataclasses import replace

from tiny_claim import RECIPE, SETTING

from lmc import tiers


class _FewPairs(tiers.Family):
    """Measured on its independent pairs and one more, which shares models with them."""

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return [*self.independent, (self.seeds[0], self.seeds[2])]


FAMILY = _FewPairs(replace(RECIPE, epochs=4), (1 / 64, 1 / 32))
LONG_EPOCHS = 1200
LONG = tiers.Tier(
    "faults-long",
    (replace(SETTING, name="long", families={"strong": tiers.Family(replace(RECIPE, epochs=LONG_EPOCHS), (1 / 64,))}),),
    "for tests",
)
"""One block of six models that trains for longer than a run may cost on top."""
TIER = tiers.Tier("faults", (replace(SETTING, name="faults", families={"strong": FAMILY}),), "for tests")
