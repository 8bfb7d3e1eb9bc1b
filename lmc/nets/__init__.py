"""The paper's networks, each built by width."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from lmc.errors import SpecError
from lmc.nets import resnet, vgg
from lmc.nets.mlp import MLP
from lmc.nets.resnet import ResNet
from lmc.nets.vgg import VGG

__all__ = ["MLP", "VGG", "ResNet", "build", "memory_format_of"]

MLP_UNITS = 512

Shape = tuple[int, int, int]


def build(arch: str, width: float, shape: Shape, classes: int, *, bias: bool = True, depth: int = 3) -> nn.Module:
    """Build an untrained network.

    Args:
        arch: one of `lmc.specs.ARCHITECTURES`.
        width: multiplier of the architecture's base width.
        shape: (C, H, W) of one image.
        classes: number of logits.
        bias: see `lmc.specs.RunSpec`.
        depth: hidden layers of an MLP; other architectures have their own.

    Returns:
        A module in training mode, with PyTorch's default initialisation from the global generator.

    Raises:
        SpecError: ``arch`` is unknown, or ``width`` gives no whole number of units.

    Example:
        >>> sum(parameter.numel() for parameter in build("mlp", 1 / 8, (1, 8, 8), 10).parameters())
        13130
    """
    channels, side, pixels = shape[0], min(shape[1:]), shape[0] * shape[1] * shape[2]

    def mlp(**variant: bool) -> nn.Module:
        return MLP(pixels, _units(width, MLP_UNITS), classes, depth=depth, bias=bias, **variant)

    def vgg_of(plan: tuple[int | None, ...]) -> nn.Module:
        halvings = plan.count(None)
        if side >> halvings < 1:
            raise SpecError(f"{arch} halves images {halvings} times; {side} pixels are too few")
        return VGG(channels, _units(width, vgg.BASE_CHANNELS), classes, plan=plan, bias=bias)

    def resnet_of(blocks: int) -> nn.Module:
        return ResNet(channels, _units(width, resnet.BASE_CHANNELS), classes, blocks=blocks, bias=bias)

    builders: dict[str, Callable[[], nn.Module]] = {
        "mlp": mlp,
        "mlp-bn": lambda: mlp(batch_norm=True),
        "mlp-skip": lambda: mlp(skip=True),
        "vgg11": lambda: vgg_of(vgg.VGG11_PLAN),
        "vgg-small": lambda: vgg_of(vgg.SMALL_PLAN),
        "resnet20": lambda: resnet_of(3),
        "resnet8": lambda: resnet_of(1),
    }
    if arch not in builders:
        raise SpecError(f"unknown arch {arch!r}; choose one of {', '.join(builders)}")
    return builders[arch]()


def memory_format_of(arch: str) -> torch.memory_format:
    """The memory format in which ``arch`` is fastest: channels last for convolutions."""
    return torch.contiguous_format if arch.startswith("mlp") else torch.channels_last


def _units(width: float, base: int) -> int:
    units = width * base
    if units < 1 or not float(units).is_integer():
        raise SpecError(
            f"width {width:g} times the base of {base} is {units:g}; "
            f"choose a multiple of 1/{base} so that it is a whole number of at least 1"
        )
    return int(units)
