"""Merging checkpoints as they are asked to be merged, without judging it; what cannot be known is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmc.diagnosing.checkpoints import Pair
from lmc.diagnosing.models import built, check_states, identical
from lmc.diagnosing.samples import read_samples, with_training
from lmc.errors import MergeError, SpecError
from lmc.measuring.alignments import aligning
from lmc.measuring.paths import BN_IMAGES
from lmc.merging import State, has_bn, merge, reset_bn_stats
from lmc.merging.permutation_spec import permute, verify
from lmc.merging.sums import SumParts, sum_merge, sum_parts
from lmc.merging.tracing import trace_permutation_spec
from lmc.shares import checked_shares

ALIGNMENTS = ("unpermuted", "matching", "complementary")
RULES = ("mean", "sum")


@dataclass(frozen=True)
class Asked:
    """How to merge.

    Args:
        align: one of `ALIGNMENTS`.
        rule: one of `RULES`.
        weights: of the models; ``None`` for equal ones.
        shape: of one input, without the batch; ``()`` where there is data.
        head: name of the last layer; ``None`` looks for it.
    """

    align: str = "unpermuted"
    rule: str = "mean"
    weights: Sequence[float] | None = None
    shape: tuple[int, ...] = ()
    head: str | None = None

    def __post_init__(self) -> None:
        for name, value, allowed in (("align", self.align, ALIGNMENTS), ("rule", self.rule, RULES)):
            if value not in allowed:
                raise SpecError(f"{name} is {value!r}; choose one of {', '.join(allowed)}")


def merge_states(
    factory: Callable[[], nn.Module],
    states: Sequence[State],
    asked: Asked,
    data: Pair | None = None,
    train: Tensor | None = None,
) -> tuple[dict[str, Tensor], list[str]]:
    """Merge checkpoints of one architecture.

    Args:
        factory: builds the model.
        states: of two models or more.
        asked: how.
        data: held-out inputs and labels; without, BatchNorm statistics cannot be reset.
        train: training inputs to reset them on; ``None`` takes those of ``data``.

    Returns:
        The merged state dict, and remarks: what was done and what is not known.

    Raises:
        SpecError: the factory builds no model.
        MergeError: the states differ in architecture, hold NaN or cannot be merged so.
        DataError: the data does not fit the models.
    """
    if len(states) < 2:
        raise MergeError(f"{len(states)} model cannot be merged; name two or more")
    checked_shares(asked.weights, len(states))
    check_states(states)
    module = built(factory, [states[0]])[0]
    samples = None if data is None else read_samples(data, module, torch.device("cpu"))
    notes = ["the models are identical; the merge can be no better than they are"] if identical(states) else []
    example = None
    if samples is not None:
        example = samples.examples(2)
    elif asked.shape:
        dtype = next(tensor.dtype for tensor in states[0].values() if tensor.is_floating_point())
        example = torch.randn(2, *asked.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    states = _aligned(asked.align, module, states, example)
    if asked.rule == "mean":
        merged = merge(states, asked.weights)
    else:
        merged = sum_merge(states, _parts(module, example, asked.head), asked.weights)
    module.load_state_dict(merged)
    if has_bn(module) and samples is not None:
        samples = with_training(samples, train, BN_IMAGES)
        reset_bn_stats(module, samples.train_batches(BN_IMAGES))
        source = "the test inputs" if train is None else "training inputs"
        notes.append(f"BatchNorm statistics were reset on {samples.train_count} of {source}")
    elif has_bn(module):
        notes.append(_without_data(asked.rule))
    if data is None:
        notes.append("how good the merge is cannot be known without data; lmc diagnose tells")
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}, notes


def _aligned(align: str, module: nn.Module, states: Sequence[State], example: Tensor | None) -> Sequence[State]:
    if align == "unpermuted":
        return states
    if example is None:
        raise MergeError(f"{align} has to trace the model on an input; pass --data, or the shape of one with --shape")
    spec = trace_permutation_spec(module, example)
    if not spec.groups:
        raise MergeError("no channels of this architecture can be reordered; merge with --align unpermuted")
    moved = []
    for state, permutations in zip(states[1:], aligning(align, spec, states), strict=True):
        verify(module, state, spec, permutations, example)
        moved.append(permute(state, spec, permutations))
    return [states[0], *moved]


def _parts(module: nn.Module, example: Tensor | None, head: str | None) -> SumParts:
    if example is None and head is None:
        raise MergeError("a sum has to know the last layer; pass --data, the shape of an input with --shape, or --head")
    return sum_parts(module, example, head=head)


def _without_data(rule: str) -> str:
    kept = (
        "summed, which is right where no channel is active in two models"
        if rule == "sum"
        else "averaged, which is right for no layer but the first"
    )
    return (
        f"BatchNorm statistics were {kept}; without data it cannot be known whether they fit, so pass --data to reset"
    )
