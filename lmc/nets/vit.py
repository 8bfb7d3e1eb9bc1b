"""Small pre-LayerNorm vision transformers (Dosovitskiy et al. 2021; Xiong et al. 2020). Beyond the paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmc.errors import SpecError
from lmc.nets.sizes import Shape, whole_units

BASE_HEADS = 8
HEAD_UNITS = 16
"""Units of an attention head at every width; a wider net has more heads."""
DEPTH = 4
"""Blocks."""


class Attention(nn.Module):
    """Self-attention over all tokens.

    Queries, keys and values have a projection each, so that a head is a group of consecutive rows in these three and of
    columns in ``out``, and heads can be permuted like channels.

    Args:
        units: features of a token, a multiple of 16.
        bias: whether the four projections have biases.
    """

    def __init__(self, units: int, *, bias: bool) -> None:
        super().__init__()
        self.query = nn.Linear(units, units, bias=bias)
        self.key = nn.Linear(units, units, bias=bias)
        self.value = nn.Linear(units, units, bias=bias)
        self.out = nn.Linear(units, units, bias=bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (N, T, units) to the same shape."""
        shape = (*tokens.shape[:2], -1, HEAD_UNITS)
        query, key, value = (part(tokens).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value)  # (N, heads, T, 16)
        projected: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return projected


class Perceptron(nn.Module):
    """Two linear layers on every token, twice as wide between them; ReLU, as in the other nets, not GELU."""

    def __init__(self, units: int, *, bias: bool) -> None:
        super().__init__()
        self.fc1 = nn.Linear(units, 2 * units, bias=bias)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(2 * units, units, bias=bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (N, T, units) to the same shape."""
        outputs: Tensor = self.fc2(self.relu(self.fc1(tokens)))
        return outputs


class Block(nn.Module):
    """z -> z + attention(norm(z)), then z -> z + perceptron(norm(z))."""

    def __init__(self, units: int, *, bias: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(units, bias=bias)
        self.attention = Attention(units, bias=bias)
        self.norm2 = nn.LayerNorm(units, bias=bias)
        self.mlp = Perceptron(units, bias=bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (N, T, units) to the same shape."""
        tokens = tokens + self.attention(self.norm1(tokens))
        outputs: Tensor = tokens + self.mlp(self.norm2(tokens))
        return outputs


class ViT(nn.Module):
    """Square patches as tokens with learned positions, blocks, a last LayerNorm, the tokens' mean, one linear layer.

    Args:
        shape: (C, H, W) of one image.
        heads: attention heads of 16 units; a token has as many features as they have together.
        classes: number of logits.
        patch: pixels of a patch's side.
        bias: whether linear layers, LayerNorms and the patches' projection have biases.
    """

    def __init__(self, shape: Shape, heads: int, classes: int, *, patch: int, bias: bool = True) -> None:
        super().__init__()
        units = heads * HEAD_UNITS
        tokens = (shape[1] // patch) * (shape[2] // patch)
        self.embed = nn.Conv2d(shape[0], units, patch, stride=patch, bias=bias)
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens, units))
        self.blocks = nn.Sequential(*(Block(units, bias=bias) for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(units, bias=bias)
        self.head = nn.Linear(units, classes, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, classes)."""
        tokens = self.embed(images).flatten(2).transpose(1, 2) + self.positions  # (N, T, units)
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return logits


def build(width: float, shape: Shape, classes: int, *, bias: bool) -> ViT:
    """A `ViT` of ``width`` times 128 features, on patches of 2x2 where a side is below 16 pixels, else of 4x4.

    Raises:
        SpecError: the images are no whole number of patches high or wide, or ``width`` gives no whole number of heads.
    """
    patch = 2 if min(shape[1:]) < 16 else 4
    if shape[1] % patch or shape[2] % patch:
        raise SpecError(f"images of {shape[1]}x{shape[2]} are no whole patches of {patch}x{patch}; pad or crop them")
    return ViT(shape, whole_units(width, BASE_HEADS), classes, patch=patch, bias=bias)
