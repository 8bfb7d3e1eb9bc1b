"""Checkpoints of long trainings: a killed one goes on where it was, with the same bits as an undisturbed one.

A checkpoint is a cell of the store. Its key is made of all that must agree for its state to be of use, so
that one of another recipe, other neighbours in a stack, another device or torch is simply not found.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lmc.errors import StoreError
from lmc.specs import RECIPE_VERSION, RunSpec, content_key
from lmc.store.store import Store

EVERY = 240.0
"""Seconds from one checkpoint to the next; a training that takes less never makes one."""
_FORMAT = 2


@dataclass
class TrainingState:
    """Everything that changes while models train, beside torch's own generator.

    Args:
        model: one network, or several stacked.
        optimizer: of its parameters.
        generators: one per model, for batches and augmentation.
        total: sum of the losses of the current epoch, by model.
        step: optimizer steps done.
        seconds: spent on them.
        losses: one list of models per finished epoch.
        orders: the batches of the current epoch.
        crops: of their images, see `lmc.data.batches.random_crops`; empty where none are made.
        resumed: steps at which the training went on from a checkpoint.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    generators: list[torch.Generator]
    total: Tensor
    step: int = 0
    seconds: float = 0.0
    losses: list[list[float]] = field(default_factory=list)
    orders: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    crops: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))
    resumed: list[int] = field(default_factory=list)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint's weights file holds."""
        found = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for index, parameter in enumerate(self.model.parameters()):
            slots = self.optimizer.state.get(parameter, {})
            found |= {f"optimizer.{index}.{name}": each for name, each in slots.items() if isinstance(each, Tensor)}
        found |= {f"generator.{index}": each.get_state() for index, each in enumerate(self.generators)}
        found |= {"total": self.total, "orders": self.orders, "crops": self.crops}
        found["losses"] = torch.tensor(self.losses, dtype=torch.float32)
        found["noise.cpu"] = torch.get_rng_state()
        if self.total.is_cuda:
            found["noise.cuda"] = torch.cuda.get_rng_state(self.total.device)
        return {name: value.detach().cpu().contiguous() for name, value in found.items()}

    def facts(self) -> dict[str, Any]:
        """What a checkpoint's record holds."""
        groups = [
            {name: value for name, value in group.items() if isinstance(value, (bool, int, float))}
            for group in self.optimizer.param_groups
        ]
        return {"step": self.step, "seconds": self.seconds, "resumed": self.resumed, "groups": groups}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Take over what `tensors` and `facts` gave."""
        weights = {name.removeprefix("model."): each for name, each in tensors.items() if name.startswith("model.")}
        self.model.load_state_dict(weights)
        parameters = list(self.model.parameters())
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, number, slot = name.split(".")
                parameter = parameters[int(number)]
                like = parameter if parameter.shape == value.shape else value  # fused optimizers ask for one layout
                self.optimizer.state[parameter][slot] = torch.empty_like(like, device=parameter.device).copy_(value)
        for group, values in zip(self.optimizer.param_groups, facts["groups"], strict=True):
            group.update(values)
        for index, generator in enumerate(self.generators):
            generator.set_state(tensors[f"generator.{index}"])
        torch.set_rng_state(tensors["noise.cpu"])
        device = self.total.device
        if self.total.is_cuda:
            torch.cuda.set_rng_state(tensors["noise.cuda"], device)
        self.total, self.orders, self.crops = (tensors[name].to(device) for name in ("total", "orders", "crops"))
        self.losses = tensors["losses"].tolist()
        self.step, self.seconds = facts["step"], facts["seconds"]
        self.resumed = [*facts["resumed"], self.step]


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

    def save(self, state: TrainingState) -> None:
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

    def resume(self, state: TrainingState) -> bool:
        """Bring a fresh ``state`` to the latest checkpoint, if there is one.

        Returns:
            ``False`` where the checkpoint does not fit: ``state`` is spoilt, start with another.

        Raises:
            StoreError: the store is unreadable.
        """
        records = [self._store.read("checkpoints", key) for key in self._keys]
        for turn in sorted((0, 1), key=lambda turn: -_step_of(records[turn])):
            record, tensors = records[turn], self._store.load_model(self._keys[turn], "checkpoints")
            if record is None or tensors is None:
                continue
            try:
                state.restore(tensors, record)
            except (ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
                name = self._specs[0].describe()
                print(f"lmc: the checkpoint of {name} does not fit ({error!r}); it starts over", file=sys.stderr)
                return False
            self._latest = turn
            print(f"lmc: {self._specs[0].describe()} goes on at step {state.step}", file=sys.stderr)
            return True
        return True

    def remove(self) -> None:
        """Remove it: the models are finished."""
        for key in self._keys:
            self._store.remove("checkpoints", key)


def _step_of(record: dict[str, Any] | None) -> int:
    step = (record or {}).get("step")
    return step if isinstance(step, int) else -1
