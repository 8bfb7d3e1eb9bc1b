"""A claim's null: what would be measured if there were nothing in it. A claim that holds there says nothing."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from lmc.claims.statistics import Observation
from lmc.claims.verdicts import HOLDS

if TYPE_CHECKING:
    from lmc.claims.claim import Claim

_WIDTHS = (0.25, 1.0, 4.0)
_MODELS = 12
_SPREAD = 1e-4
"""Between models: so small that a claim holds at its null for what it asks, not by chance."""


@dataclass(frozen=True)
class Null:
    """What an unrelated model, the narrow family, chance or symmetry alone would give, in place of the claim.

    Args:
        text: says so, in one sentence.
        values: what would be measured: one number at every width, one for each of three widths, or one for each group
            that is compared.
    """

    text: str
    values: float | tuple[float, float, float] | Mapping[str, float]

    def observations(self, groups: Sequence[str] = ()) -> list[Observation]:
        """Every pair of twelve models at three widths, as the null has them; always the same.

        Args:
            groups: families or alignments that the claim compares; none where it looks at one.

        Raises:
            ValueError: the null has no number for one of the groups.
        """
        noise = random.Random(0)
        found = []
        for group in groups or ("strong",):
            for width, value in zip(_WIDTHS, self._along(group), strict=True):
                shift = [noise.gauss(0, _SPREAD) for _ in range(_MODELS)]
                found += [
                    Observation(width, (a, b), value + shift[a] + shift[b], a % 2 == 0 and b == a + 1, group=group)
                    for a, b in combinations(range(_MODELS), 2)
                ]
        return found

    def _along(self, group: str) -> Sequence[float]:
        """At every width."""
        if isinstance(self.values, tuple):
            return self.values
        if not isinstance(self.values, Mapping):
            return [self.values] * len(_WIDTHS)
        if group not in self.values:
            raise ValueError(f"the null has no value for {group}, only for {', '.join(self.values)}")
        return [self.values[group]] * len(_WIDTHS)


def holds_at_its_null(claim: Claim) -> bool:
    """Whether ``claim`` would hold, at either strength, where there is nothing in it, so that its holding says nothing.

    Raises:
        ValueError: its null has no number for one of the groups that it compares.
    """
    return any(
        each.expect.judge(each.null.observations(each.expect.asked.groups)).verdict == HOLDS
        for each in (claim, claim.at_small_strength())
    )
