"""What each kind of operation leaves free: the groups by name and size, verified in float64 by tracing itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmc.architectures import architecture, architecture_names
from lmc.merging.channel_groups import Axis, Mixed, Part
from lmc.merging.tracing import trace_permutation_spec
from lmc.nets import build

IMAGES = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
VECTORS = IMAGES[:, :, 0, 0]
SEQUENCES = IMAGES.flatten(2).transpose(1, 2)[:, :5].contiguous()


class Between(nn.Module):
    """A hidden layer, whatever ``middle`` does, and a head that reads ``units``; a scale tells channels apart."""

    def __init__(self, middle: Callable[[Tensor], Tensor], units: int = 6, *, layer: nn.Module | None = None) -> None:
        super().__init__()
        self.middle = middle
        self.hidden = layer or nn.Linear(4, 6)
        self.head = nn.Linear(units, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.middle(self.hidden(inputs))
        return self.head(hidden.mean((2, 3)) if hidden.ndim == 4 else hidden)


def conv(channels: int = 8) -> nn.Module:
    return nn.Conv2d(4, channels, 3)


class Frozen(nn.Module):
    """As detection nets freeze a BatchNorm: four buffers and arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.rand(8) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        return x * scale.view(1, -1, 1, 1) + (self.bias - self.running_mean * scale).view(1, -1, 1, 1)


def shuffle(x: Tensor) -> Tensor:
    return x.view(2, 2, 4, *x.shape[2:]).transpose(1, 2).reshape(x.shape)


CASES: dict[str, tuple[nn.Module, Tensor, dict[str, int]]] = {
    "concatenation": (Between(lambda x: torch.cat([x, x.relu()], 1), 12), VECTORS, {"hidden": 6}),
    "concatenation with constants": (
        Between(lambda x: torch.cat([x, torch.arange(4.0).view(2, 2)], 1), 8),
        VECTORS,
        {"hidden": 6},
    ),
    "slice": (Between(lambda x: x[:, :3], 3), VECTORS, {"hidden": 3, "hidden#2": 3}),
    "gate": (Between(lambda x: F.glu(x, 1), 3), VECTORS, {"hidden": 3}),
    "halves": (Between(lambda x: x.chunk(2, 1)[0] * x.chunk(2, 1)[1].sigmoid(), 3), VECTORS, {"hidden": 3}),
    "padding": (
        Between(lambda x: F.pad(x, (0, 0, 0, 0, 1, 3)), 12, layer=conv()),
        IMAGES,
        {"hidden": 8, "head": 3},  # nothing tells the three channels of zeros apart
    ),
    "shuffle": (Between(shuffle, 8, layer=conv()), IMAGES, {"hidden": 8}),
    "pixel shuffle": (Between(nn.PixelShuffle(2), 2, layer=conv()), IMAGES, {"hidden": 2}),
    "upsampling": (Between(nn.Upsample(scale_factor=2, mode="bilinear"), 8, layer=conv()), IMAGES, {"hidden": 8}),
    "PReLU": (Between(nn.PReLU(6)), VECTORS, {"hidden": 6}),
    "one group": (Between(nn.GroupNorm(1, 8), 8, layer=conv()), IMAGES, {"hidden": 8}),
    "within groups": (Between(nn.GroupNorm(2, 8), 8, layer=conv()), IMAGES, {"hidden": 4, "hidden#2": 4}),
    "groups as a whole": (Between(nn.GroupNorm(8, 16), 16, layer=conv(16)), IMAGES, {"hidden": 8}),
    "grouped convolution": (Between(nn.Conv2d(8, 16, 1, groups=4), 16, layer=conv()), IMAGES, {"hidden": 4}),
    "batch statistics": (Between(nn.BatchNorm2d(8, track_running_stats=False), 8, layer=conv()), IMAGES, {"hidden": 8}),
    "instance norm": (Between(nn.InstanceNorm2d(8, affine=True), 8, layer=conv()), IMAGES, {"hidden": 8}),
    "frozen BatchNorm": (Between(Frozen(), 8, layer=conv()), IMAGES, {"hidden": 8}),
    "RMSNorm": (Between(nn.RMSNorm(6)), VECTORS, {"hidden": 6}),
    "len": (Between(lambda x: x * len(x)), VECTORS, {"hidden": 6}),
    "shape check": (Between(lambda x: x if x.shape[1] == 6 else x[0]), VECTORS, {"hidden": 6}),
    "sorting": (Between(lambda x: x.sort(1).values), VECTORS, {}),
    "running sum": (Between(lambda x: torch.cumsum(x, 1)), VECTORS, {}),
    "unknown": (Between(lambda x: torch.fft.rfft(x, dim=1).abs(), 4), VECTORS, {}),
    "flattened batch": (Between(lambda x: x.flatten().view(2, 6)), VECTORS, {"hidden": 6}),
}


@pytest.mark.parametrize("case", CASES)
def test_groups_by_operation(case: str) -> None:
    model, example, groups = CASES[case]
    assert trace_permutation_spec(model, example).groups == groups


def test_operations_that_fix_channels_are_named() -> None:
    fixing = {case: trace_permutation_spec(*CASES[case][:2]).fixing for case in ("sorting", "unknown", "slice")}
    assert fixing == {"sorting": {"sort"}, "unknown": {"_fft_r2c"}, "slice": set()}


