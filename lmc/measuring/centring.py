"""Logits and heads without what no prediction depends on: what is common to all classes, or to all inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from lmc.measuring.conditions import Rows, cosine
from lmc.precision import double


def class_centred(values: Tensor) -> Tensor:
    """Rows (N, classes) less their means over the classes; a softmax is the same without.

    Of the responses W z of a head this makes those of W with its rows centred over the classes.
    """
    return values - values.mean(1, keepdim=True)


class CentredCosines:
    """Cosines of two models' logits, gathered batch by batch; all logits are held."""

    def __init__(self) -> None:
        self._ones: list[Tensor] = []
        self._others: list[Tensor] = []

    def add(self, one: Rows, other: Rows) -> None:
        """Add a batch of logits, (N, classes) each."""
        self._ones.append(double(one.values))
        self._others.append(double(other.values))

    @property
    def found(self) -> bool:
        """Whether there are any."""
        return bool(self._ones)

    def values(self) -> tuple[Tensor, Tensor]:
        """Row by row, float64 (N,): less the mean over classes, and less also each class's mean over the inputs."""
        one, other = (class_centred(torch.cat(each)) for each in (self._ones, self._others))
        return cosine(one, other), cosine(one - one.mean(0), other - other.mean(0))
