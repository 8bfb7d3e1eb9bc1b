"""The record of a pair of models: the path between them, and their layers at the midpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lmc.measuring.endpoints import Endpoint, compare
from lmc.measuring.inputs import Inputs
from lmc.measuring.layers import Records
from lmc.measuring.path_record import mean_logits, path_record
from lmc.measuring.paths import BN_IMAGES, judged, load_interpolated, logits_along
from lmc.merging import reset_bn_stats
from lmc.precision import double

_AT_ONCE = 2**22
"""Weights whose squares are held in float64 at once."""


@torch.no_grad()
def measure_pair(
    a: Endpoint, b: Endpoint, spare: nn.Module, lams: Sequence[float], inputs: Inputs, layer_images: int | None
) -> dict[str, Any]:
    """Measure two models; what is known of each by itself is not computed again.

    Args:
        a: model a, at λ = 1.
        b: model b, at λ = 0.
        spare: a network of their architecture, overwritten.
        lams: points of the path, increasing, with 0, ½ and 1.
        inputs: test images, and training images for the BatchNorm reset.
        layer_images: test inputs that layers are measured on, rounded up to whole batches; ``None`` measures the path
            alone.

    Returns:
        A JSON-ready record; see `lmc.measuring.records.measure`.

    Raises:
        MergeError: logits are not finite.
    """
    state_a, state_b = a.network.state_dict(), b.network.state_dict()
    layers: Records = {}
    known: dict[float, Tensor] = {}
    if layer_images is not None:
        load_interpolated(spare, state_a, state_b, 0.5)
        reset_bn_stats(spare, inputs.train_batches(BN_IMAGES))
        layers, known[0.5] = compare([a, b], spare, (0.5, 0.5), inputs, layer_images)
    ends = {0.0: b.judged(), 1.0: a.judged()}
    inner = [lam for lam in lams if lam not in ends]
    logits = logits_along(spare, state_a, state_b, inner, inputs, known)
    *between, ensemble = judged([*logits, mean_logits(a.logits(), b.logits())], inputs)
    path = ends | dict(zip(inner, between, strict=True))
    return {
        "accuracies": [each.judged().evaluation.accuracy for each in (a, b)],
        "distance": distance(a.network, b.network),
        "path": path_record(lams, [path[lam] for lam in lams], ensemble),
        "layers": layers,
        "collapsed": [_collapsed(layers, which) for which in ("a", "b")] if layers else None,
    }


def _collapsed(layers: Records, which: str) -> list[str]:
    """Names of the activations of a model whose input is the same whatever the model's input."""
    return [name for name, each in layers["activations"].items() if each[f"varying_share_{which}"] == 0]


def distance(a: nn.Module, b: nn.Module) -> float:
    """‖θ_a - θ_b‖ over the parameters."""
    squares = [
        double(one - other).square().sum()
        for pair in zip(a.parameters(), b.parameters(), strict=True)
        for one, other in zip(*map(_in_parts, pair), strict=True)
    ]
    return math.sqrt(float(sum(squares)))


def _in_parts(tensor: Tensor) -> tuple[Tensor, ...]:
    return torch.split(tensor.detach(), max(1, _AT_ONCE * len(tensor) // tensor.numel()))
