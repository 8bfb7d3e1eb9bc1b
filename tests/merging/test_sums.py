"""Sum merging: what is summed and what is averaged, layer by layer, and what is refused.

`tests/test_theorems.py` has the theorem; here nets with normalisation, skips and attention are made block-disjoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from traced_nets import WIDTHS, made

from lmc.errors import MergeError
from lmc.merging import reset_bn_stats
from lmc.merging.sums import SumParts, sum_merge, sum_parts

State = dict[str, Tensor]
CLOSE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
BLOCK = 4
"""Channels of each model in every layer."""


class Residual(nn.Module):
    """A stem, a branch with a norm, an un-normalised skip, a head; biases everywhere."""

    def __init__(self, channels: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.stem, self.norm = nn.Linear(6, channels), norm(channels)
        self.inner, self.outer = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.slope = nn.PReLU()
        self.head = nn.Linear(channels, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        stream = self.stem(inputs)
        stream = stream + F.relu(self.outer(self.slope(self.inner(self.norm(stream)))))
        return self.head(F.gelu(stream))


def disjoint(models: int, norm: Callable[[int], nn.Module], *, centred: bool = False) -> list[nn.Module]:
    """Models of which each owns a block of the channels: all other rows, columns, scales and shifts are 0."""
    channels, nets = models * BLOCK, list[nn.Module]()
    for index in range(models):
        torch.manual_seed(index)
        net = Residual(channels, norm).double().eval()
        own = torch.zeros(channels, dtype=torch.float64)
        own[index * BLOCK : (index + 1) * BLOCK] = 1
        with torch.no_grad():
            for name, tensor in net.state_dict().items():
                if not tensor.is_floating_point() or "slope" in name:
                    continue
                if tensor.ndim == 1 and "head" not in name:
                    tensor.uniform_(0.5, 1.5).mul_(own)
                elif tensor.ndim == 2:
                    tensor.mul_(own if tensor.shape[1] == channels else 1)
                    tensor.mul_(own[:, None] if "head" not in name else 1)
            if centred:  # the mean over channels is 0 and the norm 1, whatever the input
                net.stem.weight.zero_()
                pattern = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
                net.stem.bias[index * BLOCK : (index + 1) * BLOCK] = pattern
        nets.append(net)
    return nets


def summed(nets: list[nn.Module], weights: list[float] | None = None) -> nn.Module:
    parts = sum_parts(nets[0], torch.randn(2, 6).double())
    merged = type(nets[0])(BLOCK * len(nets), type(nets[0].norm)).double().eval()
    merged.load_state_dict(sum_merge([net.state_dict() for net in nets], parts, weights))
    return merged


@torch.no_grad()
@pytest.mark.parametrize("models", [2, 3])
def test_skips_and_batch_norms_of_block_disjoint_nets_add_up(models: int) -> None:
    """With summed statistics, which need no data, and with unequal weights of the last layer."""
    nets, inputs = disjoint(models, nn.BatchNorm1d), torch.randn(20, 6).double()
    for net in nets:  # a silent channel has no variance
        own = net.norm.weight != 0
        net.norm.running_var.mul_(own)
        net.norm.running_mean.mul_(own)
        net.norm.eps = 1e-5
    weights = [index + 1.0 for index in range(models)]
    weights = [weight / sum(weights) for weight in weights]
    expected = sum(weight * net(inputs) for weight, net in zip(weights, nets, strict=True))
    merged = summed(nets, weights)
    torch.testing.assert_close(merged(inputs), expected, **CLOSE)
    plain = {name: sum(net.state_dict()[name] for net in nets) / models for name in nets[0].state_dict()}
    merged.load_state_dict(plain)
    assert (merged(inputs) - expected).abs().max() > 0.1, "a mean is another function"


@torch.no_grad()
def test_reset_statistics_equal_the_summed_ones_where_channels_are_disjoint() -> None:
    nets, inputs = disjoint(2, nn.BatchNorm1d), torch.randn(50, 6).double()
    for net in nets:
        reset_bn_stats(net, [inputs])
    merged = summed(nets)
    before = {name: tensor.clone() for name, tensor in merged.state_dict().items()}
    reset_bn_stats(merged, [inputs])
    for name in ("norm.running_mean", "norm.running_var"):
        torch.testing.assert_close(merged.state_dict()[name], before[name], **CLOSE)
    torch.testing.assert_close(merged(inputs), (nets[0](inputs) + nets[1](inputs)) / 2, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("models", [2, 3])
@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_a_layer_norm_takes_the_root_of_the_number_of_models(models: int, norm: type[nn.Module]) -> None:
    """Where streams have mean 0 and one norm, s² of the merged stream is the sum, and √k gives each model its own."""
    nets, inputs = disjoint(models, norm, centred=True), torch.randn(20, 6).double()
    for net in nets:
        net.norm.eps = 1e-12  # or it would not grow with k
    merged = summed(nets)
    merged.norm.eps = 1e-12
    expected = sum(net(inputs) for net in nets) / models
    torch.testing.assert_close(merged(inputs), expected, **CLOSE)
    merged.norm.weight.div_(math.sqrt(models))
    assert (merged(inputs) - expected).abs().max() > 0.003, "a plain sum of the scales is another function"


class Attention(nn.Module):
    """One block of attention on tokens, each model with heads of its own."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Linear(5, features)
        self.position = nn.Parameter(torch.randn(1, 4, features))
        self.attention = nn.MultiheadAttention(features, heads, batch_first=True)
        self.head = nn.Linear(features, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        stream = self.embed(tokens) + self.position
        stream = stream + self.attention(stream, stream, stream, need_weights=False)[0]
        return self.head(stream.mean(1))


@torch.no_grad()
def test_attention_of_models_with_heads_of_their_own_adds_up() -> None:
    nets = []
    for index in range(2):
        torch.manual_seed(index)
        net = Attention(8, 2).double().eval()
        own = torch.zeros(8, dtype=torch.float64)
        own[index * 4 : index * 4 + 4] = 1  # one head of four features
        attention = net.attention
        attention.in_proj_bias.uniform_()
        attention.out_proj.bias.uniform_()
        for written in (net.embed.weight, attention.out_proj.weight):
            written.mul_(own[:, None])
        for read in (net.embed.bias, net.position, attention.out_proj.bias, attention.out_proj.weight, net.head.weight):
            read.mul_(own)
        attention.in_proj_weight.mul_(own.repeat(3)[:, None] * own)
        attention.in_proj_bias.mul_(own.repeat(3))
        nets.append(net)
    tokens = torch.randn(7, 4, 5).double()
    parts = sum_parts(nets[0], tokens[:2])
    assert parts == SumParts(frozenset({"head.weight", "head.bias"}))
    merged = Attention(8, 2).double().eval()
    merged.load_state_dict(sum_merge([net.state_dict() for net in nets], parts))
    torch.testing.assert_close(merged(tokens), (nets[0](tokens) + nets[1](tokens)) / 2, **CLOSE)


# -- The parts. --


@pytest.mark.parametrize("name", WIDTHS)
def test_the_last_layer_of_every_architecture_is_its_head(name: str) -> None:
    model, images = made(name)
    model.train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert sum_parts(model, images) == SumParts(frozenset({"head.weight", "head.bias"}))
    assert model.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_norms_over_channels_and_slopes_are_found() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.GroupNorm(2, 4),
        nn.GroupNorm(4, 4),
        nn.PReLU(),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.LayerNorm(16),
        nn.Linear(16, 2),
    )
    parts = sum_parts(net, torch.randn(2, 1, 4, 4))
    assert parts.averaged == {"3.weight", "7.weight", "7.bias"}
    assert parts.rescaled == {"1.weight", "6.weight"}, "a group of one channel does not mix channels"


