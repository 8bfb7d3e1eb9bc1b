"""Merging models as they are asked to be merged, without judging it; what cannot be known is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor, nn

from lmc.diagnosing.alignment import traced
from lmc.diagnosing.counters import check_integers
from lmc.diagnosing.effective import fold_masks
from lmc.diagnosing.models import copies_of, identical
from lmc.diagnosing.options import Asked, Options, checked
from lmc.diagnosing.reading import adapt
from lmc.diagnosing.samples import Data, Samples, read_samples, with_training
from lmc.diagnosing.soup import greedy_soup
from lmc.errors import MergeError, SpecError
from lmc.measuring.alignments import aligning
from lmc.merging import State, has_bn, merge, reset_bn_stats, untracked_norms
from lmc.merging.permutation_spec import PermutationSpec, permute, verify
from lmc.merging.sums import SumParts, sum_merge, sum_parts
from lmc.shares import checked_shares

ALIGNMENTS = ("unpermuted", "matching", "complementary")
"""What can be done to models before they are merged, see `lmc.measuring.alignments`."""
RULES = ("mean", "sum")
"""How weights can be combined."""
SELECTIONS = ("all", "greedy")
"""Which of the models can be merged."""


@dataclass(frozen=True)
class Way:
    """How to merge.

    Args:
        align: one of `lmc.diagnosing.merging.ALIGNMENTS`.
        rule: one of `lmc.diagnosing.merging.RULES`.
        weights: of the models; ``None`` for equal ones.
        shape: of one input, without the batch; ``()`` where there is data.
        head: name of the last layer; ``None`` looks for it.
        select: one of `lmc.diagnosing.merging.SELECTIONS`; ``"greedy"`` takes those that
            `lmc.diagnosing.soup.greedy_soup` chooses.
    """

    align: str = "unpermuted"
    rule: str = "mean"
    weights: Sequence[float] | None = None
    shape: tuple[int, ...] = ()
    head: str | None = None
    select: str = "all"

    def __post_init__(self) -> None:
        allowed = {"align": ALIGNMENTS, "rule": RULES, "select": SELECTIONS}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise SpecError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(values)}")
        if self.select == "greedy" and (self.align, self.rule, self.weights) != ("unpermuted", "mean", None):
            raise SpecError("a greedy soup is the mean of models as they are; leave out --align, --rule and --weights")


@torch.no_grad()
def merge_models(
    models: Sequence[nn.Module], way: Way, data: Data | None = None, **options: Unpack[Options]
) -> tuple[dict[str, Tensor], list[str]]:
    """Merge models of one architecture.

    Args:
        models: two or more; copies are run.
        way: how.
        data: held-out inputs with labels, as for `lmc.diagnosing.diagnose.diagnose`; without, BatchNorm statistics
            cannot be reset.
        **options: of these, ``train_data``, ``inputs``, ``labels``, ``outputs``, ``device``, ``reset_inputs`` and a
            specification as ``permutation`` count; for a greedy soup ``loss`` and ``metric`` too.

    Returns:
        The merged state dict on the CPU, and remarks: what was done and what is not known.

    Raises:
        SpecError: an option is out of range, or a greedy soup has no data.
        MergeError: the models differ in architecture, hold NaN or cannot be merged so.
        DataError: the data does not fit the models.
    """
    if len(models) < 2:
        raise MergeError(f"{len(models)} model cannot be merged; name two or more")
    checked_shares(way.weights, len(models))
    if way.select == "greedy":
        return _soup(models, data, options)
    asked = checked(options, models[0])
    copies, notes = copies_of(models, asked.device)
    module = copies[0]
    states: Sequence[State] = [{name: tensor.clone() for name, tensor in each.state_dict().items()} for each in copies]
    if identical(states):
        notes.append("the models are identical; the merge can be no better than they are")
    samples = None if data is None else _read(data, module, asked)
    example = _example(states[0], way.shape, asked) if samples is None else samples.examples(2)
    if masks := fold_masks(copies, example):
        states = [{name: tensor.clone() for name, tensor in each.state_dict().items()} for each in copies]
        notes.append(f"masks were multiplied into their weights before they were merged: {', '.join(masks)}")
    check_integers(module, states, example)
    states = _aligned(way.align, module, states, example, asked.spec)
    if way.rule == "mean":
        merged = merge(states, way.weights)
    else:
        merged = sum_merge(states, _parts(module, example, way.head), way.weights)
    module.load_state_dict(merged)
    notes += _normalised(module, samples, way.rule, trained=asked.train_data is not None)
    if data is None:
        notes.append("how good the merge is cannot be known without data; lmc diagnose tells")
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}, notes


def _soup(models: Sequence[nn.Module], data: Data | None, options: Options) -> tuple[dict[str, Tensor], list[str]]:
    if data is None:
        raise SpecError("a greedy soup is chosen by what the models do with data; pass --data")
    soup = greedy_soup(models, data, **options)
    members = ", ".join(map(str, soup.members))
    said = f"the best mean by {soup.metric_name} is that of models {members}; the data chose it, so judge it on other"
    return dict(soup.merged), [*soup.notes, said]


def _read(data: Data, module: nn.Module, asked: Asked) -> Samples:
    """The data; ``module`` is called with it from now on."""
    read = read_samples(data, module, asked.device, inputs=asked.inputs, labels=asked.labels)
    if has_bn(module):
        read = with_training(read, asked.train_data, asked.reset_inputs, asked.inputs)
    if read.columns is not None or asked.outputs is not None:
        adapt(module, read.columns, asked.outputs)
    return read.samples


def _example(state: State, shape: tuple[int, ...], asked: Asked) -> Tensor | None:
    """Two inputs of a shape, in the precision of a state."""
    if not shape:
        return None
    dtype = next(tensor.dtype for tensor in state.values() if tensor.is_floating_point())
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)).to(asked.device, dtype)


def _aligned(
    align: str, module: nn.Module, states: Sequence[State], example: Tensor | None, spec: PermutationSpec | str | None
) -> Sequence[State]:
    if align == "unpermuted":
        return states
    if example is None:
        raise MergeError(f"{align} has to trace the model on an input; pass --data, or the shape of one with --shape")
    spec = spec or traced(module, example)
    if isinstance(spec, str):
        raise MergeError(f"{spec}; without a permutation, merge with --align unpermuted")
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


def _normalised(module: nn.Module, samples: Samples | None, rule: str, *, trained: bool) -> list[str]:
    """Reset the BatchNorm statistics of a merge where there is data; and say what became of them."""
    if not has_bn(module) or untracked_norms(module):
        return []
    if samples is not None:
        reset_bn_stats(module, samples.train_batches(samples.train_count))
        source = "training inputs" if trained else "the test inputs"
        return [f"BatchNorm statistics were reset on {samples.train_count} of {source}"]
    kept = (
        "summed, which is right where no channel is active in two models"
        if rule == "sum"
        else "averaged, which is right for no layer but the first"
    )
    return [
        f"BatchNorm statistics were {kept}; without data it cannot be known whether they fit, so pass --data to reset"
    ]
