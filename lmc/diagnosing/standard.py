"""What still counts as a good merge: thresholds, and the models that it is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

from scipy.special import bdtrc

from lmc.diagnosing.candidates import Candidate
from lmc.errors import SpecError
from lmc.measuring.evaluation import Evaluation

ACCURACY_BARRIER = 0.02
"""Accuracy that may be lost against the mean of the models, one input in fifty."""

LOSS_BARRIER = 0.1
"""Loss, nats, that may be added. On digits, pilots of MLPs with BatchNorm and strong decay had calibrated barriers of
0.02 at 512 units and 0.07 at 128, which merge well, and of 0.2 to 0.6 at 32 units, which do not."""

LOSS_SHARE = 0.1
"""Or this share of the models' own loss, where that is more; a task with a loss of 3 nats knows no 0.1."""

GUESSING = 0.05
"""How seldom someone who guesses may pass for a model that knows something, the usual one in twenty."""

ROUNDING = 1e-9
"""What a difference of two accuracies may be off by."""


@dataclass(frozen=True)
class Thresholds:
    """What still counts as a good merge.

    Args:
        accuracy: largest loss of accuracy against the mean of the models, in [0, 1].
        loss: largest excess of the loss over theirs, nats.
        loss_share: the same as a share of their loss; the larger of the two counts.

    Raises:
        SpecError: a threshold is negative or no number.
    """

    accuracy: float = ACCURACY_BARRIER
    loss: float = LOSS_BARRIER
    loss_share: float = LOSS_SHARE

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, Real) or not float(value) >= 0:
                raise SpecError(f"threshold {name} is {value!r}; it must be a number of at least 0")


@dataclass(frozen=True)
class Standard:
    """The models that a merge must be as good as, up to the thresholds.

    Args:
        models: what the models do.
        thresholds: what counts as good.
        inputs: number of test inputs.
        commonest: share of the commonest class among their labels.
        identical: whether the models hold the same weights.
    """

    models: Sequence[Evaluation]
    thresholds: Thresholds
    inputs: int
    commonest: float
    identical: bool = False

    @property
    def poor(self) -> list[int]:
        """Numbers, from 1, of the models that are not reliably better than a guess."""
        return [number for number, model in enumerate(self.models, start=1) if self._guesses(model)]

    def accurate(self, candidate: Candidate) -> bool:
        """Whether a merge keeps accuracy."""
        return candidate.excess.accuracy <= self.thresholds.accuracy + ROUNDING

    def fits(self, candidate: Candidate, *, calibrated: bool) -> bool:
        """Whether a merge keeps the loss, with β of its own where ``calibrated``."""
        loss = candidate.excess.calibrated_loss if calibrated else candidate.excess.loss
        return loss <= self.allowed(calibrated=calibrated)

    def allowed(self, *, calibrated: bool) -> float:
        """Largest loss that may be added, nats."""
        losses = [model.calibrated_loss if calibrated else model.loss for model in self.models]
        return max(self.thresholds.loss, self.thresholds.loss_share * sum(losses) / len(losses))

    def tells(self, candidate: Candidate) -> bool:
        """Whether a good merge says anything: beside a model that guesses it must be as good as the best one."""
        best = max(model.accuracy for model in self.models)
        close = best - candidate.merged.accuracy <= self.thresholds.accuracy + ROUNDING
        return not self.poor or (close and not self._guesses(candidate.merged))

    def _guesses(self, model: Evaluation) -> bool:
        return guesses(model.accuracy, self.inputs, self.commonest)


def guesses(accuracy: float, inputs: int, commonest: float) -> bool:
    """Whether always naming the commonest class could do as well: an exact binomial test at `GUESSING`.

    Whoever does not look at an input is right on a share of at most ``commonest``, and no more often above it than
    the binomial distribution says (Hoeffding 1956).

    Args:
        accuracy: of a model, in [0, 1].
        inputs: number of test inputs.
        commonest: share of the commonest class among their labels.
    """
    right = round(accuracy * inputs)
    return bool(bdtrc(right - 1, inputs, commonest) > GUESSING)
