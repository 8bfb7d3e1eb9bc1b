"""One way to merge models: what it is called, what it gives, and how much worse that is than the models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmc.measuring.evaluation import Evaluation

NAMES = {
    (False, False): "as they are",
    (False, True): "BN reset",
    (True, False): "permuted",
    (True, True): "permuted, BN reset",
}
"""What a merge is called, by whether the models are permuted first and BatchNorm statistics reset afterwards."""


@dataclass(frozen=True)
class Excess:
    """How much worse the merged model is than the mean of the models it was made of (Def. 2.1 at equal weights).

    Args:
        accuracy: accuracy lost, negative where the merged model is better.
        loss: loss added, nats.
        calibrated_loss: the same after each model got its own β.
    """

    accuracy: float
    loss: float
    calibrated_loss: float


@dataclass(frozen=True)
class Candidate:
    """One way to merge.

    Args:
        name: for the reader.
        permuted: whether the models were matched by permutation first.
        reset: whether BatchNorm statistics were reset afterwards.
        merged: what the merged model does.
        excess: against the models.
    """

    name: str
    permuted: bool
    reset: bool
    merged: Evaluation
    excess: Excess


@dataclass(frozen=True)
class LinearPath:
    """Loss and accuracy along λ between two models (λ weights the first).

    Args:
        lams: λ, increasing from 0 to 1.
        points: the evaluation at each.
        barriers: see `lmc.measuring.barriers.barriers`.
    """

    lams: tuple[float, ...]
    points: tuple[Evaluation, ...]
    barriers: Mapping[str, float | None]

    @property
    def midpoint(self) -> Evaluation:
        """What the mean of the two models does."""
        return self.points[self.lams.index(0.5)]


def excess_of(merged: Evaluation, models: Sequence[Evaluation]) -> Excess:
    """The merged model against the mean of the models."""

    def mean(name: str) -> float:
        return float(sum(getattr(each, name) for each in models)) / len(models)

    return Excess(
        mean("accuracy") - merged.accuracy,
        merged.loss - mean("loss"),
        merged.calibrated_loss - mean("calibrated_loss"),
    )
