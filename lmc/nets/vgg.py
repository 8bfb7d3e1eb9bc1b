"""VGG nets with BatchNorm and one linear layer (Simonyan & Zisserman 2015; Appendix B.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lmc.nets.sizes import Shape, whole_units

BASE_CHANNELS = 64

# Channels in units of the base width; None is a 2x2 max-pool.
VGG11_PLAN: tuple[int | None, ...] = (1, None, 2, None, 4, 4, None, 8, 8, None, 8, 8, None)
SMALL_PLAN = VGG11_PLAN[:6]
"""The first four convolutions of VGG-11, for images of 8x8 pixels."""


class VGG(nn.Module):
    """3x3 convolutions, each with BatchNorm and ReLU, max-pools between, one linear layer.

    Args:
        in_channels: channels of the images.
        base: channels of the first convolution.
        classes: number of logits.
        plan: convolutions as multiples of ``base``, ``None`` for a max-pool.
        bias: whether the linear layer has a bias; convolutions have none, BatchNorm shifts instead.
    """

    def __init__(
        self,
        in_channels: int,
        base: int,
        classes: int,
        *,
        plan: Sequence[int | None] = VGG11_PLAN,
        bias: bool = True,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for multiple in plan:
            if multiple is None:
                layers.append(nn.MaxPool2d(2))
                continue
            layers.append(nn.Conv2d(channels, base * multiple, 3, padding=1, bias=False))
            channels = base * multiple
            layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, classes, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, classes)."""
        pooled = torch.flatten(self.pool(self.features(images)), 1)
        logits: Tensor = self.head(pooled)
        return logits


def build(width: float, shape: Shape, classes: int, *, bias: bool, small: bool = False) -> VGG:
    """A `VGG` of ``width`` times 64 channels, with eight convolutions or, where ``small``, four."""
    plan = SMALL_PLAN if small else VGG11_PLAN
    return VGG(shape[0], whole_units(width, BASE_CHANNELS), classes, plan=plan, bias=bias)
