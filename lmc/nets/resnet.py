"""CIFAR-style residual nets: three stages of basic blocks (He et al. 2016; Appendix B.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lmc.nets.sizes import Shape, whole_units

BASE_CHANNELS = 16


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm around a shortcut.

    The shortcut is the identity, or a 1x1 convolution with BatchNorm where the shape changes
    (as in Ainsworth et al. 2023), so that every channel has its own weights to permute.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        if stride == 1 and in_channels == channels:
            self.shortcut: nn.Module = nn.Identity()
        else:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        branch = self.relu1(self.norm1(self.conv1(inputs)))
        branch = self.norm2(self.conv2(branch))
        outputs: Tensor = self.relu2(branch + self.shortcut(inputs))
        return outputs


class ResNet(nn.Module):
    """6n + 2 layers: a stem, three stages of n basic blocks at base, 2·base, 4·base channels, a head.

    Args:
        in_channels: channels of the images.
        base: channels of the first stage.
        classes: number of logits.
        blocks: blocks per stage; 1 gives ResNet-8, 3 gives ResNet-20.
        bias: whether the linear layer has a bias.
    """

    def __init__(self, in_channels: int, base: int, classes: int, *, blocks: int = 3, bias: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, base, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(base)
        self.relu = nn.ReLU()
        stages: list[nn.Module] = []
        channels = base
        for stage in range(3):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(BasicBlock(channels, base * 2**stage, stride))
                channels = base * 2**stage
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, classes, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, classes)."""
        features = self.stages(self.relu(self.norm(self.stem(images))))
        logits: Tensor = self.head(torch.flatten(self.pool(features), 1))
        return logits


def build(width: float, shape: Shape, classes: int, *, bias: bool, blocks: int) -> ResNet:
    """A `ResNet` of ``width`` times 16 channels."""
    return ResNet(shape[0], whole_units(width, BASE_CHANNELS), classes, blocks=blocks, bias=bias)
