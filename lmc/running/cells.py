"""The cells of the store a run needs, and how one is made (in a worker process)."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc.errors import DataError, LmcError, MergeError
from lmc.measuring.pairs import PairMeasurement
from lmc.specs import RunSpec
from lmc.training.store import Store

if TYPE_CHECKING:
    from lmc.data import Dataset


@dataclass(frozen=True)
class Cell:
    """One model to train or one pair to measure.

    Args:
        what: the spec or measurement.
        cost: relative expected time, for the order of work.
    """

    what: RunSpec | PairMeasurement
    cost: float

    @property
    def kind(self) -> str:
        """``models`` or ``measurements``: the store's folder."""
        return "models" if isinstance(self.what, RunSpec) else "measurements"

    @property
    def key(self) -> str:
        """The cell's name in the store."""
        return self.what.key

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the models that must be finished first."""
        return () if isinstance(self.what, RunSpec) else (self.what.a.key, self.what.b.key)


@dataclass(frozen=True)
class Workplace:
    """What a worker needs to know to make a cell."""

    store: Path
    data: Path
    device: str


def missing_cells(measurements: Iterable[PairMeasurement], store: Store) -> list[Cell]:
    """The measurements the store lacks, and the models they need that it lacks."""
    found: dict[str, Cell] = {}
    for measurement in measurements:
        if measurement.key in found or store.has("measurements", measurement.key):
            continue
        found[measurement.key] = Cell(measurement, cost_of(measurement))
        for spec in (measurement.a, measurement.b):
            if spec.key not in found and not store.has("models", spec.key):
                found[spec.key] = Cell(spec, cost_of(spec))
    return list(found.values())


def cost_of(what: RunSpec | PairMeasurement) -> float:
    """Relative expected time of a cell, in rough seconds; only the order of work depends on it."""
    if isinstance(what, PairMeasurement):
        return 0.02 * len(what.lams) + 0.001 * cost_of(what.a)
    convolutional = not what.arch.startswith("mlp")
    per_epoch = (0.25 if convolutional else 0.05) + (1.0 if convolutional else 0.2) * what.width**2
    return per_epoch * what.epochs


def make_cell(cell: Cell, workplace: Workplace) -> dict[str, Any]:
    """Train the model or measure the pair, and put it into the store.

    Returns:
        Its record.

    Raises:
        LmcError: data, store or device problems.
    """
    store = Store(workplace.store)
    if isinstance(cell.what, RunSpec):
        return _train(cell.what, store, workplace)
    return _measure(cell.what, store, workplace)


def _train(spec: RunSpec, store: Store, workplace: Workplace) -> dict[str, Any]:
    from dataclasses import asdict

    from lmc.training.engine import train

    trained = train(spec, _dataset(spec.dataset, workplace.data), workplace.device)
    body = {"spec": asdict(spec), **trained.log}
    store.save_model(spec.key, trained.state, body)
    return body


def _measure(measurement: PairMeasurement, store: Store, workplace: Workplace) -> dict[str, Any]:
    import time

    from lmc.measuring.pairs import measure_pair

    started = time.perf_counter()
    dataset = _dataset(measurement.a.dataset, workplace.data)
    states = []
    for spec in (measurement.a, measurement.b):
        record = store.read("models", spec.key)
        if record is not None and record["status"] != "trained":
            body = {"status": f"{spec.describe()} {record['status']}"}
            store.write("measurements", measurement.key, body)
            return body
        state = store.load_model(spec.key)
        if state is None:  # damaged since it was trained
            _train(spec, store, workplace)
            state = store.load_model(spec.key)
        if state is None:
            raise LmcError(f"the store loses the weights of {spec.describe()}; check the disk of {store.root}")
        states.append(state)
    try:
        body = measure_pair(measurement, states[0], states[1], dataset, workplace.device)
    except MergeError as error:
        body = {"status": str(error)}
    body["seconds"] = time.perf_counter() - started
    store.write("measurements", measurement.key, body)
    return body


@functools.lru_cache(maxsize=2)
def _dataset(name: str, data_dir: Path) -> Dataset:
    from lmc.data import load_dataset

    try:
        return load_dataset(name, data_dir)
    except ImportError as error:
        raise DataError(f"dataset {name!r} needs a missing package: {error}; install it") from error


def prepare_process(threads: int) -> None:
    """Set up a worker process: no denormals, its share of threads, Ctrl-C left to the main process.

    Denormal numbers, which strong decay produces, slow CPU arithmetic by up to twelve times.
    """
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    _exit_with_parent()


def _exit_with_parent() -> None:
    import multiprocessing
    import multiprocessing.connection
    import threading

    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
