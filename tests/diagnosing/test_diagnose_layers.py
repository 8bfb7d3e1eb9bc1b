"""Layers are found however a net is written, and what is undefined for it is said."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diagnosed import digits, fitted, mlp
from torch import Tensor, nn
from torch.nn import functional as F

from lmc.diagnosing.diagnose import diagnose
from lmc.diagnosing.diagnosis import Diagnosis
from lmc.measuring.conditions import cosine
from lmc.measuring.tapping import tapping, unseen_weights
from lmc.theory import GAUSSIAN_NULL

TEST = digits()[1]

TRIED = ["as they are", "sum", "permuted", "complementary", "complementary, sum"]


class Written(nn.Module):
    """Two hidden layers with a ReLU written in one of many ways."""

    def __init__(self, relu: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 10)])
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        for layer in list(self.layers)[:-1]:
            x = self.relu(layer(x))
        return self.layers[2](x)  # type: ignore[no-any-return]


WAYS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "one module used twice": nn.ReLU,
    "in place": lambda: nn.ReLU(inplace=True),
    "F.relu": lambda: F.relu,
    "torch.relu": lambda: torch.relu,
    "method": lambda: Tensor.relu,
    "method in place": lambda: Tensor.relu_,
    "clamp": lambda: lambda x: x.clamp(min=0),
}


def numbers(found: Diagnosis) -> list[Any]:
    layers = found.layers["unpermuted"]
    return [list(record.values()) for group in layers.values() for record in group.values()]


def test_every_way_to_write_a_relu_gives_the_same_numbers() -> None:
    nets = [fitted(lambda: Written(nn.ReLU()), seed, 60).state_dict() for seed in (0, 1)]
    expected: list[Any] = []
    for way, make in WAYS.items():
        pair = [Written(make()) for _ in nets]
        for net, state in zip(pair, nets, strict=True):
            net.load_state_dict(state)
        found = diagnose(pair[0], pair[1], TEST, lams=(0.5,), permutation="never")
        expected = expected or numbers(found)
        assert numbers(found) == expected, way
        assert len(found.layers["unpermuted"]["activations"]) == 2
        nulls = [record["additivity_null"] for record in found.layers["unpermuted"]["activations"].values()]
        assert nulls == [GAUSSIAN_NULL] * 2


@pytest.mark.parametrize(
    ("activation", "name"), [(nn.GELU, "gelu"), (nn.SiLU, "silu"), (nn.Tanh, "tanh"), (nn.LeakyReLU, "leaky_relu")]
)
def test_additivity_is_of_the_nets_own_function(activation: Callable[[], nn.Module], name: str) -> None:
    a, b = (fitted(lambda: mlp(16, 1, activation), seed, 60) for seed in (0, 1))
    found = diagnose(a, b, TEST, lams=(0.5,), permutation="never", layer_inputs=200)
    (record,) = found.layers["unpermuted"]["activations"].values()
    assert record["function"] == name
    assert record["additivity_null"] is None
    assert any("null level" in note for note in found.notes)
    sigma = activation()
    h_a, h_b = (net[0](TEST[0]) for net in (a, b))  # type: ignore[index]
    by_hand = cosine(sigma((h_a + h_b) / 2), sigma(h_a) + sigma(h_b)).mean().item()
    assert record["additivity_cosine"] == pytest.approx(by_hand, abs=1e-6)


def test_layer_norm_nets_are_matched_and_measured() -> None:
    a, b = (fitted(lambda: mlp(16, 2, nn.GELU, norm="ln"), seed, 60) for seed in (0, 1))
    found = diagnose(a, b, TEST, lams=(0.5,), permutation="always")
    assert found.alignment is None
    assert [each.name for each in found.candidates] == TRIED
    assert any("normalisation" in note for note in found.notes)
    assert found.layers["permuted"]["outputs"]["logits"]["lewc_norm_ratio"] is None
    assert_json(found)


class Transformer(nn.Module):
    """A small ViT on rows of an 8x8 image."""

    def __init__(self, own_attention: bool) -> None:
        super().__init__()
        self.own = own_attention
        self.embed = nn.Linear(8, 16)
        self.position = nn.Parameter(0.1 * torch.randn(8, 16))
        self.norm = nn.LayerNorm(16)
        self.attention: nn.Module = (
            nn.Linear(16, 48) if own_attention else nn.MultiheadAttention(16, 2, batch_first=True)
        )
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.unflatten(1, (8, 8))) + self.position
        z = self.norm(x)
        if self.own:
            q, k, v = self.attention(z).unflatten(2, (3, 2, 8)).permute(2, 0, 3, 1, 4)
            z = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        else:
            z = self.attention(z, z, z, need_weights=False)[0]
        x = x + z
        x = x + self.mlp(x)
        return self.head(x.mean(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("own_attention", [True, False])
def test_a_transformer_is_diagnosed_and_permuted(own_attention: bool) -> None:
    a, b = (fitted(lambda: Transformer(own_attention), seed, 40) for seed in (0, 1))
    found = diagnose(a, b, TEST, permutation="always", lams=(0.5,))
    assert found.alignment is None
    assert [each.name for each in found.candidates] == TRIED
    assert any("position" in note for note in found.notes)
    layers = found.layers["unpermuted"]
    assert list(layers["activations"]) == ["mlp.1"]
    assert 0 < layers["activations"]["mlp.1"]["active_share"] <= 1
    attention = {True: ["attention"], False: ["attention.in_proj", "attention.out_proj"]}[own_attention]
    assert list(layers["weights"]) == ["embed", *attention, "mlp.0", "mlp.2", "head"]
    assert set(found.ranks) == set(layers["weights"])
    assert_json(found)


def test_the_projections_of_multihead_attention_are_seen_as_they_are() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    z = torch.randn(3, 5, 8)
    with torch.no_grad(), tapping(attention) as tapped:
        output = attention(z, z, z, need_weights=False)[0]
    first, last = tapped.layers["in_proj"], tapped.layers["out_proj"]
    torch.testing.assert_close(first.inputs, z)
    torch.testing.assert_close(last.response + attention.out_proj.bias, output)
    assert not unseen_weights(attention, tapped)


def test_channels_behind_a_convolution_and_in_tokens() -> None:
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(2), nn.Linear(4, 5), nn.ReLU())
    with torch.no_grad(), tapping(net) as tapped:
        net(torch.randn(2, 1, 4, 4))
    assert [call.channels for call in tapped.activations.values()] == [1, 2]


def test_a_net_without_activations_says_so() -> None:
    a, b = nn.Linear(64, 10), nn.Linear(64, 10)
    found = diagnose(a, b, TEST, permutation="always")
    assert any("no activation function" in note for note in found.notes)
    assert found.alignment is not None
    assert_json(found)


def assert_json(found: Diagnosis) -> None:
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text) == found.to_json()
    assert found.lines()
    assert all(math.isfinite(point.loss) for path in found.paths.values() for point in path.points)
