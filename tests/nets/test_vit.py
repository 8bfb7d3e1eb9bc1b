"""The vision transformer: written out by hand in float64, and what may be permuted in it."""

from __future__ import annotations

import math

import pytest
import torch
from tiny import DIGITS
from torch import Tensor, nn

from lmc.data import Normaliser
from lmc.errors import SpecError
from lmc.nets import ViT, build
from lmc.nets.vit import HEAD_UNITS
from lmc.specs import RunSpec
from lmc.training.engine import train

State = dict[str, Tensor]
DIGIT, CIFAR = (1, 8, 8), (3, 32, 32)


def scrambled(width: float = 1 / 4, shape: tuple[int, int, int] = DIGIT, *, bias: bool = True) -> nn.Module:
    """A net in float64 in which no parameter has its first value, so that none can be forgotten unnoticed."""
    torch.manual_seed(0)
    net = build("vit", width, shape, 5, bias=bias).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net


def images(shape: tuple[int, int, int] = DIGIT) -> Tensor:
    return torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def normed(tokens: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = tokens - tokens.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def by_hand(state: State, image: Tensor, patch: int) -> Tensor:
    """Logits of one image, head by head and token by token."""

    def linear(name: str, inputs: Tensor) -> Tensor:
        return inputs @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    rows, columns = (side // patch for side in image.shape[1:])
    cut = [
        image[:, r * patch : (r + 1) * patch, c * patch : (c + 1) * patch].flatten()
        for r in range(rows)
        for c in range(columns)
    ]
    tokens = torch.stack(cut) @ state["embed.weight"].flatten(1).T + state["embed.bias"] + state["positions"][0]
    for block in range(4):
        at = f"blocks.{block}"
        seen = normed(tokens, state[f"{at}.norm1.weight"], state[f"{at}.norm1.bias"])
        query, key, value = (linear(f"{at}.attention.{part}", seen) for part in ("query", "key", "value"))
        heads = []
        for first in range(0, tokens.shape[1], HEAD_UNITS):
            mine = slice(first, first + HEAD_UNITS)
            scores = query[:, mine] @ key[:, mine].T / math.sqrt(HEAD_UNITS)
            weights = scores.exp() / scores.exp().sum(1, keepdim=True)
            heads.append(weights @ value[:, mine])
        tokens = tokens + linear(f"{at}.attention.out", torch.cat(heads, 1))
        seen = normed(tokens, state[f"{at}.norm2.weight"], state[f"{at}.norm2.bias"])
        tokens = tokens + linear(f"{at}.mlp.fc2", linear(f"{at}.mlp.fc1", seen).clamp(min=0))
    return linear("head", normed(tokens, state["norm.weight"], state["norm.bias"]).mean(0))


@pytest.mark.parametrize(("shape", "patch"), [(DIGIT, 2), (CIFAR, 4), ((1, 28, 28), 4), ((2, 6, 10), 2)])
def test_it_is_what_is_written_out_by_hand(shape: tuple[int, int, int], patch: int) -> None:
    net, inputs = scrambled(shape=shape), images(shape)
    expected = torch.stack([by_hand(net.state_dict(), each, patch) for each in inputs])
    torch.testing.assert_close(net(inputs), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("width", [1 / 8, 1 / 4, 1])
def test_it_has_as_many_parameters_as_the_formula_says(width: float, bias: bool) -> None:
    d, tokens = int(128 * width), 16
    block = 4 * d * d + 2 * (2 * d * d) + 2 * d + bias * (4 * d + 2 * d + d + 2 * d)
    expected = 4 * d + tokens * d + 4 * block + d + 10 * d + bias * (d + d + 10)
    net = build("vit", width, DIGIT, 10, bias=bias)
    assert sum(each.numel() for each in net.parameters()) == expected
    assert any(name.endswith("bias") for name, _ in net.named_parameters()) == bias


@pytest.mark.parametrize("bias", [True, False])
def test_a_permutation_of_heads_keeps_the_function(bias: bool) -> None:
    """Rows of queries, keys and values in groups of 16, and the same columns of what reads them."""
    net, inputs = scrambled(1 / 2, bias=bias), images()
    before, order = net(inputs), torch.tensor([2, 0, 3, 1])
    state = net.state_dict()

    def moved(weight: Tensor, dim: int) -> Tensor:
        groups = weight.unflatten(dim, (4, HEAD_UNITS))
        return groups.index_select(dim, order).flatten(dim, dim + 1)

    for part in ("query", "key", "value"):
        state[f"blocks.1.attention.{part}.weight"] = moved(state[f"blocks.1.attention.{part}.weight"], 0)
        if bias:
            state[f"blocks.1.attention.{part}.bias"] = moved(state[f"blocks.1.attention.{part}.bias"], 0)
    half_done = {name: value.clone() for name, value in state.items()}
    state["blocks.1.attention.out.weight"] = moved(state["blocks.1.attention.out.weight"], 1)
    net.load_state_dict(half_done)
    assert (net(inputs) - before).abs().max() > 1e-3
    net.load_state_dict(state)
    torch.testing.assert_close(net(inputs), before, rtol=1e-10, atol=1e-12)


def test_a_permutation_of_the_perceptrons_units_keeps_the_function() -> None:
    net, inputs = scrambled(), images()
    before, state = net(inputs), net.state_dict()
    order = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    for name, dim in (("fc1.weight", 0), ("fc1.bias", 0), ("fc2.weight", 1)):
        state[f"blocks.2.mlp.{name}"] = state[f"blocks.2.mlp.{name}"].index_select(dim, order)
    net.load_state_dict(state)
    torch.testing.assert_close(net(inputs), before, rtol=1e-10, atol=1e-12)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpecError, match="images of 8x9 are no whole patches of 2x2; pad or crop them"):
        build("vit", 1, (1, 8, 9), 10)
    with pytest.raises(SpecError, match="images of 33x32 are no whole patches of 4x4"):
        build("vit", 1, (1, 33, 32), 10)
    with pytest.raises(SpecError, match="multiple of 1/8"):
        build("vit", 1 / 16, DIGIT, 10)


def test_it_learns_the_digits() -> None:
    spec = RunSpec(
        dataset="digits", arch="vit", width=1 / 4, bias=False, optimizer="adam", lr=2e-3, epochs=30, batch_size=20
    )
    net = ViT(DIGIT, 2, 10, patch=2, bias=False).eval()
    net.load_state_dict(train(spec, DIGITS).state)
    normalise = Normaliser.fit(DIGITS.train_images)
    with torch.no_grad():
        found = net(normalise(DIGITS.test_images)).argmax(1)
    assert float((found == DIGITS.test_labels).double().mean()) > 0.6
