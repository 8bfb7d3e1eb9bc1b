"""What every layer of a network sees and gives, caught with hooks while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd

WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass
class Capture:
    """Tensors of one forward pass, by module name, in order of execution.

    Args:
        inputs: what each weight layer (linear or convolution) read: z of the layer before.
        responses: what it answered without its bias: W z.
        preactivations: what each ReLU read: h.
        activations: what each ReLU gave: f_ℓ = σ(h).
    """

    inputs: dict[str, Tensor] = field(default_factory=dict)
    responses: dict[str, Tensor] = field(default_factory=dict)
    preactivations: dict[str, Tensor] = field(default_factory=dict)
    activations: dict[str, Tensor] = field(default_factory=dict)


@contextmanager
def capturing(model: nn.Module) -> Iterator[Capture]:
    """Catch the tensors of the next forward pass of ``model`` (each module used once)."""
    caught = Capture()
    handles = []

    def on_weight(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            caught.inputs[name] = inputs[0]
            caught.responses[name] = _without_bias(module, output)

        return hook

    def on_relu(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            caught.preactivations[name] = inputs[0]
            caught.activations[name] = output

        return hook

    try:
        for name, module in model.named_modules():
            if isinstance(module, WEIGHT_LAYERS):
                handles.append(module.register_forward_hook(on_weight(name)))
            elif isinstance(module, nn.ReLU):
                handles.append(module.register_forward_hook(on_relu(name)))
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def respond(module: nn.Module, inputs: Tensor) -> Tensor:
    """W z: the layer's linear map without its bias.

    Args:
        module: a linear layer or convolution.
        inputs: z, of the shape the layer reads.
    """
    if isinstance(module, nn.Linear):
        return F.linear(inputs, module.weight)
    assert isinstance(module, _ConvNd)
    return _without_bias(module, module(inputs))


def _without_bias(module: nn.Module, output: Tensor) -> Tensor:
    if not isinstance(module.bias, Tensor):
        return output
    spatial = output.ndim - 2 if isinstance(module, _ConvNd) else 0
    return output - module.bias.reshape(-1, *(1,) * spatial)
