"""Small nets to diagnose, trained on digits or built to meet the theorem, and their data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmc.data import load_dataset
from lmc.merging import fit_inverse_temperature
from lmc.merging.permutation_spec import permute, random_permutations
from lmc.merging.tracing import trace_permutation_spec
from lmc.theory import orthogonal_nets

Pair = tuple[Tensor, Tensor]


@cache
def digits() -> tuple[Pair, Pair]:
    """300 training and 200 test digits as normalised rows of 64 numbers."""
    data = load_dataset("digits", Path("absent"))

    def prepared(images: Tensor) -> Tensor:
        return (images.flatten(1).float() / 255 - 0.3) / 0.35

    train = prepared(data.train_images[:300]), data.train_labels[:300]
    return train, (prepared(data.test_images[:200]), data.test_labels[:200])


def mlp(units: int, depth: int = 2, activation: Callable[[], nn.Module] = nn.ReLU, *, norm: str = "") -> nn.Sequential:
    """64 -> units -> ... -> 10, with BatchNorm (``"bn"``) or LayerNorm (``"ln"``) before the activation."""
    layers: list[nn.Module] = []
    for index in range(depth):
        layers.append(nn.Linear(units if index else 64, units))
        if norm:
            layers.append({"bn": nn.BatchNorm1d, "ln": nn.LayerNorm}[norm](units))
        layers.append(activation())
    return nn.Sequential(*layers, nn.Linear(units, 10))


def fitted(make: Callable[[], nn.Module], seed: int, steps: int = 150) -> nn.Module:
    """Train what ``make`` builds on the digits."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = make().train()
        inputs, labels = digits()[0]
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(steps):
            picked = torch.randint(len(inputs), (64,))
            optimizer.zero_grad()
            F.cross_entropy(net(inputs[picked]), labels[picked]).backward()
            optimizer.step()
        return net.eval()


def permuted_copy(net: nn.Module, inputs: Tensor) -> nn.Module:
    """The same function of other weights: ``net``, its hidden units in another order."""
    other = copy.deepcopy(net)
    spec = trace_permutation_spec(net, inputs[:2])
    other.load_state_dict(permute(net.state_dict(), spec, random_permutations(spec, 0)))
    return other


def theorem_nets(models: int, layers: int) -> tuple[list[nn.Sequential], Pair]:
    """Bias-free nets that meet Thm. 5.3 exactly and classify the same four clusters, each with a softmax of its own.

    The hidden weights are `lmc.theory.orthogonal_nets`; the heads, which read a model's own units only, are fitted.
    """
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((4, 8))
    labels = torch.from_numpy(rng.integers(0, 4, 800))
    inputs = torch.from_numpy(centres[labels.numpy()] + 0.9 * rng.standard_normal((800, 8)))
    nets = []
    for weights in orthogonal_nets(rng, models=models, layers=layers, units=32, inputs=8, classes=4):
        *hidden, head = (torch.from_numpy(matrix) for matrix in weights.matrices)
        features = inputs
        for matrix in hidden:
            features = torch.relu(features @ matrix.T)
        own = head.abs().sum(0) > 0
        targets = F.one_hot(labels, 4).double() - 0.25
        gram = features[:, own].T @ features[:, own]
        solved = torch.linalg.solve(gram + torch.eye(len(gram)), features[:, own].T @ targets)
        head = torch.zeros_like(head)
        head[:, own] = solved.T * fit_inverse_temperature(features[:, own] @ solved, labels)
        chain: list[nn.Module] = []
        for matrix in (*hidden, head):
            layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False).double()
            layer.weight.data.copy_(matrix)
            chain += [layer, nn.ReLU()]
        nets.append(nn.Sequential(*chain[:-1]))
    return nets, (inputs, labels)
