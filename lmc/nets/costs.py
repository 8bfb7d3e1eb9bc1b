"""What a network costs: parameters, multiply-adds, activations, counted on the network itself without memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from lmc.nets import Shape, build


@dataclass(frozen=True)
class NetCost:
    """Size of a network.

    Args:
        parameters: trainable numbers.
        macs: multiply-adds of one image's forward pass through linear layers and convolutions.
        activations: numbers that these and BatchNorm give for one image; training keeps about as many.
        layers: how many there are of these and of BatchNorm.
    """

    parameters: int
    macs: int
    activations: int
    layers: int

    @property
    def training_flops(self) -> int:
        """Floating-point operations of one image's forward and backward pass, 6 per multiply-add."""
        return 6 * self.macs


def net_cost(arch: str, width: float, shape: Shape, classes: int, *, bias: bool = True, depth: int = 3) -> NetCost:
    """Count a network on the ``meta`` device: nothing is allocated.

    Args:
        arch: a name in the table of `lmc.architectures`.
        width: multiplier of the architecture's base width.
        shape: (C, H, W) of one image.
        classes: number of logits.
        bias: see `lmc.specs.RunSpec`.
        depth: see `lmc.nets.build`.

    Raises:
        SpecError: see `lmc.nets.build`.
    """
    with torch.device("meta"):
        network = build(arch, width, shape, classes, bias=bias, depth=depth).eval()
        macs = activations = layers = 0

        def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
            nonlocal macs, activations, layers
            activations, layers = activations + output.numel(), layers + 1
            if isinstance(module, _ConvNd):
                macs += output.numel() * module.in_channels // module.groups * math.prod(module.kernel_size)
            elif isinstance(module, nn.Linear):
                macs += output.numel() * module.in_features

        for module in network.modules():
            if isinstance(module, (nn.Linear, _ConvNd, _BatchNorm)):
                module.register_forward_hook(count)
        network(torch.empty(1, *shape))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return NetCost(parameters, macs, activations, layers)
