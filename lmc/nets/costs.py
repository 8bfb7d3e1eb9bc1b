"""What a network costs: parameters, multiply-adds, activations, counted on the network itself without memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode

from lmc.nets import Shape, build

_COUNTED = (nn.Linear, _ConvNd, _BatchNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class NetCost:
    """Size of a network.

    Args:
        parameters: trainable numbers.
        macs: multiply-adds of one image's forward pass, of every matrix product in it: linear layers, convolutions,
            attention.
        activations: numbers that linear layers, convolutions and normalisations give for one image; training keeps
            about as many.
        layers: how many there are of these.
        products: of every linear layer and convolution, how many rows of inputs it multiplies for one image, inputs of
            a row, and outputs; inputs of a convolution are its channels times the kernel's places.
    """

    parameters: int
    macs: int
    activations: int
    layers: int
    products: tuple[tuple[int, int, int], ...]

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Outputs and inputs of every linear layer and convolution."""
        return [(outputs, inputs) for _, inputs, outputs in self.products]

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
        given: list[int] = []
        products: list[tuple[int, int, int]] = []

        def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
            given.append(output.numel())
            if isinstance(module, (nn.Linear, _ConvNd)):
                outputs, inputs = module.weight.flatten(1).shape
                products.append((output.numel() // outputs, inputs, outputs))

        for module in network.modules():
            if isinstance(module, _COUNTED):
                module.register_forward_hook(count)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.empty(1, *shape))
    return NetCost(
        sum(each.numel() for each in network.parameters()),
        counter.get_total_flops() // 2,
        sum(given),
        len(given),
        tuple(products),
    )
