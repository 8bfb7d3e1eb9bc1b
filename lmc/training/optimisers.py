"""Optimizers, decay and learning-rate schedules of the paper (Appendix B.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lmc.specs import RunSpec

SOPHIA_PERIOD = 10
"""Steps from one estimate of the Hessian's diagonal to the next."""


def make_optimizer(
    spec: RunSpec, parameters: Sequence[nn.Parameter], rate: Tensor | None = None
) -> torch.optim.Optimizer:
    """The optimizer ``spec`` names, for every parameter.

    Coupled decay is added to the gradient (L2). Decoupled decay multiplies the weights by 1 - lr · decay beside the
    step, as AdamW does for Adam and Liu et al. (2024) do for Sophia. Sophia is SophiaH, whose curvature is estimated
    every `SOPHIA_PERIOD` steps (see `make_step`).

    Args:
        spec: the recipe.
        parameters: what it trains.
        rate: holds the learning rate on their device, so that recorded steps follow it; not for Sophia.

    Deviates: the paper does not say which Sophia it uses (F.10); Liu et al.'s language models use SophiaG.
    """
    apart = spec.decay == "decoupled"
    if spec.optimizer == "sophia":
        from pytorch_optimizer import SophiaH  # imports half of scipy; most runs never need it

        sophia: torch.optim.Optimizer = SophiaH(
            parameters,
            lr=spec.lr,
            weight_decay=spec.weight_decay,
            weight_decouple=apart,
            update_period=SOPHIA_PERIOD,
        )
        return sophia
    lr, recorded = (spec.lr, False) if rate is None else (rate, rate.is_cuda)
    if spec.optimizer == "adam":
        kind = torch.optim.AdamW if apart else torch.optim.Adam
        return kind(parameters, lr, weight_decay=spec.weight_decay, fused=True, capturable=recorded)
    coupled = 0.0 if apart else spec.weight_decay
    sgd = torch.optim.SGD(parameters, lr, spec.momentum, weight_decay=coupled, fused=True)
    if apart and spec.weight_decay:
        sgd.register_step_pre_hook(_Shrink(spec.weight_decay))
    return sgd


class _Shrink:
    """Decoupled decay for an optimizer that has none: before its step, weights are multiplied by 1 - lr · decay."""

    def __init__(self, decay: float) -> None:
        self._decay = decay

    @torch.no_grad()
    def __call__(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        for group in optimizer.param_groups:
            torch._foreach_mul_(group["params"], 1 - group["lr"] * self._decay)


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


def curvature(parameters: Sequence[nn.Parameter], noise: Sequence[Tensor]) -> list[Tensor]:
    """Hutchinson's estimate of the Hessian's diagonal, z ⊙ Hz.

    Args:
        parameters: whose gradients were computed with ``create_graph``.
        noise: z, standard Gaussian, in the shape of each.
    """
    gradients = [each.grad for each in parameters if each.grad is not None]
    products = torch.autograd.grad(gradients, parameters, noise)
    return [product * each for product, each in zip(products, noise, strict=True)]


def make_step(optimizer: torch.optim.Optimizer, noise: Sequence[Tensor] | None) -> None:
    """One step; with ``noise``, Sophia's, whose curvature is estimated with it first (see `curvature`)."""
    if noise is None:
        optimizer.step()
        return
    sophia: Any = optimizer
    sophia.step(hessian=curvature(sophia.param_groups[0]["params"], noise))
