"""Optimizers and learning-rate schedules of the paper (Appendix B.1)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lmc.specs import RunSpec

SOPHIA_PERIOD = 10
"""Steps from one estimate of the Hessian's diagonal to the next."""


def make_optimizer(
    spec: RunSpec, parameters: Iterable[nn.Parameter], rate: Tensor | None = None
) -> torch.optim.Optimizer:
    """The optimizer ``spec`` names, for every parameter.

    SGD and Adam add the decay to the gradient (L2). Sophia is SophiaH, with Hutchinson's estimate of the
    Hessian's diagonal every `SOPHIA_PERIOD` steps, and decouples it, as Liu et al. (2024) do.

    Args:
        spec: the recipe.
        parameters: what it trains.
        rate: holds the learning rate on their device, so that recorded steps follow it; not for Sophia.

    Deviates: the paper does not say which Sophia it uses (F.10); Liu et al.'s language models use SophiaG.
    """
    if spec.optimizer == "sophia":
        from pytorch_optimizer import SophiaH  # imports half of scipy; most runs never need it

        sophia: torch.optim.Optimizer = SophiaH(
            parameters, lr=spec.lr, weight_decay=spec.weight_decay, update_period=SOPHIA_PERIOD
        )
        return sophia
    lr, recorded = (spec.lr, False) if rate is None else (rate, rate.is_cuda)
    if spec.optimizer == "adam":
        return torch.optim.Adam(parameters, lr, weight_decay=spec.weight_decay, fused=True, capturable=recorded)
    return torch.optim.SGD(parameters, lr, spec.momentum, weight_decay=spec.weight_decay, fused=True)


def learning_rate(spec: RunSpec, step: int, steps: int) -> float:
    """Learning rate of step ``step`` (from 0) of ``steps``.

    ``warmup-linear`` rises linearly over the first ``warmup`` share of the steps to ``lr`` and falls
    linearly to zero at the end. Deviates: stepped per batch, not per epoch, so that short runs keep it.
    """
    if spec.schedule == "constant":
        return spec.lr
    rising = max(1.0, spec.warmup * steps)
    return spec.lr * min((step + 1) / rising, (steps - step) / max(1.0, steps - rising), 1.0)


def needs_curvature(spec: RunSpec, step: int) -> bool:
    """Whether the optimizer differentiates the gradient of step ``step`` (from 0) once more."""
    return spec.optimizer == "sophia" and step % SOPHIA_PERIOD == 0