class Recurrent(nn.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.cell, self.head = kind(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.cell(inputs)[0])


@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_units_of_recurrent_layers_move_in_all_their_gates(kind: Any, gates: int) -> None:
    spec = trace_permutation_spec(Recurrent(kind), SEQUENCES)
    (group,) = spec.groups
    assert spec.groups[group] == 5
    found = spec.axes["cell.weight_hh_l0"]
    places = tuple(tuple(unit + 5 * gate for gate in range(gates)) for unit in range(5))
    assert found == (Axis(group) if gates == 1 else Mixed(5 * gates, (Part(group, places),)), Axis(group))


class Block(nn.Module):
    """Pre-norm attention and MLP, with plain or packed projections."""

    def __init__(self, packed: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in range(2))
        self.q, self.k, self.v = (nn.Linear(32, 96 if packed else 32) for _ in range(3))
        if packed:
            del self.k, self.v
        self.packed, self.out = packed, nn.Linear(32, 32)
        self.up, self.down = nn.Linear(32, 48), nn.Linear(48, 32)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norms[0](x)
        if self.packed:
            q, k, v = self.q(h).reshape(*h.shape[:2], 3, 2, 16).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = (layer(h).unflatten(2, (2, 16)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(h)
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class Transformer(nn.Module):
    def __init__(self, packed: bool) -> None:
        super().__init__()
        self.embed, self.position = nn.Conv2d(4, 32, 2, stride=2), nn.Parameter(torch.randn(1, 10, 32))
        self.token, self.block = nn.Parameter(torch.randn(1, 1, 32)), Block(packed)
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.embed(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        return self.head(self.norm(self.block(x))[:, 0])


@pytest.mark.parametrize("packed", [False, True])
def test_heads_and_units_of_a_transformer_move(packed: bool) -> None:
    spec = trace_permutation_spec(Transformer(packed), IMAGES)
    assert spec.groups == {"embed": 32, "block.q": 2, "block.up": 48}
    assert spec.axes["block.out.weight"] == (Axis("embed"), Axis("block.q", 16))
    places = tuple(tuple(32 * part + 16 * head + i for part in range(3) for i in range(16)) for head in range(2))
    rows = Mixed(96, (Part("block.q", places),)) if packed else Axis("block.q", 16)
    assert spec.axes["block.q.weight"] == (rows, Axis("embed"))
    assert spec.axes["position"] == (None, None, Axis("embed"))


def test_packed_projections_of_multihead_attention_are_split_into_heads() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True)
    model = nn.Sequential(nn.Linear(4, 16), layer, nn.Linear(16, 3))
    groups = {"0": 16, "1.self_attn.in_proj_weight[0]": 4, "1.linear1": 24}
    assert trace_permutation_spec(model, SEQUENCES).groups == groups


def test_embeddings_move_with_the_layers_they_feed_and_tied_weights_once() -> None:
    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mix, self.head = nn.Embedding(9, 6), nn.Linear(6, 6), nn.Linear(6, 9, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, tokens: Tensor) -> Tensor:
            hidden = self.embed(tokens)
            return self.head(hidden + self.mix(hidden).relu())

    spec = trace_permutation_spec(Language(), torch.tensor([[1, 2, 3], [4, 5, 8]]))
    assert spec.groups == {"embed": 6}
    assert spec.axes["embed.weight"] == spec.axes["head.weight"] == (None, Axis("embed"))


def test_heads_unused_in_evaluation_stay_as_they_are() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    model[0].add_module("auxiliary", nn.Linear(6, 2))
    spec = trace_permutation_spec(model, VECTORS)
    assert spec.groups == {"0": 6}
    assert spec.axes["0.auxiliary.weight"] == (None, None)


def test_several_outputs_are_verified() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(6, 3)

        def forward(self, inputs: Tensor) -> dict[str, Tensor]:
            hidden = self.hidden(inputs).relu()
            return {"one": self.one(hidden), "two": self.two(hidden)}

    assert trace_permutation_spec(Two(), VECTORS).groups == {"hidden": 6}


@pytest.mark.parametrize("arch", [name for name in architecture_names() if architecture(name).channels_last])
def test_what_is_free_does_not_depend_on_the_memory_format(arch: str) -> None:
    """Channels last, pooling to one pixel restates strides; taken for an unknown operation, it would fix channels."""
    side = max(8, architecture(arch).min_side)
    example = torch.randn(2, 3, side, side)
    plain = trace_permutation_spec(build(arch, 1 / 4, (3, side, side), 10).eval(), example)
    last = build(arch, 1 / 4, (3, side, side), 10).to(memory_format=torch.channels_last).eval()
    found = trace_permutation_spec(last, example.contiguous(memory_format=torch.channels_last))
    assert (found.groups, found.axes, found.fixing) == (plain.groups, plain.axes, frozenset())


def test_other_strides_fix_channels() -> None:
    class Strided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, inputs: Tensor) -> Any:
            hidden = self.first(inputs).relu()
            return self.last(hidden.as_strided((4, 2), (1, 4)).mT.contiguous())

    found = trace_permutation_spec(Strided().eval(), torch.randn(2, 5))
    assert (found.groups, found.fixing) == ({}, {"as_strided"})
