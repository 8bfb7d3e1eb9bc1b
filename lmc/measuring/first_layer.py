"""A net's first weight layer, answered from memory: along λ its pre-activations are linear, as its weights are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

_WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class FirstLayer:
    """The only reader of a net's inputs: a linear layer or convolution that runs once per forward pass.

    Args:
        module: the layer.
        input_shape: of what it reads, without the batch.
        outputs: pre-activations per image.
        fan_in: multiply-adds per pre-activation.
        macs: multiply-adds per image of all linear layers and convolutions of the net.
    """

    module: nn.Module
    input_shape: torch.Size
    outputs: int
    fan_in: int
    macs: int

    @property
    def own_macs(self) -> int:
        """Multiply-adds per image of the layer itself."""
        return self.outputs * self.fan_in

    def respond(self, batch: Tensor) -> Tensor:
        """Pre-activations, with bias, of a batch of the net's inputs."""
        response: Tensor = self.module(batch.reshape(len(batch), *self.input_shape))
        return response

    def respond_within(self, model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Pre-activations of this layer of ``model``, and the model's own output."""
        found: list[Tensor] = []
        handle = self.module.register_forward_hook(lambda *call: found.append(call[2].clone()))
        try:
            output = model(batch)
        finally:
            handle.remove()
        return found[0], output


@torch.no_grad()
def find_first_layer(model: nn.Module, batch: Tensor) -> FirstLayer | None:
    """Find the layer by running ``model``, in evaluation mode, on one batch of inputs.

    Returns:
        The layer; ``None`` where the first one is no plain layer, reads something else than the batch
        (which may be flattened), runs more than once, or where anything else reads the batch too.
    """
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []
    untouched = batch._version  # counts changes in place

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append((module, inputs[0], output if calls else output.clone()))

    layers: list[nn.Module] = [module for module in model.modules() if isinstance(module, _WEIGHT_LAYERS)]
    plain = {module for module in layers if _is_plain(module)}  # before the hooks below
    handles = [module.register_forward_hook(note) for module in layers]
    try:
        expected = model(batch)
    finally:
        for handle in handles:
            handle.remove()
    if not calls:
        return None
    first, read, response = calls[0]
    runs = sum(module is first for module, _, _ in calls)
    if not (first in plain and runs == 1 and batch._version == untouched and _is_reshaped(batch, read)):
        return None
    with answering(first) as replay:
        if not torch.equal(model(next(replay([response.clone()], batch.shape[1:]))), expected):
            return None
    macs = sum(output.numel() * _fan_in(module) for module, _, output in calls)
    return FirstLayer(first, read.shape[1:], response[0].numel(), _fan_in(first), macs // len(batch))


class Replay:
    """Turns pre-activations of the first layer into inputs for the whole net."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, responses: Iterable[Tensor], shape: Iterable[int]) -> Iterator[Tensor]:
        """Yield, for each batch of responses, what to call the net with.

        Args:
            responses: (N, ...), one tensor per batch; the net may change them.
            shape: of one input. The inputs themselves are NaN, so that none can be read unnoticed.
        """
        for response in responses:
            self._module.forward = lambda _, response=response: response
            yield response.new_full((1,) * (1 + len(tuple(shape))), math.nan).expand(len(response), *shape)


@contextmanager
def answering(module: nn.Module) -> Iterator[Replay]:
    """Let ``module`` answer with given responses instead of computing them."""
    assert "forward" not in vars(module), "find_first_layer takes only layers with their class's forward()"
    try:
        yield Replay(module)
    finally:
        vars(module).pop("forward", None)


def _is_plain(module: nn.Module) -> bool:
    """Whether the module is affine in its own weight and bias, and nothing is hooked in between."""
    hooked: tuple[Any, ...] = (module._forward_hooks, module._forward_pre_hooks, vars(module).get("forward"))
    return type(module) in _WEIGHT_LAYERS and "weight" in module._parameters and not any(hooked)


def _is_reshaped(batch: Tensor, read: Tensor) -> bool:
    """Whether ``read`` is the batch's own memory, its images reshaped and nothing else."""
    same = read.data_ptr() == batch.data_ptr() and read.numel() == batch.numel() and len(read) == len(batch)
    return same and torch.equal(read, batch.reshape(read.shape))


def _fan_in(module: nn.Module) -> int:
    if isinstance(module, _ConvNd):
        return module.in_channels // module.groups * math.prod(module.kernel_size)
    assert isinstance(module, nn.Linear)
    return module.in_features
