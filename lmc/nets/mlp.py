"""Multilayer perceptrons of the paper: three hidden layers, with BatchNorm or skips as variants."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lmc.nets.sizes import Shape, whole_units

BASE_UNITS = 512


class HiddenLayer(nn.Module):
    """z -> σ(norm(W z + b)), plus z itself where ``skip`` (Appendix F.11).

    Args:
        inputs: number of input features.
        units: number of output features; equals ``inputs`` where ``skip``.
        bias: whether W z has a bias.
        batch_norm: whether BatchNorm stands before the ReLU.
        skip: whether the layer's input is added to its output.
    """

    def __init__(self, inputs: int, units: int, *, bias: bool, batch_norm: bool, skip: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, units, bias=bias)
        self.norm = nn.BatchNorm1d(units) if batch_norm else nn.Identity()
        self.relu = nn.ReLU()
        self.skip = skip

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, inputs) to (N, units)."""
        outputs: Tensor = self.relu(self.norm(self.linear(inputs)))
        return inputs + outputs if self.skip else outputs


class MLP(nn.Module):
    """Fully connected net on flattened images (Appendix B.1: three hidden layers of 512 units).

    Args:
        inputs: number of pixels times channels.
        units: units of every hidden layer.
        classes: number of logits.
        depth: number of hidden layers.
        bias: whether the linear layers have biases.
        batch_norm: BatchNorm before every ReLU.
        skip: the input of every hidden layer but the first is added to its output.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        classes: int,
        *,
        depth: int = 3,
        bias: bool = True,
        batch_norm: bool = False,
        skip: bool = False,
    ) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(
            HiddenLayer(
                inputs if index == 0 else units,
                units,
                bias=bias,
                batch_norm=batch_norm,
                skip=skip and index > 0,
            )
            for index in range(depth)
        )
        self.head = nn.Linear(units, classes, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, classes)."""
        features = torch.flatten(images, 1)
        for layer in self.hidden:
            features = layer(features)
        logits: Tensor = self.head(features)
        return logits


def build(width: float, shape: Shape, classes: int, *, bias: bool, depth: int, **variant: bool) -> MLP:
    """An `MLP` of ``width`` times 512 units; ``variant`` may say ``batch_norm`` or ``skip``."""
    pixels = shape[0] * shape[1] * shape[2]
    return MLP(pixels, whole_units(width, BASE_UNITS), classes, depth=depth, bias=bias, **variant)
