"""How many merges are bad, and what so few models can say of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lmc.claims.asked import Asked
from lmc.claims.expectations import at_end
from lmc.claims.parts import ALPHA, Conjunction, Judgement, OneSided, judge_tests, of_every_part, too_few
from lmc.claims.statistics import Observation, Seeds
from lmc.errors import SpecError


@dataclass(frozen=True)
class Share:
    """At most a share of the merges is bad; with ``at_most=0.5`` it is a claim about the median.

    The share is taken over single draws, never over averages. Its limit is the exact binomial one (Clopper & Pearson
    1934) with as many trials as there are models, or groups that share none: under noise of pairs that is
    too few rather than too many. Where none is bad, 6 models exclude shares above 39 %, 12 above 22 %.

    Args:
        limit: beyond which a value is bad.
        at_most: the largest share of bad values.
        bad: on which side of the limit values are bad, ``"above"`` or ``"below"``.
        at: ``"widest"`` or ``"narrowest"``.
    """

    limit: float
    at_most: float
    bad: Literal["above", "below"] = "above"
    at: Literal["widest", "narrowest"] = "widest"

    def __post_init__(self) -> None:
        if not 0 < self.at_most < 1 or self.bad not in ("above", "below") or self.at not in ("widest", "narrowest"):
            raise SpecError(f"{self} needs a share between 0 and 1, above or below, at the widest or narrowest width")

    @property
    def asked(self) -> Asked:
        """Of the share of bad values at that width."""
        return Asked(quantity="share", high=self.at_most, at=self.at, alpha=ALPHA, limit=self.limit, bad=self.bad)

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.parts.Expectation`."""
        return judge_tests(self, observations)

    def tests(self, observations: Sequence[Observation]) -> Conjunction:
        """See `lmc.claims.parts.Tested`."""
        return of_every_part(observations, self._of_part)

    def _of_part(self, observations: Sequence[Observation]) -> Conjunction:
        width, group = at_end(observations, self.at)
        if few := too_few(group):
            return Conjunction(missing=few)
        pairs: dict[Seeds, list[Any]] = defaultdict(list)
        for each in group:
            pairs[each.seeds].append(each.value > self.limit if self.bad == "above" else each.value < self.limit)  # type: ignore[operator]
        share = np.mean([np.mean(draws, axis=0) for draws in pairs.values()], axis=0)
        units = min(len(pairs), len({model for seeds in pairs for model in seeds}))

        def say() -> str:
            bad = sum(map(sum, pairs.values()))
            return f"{bad} of {len(group)} merges of {units} models {self.bad} {self.limit:g} at width {width:g}"

        p_value, p_contrary = share_p_values(share, units, self.at_most)
        return Conjunction([OneSided(p_value, p_contrary, share, share_interval(share, units), say)])


def share_p_values(share: Any, units: int, at_most: float) -> tuple[Any, Any]:
    """p-values of "the true share is above ``at_most``" and of "it is not", of ``share`` seen in ``units`` trials."""
    from scipy.special import betainc

    seen = share * units
    p_value = np.where(seen >= units, 1.0, betainc(np.maximum(units - seen, 1e-9), seen + 1, 1 - at_most))
    p_contrary = np.where(seen <= 0, 1.0, betainc(np.maximum(seen, 1e-9), units - seen + 1, at_most))
    return p_value[()], p_contrary[()]


def share_interval(share: Any, units: int, level: float = 0.95) -> tuple[Any, Any]:
    """The exact binomial interval of a share seen in ``units`` trials, which need not be whole numbers."""
    from scipy.special import betaincinv

    seen, tail = share * units, (1 - level) / 2
    low = np.where(seen <= 0, 0.0, betaincinv(np.maximum(seen, 1e-9), units - seen + 1, tail))
    high = np.where(seen >= units, 1.0, betaincinv(seen + 1, np.maximum(units - seen, 1e-9), 1 - tail))
    return low[()], high[()]
