"""What a run still has to make, and how a piece of it is made (in a worker process)."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc.architectures import architecture
from lmc.errors import DataError, LmcError, MergeError
from lmc.measuring.measurements import Measurement, PairMeasurement
from lmc.references import Modules
from lmc.specs import RunSpec, stack_seeds
from lmc.store.leases import POLL, Leases, describe
from lmc.store.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from lmc.data import Dataset


@dataclass(frozen=True)
class Cell:
    """A piece of work: models to train side by side, or something to measure of trained ones.

    Args:
        what: the specs or the measurement.
        cost: relative expected time, for the order of work.
    """

    what: tuple[RunSpec, ...] | Measurement
    cost: float

    @property
    def trains(self) -> tuple[RunSpec, ...]:
        """The specs it trains; none where it measures."""
        return self.what if isinstance(self.what, tuple) else ()

    @property
    def measures(self) -> Measurement | None:
        """The measurement, or ``None`` where it trains."""
        return None if isinstance(self.what, tuple) else self.what

    @property
    def makes(self) -> tuple[str, ...]:
        """Keys of the store's records this makes."""
        return tuple(spec.key for spec in self.what) if isinstance(self.what, tuple) else (self.what.key,)

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        """The models it trains or measures."""
        return self.what if isinstance(self.what, tuple) else self.what.specs

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the models that must be finished first."""
        return () if isinstance(self.what, tuple) else tuple(spec.key for spec in self.what.specs)

    def describe(self) -> str:
        """One line for logs and error messages."""
        if not isinstance(self.what, tuple):
            return self.what.describe()
        others = f" and {len(self.what) - 1} more seeds" if len(self.what) > 1 else ""
        return self.what[0].describe() + others


@dataclass(frozen=True)
class Workplace:
    """What a worker needs to know to make a cell; ``modules`` are somebody else's, loaded before anything is made."""

    store: Path
    data: Path
    device: str
    modules: Modules = field(default_factory=Modules)


def missing_cells(measurements: Iterable[Measurement], store: Store, device: str) -> list[Cell]:
    """The measurements the store lacks, and the models they need that it lacks."""
    missing: dict[str, Measurement] = {}
    blocks: dict[tuple[RunSpec, ...], None] = {}
    for measurement in measurements:
        if measurement.key in missing or store.has("measurements", measurement.key):
            continue
        missing[measurement.key] = measurement
        for spec in measurement.specs:
            block = training_block(spec, device)
            if block not in blocks and not store.has("models", spec.key):
                blocks[block] = None
    trainings = [Cell(block, sum(map(cost_of, block))) for block in blocks]
    return [*trainings, *(Cell(each, cost_of(each)) for each in missing.values())]


def training_block(spec: RunSpec, device: str) -> tuple[RunSpec, ...]:
    """The specs that are trained side by side with ``spec``, in the order of their seeds."""
    seeds = stack_seeds(spec) if device == "cpu" else (spec.init_seed,)
    return tuple(spec.with_seed(seed) for seed in seeds) if len(seeds) > 1 else (spec,)


def cost_of(what: RunSpec | Measurement) -> float:
    """Relative expected time, in rough seconds; only the order of work and the progress depend on it."""
    if not isinstance(what, RunSpec):
        points = len(what.lams) if isinstance(what, PairMeasurement) else len(what.specs)
        return 0.03 * points + 0.005 * cost_of(what.specs[0])
    convolutional = architecture(what.arch).channels_last
    per_epoch = (0.15 if convolutional else 0.02) + (0.3 if convolutional else 0.1) * what.width**2
    return per_epoch * what.epochs


class _MadeElsewhereError(Exception):
    """Another run is making what is needed here."""


def make_cell(cell: Cell, workplace: Workplace) -> None:
    """Train the models or measure them, and put the outcome into the store.

    A cell that is there already, or that another run is making, is left as it is.

    Raises:
        LmcError: data, store or device problems.
    """
    workplace.modules.load()
    store = Store(workplace.store)
    with contextlib.suppress(_MadeElsewhereError), _gpu_memory_given_back(workplace.device):
        if isinstance(cell.what, tuple):
            _train(cell.what, store, workplace)
        else:
            _measure(cell.what, store, workplace)


