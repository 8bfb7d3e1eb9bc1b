"""Logits of a model on a test set, and what they say: loss, accuracy, calibrated loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmc.errors import MergeError
from lmc.measuring.inputs import Inputs
from lmc.merging import calibration_split, fit_inverse_temperature
from lmc.merging.temperature import scores_by_class
from lmc.precision import double, where_float64


@dataclass(frozen=True)
class Evaluation:
    """What one model's logits say of a test set.

    Args:
        accuracy: share of test images whose largest logit is the true class; ties count as wrong.
        loss: mean cross-entropy over all test images, nats.
        beta: inverse temperature fitted on the 20 % split.
        calibrated_loss: mean cross-entropy of softmax(β · logits) over the other 80 %, nats.
    """

    accuracy: float
    loss: float
    beta: float
    calibrated_loss: float


@dataclass(frozen=True)
class Judged:
    """What one model's logits say of every test image, and of all of them.

    Args:
        evaluation: of all.
        predictions: the class with the largest logit, the first of several; int64 (N,).
        right: bool (N,), see `lmc.measuring.evaluation.Evaluation`.
        losses: cross-entropies, float64 (N,), nats.
        calibrated_losses: those of softmax(β · logits) on the images that β was not fitted on, float64 (~0.8 N,).
    """

    evaluation: Evaluation
    predictions: Tensor
    right: Tensor
    losses: Tensor
    calibrated_losses: Tensor


def evaluate_logits(logits: Tensor, labels: Tensor) -> Evaluation:
    """Evaluate logits (N, classes) against int64 labels (N,): `evaluate_all` of one point."""
    return evaluate_all(logits[None], labels)[0]


BLOCK = 2**21
"""Logits evaluated at once, at most, unless one point has more; 16 MiB in float64, some of it in a cache."""


def evaluate_all(logits: Tensor, labels: Tensor) -> list[Evaluation]:
    """`judge_all` without what is said of single images."""
    return [each.evaluation for each in judge_all(logits, labels)]


def judge_all(logits: Tensor, labels: Tensor) -> list[Judged]:
    """Evaluate every point of a stack of logits, each as if it were alone; losses in float64.

    Deviates: β is fitted to labels smoothed by 1/(n + 2) of the n fitting images (Platt 1999), so that
    it stays finite where a model makes no mistake on them; on the paper's 2,000 images this is 0.05 %.

    Args:
        logits: (points, N, classes), evaluated where they are if that has float64.
        labels: int64 (N,).

    Returns:
        What each point says.

    Raises:
        MergeError: a logit is not finite, or there are too few images to split.
    """
    logits = where_float64(logits)
    labels = labels.to(logits.device)
    fitted, judged = (each.to(logits.device) for each in calibration_split(len(labels)))
    points = max(1, BLOCK // max(1, logits[0].numel())) if len(logits) else 1
    found: list[Judged] = []
    for block in torch.split(logits, points):
        if not torch.isfinite(block).all():
            raise MergeError("the logits hold NaN or infinite values; the model diverged")
        betas = fit_inverse_temperature(block[:, fitted], labels[fitted], smoothing=1 / (len(fitted) + 2))
        scores = scores_by_class(block)
        true = scores.gather(1, labels.expand(len(block), 1, -1))
        right = (true[:, 0] == 0) & ((scores == 0).sum(1) == 1)
        losses = _cross_entropy(scores, true)
        calibrated = _cross_entropy(
            betas[:, None, None] * scores[..., judged], betas[:, None, None] * true[..., judged]
        )
        means = double(right).mean(-1), losses.mean(-1), betas, calibrated.mean(-1)
        said = (Evaluation(*values) for values in zip(*(each.tolist() for each in means), strict=True))
        found += map(Judged, said, block.argmax(-1), right, losses, calibrated)
    return found


def _cross_entropy(scores: Tensor, true: Tensor) -> Tensor:
    """log Σ exp(score) - the true class's score, (points, N).

    Args:
        scores: see `scores_by_class`; (points, classes, N).
        true: those of the true classes, (points, 1, N).
    """
    return scores.exp().sum(1).log() - true[:, 0]


@torch.no_grad()
def logits_of(model: nn.Module, inputs: Inputs) -> Tensor:
    """Logits (M, classes) of ``model`` in evaluation mode on the test images."""
    model.eval()
    return torch.cat([model(batch) for batch in inputs.test_batches()])
