"""How a piece of a run is made, in a worker process: models are trained, trained ones measured, all put into the store.

What is there already, or what another run is making, is left as it is.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lmc.datasets import Groups
from lmc.errors import DataError, LmcError
from lmc.measuring.measurements import Measurement
from lmc.references import Modules
from lmc.specs import RunSpec, stack_seeds
from lmc.store.leases import Leases
from lmc.store.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from lmc.data import Dataset


@dataclass(frozen=True)
class Workplace:
    """What a worker needs to know to make something.

    Args:
        store: folder of the store.
        data: folder of prepared datasets.
        device: where to compute.
        modules: somebody else's, loaded before anything is made.
    """

    store: Path
    data: Path
    device: str
    modules: Modules = field(default_factory=Modules)


class _MadeElsewhereError(Exception):
    """Another run is training a model whose weights are needed here.

    Args:
        spec: of the model.
    """

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec.key)
        self.spec = spec


def training_block(spec: RunSpec, device: str) -> tuple[RunSpec, ...]:
    """The specs that are trained side by side with ``spec``, in the order of their seeds."""
    seeds = stack_seeds(spec) if device == "cpu" else (spec.init_seed,)
    return tuple(spec.with_seed(seed) for seed in seeds) if len(seeds) > 1 else (spec,)


def train_missing(block: Sequence[RunSpec], workplace: Workplace) -> None:
    """Train models side by side and keep those that the store lacks; none where another run is training one of them.

    Raises:
        LmcError: data, store or device problems.
    """
    workplace.modules.load()
    with _gpu_memory_given_back(workplace.device):
        _train(block, Store(workplace.store), workplace)


def measure_missing(measurements: Sequence[Measurement], workplace: Workplace) -> None:
    """Carry out measurements that share models; each is in the store as soon as it is done.

    All that no other run has claimed are claimed before the first is carried out, so that a run which comes later does
    not share them: it would have to load and evaluate the same models. Of two that start at once, each may get some.
    A model that is damaged or gone since it was trained is trained again; where another run is training it, its
    measurements are left out.

    Raises:
        LmcError: data, store or device problems.
    """
    workplace.modules.load()
    store = Store(workplace.store)
    with (
        _gpu_memory_given_back(workplace.device),
        Leases(store.root).claim_each([each.key for each in measurements]) as ours,
    ):
        lacking = [each for each in measurements if each.key in ours and not store.has("measurements", each.key)]
        _measure([each for each in lacking if _all_trained(each, store, workplace)], store, workplace)


def _train(block: Sequence[RunSpec], store: Store, workplace: Workplace) -> bool:
    """Train what the store lacks of ``block``; ``False`` where another run is training one of them."""
    from lmc.store.checkpoints import Checkpoint
    from lmc.training.engine import train, train_stack

    with Leases(store.root).claim([spec.key for spec in block]) as ours:
        if not ours:
            return False
        missing = [spec for spec in block if not store.has("models", spec.key)]
        if not missing:
            return True
        dataset = _dataset(block[0].dataset, block[0].classes, workplace.data)
        checkpoint = Checkpoint(store, block, workplace.device)
        if len(block) == 1:
            models = [train(block[0], dataset, workplace.device, checkpoint=checkpoint)]
        else:
            models = train_stack(block, dataset, workplace.device, checkpoint=checkpoint)
        for spec, trained in zip(block, models, strict=True):
            if spec in missing:
                store.save_model(spec.key, trained.state, {"spec": asdict(spec), **trained.log})
        checkpoint.remove()
    return True


def _all_trained(measurement: Measurement, store: Store, workplace: Workplace) -> bool:
    """Whether all models are there and of use.

    Of one that is of no use the record tells, and there is nothing more to measure. One that another run is training is
    waited for.
    """
    for spec in measurement.specs:
        record = store.read("models", spec.key)
        if record is None:
            if not _train(training_block(spec, workplace.device), store, workplace):
                return False
            record = store.read("models", spec.key) or {"status": "is gone"}
        if record["status"] != "trained":
            store.write("measurements", measurement.key, {"status": f"{spec.describe()} {record['status']}"})
            return False
    return True


def _measure(measurements: Sequence[Measurement], store: Store, workplace: Workplace) -> None:
    from lmc.measuring.records import measure_all

    load = functools.partial(_weights, store=store, workplace=workplace)
    left = list(measurements)
    while left:
        started = time.perf_counter()
        recipe = left[0].specs[0]
        dataset = _dataset(recipe.dataset, recipe.classes, workplace.data)
        try:
            for measurement, body in measure_all(tuple(left), load, dataset, workplace.device):
                store.write("measurements", measurement.key, {**body, "seconds": time.perf_counter() - started})
                left.remove(measurement)
                started = time.perf_counter()
        except _MadeElsewhereError as error:
            left = [each for each in left if error.spec not in each.specs]


def _weights(spec: RunSpec, store: Store, workplace: Workplace) -> dict[str, Tensor]:
    """A model's weights; one that is damaged or gone since it was trained is trained again.

    Raises:
        LmcError: it is lost as soon as it is trained.
        _MadeElsewhereError: another run is training it.
    """
    import torch

    for _ in range(2):
        state = store.load_model(spec.key)
        if state is not None:
            return state
        with torch.enable_grad():  # it is asked for amid measuring, which keeps no gradients
            if not _train(training_block(spec, workplace.device), store, workplace):
                raise _MadeElsewhereError(spec)
    raise LmcError(f"the store loses the weights of {spec.describe()}; check the disk of {store.root}")


@functools.lru_cache(maxsize=2)
def _dataset(name: str, groups: Groups, data_dir: Path) -> Dataset:
    from lmc.data import load_dataset

    try:
        return load_dataset(name, data_dir).restricted(groups)
    except ImportError as error:
        raise DataError(f"dataset {name!r} needs a missing package: {error}; install it") from error


@contextlib.contextmanager
def _gpu_memory_given_back(device: str) -> Iterator[None]:
    """Torch keeps what a job took of a GPU for the next one in the same process; others that share it need it."""
    try:
        yield
    finally:
        if device != "cpu":
            import torch

            torch.accelerator.memory.empty_cache()
