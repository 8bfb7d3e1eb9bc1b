"""Nets of many kinds whose permutation symmetry is traced, with generic weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmc.merging.tracing import trace_permutation_spec
from lmc.nets import build

WIDTHS = {"mlp": 1 / 64, "mlp-bn": 1 / 64, "mlp-skip": 1 / 64, "vgg-small": 1 / 16, "vgg11": 1 / 32}
WIDTHS |= {"resnet8": 1 / 4, "resnet20": 1 / 4}


class Functional(nn.Module):
    """Functions instead of modules, a flatten with spatial extent, a view, an in-place addition."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.depthwise = nn.Conv2d(5, 10, 3, padding=1, groups=5)
        self.dense = nn.Linear(10 * 4, 6)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = F.gelu(self.depthwise(torch.relu(self.conv(images))))
        pooled = F.avg_pool2d(F.max_pool2d(features, 2), 2)
        hidden = F.dropout(F.silu(self.dense(pooled.view(pooled.size(0), -1))), 0.1, self.training)
        hidden += torch.add(hidden, self.norm(hidden).relu())
        return F.log_softmax(self.head(hidden), dim=-1)


class Gated(nn.Module):
    """A squeeze-and-excitation gate, a raw scale, normalised inputs, and a mean over space."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.4))
        self.conv = nn.Conv2d(3, 6, 3)
        self.squeeze = nn.Conv2d(6, 2, 1)
        self.excite = nn.Conv2d(2, 6, 1)
        self.scale = nn.Parameter(torch.ones(6, 1, 1))
        self.head = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images - self.mean)
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(features.mean((2, 3), keepdim=True)))))
        return self.head((features * gate * self.scale).mean(dim=[2, 3]))


class BlockOrder(nn.Module):
    """A linear layer added to a flattened convolution: it must follow the convolution's channels in blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 5)
        self.norm = nn.BatchNorm1d(64)
        self.dense = nn.Linear(64, 64)
        self.head = nn.Linear(64, 4)

    def forward(self, images: Tensor) -> Tensor:
        flat = self.norm(torch.flatten(F.relu(self.conv(images)), 1))
        return self.head(F.relu(flat + self.dense(flat)))


class Recurrent(nn.Module):
    """One layer called three times, from inputs that are themselves added once in another branch."""

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Linear(192, 7)
        self.step = nn.Linear(7, 7)
        self.head = nn.Linear(7, 4)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.inward(images.flatten(1)).relu()
        for _ in range(3):
            hidden = torch.tanh(self.step(hidden))
        return self.head(hidden)


def sequential() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.LayerNorm([6, 6, 6]),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(54, 9),
        nn.LayerNorm(9),
        nn.GELU(),
        nn.Dropout(0.5),
        nn.Linear(9, 4),
    )


OTHERS = {
    "sequential": (sequential, {"0": 6, "5": 9}),
    "functional": (Functional, {"conv": 5, "dense": 6}),
    "gated": (Gated, {"conv": 6, "squeeze": 2}),
    "block-order": (BlockOrder, {"conv": 4}),
    "recurrent": (Recurrent, {"inward": 7}),
}


def made(name: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A network with generic weights and running statistics, and an input to it."""
    torch.manual_seed(seed)
    side = 32 if name == "vgg11" else 8
    model = build(name, WIDTHS[name], (3, side, side), 10) if name in WIDTHS else OTHERS[name][0]()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
    return model, torch.randn(3, 3, side, side)


SAMPLE = made("functional")
SPEC = trace_permutation_spec(*SAMPLE)


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())