@contextlib.contextmanager
def _gpu_memory_given_back(device: str) -> Iterator[None]:
    """Torch keeps what a cell took of a GPU for the next one in the same process; others that share it need it."""
    try:
        yield
    finally:
        if device != "cpu":
            import torch

            torch.cuda.empty_cache()


@contextlib.contextmanager
def _claimed(store: Store, keys: Sequence[str]) -> Iterator[None]:
    with Leases(store.root).claim(keys) as ours:
        if not ours:
            raise _MadeElsewhereError
        yield


def _train(block: tuple[RunSpec, ...], store: Store, workplace: Workplace) -> None:
    from lmc.training.checkpoints import Checkpoint
    from lmc.training.engine import train, train_stack

    with _claimed(store, [spec.key for spec in block]):
        missing = [spec for spec in block if not store.has("models", spec.key)]
        if not missing:
            return
        dataset = _dataset(block[0].dataset, workplace.data)
        checkpoint = Checkpoint(store, block, workplace.device)
        if len(block) == 1:
            models = [train(block[0], dataset, workplace.device, checkpoint=checkpoint)]
        else:
            models = train_stack(block, dataset, workplace.device, checkpoint=checkpoint)
        for spec, trained in zip(block, models, strict=True):
            if spec in missing:
                store.save_model(spec.key, trained.state, {"spec": asdict(spec), **trained.log})
        checkpoint.remove()


def _measure(measurement: Measurement, store: Store, workplace: Workplace) -> None:
    from lmc.measuring.records import measure

    with _claimed(store, [measurement.key]):
        if store.has("measurements", measurement.key):
            return
        started = time.perf_counter()
        for spec in measurement.specs:
            record = store.read("models", spec.key) or _trained(spec, store, workplace)[0]
            if record["status"] != "trained":
                store.write("measurements", measurement.key, {"status": f"{spec.describe()} {record['status']}"})
                return
        states = (_trained(spec, store, workplace)[1] for spec in measurement.specs)  # one at a time in memory
        dataset = _dataset(measurement.specs[0].dataset, workplace.data)
        try:
            body = measure(measurement, states, dataset, workplace.device)
        except MergeError as error:
            body = {"status": str(error)}
        store.write("measurements", measurement.key, {**body, "seconds": time.perf_counter() - started})


def _trained(spec: RunSpec, store: Store, workplace: Workplace) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A model's record and weights; one that is damaged or gone since it was trained is trained again."""
    for _ in range(2):
        record, state = store.read("models", spec.key), store.load_model(spec.key)
        if record is not None and state is not None:
            return record, state
        _train(training_block(spec, workplace.device), store, workplace)
    raise LmcError(f"the store loses the weights of {spec.describe()}; check the disk of {store.root}")


def wait_for_others(cells: Sequence[Cell], leases: Leases) -> None:
    """Return as soon as one of ``cells`` can be made, because no other run is making it or what it needs."""
    said = False
    while True:
        others = leases.others()
        busy = {key for cell in cells if not others.keys().isdisjoint(cell.makes) for key in cell.makes}
        if not all(busy & {*cell.makes, *cell.needs} for cell in cells):
            return
        if not said:
            makers = sorted({describe(content) for content in others.values()})
            print(f"lmc: waiting for {', '.join(makers)} to make {len(busy)} pieces", file=sys.stderr, flush=True)
            said = True
        time.sleep(POLL)


@functools.lru_cache(maxsize=2)
def _dataset(name: str, data_dir: Path) -> Dataset:
    from lmc.data import load_dataset

    try:
        return load_dataset(name, data_dir)
    except ImportError as error:
        raise DataError(f"dataset {name!r} needs a missing package: {error}; install it") from error


def prepare_process(threads: int) -> None:
    """Set up a worker process: its arithmetic, Ctrl-C left to the main process, no life after it."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare_arithmetic(threads)
    _exit_with_parent()


def prepare_arithmetic(threads: int) -> None:
    """Set the threads, and flush the denormals of strong decay: they slow a CPU by up to twelve times."""
    import torch

    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)


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
