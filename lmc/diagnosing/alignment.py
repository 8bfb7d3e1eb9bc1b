"""Permuting models to match the first one, where their architecture can be traced."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lmc.diagnosing.reading import Bound
from lmc.errors import MergeError, in_one_line
from lmc.measuring.alignments import aligning
from lmc.measuring.measurements import MATCHING_STARTS
from lmc.merging import State
from lmc.merging.channel_groups import groups_of
from lmc.merging.permutation_spec import PermutationSpec, check_state, permute, random_permutations, verify
from lmc.merging.tracing import trace_permutation_spec
from lmc.merging.weight_matching import weight_matching


def traced(model: nn.Module, example: Tensor) -> PermutationSpec | str:
    """The specification of a model's permutation symmetry, or the reason why there is none.

    Args:
        model: as measurements call it; see `lmc.diagnosing.reading.adapt`.
        example: two inputs, or the numbers of two.
    """
    adapted = "forward" in vars(model)
    try:
        if not adapted:
            return trace_permutation_spec(model, example)
        bound = Bound(model, example)
        found = trace_permutation_spec(bound, example if bound.first is None else bound.first)
    except MergeError as error:
        return str(error)
    except Exception as error:  # from code the tracer runs on strange modules
        return f"tracing failed: {in_one_line(error)}"
    axes = {name.removeprefix("net."): labels for name, labels in found.axes.items()}
    return PermutationSpec(axes, found.groups, frozenset(name.removeprefix("net.") for name in found.buffers))


@torch.no_grad()
def matched(
    model: nn.Module, states: Sequence[State], example: Tensor, spec: PermutationSpec | str | None = None
) -> tuple[list[State], str | None]:
    """All states but the first permuted to be closest to the first (Ainsworth et al., ICLR 2023).

    Args:
        model: a module of the architecture; its weights are left as they are.
        states: of the models.
        example: one input (N, ...), N >= 2.
        spec: of the architecture, checked, or why there is none; ``None`` traces it.

    Returns:
        The states and ``None``, or no states and the reason why they cannot be matched: also where a permuted model
        would not compute what it did, in float64 on ``example``.
    """
    spec = traced(model, example) if spec is None else spec
    if isinstance(spec, str):
        return [], spec
    try:
        if not spec.groups:
            return [], _nothing_to_reorder(spec)
        found = [states[0]]
        for state in states[1:]:
            permutations = weight_matching(spec, states[0], state, restarts=MATCHING_STARTS).permutations
            verify(model, state, spec, permutations, example)
            found.append(permute(state, spec, permutations))
    except MergeError as error:
        return [], str(error)
    except (RuntimeError, TypeError, NotImplementedError) as error:  # from code the tracer runs on strange modules
        return [], f"tracing failed: {in_one_line(error)}"
    return found, None


@torch.no_grad()
def complementary(
    model: nn.Module, states: Sequence[State], example: Tensor, spec: PermutationSpec | str
) -> tuple[list[State], str | None]:
    """All states but the first with their strong channels where those before are weak, by norms of the weights.

    Args:
        model: see `matched`.
        states: of the models.
        example: see `matched`.
        spec: of the architecture, or why there is none.

    Returns:
        See `matched`.
    """
    if isinstance(spec, str):
        return [], spec
    try:
        moved = [states[0]]
        for state, permutations in zip(states[1:], aligning("complementary", spec, states), strict=True):
            verify(model, state, spec, permutations, example)
            moved.append(permute(state, spec, permutations))
    except MergeError as error:
        return [], str(error)
    return moved, None


def _nothing_to_reorder(spec: PermutationSpec) -> str:
    if not spec.fixing:
        return "no channels of this architecture can be reordered without changing its function"
    return (
        f"tracing found no channels to reorder: it does not know what {', '.join(sorted(spec.fixing))} do to their "
        "order; where you do, write a PermutationSpec by hand: diagnose takes it as permutation=spec"
    )


def check_spec(spec: PermutationSpec, model: nn.Module, states: Sequence[State], example: Tensor) -> None:
    """Refuse a specification written by hand under which a random permutation changes what a model computes.

    Args:
        spec: the specification.
        model: a module of the architecture; its weights are left as they are.
        states: of the models.
        example: a few inputs.

    Raises:
        MergeError: it does not fit a state, or the outputs change; see `lmc.merging.permutation_spec.verify`.
    """
    used = {group for labels in spec.axes.values() for axis in labels for group in groups_of(axis)}
    if used != set(spec.groups):
        raise MergeError(
            f"the specification has axes of {sorted(used)} and groups {sorted(spec.groups)}; give each its size"
        )
    for number, state in enumerate(states, start=1):
        check_state(spec, state, f"model {number}")
        verify(model, state, spec, random_permutations(spec, 0), example)
