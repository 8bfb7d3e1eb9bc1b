"""One run from selected cases to verdicts: what is missing is made, then every case is judged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lmc.claims.judging import Case
from lmc.errors import LmcError
from lmc.measuring.pairs import PairMeasurement
from lmc.running.cells import Workplace, missing_cells
from lmc.running.executors import Executor, LocalExecutor
from lmc.running.progress import showing_progress
from lmc.running.settings import Settings
from lmc.training.store import Store


def needed(cases: Iterable[Case]) -> list[PairMeasurement]:
    """Every measurement the cases read, once."""
    found = {
        measurement.key: measurement
        for case in cases
        if case.setting is not None
        for measurement in case.claim.study.needs(case.setting)
    }
    return list(found.values())


def make_missing(
    cases: Iterable[Case], settings: Settings, executor: Executor | None = None
) -> dict[str, dict[str, Any]]:
    """Train and measure what the store lacks for ``cases``.

    Returns:
        Every needed record by measurement key.

    Raises:
        LmcError: something cannot be made; what is finished stays in the store.
    """
    store = Store(settings.store)
    measurements = needed(cases)
    cells = missing_cells(measurements, store, settings.device)
    if cells:
        with showing_progress(cells) as on_done:
            chosen = executor or LocalExecutor(min(settings.workers, len(cells)))
            chosen.run(cells, Workplace(settings.store, settings.data, settings.device), on_done)
    records = {}
    for measurement in measurements:
        record = store.read("measurements", measurement.key)
        if record is None:
            raise LmcError(f"{measurement.describe()} is gone from {store.root}; run again")
        records[measurement.key] = record
    return records
