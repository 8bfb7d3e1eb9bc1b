"""Whether flatness explains mode connectivity: a random step as long as the distance between models (App. D)."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from lmc.errors import SpecError
from lmc.measuring import conditions
from lmc.measuring.evaluation import evaluate_logits, logits_of
from lmc.measuring.inputs import Inputs
from lmc.measuring.layers import RowMean
from lmc.measuring.paths import BN_IMAGES
from lmc.measuring.tapping import Seeing
from lmc.merging import State, reset_bn_stats

BN_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""Last part of the names of what a state dict holds besides parameters; no step is taken along these."""


def random_direction(state: State, distance: float, seed: int) -> dict[str, Tensor]:
    """distance · u with u = g / ‖g‖, g standard Gaussian over all floating-point parameters at once (App. D.1).

    Drawn on the CPU in float64, so that a seed means the same direction on every device and in every dtype.

    Args:
        state: parameters by name; a state dict will do, BatchNorm's statistics are left out.
        distance: length of the step, >= 0; in the paper ‖θ_a - θ_b‖ over the parameters.
        seed: of the direction.

    Returns:
        By parameter name, in each parameter's shape, dtype and device, together of norm ``distance``, up to
        the rounding of the dtype.

    Raises:
        SpecError: ``distance`` is negative or not finite, or there is no floating-point parameter.
    """
    if not (math.isfinite(distance) and distance >= 0):
        raise SpecError(f"distance is {distance!r}; it must be finite and at least 0, e.g. the models' distance")
    generator = torch.Generator().manual_seed(seed)
    direction, square = {}, 0.0
    for name, tensor in state.items():
        if tensor.is_floating_point() and name.rpartition(".")[2] not in BN_BUFFERS:
            drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.dtype)
            square += float(drawn.double().square().sum())
            direction[name] = drawn
    if not square > 0:
        raise SpecError(f"no floating-point parameter among {list(state)[:3]}; pass a model's state dict")
    scale = distance / math.sqrt(square)
    return {name: drawn.mul_(scale).to(state[name].device) for name, drawn in direction.items()}


def perturb(state: State, direction: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """θ + α · direction; what ``direction`` does not name stays (App. D.1).

    Args:
        state: θ, not changed.
        direction: see `random_direction`.
        alpha: α in [0, 1]; 0 gives θ exactly.

    Returns:
        A new state dict.

    Raises:
        SpecError: α is out of range.
    """
    if not 0 <= alpha <= 1:
        raise SpecError(f"alpha is {alpha!r}; it must be between 0 (the model) and 1 (the whole distance)")
    moved = {name: torch.add(state[name], step, alpha=alpha) for name, step in direction.items()}
    return {name: moved[name] if name in moved else tensor.clone() for name, tensor in state.items()}


@torch.no_grad()
def measure_flatness(
    model: nn.Module, state: State, distance: float, alphas: Sequence[float], inputs: Inputs, seed: int
) -> dict[str, Any]:
    """How loss, accuracy and layers change on the way from θ to θ + distance · u, u random (App. D, Fig. 12, 13).

    Figure 14, the cosine between two trained models that Figure 13 is held against, is ``endpoint_cosine``
    of `lmc.measuring.layers.measure_layers`.

    Args:
        model: a module of the architecture, overwritten.
        state: θ, not changed.
        distance: length of the whole step; in the paper ‖θ_a - θ_b‖ over the parameters.
        alphas: shares α of the step, each in [0, 1], in any order.
        inputs: test images, and training images for the BatchNorm reset.
        seed: of the direction u.

    Returns:
        A JSON-ready record, ``distance``, ``seed``, ``alphas``, ``points`` (accuracy, loss, β and calibrated loss at
        each α) and ``activations``, for each of them ``perturbation_cosine``, between its output in the model and in
        the perturbed model at α = 1 (whether or not 1 is among ``alphas``), averaged over the test inputs.

    Raises:
        SpecError: an α or the distance is out of range, or there is no α.
        MergeError: logits are not finite.

    Deviates:
        BatchNorm statistics are reset for α > 0, as for merged models (B.1); the paper does not say whether
        it does so here. Without the reset, the loss would show stale statistics, not the landscape. The
        calibrated loss is an addition; Figure 12 shows the plain one.
    """
    outside = [alpha for alpha in alphas if not 0 <= alpha <= 1]
    if outside or not len(alphas):
        raise SpecError(f"alphas {list(alphas)} must be at least one number, each in [0, 1]; wrong are {outside}")
    # A copy, for the tensors may be the module's own, which are overwritten below.
    state = {name: tensor.clone() for name, tensor in state.items()}
    model.load_state_dict(state)
    parameters = {name: state[name] for name, _ in model.named_parameters()}
    direction = random_direction(parameters, distance, seed)

    def move(alpha: float) -> nn.Module:
        model.load_state_dict(perturb(state, direction, alpha))
        if alpha > 0:
            reset_bn_stats(model, inputs.train_batches(BN_IMAGES))
        return model

    original = copy.deepcopy(model)
    cosines, before, after = _compare(original, move(1.0), inputs)
    logits = {0.0: before, 1.0: after}
    for alpha in alphas:
        if alpha not in logits:
            logits[alpha] = logits_of(move(alpha), inputs)
    return {
        "distance": distance,
        "seed": seed,
        "alphas": list(alphas),
        "points": [asdict(evaluate_logits(logits[alpha], inputs.labels)) for alpha in alphas],
        "activations": {name: {"perturbation_cosine": mean.value} for name, mean in cosines.items()},
    }


def _compare(one: nn.Module, other: nn.Module, inputs: Inputs) -> tuple[dict[str, RowMean], Tensor, Tensor]:
    """Cosine of every activation's output of two models, and their logits (M, classes), in one pass."""
    one.eval()
    other.eval()
    cosines: dict[str, RowMean] = defaultdict(RowMean)
    logits: tuple[list[Tensor], list[Tensor]] = ([], [])
    views = Seeing(one), Seeing(other)
    for batch in inputs.test_batches():
        seen = [view(batch) for view in views]
        for parts, each in zip(logits, seen, strict=True):
            parts.append(each.output)
        before, after = (each.tapped.activations for each in seen)
        for name, call in before.items():
            cosines[name].add(conditions.cosine(call.rows, after[name].rows))
    return dict(cosines), torch.cat(logits[0]), torch.cat(logits[1])
