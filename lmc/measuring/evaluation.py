"""Logits of a model on a test set, and what they say: loss, accuracy, calibrated loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmc.data import Dataset, Normaliser
from lmc.errors import MergeError
from lmc.merging import calibration_split, fit_inverse_temperature
from lmc.merging.temperature import scores_by_class


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


def evaluate_logits(logits: Tensor, labels: Tensor) -> Evaluation:
    """Evaluate logits (N, classes) against int64 labels (N,): `evaluate_all` of one point."""
    return evaluate_all(logits[None], labels)[0]


BLOCK = 2**21
"""Logits evaluated at once, at most, unless one point has more; 16 MiB in float64, some of it in a cache."""


def evaluate_all(logits: Tensor, labels: Tensor) -> list[Evaluation]:
    """Evaluate every point of a stack of logits, each as if it were alone; losses in float64.

    Deviates: β is fitted to labels smoothed by 1/(n + 2) of the n fitting images (Platt 1999), so that
    it stays finite where a model makes no mistake on them; on the paper's 2,000 images this is 0.05 %.

    Args:
        logits: (points, N, classes), evaluated where they are.
        labels: int64 (N,).

    Returns:
        One evaluation per point.

    Raises:
        MergeError: a logit is not finite, or there are too few images to split.
    """
    labels = labels.to(logits.device)
    fitted, judged = (each.to(logits.device) for each in calibration_split(len(labels)))
    points = max(1, BLOCK // max(1, logits[0].numel())) if len(logits) else 1
    found = []
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
        columns = right.double().mean(-1), losses, betas, calibrated
        found += [Evaluation(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]
    return found


def _cross_entropy(scores: Tensor, true: Tensor) -> Tensor:
    """Mean over images of log Σ exp(score) - the true class's score, (points,).

    Args:
        scores: see `scores_by_class`; (points, classes, N).
        true: those of the true classes, (points, 1, N).
    """
    return (scores.exp().sum(1).log() - true[:, 0]).mean(-1)


BATCH = 200
"""Images per batch, few enough for the activations of a narrow net to stay in a core's cache."""


@dataclass(frozen=True)
class Inputs:
    """A dataset as model inputs on a device, a batch at a time.

    Args:
        test: uint8 (M, C, H, W).
        labels: int64 (M,).
        train: uint8 (N, C, H, W), what BatchNorm statistics are reset on.
        normalise: fitted on the training images the models saw.
        batch: images per batch.
        dtype: floating-point type of the inputs.
    """

    test: Tensor
    labels: Tensor
    train: Tensor
    normalise: Normaliser
    batch: int = BATCH
    dtype: torch.dtype = torch.float32

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        train_size: int | None,
        device: torch.device | str,
        *,
        batch: int = BATCH,
        dtype: torch.dtype = torch.float32,
    ) -> Inputs:
        """Inputs of ``dataset`` for models trained on its first ``train_size`` images."""
        used = dataset.limited(train_size).to(torch.device(device))
        normalise = Normaliser.fit(used.train_images)
        return cls(used.test_images, used.test_labels, used.train_images, normalise, batch, dtype)

    def test_batches(self) -> Iterator[Tensor]:
        """Normalised test images, in order."""
        for part in torch.split(self.test, self.batch):
            yield self.normalise(part).to(self.dtype)

    def train_batches(self, limit: int) -> Iterator[Tensor]:
        """The first ``limit`` training images, normalised; a last batch of one image is left out."""
        for part in torch.split(self.train[:limit], self.batch):
            if len(part) > 1:
                yield self.normalise(part).to(self.dtype)


@torch.no_grad()
def logits_of(model: nn.Module, inputs: Inputs) -> Tensor:
    """Logits (M, classes) of ``model`` in evaluation mode on the test images."""
    model.eval()
    return torch.cat([model(batch) for batch in inputs.test_batches()])
