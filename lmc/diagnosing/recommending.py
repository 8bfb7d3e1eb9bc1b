"""The recommended merge as weights, with β in them: a last layer that is linear gives β times the logits then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmc.diagnosing.preparing import Prepared
from lmc.diagnosing.trying import Tried
from lmc.measuring.tapping import tapping

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Recommended:
    """The merge that the conclusion speaks of.

    Args:
        merged: its state dict on the CPU; ``None`` where there is none.
        beta_folded: whether β is in the weights already.
        notes: what to do with them.
    """

    merged: Mapping[str, Tensor] | None
    beta_folded: bool
    notes: Sequence[str] = ()


def recommended(prepared: Prepared, tried: Tried) -> Recommended:
    """Make the recommended merge again, and fold β into it."""
    chosen, beta = tried.chosen, tried.conclusion.beta
    if chosen is None:
        return Recommended(None, beta_folded=False)
    way = chosen.way
    model = prepared.load_merge(tried.states[way.alignment, way.rescaled], way.rule, reset=chosen.reset)
    folded = beta is not None and fold_beta(model, beta, prepared.probe)
    notes = ["β could not be folded into a last layer: multiply the merged model's logits by it"]
    merged = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    return Recommended(merged, folded, notes if beta is not None and not folded else ())


@torch.no_grad()
def fold_beta(model: nn.Module, beta: float, example: Tensor) -> bool:
    """Multiply the last layer's weight and bias by β, if that multiplies the logits by β and does nothing else.

    Args:
        model: in evaluation mode; changed where the answer is yes.
        beta: β.
        example: a few inputs to check it on.

    Returns:
        Whether it worked. It does not where something follows the last layer, or its weight serves elsewhere too.
    """
    with tapping(model) as tapped:
        before = model(example.clone())
    if not tapped.layers:
        return False
    last = list(tapped.layers.values())[-1]
    own = {id(tensor) for tensor in model.parameters()}
    parts = [tensor for tensor in (last.weight, last.bias) if tensor is not None]
    if any(id(tensor) not in own for tensor in parts):
        return False
    kept = [tensor.clone() for tensor in parts]
    for tensor in parts:
        tensor.mul_(beta)
    after, wanted = model(example.clone()), before * beta
    if float((after - wanted).abs().amax()) <= TOLERANCE * float(wanted.abs().amax()):
        return True
    for tensor, value in zip(parts, kept, strict=True):
        tensor.copy_(value)
    return False