def test_each_tensor_follows_its_rule() -> None:
    parts = SumParts(frozenset({"head"}), frozenset({"scale"}))
    states = [
        {
            "weight": torch.tensor([value]),
            "scale": torch.tensor([value]),
            "head": torch.tensor([value]),
            "n": torch.tensor(2),
        }
        for value in (1.0, 2.0, 6.0)
    ]
    found = sum_merge(states, parts, [0.5, 0.25, 0.25])
    assert [found[name].item() for name in ("weight", "head", "n")] == [9.0, 2.5, 2]
    assert found["scale"].item() == pytest.approx(9 * math.sqrt(3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_sum_of_many_half_precision_models_is_rounded_once(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    states = [{"w": torch.rand(500).to(dtype), "head": torch.rand(3).to(dtype)} for _ in range(100)]
    exact = torch.stack([state["w"].double() for state in states]).sum(0)
    found = sum_merge(states, SumParts(frozenset({"head"})))["w"]
    assert found.dtype == dtype
    assert ((found.double() - exact).abs() <= (exact.to(dtype).double() - exact).abs() + 1e-4).all()


# -- What is refused. --


def two() -> list[State]:
    return [{"w": torch.ones(2), "head": torch.ones(2)} for _ in range(2)]


HEAD = SumParts(frozenset({"head"}))


@pytest.mark.parametrize(
    ("models", "weights", "message"),
    [
        ([], None, "no model cannot be summed; pass two or more"),
        (two()[:1], None, "1 model cannot be summed; pass two or more"),
        (two(), [1.0, 0.0], "the weight of model 1 is 0, .* leave the model out"),
        (two(), [1.5, -0.5], "must be non-negative"),
        (two(), [math.nan, 1.0], "must be non-negative"),
        (two(), [0.5], "1 weights for 2 models"),
        ([two()[0], {"w": torch.ones(2).half(), "head": torch.ones(2)}], None, "convert them to one dtype"),
        ([two()[0], {"w": torch.ones(3), "head": torch.ones(2)}], None, "of another architecture"),
        ([two()[0], {"w": torch.tensor([1, math.nan]), "head": torch.ones(2)}], None, "w of model 1 holds NaN"),
        (
            [{"w": torch.full((2,), 6e4).half(), "head": torch.ones(2)}] * 2,
            None,
            "too large for torch.float16; convert",
        ),
        ([{"w": torch.ones(2)}] * 2, None, "no 'head'; find the parts"),
    ],
)
def test_what_cannot_be_summed_is_refused(models: list[State], weights: list[float] | None, message: str) -> None:
    with pytest.raises(MergeError, match=message):
        sum_merge(models, HEAD, weights)


class Tied(nn.Module):
    """The last layer reads with the matrix that embeds."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.hidden, self.head = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.hidden(self.embed(tokens)))


def softmax() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3), nn.Softmax(-1))


@pytest.mark.parametrize(
    ("model", "example", "head", "message"),
    [
        (softmax(), torch.randn(2, 6), None, r"not that of its last layer with weights, '2'; name the layer"),
        (softmax(), None, None, "pass one example input, or name the layer"),
        (softmax(), None, "2.weight", "there is no layer '2.weight'; name one of 0, 2"),
        (softmax(), None, "3", "layer '3' is a Softmax without weights"),
        (nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)), torch.randn(2, 6), None, "is a BatchNorm1d, of which"),
        (nn.Sequential(*[nn.Linear(6, 6)] * 2), torch.randn(2, 6), None, "used 2 times"),
        (nn.Sequential(nn.ReLU()), torch.randn(2, 6), None, "its last layer with weights; name"),
        (nn.Linear(5, 3), torch.randn(2, 6), None, "cannot run on the example input"),
        (Tied(), torch.tensor([[1, 2]]), None, "head.weight of the last layer and embed.weight share one tensor"),
        (
            nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4, elementwise_affine=False), nn.Linear(4, 3)),
            torch.randn(2, 6),
            None,
            "1 is a LayerNorm without a weight .* affine norm",
        ),
    ],
)
def test_models_whose_parts_are_unknown_are_refused(
    model: nn.Module, example: Tensor | None, head: str | None, message: str
) -> None:
    with pytest.raises(MergeError, match=message):
        sum_parts(model, example, head=head)


def test_a_head_can_be_named_and_hidden_layers_may_be_tied() -> None:
    assert sum_parts(softmax(), head="2").averaged == {"2.weight", "2.bias"}
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    net[2].weight = net[0].weight
    parts = sum_parts(net, torch.randn(2, 4))
    states = [net.state_dict(), {name: 2 * tensor for name, tensor in net.state_dict().items()}]
    merged = sum_merge(states, parts)
    assert torch.equal(merged["0.weight"], merged["2.weight"]), "both are summed, so they stay tied"
    torch.testing.assert_close(merged["0.weight"], 3 * net[0].weight.detach())
    assert sum_parts(nn.Linear(3, 2), torch.randn(1, 3)).averaged == {"weight", "bias"}
