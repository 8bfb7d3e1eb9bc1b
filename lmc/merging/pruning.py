"""Keeping a model's strongest channels: how many it needs, and transplanting those of several models into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lmc.errors import MergeError
from lmc.merging.channel_groups import groups_of, places_of
from lmc.merging.permutation_spec import PermutationSpec, check_state, permute
from lmc.merging.strengths import Strengths
from lmc.merging.sums import SumParts, sum_merge
from lmc.merging.weights import State

ENOUGH = 0.99
"""Share of the strength that the channels a model needs hold together."""


def strongest(spec: PermutationSpec, strengths: Strengths, keep: float) -> dict[str, Tensor]:
    """The strongest share of every group's channels, one at least.

    Args:
        spec: of the model's architecture.
        strengths: of the model, see `lmc.merging.strengths`.
        keep: share of the channels, in (0, 1].

    Returns:
        Per group, bool (channels,).

    Raises:
        MergeError: ``keep`` is out of range.
    """
    if not 0 < keep <= 1:
        raise MergeError(f"keep is {keep!r}; it must be a share of the channels, above 0 and at most 1")
    found = {}
    for group, size in spec.groups.items():
        kept = torch.zeros(size, dtype=torch.bool)
        kept[strengths[group].argsort(descending=True, stable=True)[: max(1, round(keep * size))]] = True
        found[group] = kept
    return found


def prune(state: State, spec: PermutationSpec, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of all other channels set to zero: what writes, shifts, scales or reads them.

    Args:
        state: state dict that fits ``spec``. Running statistics stay.
        spec: of the model's architecture.
        kept: per group, bool (channels,).

    Returns:
        A new state dict.

    Raises:
        MergeError: the state does not fit the specification, or ``kept`` does not.
    """
    check_state(spec, state)
    for group, size in spec.groups.items():
        if group not in kept or kept[group].shape != (size,) or kept[group].dtype != torch.bool:
            raise MergeError(f"the channels kept of {group!r} must be {size} truth values; see strongest")
    pruned = {name: tensor.clone() for name, tensor in state.items()}
    for name, labels in spec.axes.items():
        for number, axis in enumerate(labels):
            if axis is not None and name not in spec.buffers:
                for group in groups_of(axis):
                    gone = places_of(axis, group, spec.groups[group])[~kept[group]].flatten()
                    pruned[name].index_fill_(number, gone.to(pruned[name].device), 0)
    return pruned


def needed_share(strengths: Tensor) -> float:
    """The smallest share of channels that hold `ENOUGH` of the strength together; 0 where all are dead.

    On pilots of the quick tier it lies nearer to the share that keeps accuracy within a point than the effective number
    of channels (Σ s)² / Σ s² does: 0.53 and 0.35 where MLPs x1 need a third to a half of their channels, 0.57 and 0.48
    where VGGs x1/8 need three quarters, 0.46 and 0.36 where ResNets x1 need half. With weak decay it is 0.98.

    Args:
        strengths: of a group, (channels,) >= 0.
    """
    total = float(strengths.sum())
    if total == 0:
        return 0.0
    reached = strengths.sort(descending=True).values.cumsum(0)
    return (int((reached < ENOUGH * total).sum()) + 1) / len(strengths)


def transplant(
    models: Sequence[State],
    spec: PermutationSpec,
    strengths: Sequence[Strengths],
    parts: SumParts,
    weights: Sequence[float] | None = None,
) -> dict[str, Tensor]:
    """Neuron Transplantation before fine-tuning (Öz et al., 2502.06849), at the width of one model.

    The models are concatenated and the strongest channels of the union kept, as many per group as one model has. A
    concatenated net has no weights between its models, so this is the sum of the models, each pruned to what is kept
    of it and that moved to places of its own.

    Args:
        models: k >= 2 state dicts that fit ``spec``.
        spec: of their architecture.
        strengths: of each, comparable between models.
        parts: see `lmc.merging.sums.sum_parts`.
        weights: of the last layer, see `lmc.merging.sums.sum_merge`.

    Returns:
        A new state dict.

    Raises:
        MergeError: see `lmc.merging.sums.sum_merge`; or the strengths are not one per model.
    """
    if len(strengths) != len(models):
        raise MergeError(f"strengths of {len(strengths)} models for {len(models)}; pass those of each")
    kept: list[dict[str, Tensor]] = [{} for _ in models]
    orders: list[dict[str, Tensor]] = [{} for _ in models]
    for group, size in spec.groups.items():
        union = torch.cat([each[group] for each in strengths])
        chosen = torch.zeros(len(union), dtype=torch.bool)
        chosen[union.argsort(descending=True, stable=True)[:size]] = True
        start = 0
        for index, mine in enumerate(torch.split(chosen, size)):
            kept[index][group] = mine
            channels, others = mine.nonzero().flatten(), (~mine).nonzero().flatten()
            orders[index][group] = torch.cat(
                [others[:start], channels, others[start:]]
            )  # into places start, start+1, ...
            start += len(channels)
    placed = [
        permute(prune(model, spec, mine), spec, order) for model, mine, order in zip(models, kept, orders, strict=True)
    ]
    return sum_merge(placed, parts, weights)
