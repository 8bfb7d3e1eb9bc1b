"""What a network costs, against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmc import architectures
from lmc.architectures import Architecture, register_architecture
from lmc.nets.costs import net_cost


def test_an_mlp() -> None:
    """64 - 32 - 32 - 32 - 10, with biases."""
    cost = net_cost("mlp", 1 / 16, (1, 8, 8), 10)
    assert cost.macs == 64 * 32 + 2 * 32 * 32 + 32 * 10
    assert cost.parameters == cost.macs + 3 * 32 + 10
    assert (cost.activations, cost.layers) == (3 * 32 + 10, 4)
    assert cost.matrices == [(32, 64), (32, 32), (32, 32), (10, 32)]
    assert cost.products == ((1, 64, 32), (1, 32, 32), (1, 32, 32), (1, 32, 10))
    assert cost.training_flops == 6 * cost.macs


def test_a_vgg() -> None:
    """Channels w, 2w, 4w, 4w at 8x8, 4x4, 2x2, 2x2 pixels, w = 8; BatchNorm gives as much as a convolution."""
    cost = net_cost("vgg-small", 1 / 8, (1, 8, 8), 10)
    macs = [64 * 9 * 1 * 8, 16 * 9 * 8 * 16, 4 * 9 * 16 * 32, 4 * 9 * 32 * 32, 32 * 10]
    assert cost.macs == sum(macs)
    assert cost.activations == 2 * (64 * 8 + 16 * 16 + 4 * 32 + 4 * 32) + 10
    assert cost.layers == 9
    assert cost.matrices == [(8, 9), (16, 72), (32, 144), (32, 288), (10, 32)]
    assert [rows * inputs * outputs for rows, inputs, outputs in cost.products] == macs


class Attention(nn.Module):
    """One head of attention over the eight rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.into, self.head = nn.LayerNorm(8), nn.Linear(8, 12, bias=False), nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 1, 8, 8) to (N, 10)."""
        query, key, value = self.into(self.norm(images.flatten(1, 2)))[:, None].chunk(3, -1)
        logits: Tensor = self.head(F.scaled_dot_product_attention(query, key, value).mean((1, 2)))
        return logits


@pytest.fixture
def attention(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(architectures, "_TABLE", dict(architectures._TABLE))
    register_architecture(Architecture(name="one-head", kind="vit", build=lambda *_, **__: Attention()))
    return "one-head"


def test_attention_counts(attention: str) -> None:
    """Scores of eight by eight rows of four features, and their sums, beside the linear layers."""
    cost = net_cost(attention, 1.0, (1, 8, 8), 10)
    linear = 8 * 8 * 12 + 4 * 10
    assert cost.macs == linear + 2 * 8 * 8 * 4
    assert cost.activations == 8 * 8 + 8 * 12 + 10
    assert sum(rows * inputs * outputs for rows, inputs, outputs in cost.products) == linear


def test_a_transformer() -> None:
    """16 patches of 2x2, 32 features in two heads; 4 blocks of four projections, attention and a perceptron."""
    block = 4 * 16 * 32 * 32 + 2 * 16 * 16 * 32 + 2 * 16 * 32 * 64
    assert net_cost("vit", 1 / 4, (1, 8, 8), 10).macs == 16 * 4 * 32 + 4 * block + 32 * 10


@pytest.mark.parametrize("arch", ["mlp", "vgg11", "resnet20"])
def test_nothing_is_allocated(arch: str) -> None:
    before = torch.get_rng_state()
    assert net_cost(arch, 16, (3, 32, 32), 10).parameters > 1e7
    assert torch.equal(torch.get_rng_state(), before)
