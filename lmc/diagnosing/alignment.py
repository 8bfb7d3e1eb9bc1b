"""Permuting models to match the first one, where their architecture can be traced."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lmc.errors import MergeError, SpecError
from lmc.measuring.measurements import MATCHING_STARTS
from lmc.merging import State
from lmc.merging.permutation_spec import PermutationSpec, permute, verify
from lmc.merging.tracing import trace_permutation_spec
from lmc.merging.weight_matching import weight_matching

CHOICES = ("auto", "always", "never")


def check_choice(permutation: str) -> None:
    """Refuse an unknown choice.

    Raises:
        SpecError: naming the choices.
    """
    if permutation not in CHOICES:
        raise SpecError(f"permutation is {permutation!r}; choose one of {', '.join(CHOICES)}")


@torch.no_grad()
def matched(
    model: nn.Module, states: Sequence[State], example: Tensor, spec: PermutationSpec | None = None
) -> tuple[list[State], str | None]:
    """All states but the first permuted to be closest to the first (Ainsworth et al., ICLR 2023).

    Args:
        model: a module of the architecture; its weights are left as they are.
        states: of the models.
        example: one input (N, ...), N >= 2.
        spec: of the architecture, checked; ``None`` traces it.

    Returns:
        The states and ``None``, or no states and the reason why they cannot be matched: also where a permuted model
        would not compute what it did, in float64 on ``example``.
    """
    try:
        spec = trace_permutation_spec(model, example) if spec is None else spec
        if not spec.groups:
            return [], "no channels of this architecture can be reordered without changing its function"
        first = states[0]
        found = [weight_matching(spec, first, state, restarts=MATCHING_STARTS) for state in states[1:]]
        for state, each in zip(states[1:], found, strict=True):
            verify(model, state, spec, each.permutations, example)
        others = [permute(state, spec, each.permutations) for state, each in zip(states[1:], found, strict=True)]
    except MergeError as error:
        return [], str(error)
    except (RuntimeError, TypeError, NotImplementedError) as error:  # from code the tracer runs on strange modules
        return [], f"tracing failed: {type(error).__name__}: {error}".splitlines()[0][:200]
    return [first, *others], None
