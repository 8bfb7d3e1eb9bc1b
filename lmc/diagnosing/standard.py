"""What still counts as a good merge: thresholds, and the models that it is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

from scipy.special import bdtrc

from lmc.diagnosing.candidates import Candidate
from lmc.diagnosing.scoring import Score
from lmc.diagnosing.task import Task
from lmc.errors import SpecError

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


CLASSES = Task("classes", "accuracy", counts_inputs=True)
"""One class per input."""


@dataclass(frozen=True)
class Thresholds:
    """What still counts as a good merge.

    Args:
        metric: how much worse the metric may be than the mean of the models, in its own unit, for accuracy in [0, 1].
            ``None`` is `ACCURACY_BARRIER` for shares, and that share of the models' own metric else.
        loss: largest excess of the loss over theirs, nats or the unit of a reader's loss, which has no default.
        loss_share: the same as a share of their loss; the larger of the two counts.

    Raises:
        SpecError: a threshold is negative or no number.
    """

    metric: float | None = None
    loss: float | None = None
    loss_share: float = LOSS_SHARE

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is None and name != "loss_share":
                continue
            if not isinstance(value, Real) or not float(value) >= 0:
                raise SpecError(f"threshold {name} is {value!r}; it must be a number of at least 0")


@dataclass(frozen=True)
class Standard:
    """The models that a merge must be as good as, up to the thresholds.

    Args:
        models: what the models do, at their best: as they are or with their BatchNorm statistics reset.
        thresholds: what counts as good.
        inputs: number of test inputs.
        commonest: metric of the best answer that ignores the inputs, for a classifier the share of the commonest class;
            ``None`` where unknown.
        identical: whether the models hold the same weights.
        task: what the numbers are.
        reset: whether the models are at their best with statistics reset.
        balanced: layers that were brought to one size first, as a normalisation ignores their own.
    """

    models: Sequence[Score]
    thresholds: Thresholds
    inputs: int
    commonest: float | None
    identical: bool = False
    task: Task = CLASSES
    reset: bool = False
    balanced: Sequence[str] = ()

    @property
    def poor(self) -> list[int]:
        """Numbers, from 1, of the models that are not reliably better than a guess."""
        return [number for number, model in enumerate(self.models, start=1) if self._guesses(model)]

    def accurate(self, candidate: Candidate) -> bool:
        """Whether a merge keeps the metric."""
        return candidate.excess.metric <= self.allowed_metric + ROUNDING

    @property
    def metric(self) -> float:
        """Mean of the models'."""
        return sum(model.metric for model in self.models) / len(self.models)

    @property
    def allowed_metric(self) -> float:
        """How much worse the metric may be."""
        if self.thresholds.metric is not None:
            return self.thresholds.metric
        return ACCURACY_BARRIER * (1.0 if self.task.share else abs(self.metric))

    def fits(self, candidate: Candidate, *, calibrated: bool) -> bool:
        """Whether a merge keeps the loss, with β of its own where ``calibrated``."""
        loss = candidate.excess.calibrated_loss if calibrated else candidate.excess.loss
        return loss is not None and loss <= self.allowed(calibrated=calibrated)

    def allowed(self, *, calibrated: bool) -> float:
        """Largest loss that may be added."""
        losses = [model.calibrated_loss if calibrated else model.loss for model in self.models]
        mean = sum(loss or 0.0 for loss in losses) / len(losses)
        least = self.thresholds.loss
        if least is None:
            least = LOSS_BARRIER if self.task.loss_unit else 0.0
        return max(least, self.thresholds.loss_share * abs(mean))

    def tells(self, candidate: Candidate) -> bool:
        """Whether a good merge says anything: beside a model that guesses it must be as good as the best one."""
        if not self.poor:
            return True
        best = max(model.metric for model in self.models)
        close = best - candidate.merged.metric <= self.allowed_metric + ROUNDING
        return close and not self._guesses(candidate.merged)

    def _guesses(self, model: Score) -> bool:
        """Of a classifier by a test; elsewhere positions depend on each other, and being no better is enough."""
        if self.commonest is None:
            return False
        if self.task.kind == "classes" and self.task.counts_inputs:
            return guesses(model.metric, self.inputs, self.commonest)
        return model.metric <= self.commonest


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
