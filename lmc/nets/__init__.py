"""The paper's networks, and whatever else is in the table of architectures, each built by width."""

from __future__ import annotations

import torch
from torch import nn

from lmc.architectures import architecture
from lmc.errors import SpecError
from lmc.nets.mlp import MLP
from lmc.nets.resnet import ResNet
from lmc.nets.sizes import Shape
from lmc.nets.vgg import VGG
from lmc.nets.vit import ViT

__all__ = ["MLP", "VGG", "ResNet", "Shape", "ViT", "build", "memory_format_of"]


def build(arch: str, width: float, shape: Shape, classes: int, *, bias: bool = True, depth: int = 3) -> nn.Module:
    """Build an untrained network.

    Args:
        arch: a name in the table of `lmc.architectures`.
        width: multiplier of the architecture's base width.
        shape: (C, H, W) of one image.
        classes: number of logits.
        bias: see `lmc.specs.RunSpec`.
        depth: hidden layers of an MLP; other architectures have their own.

    Returns:
        A module in training mode, with PyTorch's default initialisation from the global generator.

    Raises:
        SpecError: ``arch`` is unknown, ``width`` gives no whole number of units, the images are too small, or
            somebody else's function builds no module.

    Example:
        >>> sum(parameter.numel() for parameter in build("mlp", 1 / 8, (1, 8, 8), 10).parameters())
        13130
    """
    known = architecture(arch)
    if min(shape[1:]) < known.min_side:
        raise SpecError(
            f"{arch} needs images of at least {known.min_side} pixels a side, these have {min(shape[1:])}; "
            "choose another arch or larger images"
        )
    more = {**known.variant, "depth": depth} if known.any_depth else known.variant
    network: object = known.builder()(width, shape, classes, bias=bias, **more)
    if not isinstance(network, nn.Module):
        raise SpecError(f"arch {arch!r} is built by {known.build}, which gives a {type(network).__name__}, no module")
    return network


def memory_format_of(arch: str) -> torch.memory_format:
    """The memory format in which ``arch`` is fastest."""
    return torch.channels_last if architecture(arch).channels_last else torch.contiguous_format
