"""β as part of the weights: a last layer that is linear gives β times the logits where it is β times itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lmc.measuring.tapping import tapping

TOLERANCE = 1e-4


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
