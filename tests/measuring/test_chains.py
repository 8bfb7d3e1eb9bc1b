"""Which nets are plain chains, whose merge has the scale that the law gives it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lmc.measuring.inputs import HeldInputs
from lmc.measuring.layers import measure_layers
from lmc.merging import merge
from lmc.nets import build


class Around(nn.Module):
    """Adds to what its layers give what they read."""

    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)  # type: ignore[no-any-return]


def flat(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), *layers, nn.Linear(8, 10))


def conv(*layers: nn.Module, left: int = 256) -> Callable[[], nn.Module]:
    start = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()
    return lambda: nn.Sequential(*start, *layers, nn.Flatten(), nn.Linear(left, 10))


def inner(inputs: int = 8) -> nn.Module:
    return nn.Linear(inputs, 8)


CHAINS = {
    "mlp": (lambda: build("mlp", 1 / 64, (1, 8, 8), 10), True),
    "mlp without bias": (lambda: build("mlp", 1 / 64, (1, 8, 8), 10, bias=False), True),
    "in place": (flat(inner(), nn.ReLU(inplace=True)), True),
    "dropout": (flat(nn.Dropout(), inner(), nn.ReLU()), True),
    "convolutions": (conv(nn.Conv2d(4, 4, 3, padding=1), nn.GELU()), True),
    "mlp-skip": (lambda: build("mlp-skip", 1 / 64, (1, 8, 8), 10), False),
    "skip into the activation": (flat(Around(inner()), nn.ReLU()), False),
    "skip around a convolution": (conv(Around(nn.Conv2d(4, 4, 3, padding=1)), nn.ReLU()), False),
    "skip in place": (flat(Around(inner(), nn.ReLU(inplace=True))), False),
    "skip into the logits": (lambda: nn.Sequential(nn.Flatten(), inner(64), nn.ReLU(), Around(inner())), False),
    "pooling": (conv(nn.AvgPool2d(2), left=64), False),
    "layer norm": (flat(nn.LayerNorm(8)), False),
}


@pytest.mark.parametrize("way", CHAINS)
def test_the_scale_of_the_law_is_judged_of_plain_chains_alone(way: str) -> None:
    make, plain = CHAINS[way]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second, merged = (copy.deepcopy(make()).eval() for _ in range(3))
    merged.load_state_dict(merge([first.state_dict(), second.state_dict()]))
    images = torch.randn(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    inputs = HeldInputs(images, torch.zeros(30).long(), images, torch.clone, 20)
    found, notes = measure_layers([first, second], merged, inputs)
    assert {record["lewc_norm_ratio"] is not None for record in found["outputs"].values()} == {plain}
    assert any("needs a plain chain" in note for note in notes) is not plain
