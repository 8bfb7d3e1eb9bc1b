"""Everything that changes while models train, to be kept in a checkpoint and taken up again with the same bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class TrainingState:
    """Everything that changes while models train, beside torch's own generator.

    Args:
        model: one network, or several stacked.
        optimizer: of its parameters.
        generators: one per model, for batches and augmentation.
        noises: one per model, on its device, for Sophia's estimates of the curvature.
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
    noises: list[torch.Generator]
    total: Tensor
    step: int = 0
    seconds: float = 0.0
    losses: list[list[float]] = field(default_factory=list)
    orders: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    crops: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))
    resumed: list[int] = field(default_factory=list)

    @property
    def _all_generators(self) -> list[torch.Generator]:
        return [*self.generators, *self.noises]

    def changed(self) -> list[Tensor]:
        """What a step changes: weights, buffers, the optimizer's state and the sum of losses."""
        slots = [slot for each in self.optimizer.state.values() for slot in each.values() if isinstance(slot, Tensor)]
        return [*self.model.state_dict().values(), *slots, self.total]

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint's weights file holds."""
        found = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for index, parameter in enumerate(self.model.parameters()):
            slots = self.optimizer.state.get(parameter, {})
            found |= {f"optimizer.{index}.{name}": each for name, each in slots.items() if isinstance(each, Tensor)}
        found |= {f"generator.{index}": each.get_state() for index, each in enumerate(self._all_generators)}
        found |= {"total": self.total, "orders": self.orders, "crops": self.crops}
        found["losses"] = torch.tensor(self.losses, dtype=torch.float32)
        found["noise.cpu"] = torch.get_rng_state()
        if self.total.is_cuda:
            found["noise.cuda"] = torch.cuda.get_rng_state(self.total.device)
        return {name: value.detach().contiguous().cpu() for name, value in found.items()}  # a device reorders faster

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
        for index, generator in enumerate(self._all_generators):
            generator.set_state(tensors[f"generator.{index}"])
        torch.set_rng_state(tensors["noise.cpu"])
        device = self.total.device
        if self.total.is_cuda:
            torch.cuda.set_rng_state(tensors["noise.cuda"], device)
        self.total, self.orders, self.crops = (tensors[name].to(device) for name in ("total", "orders", "crops"))
        self.losses = tensors["losses"].tolist()
        self.step, self.seconds = facts["step"], facts["seconds"]
        self.resumed = [*facts["resumed"], self.step]
