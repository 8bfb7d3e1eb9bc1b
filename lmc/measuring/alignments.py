"""Models brought into another order of units before they are merged; their functions stay."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lmc.measuring.measurements import MATCHING_STARTS
from lmc.merging import State
from lmc.merging.complementary import complementary_permutations, distant_permutations, reversed_permutations
from lmc.merging.permutation_spec import Permutations, PermutationSpec, permute, verify
from lmc.merging.strengths import norm_strengths
from lmc.merging.weight_matching import weight_matching
from lmc.nets import memory_format_of
from lmc.specs import RunSpec


def align(
    alignment: str,
    models: Sequence[nn.Module],
    spec: PermutationSpec,
    run: RunSpec,
    example: Tensor,
    *,
    dose: float = 1.0,
    seed: int = 0,
) -> None:
    """Permute all models but the first in place; their old tensors are left as they are.

    Args:
        alignment: but ``"unpermuted"``, see `lmc.measuring.mergeable.ALIGNMENTS`.
        models: two or more, of ``run`` up to the seeds. The first stays as it is.
        spec: of their architecture, see `lmc.merging.tracing.trace_permutation_spec`.
        run: the recipe of one of them.
        example: two inputs.
        dose: see `lmc.merging.complementary.complementary_permutations`.
        seed: likewise.

    Raises:
        MergeError: a permutation would change a function.
    """
    found = aligning(alignment, spec, [model.state_dict() for model in models], dose=dose, seed=seed)
    for model, permutations in zip(models[1:], found, strict=True):
        reorder(model, permutations, spec, run, example)


def reorder(model: nn.Module, permutations: Permutations, spec: PermutationSpec, run: RunSpec, example: Tensor) -> None:
    """Permute a model in place, as `align` does.

    Raises:
        MergeError: a permutation would change its function.
    """
    state = model.state_dict()
    verify(model, state, spec, permutations, example)
    model.load_state_dict(permute(state, spec, permutations), assign=True)
    model.to(memory_format=memory_format_of(run.arch))


def aligning(
    alignment: str, spec: PermutationSpec, states: Sequence[State], *, dose: float = 1.0, seed: int = 0
) -> list[Permutations]:
    """What all states but the first are to be permuted with.

    Matching and distance compare each with the first; complementary placement also with those placed before it.

    Args:
        alignment: see `align`.
        spec: of the architecture.
        states: of two models or more.
        dose: see `align`.
        seed: likewise.

    Raises:
        MergeError: the states do not fit, or a weight is not finite.
    """
    if alignment == "matching":
        first, *others = states
        return [weight_matching(spec, first, each, restarts=MATCHING_STARTS).permutations for each in others]
    if alignment == "distance":
        return [distant_permutations(spec, states[0], each) for each in states[1:]]
    if alignment == "unpermuted":
        return [{group: torch.arange(size) for group, size in spec.groups.items()} for _ in states[1:]]
    strengths = [norm_strengths(spec, state) for state in states]
    if alignment == "reversed":
        return [*reversed_permutations(spec, strengths)[1:]]
    assert alignment == "complementary", alignment
    return [*complementary_permutations(spec, strengths, dose=dose, seed=seed)[1:]]
