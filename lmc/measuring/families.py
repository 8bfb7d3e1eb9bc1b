"""Measurements that are carried out together, because they read the same models. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from lmc.measuring.measurements import Measurement
from lmc.specs import RunSpec


def families_of(measurements: Iterable[Measurement]) -> list[tuple[Measurement, ...]]:
    """Measurements that read the same models, to be carried out together.

    Returns:
        Groups in the order of their first measurement; within one, models are equal up to their seeds. Every
        measurement stands in one group.
    """
    groups: dict[RunSpec, list[Measurement]] = {}
    for measurement in measurements:
        groups.setdefault(measurement.specs[0].with_seed(0), []).append(measurement)
    return [tuple(group) for group in groups.values()]
