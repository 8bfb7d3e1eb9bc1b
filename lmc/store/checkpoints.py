"""Checkpoints of long trainings: a killed one goes on where it was, with the same bits as an undisturbed one.

A checkpoint is a cell of the store. Its key is made of all that must agree for its state to be of use, so
that one of another recipe, other neighbours in a stack, another device or torch is simply not found.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from lmc.errors import StoreError
from lmc.specs import RECIPE_VERSION, RunSpec, content_key
from lmc.store.store import Store

EVERY = 240.0
"""Seconds from one checkpoint to the next; a training that takes less never makes one."""
_FORMAT = 2


class State(Protocol):
    """What changes while models train, see `lmc.training.state.TrainingState`."""

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint's weights file holds."""
        ...

    def facts(self) -> dict[str, Any]:
        """What a checkpoint's record holds, the ``step`` among it."""
        ...

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Take over what `tensors` and `facts` gave."""
        ...


S = TypeVar("S", bound=State)


class Checkpoint:
    """The latest state of one training in a store.

    Args:
        store: where it stands.
        specs: of the models that are trained side by side.
        device: where they are trained.
    """

    def __init__(self, store: Store, specs: Sequence[RunSpec], device: str) -> None:
        self._store, self._specs = store, specs
        kind = torch.device(device).type
        identity = ["checkpoint", _FORMAT, str(torch.__version__), kind, [spec.key for spec in specs]]
        self._keys = [content_key([*identity, turn]) for turn in (0, 1)]  # the next never overwrites the last
        self._latest = 0
        self._clock = time.monotonic()

    def due(self) -> bool:
        """Whether the last one, or the start, is `EVERY` seconds ago."""
        return time.monotonic() - self._clock >= EVERY

    def save(self, state: State) -> None:
        """Replace the checkpoint; where the disk does not take it, say so and leave the last one."""
        names = {"specs": [spec.key for spec in self._specs], "recipe": RECIPE_VERSION}
        new = 1 - self._latest
        try:
            self._store.save_model(self._keys[new], state.tensors(), {**names, **state.facts()}, "checkpoints")
            self._store.remove("checkpoints", self._keys[self._latest])
            self._latest = new
        except StoreError as error:
            print(f"lmc: no checkpoint of {self._specs[0].describe()}: {error}; it trains on", file=sys.stderr)
        self._clock = time.monotonic()

    def resumed(self, fresh: Callable[[], S]) -> S:
        """A state of what ``fresh`` gives, brought to the latest checkpoint if there is one that fits.

        Raises:
            StoreError: the store is unreadable.
        """
        state, name = fresh(), self._specs[0].describe()
        records = [self._store.read("checkpoints", key) for key in self._keys]
        for turn in sorted((0, 1), key=lambda turn: -_step_of(records[turn])):
            record, tensors = records[turn], self._store.load_model(self._keys[turn], "checkpoints")
            if record is None or tensors is None:
                continue
            try:
                state.restore(tensors, record)
            except (ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
                print(f"lmc: the checkpoint of {name} does not fit ({error!r}); it starts over", file=sys.stderr)
                return fresh()  # the first one may be half restored
            self._latest = turn
            print(f"lmc: {name} goes on at step {_step_of(record)}", file=sys.stderr)
            break
        return state

    def remove(self) -> None:
        """Remove it: the models are finished."""
        for key in self._keys:
            self._store.remove("checkpoints", key)


def _step_of(record: dict[str, Any] | None) -> int:
    step = (record or {}).get("step")
    return step if isinstance(step, int) else -1
