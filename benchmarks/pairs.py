"""Pairs of models for weight matching, made rather than trained: they come in any size in no time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lmc.merging.permutation_spec import Permutations, PermutationSpec, permute, random_permutations
from lmc.merging.tracing import trace_permutation_spec
from lmc.nets import build

RANK = 32


@dataclass(frozen=True)
class Pair:
    """Two models with as much in common as trained ones, and how their channels may be permuted."""

    spec: PermutationSpec
    a: dict[str, Tensor]
    b: dict[str, Tensor]

    def objective(self, permutations: Permutations) -> float:
        """Σ <a, π(b)> over the parameters, in float64: neither side marks its own work."""
        moved = permute(self.b, self.spec, permutations)
        names = set(self.spec.axes) - self.spec.buffers
        return sum((self.a[name].double() * moved[name].double()).sum().item() for name in sorted(names))


def make_pair(arch: str, width: float, shape: tuple[int, int, int], *, seed: int = 0, noise: float = 0.5) -> Pair:
    """Models whose weights share a matrix of low rank and decaying spectrum, and each has noise of full rank.

    The noise is as PyTorch initialises a layer, ``noise`` times; the channels of b are then permuted at random.
    The low rank is what makes channels alike and the assignments hard, as weight decay does in trained networks.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, other = build(arch, width, shape, 10), build(arch, width, shape, 10)
    a, b = dict(model.state_dict()), dict(other.state_dict())
    generator = torch.Generator().manual_seed(seed)
    for name in a:
        if a[name].ndim > 1:
            common = low_rank(a[name].shape, generator)
            a[name], b[name] = common + noise * a[name], common + noise * b[name]
    spec = trace_permutation_spec(model, torch.zeros(2, *shape))
    return Pair(spec, a, permute(b, spec, random_permutations(spec, seed + 1)))


def low_rank(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """U V^T of rank at most `RANK` with singular values that fall as 1/k, of the norm of PyTorch's initial weights."""
    outputs, inputs = shape[0], math.prod(shape[1:])
    rank = min(RANK, outputs, inputs)
    left, right = (torch.randn(size, rank, generator=generator) for size in (outputs, inputs))
    weight = (left / torch.arange(1, rank + 1)) @ right.T
    return (weight * math.sqrt(outputs / 3) / weight.norm()).view(shape)
