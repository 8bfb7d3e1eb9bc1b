"""Which seeds have served what: the one table of blocks of seeds.

Blocks start at multiples of six, as models are trained side by side in blocks of six seeds; so no stack holds models of
two blocks. A block that verdicts were taken from, and after which a recipe, a claim or a bound was changed, decides
nothing any more: the next verdicts take a fresh one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SeedBlock:
    """Consecutive seeds.

    Args:
        first: the first of them.
        last: the last of them; ``None`` where there is no end.
        served: for what, in words.
    """

    first: int
    last: int | None
    served: str


VERDICTS = SeedBlock(144, 167, "verdicts on the claims of today")
PILOTS = SeedBlock(1320, 1343, "pilots of today's recipes: they say whether a design can reach its bounds")
SEED_BLOCKS = (
    SeedBlock(0, 59, "verdicts, after which recipes, claims or bounds were changed"),
    SeedBlock(60, 95, "verdicts, after which VGGs were measured on all pairs and a collapsed branch was defined"),
    SeedBlock(96, 107, "verdicts of the quick tier's convolutional nets, before judging was calibrated"),
    SeedBlock(120, 143, "verdicts, after which claims were added and bounds were taken from the paper and from nulls"),
    VERDICTS,
    SeedBlock(1230, 1299, "pilots, on which the bounds of earlier verdicts were chosen"),
    PILOTS,
    SeedBlock(1344, 1349, "an experiment on MLPs twice as wide as the quick tier's, for explanations; no bound"),
    SeedBlock(9000, None, "left alone, for somebody who doubts the rest"),
)
"""Every block that something was decided on, or is to be, in order; seeds between them are free."""

VERDICT_SEEDS = tuple(range(VERDICTS.first, VERDICTS.first + 6))
"""Six models make three independent pairs."""
MANY_SEEDS = tuple(range(VERDICTS.first, VERDICTS.first + 24))
"""Three independent groups of eight."""
PILOT_OFFSET = PILOTS.first - VERDICTS.first
"""What is added to a verdict seed to get a pilot seed."""
