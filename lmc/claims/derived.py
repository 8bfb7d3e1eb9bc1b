"""Studies whose numbers come from several records: means over the models of a merge, and rank correlations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lmc.claims.claim import Records, Study
from lmc.claims.statistics import Observation, Seeds
from lmc.measuring.measurements import Measurement
from lmc.tiers import Setting

Record = dict[str, Any]


@dataclass(frozen=True)
class Derived:
    """One number of several measurements.

    Args:
        width: where it stands.
        seeds: of the models that it rests on.
        independent: whether it is one of those that share no model.
        reads: the measurements.
        value: the number, from their records.
        group: of the observation.
        part: likewise.
    """

    width: float
    seeds: Seeds
    independent: bool
    reads: tuple[Measurement, ...]
    value: Callable[[Sequence[Record]], float | None]
    group: str = "strong"
    part: str = ""


def derived(choose: Callable[[Setting], Iterable[Derived]], *families: str) -> Study:
    """A study of numbers that rest on several measurements each.

    Args:
        choose: which, of a setting.
        families: roles that the setting must have; strong alone by default.
    """

    def needs(setting: Setting) -> list[Measurement]:
        return list({read.key: read for each in choose(setting) for read in each.reads}.values())

    def observe(setting: Setting, records: Records) -> list[Observation]:
        return [
            Observation(
                each.width,
                each.seeds,
                each.value([records[read.key] for read in each.reads]),
                each.independent,
                each.part,
                each.group,
            )
            for each in choose(setting)
        ]

    return Study(needs, observe, families or ("strong",))


def at_each_width(study: Study) -> Study:
    """The same, every width a part of its own: what is asked is then asked at each of them."""

    def observe(setting: Setting, records: Records) -> list[Observation]:
        found = study.observe(setting, records)
        return [replace(each, part=f"width {each.width:g}") for each in found]

    return Study(study.needs, observe, study.groups)


def rank_correlation(one: Sequence[float | None], other: Sequence[float | None]) -> float | None:
    """Spearman's ρ with mean ranks of ties; 0 where one of the two does not vary, which tells nothing of the other.

    Args:
        one: numbers.
        other: as many.

    Returns:
        ``None`` where one is missing or not finite.

    Example:
        >>> rank_correlation([1, 2, 3, 4], [0.1, 0.5, 0.4, 9.0])
        0.8
    """
    if any(each is None or not np.isfinite(each) for each in [*one, *other]):
        return None
    first, second = (_ranks(np.array(each, dtype=float)) for each in (one, other))
    spread = float(np.sqrt((first @ first) * (second @ second)))
    return round(float(first @ second) / spread, 12) if spread else 0.0


def _ranks(values: Any) -> Any:
    """Mean ranks less their mean."""
    less, alike = values[:, None] > values, values[:, None] == values
    ranks = less.sum(1) + alike.sum(1) / 2
    return ranks - ranks.mean()
