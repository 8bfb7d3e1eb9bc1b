"""From one model, the barrier that an independently trained twin would show: θ merged with permutations of itself.

Entezari et al. (ICLR 2022) found such barriers strikingly similar to those of independent solutions. What a permuted
copy lacks is another function: the gain of an ensemble, which lies in the barrier of a real pair, is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from lmc.errors import SpecError
from lmc.measuring.evaluation import Evaluation, evaluate_all, logits_of
from lmc.measuring.inputs import Inputs
from lmc.measuring.paths import BN_IMAGES, load_interpolated
from lmc.merging import reset_bn_stats
from lmc.merging.permutation_spec import permute, random_permutations, verify
from lmc.merging.tracing import trace_permutation_spec


@dataclass(frozen=True)
class Spread:
    """What draws gave.

    Args:
        mean: over draws.
        low: lower end of the mean's 95 % interval (Student's t).
        high: the upper one.
        least: the 5 % quantile of single draws.
        most: the 95 % quantile; 90 % of single draws lie between the two.
    """

    mean: float
    low: float
    high: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of two values or more."""
        from scipy.special import stdtrit

        drawn = np.asarray(values, dtype=np.float64)
        mean = float(drawn.mean())
        half = float(stdtrit(len(drawn) - 1, 0.975)) * float(drawn.std(ddof=1)) / math.sqrt(len(drawn))
        least, most = np.quantile(drawn, (0.05, 0.95))
        return cls(mean, mean - half, mean + half, float(least), float(most))


@dataclass(frozen=True)
class Forecast:
    """The barrier at λ = ½ that an independent twin would show.

    Args:
        model: what the model itself does.
        loss: barrier, nats.
        calibrated_loss: the same after both got their own β.
        accuracy: accuracy lost.
        draws: number of permutations.
    """

    model: Evaluation
    loss: Spread
    calibrated_loss: Spread
    accuracy: Spread
    draws: int


@torch.no_grad()
def forecast(model: nn.Module, merged: nn.Module, inputs: Inputs, draws: int = 20, seed: int = 0) -> Forecast:
    """Merge a model with random permutations of itself, BatchNorm statistics reset, and compare with the model.

    Args:
        model: in evaluation mode.
        merged: another of its architecture, overwritten.
        inputs: test inputs, and inputs for the reset.
        draws: number of permutations, at least 2.
        seed: of the first; the others' follow.

    Raises:
        SpecError: fewer than two draws.
        MergeError: the architecture cannot be traced or has nothing to permute, or logits are not finite.
    """
    if draws < 2:
        raise SpecError(f"draws is {draws}; an interval needs two or more")
    state, example = model.state_dict(), inputs.examples(2)
    spec = trace_permutation_spec(model, example)
    logits = [logits_of(model, inputs).double()]
    for draw in range(draws):
        permutations = random_permutations(spec, seed + draw)
        if draw == 0:
            verify(model, state, spec, permutations, example)
        load_interpolated(merged, state, permute(state, spec, permutations), 0.5)
        reset_bn_stats(merged, inputs.train_batches(BN_IMAGES))
        logits.append(logits_of(merged, inputs).double())
    own, *found = evaluate_all(torch.stack(logits), inputs.labels)
    return Forecast(
        own,
        Spread.of([each.loss - own.loss for each in found]),
        Spread.of([each.calibrated_loss - own.calibrated_loss for each in found]),
        Spread.of([own.accuracy - each.accuracy for each in found]),
        draws,
    )
