"""Integer tensors of a state: counters say nothing of a function, everything else that differs cannot be averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lmc.errors import MergeError
from lmc.merging import State


@torch.no_grad()
def check_integers(spare: nn.Module, states: Sequence[State], example: Tensor | None) -> list[str]:
    """Refuse integer tensors that differ between models and are no counters: a merge would take model 1's.

    A counter is one number, and the outputs do not change when another model's is put in its place.

    Args:
        spare: a module of the architecture, overwritten.
        states: of the models.
        example: a few inputs; ``None`` takes every single number for a counter.

    Returns:
        The counters that differ.

    Raises:
        MergeError: a tensor holds weights or the like; it is named.
    """
    counters = []
    for name, first in states[0].items():
        if first.is_floating_point() or first.is_complex():
            continue
        others = [(number, state[name]) for number, state in enumerate(states[1:], start=2)]
        differing = [(number, value) for number, value in others if not torch.equal(value, first)]
        if not differing:
            continue
        number, value = differing[0]
        if first.numel() > 1 or (
            not name.endswith("num_batches_tracked") and _acts(spare, states[0], name, value, example)
        ):
            kind = str(first.dtype).removeprefix("torch.")
            raise MergeError(
                f"{name} is {kind} {tuple(first.shape)} and differs between model 1 and model {number}: whole numbers "
                "have no mean. If they hold weights, convert the models to floating point (dequantise them), merge "
                "these, and quantise again; if they choose or mask something, give both models the same"
            )
        counters.append(name)
    return counters


def _acts(spare: nn.Module, state: State, name: str, value: Tensor, example: Tensor | None) -> bool:
    """Whether outputs change with a tensor."""
    if example is None:
        return False
    spare.load_state_dict(state)
    before = spare(example.clone())
    spare.load_state_dict({**state, name: value})
    after = spare(example.clone())
    spare.load_state_dict(state)
    return not torch.equal(before, after)
