"""What the measurements mean for someone who wants to average the models, in plain language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmc.errors import SpecError
from lmc.measuring.evaluation import Evaluation

ACCURACY_BARRIER = 0.02
"""Accuracy that may be lost against the mean of the models, one input in fifty."""

LOSS_BARRIER = 0.1
"""Loss, nats, that may be added. On digits, pilots of MLPs with BatchNorm and strong decay had calibrated barriers of
0.02 at 512 units and 0.07 at 128, which merge well, and of 0.2 to 0.6 at 32 units, which do not."""

LOSS_SHARE = 0.1
"""Or this share of the models' own loss, where that is more; a task with a loss of 3 nats knows no 0.1."""

AS_THEY_ARE = "as they are"
AFTER_RESET = "after BN reset"
AFTER_CALIBRATION = "after calibration"
WITH_PERMUTATION = "only with permutation"
NOT_AT_ALL = "not at all"


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
            if not value >= 0:
                raise SpecError(f"threshold {name} is {value!r}; it must be a number of at least 0")


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
class Conclusion:
    """The verdict.

    Args:
        verdict: ``AS_THEY_ARE``, ``AFTER_RESET``, ``AFTER_CALIBRATION``, ``WITH_PERMUTATION`` or ``NOT_AT_ALL``.
        sentence: the verdict in one sentence.
        reasons: the numbers behind it, a sentence each.
        candidate: name of the recommended merge; ``None`` where there is none.
        beta: what its logits must be multiplied by; ``None`` where they are fine.
    """

    verdict: str
    sentence: str
    reasons: tuple[str, ...]
    candidate: str | None = None
    beta: float | None = None


def excess_of(merged: Evaluation, models: Sequence[Evaluation]) -> Excess:
    """The merged model against the mean of the models."""

    def mean(name: str) -> float:
        return float(sum(getattr(each, name) for each in models)) / len(models)

    return Excess(
        mean("accuracy") - merged.accuracy,
        merged.loss - mean("loss"),
        merged.calibrated_loss - mean("calibrated_loss"),
    )


def conclude(
    candidates: Sequence[Candidate],
    models: Sequence[Evaluation],
    thresholds: Thresholds,
    *,
    inputs: int,
    classes: int,
    identical: bool = False,
    alignment: str | None = None,
) -> Conclusion:
    """Take the least intervention that makes the merged model as good as the models.

    Args:
        candidates: ways to merge, without the BatchNorm reset before those with it.
        models: what the models do.
        thresholds: what counts as good.
        inputs: number of test inputs.
        classes: number of classes.
        identical: whether the models hold the same weights.
        alignment: why no permutation was tried, if none was.
    """
    reasons = []
    if identical:
        reasons.append("The models are identical, so the barrier is zero: this says nothing about merging.")
    chance = 1 / classes + 2 * (1 / classes / inputs) ** 0.5
    poor = [index for index, model in enumerate(models, start=1) if model.accuracy < chance]
    if poor:
        reasons.append(
            f"Model {', '.join(map(str, poor))} is no better than chance ({classes} classes): what is measured "
            "says nothing about merging; check that checkpoints, labels and normalisation belong together."
        )
    if 1 / inputs > thresholds.accuracy / 4:
        reasons.append(
            f"One of the {inputs} inputs is {100 / inputs:.2g} points of accuracy: take more for a firm verdict."
        )
    for candidate, calibrated in _by_intervention(candidates):
        if _passes(candidate, models, thresholds, calibrated=calibrated):
            return _positive(candidate, calibrated, models, reasons, candidates, thresholds)
    reasons += [_describe(each, models, thresholds) for each in candidates]
    if alignment is not None:
        reasons.append(f"Permutation was not tried: {alignment}.")
    sentence = "These models cannot be averaged: their mean is worse than they are, whatever is done to it."
    return Conclusion(NOT_AT_ALL, sentence, tuple(reasons))


def _by_intervention(candidates: Sequence[Candidate]) -> list[tuple[Candidate, bool]]:
    """Candidates without and with β. Resetting needs no labels, so it comes before a fit; a permutation comes last."""
    ordered = []
    for permuted in (False, True):
        group = [each for each in candidates if each.permuted == permuted]
        ordered += [(each, False) for each in group] + [(each, True) for each in reversed(group)]
    return ordered


def _passes(candidate: Candidate, models: Sequence[Evaluation], thresholds: Thresholds, *, calibrated: bool) -> bool:
    excess = candidate.excess
    loss = excess.calibrated_loss if calibrated else excess.loss
    return excess.accuracy <= thresholds.accuracy + 1e-9 and loss <= _allowed(models, thresholds, calibrated)


def _allowed(models: Sequence[Evaluation], thresholds: Thresholds, calibrated: bool) -> float:
    losses = [model.calibrated_loss if calibrated else model.loss for model in models]
    return max(thresholds.loss, thresholds.loss_share * sum(losses) / len(losses))


def _positive(
    candidate: Candidate,
    calibrated: bool,
    models: Sequence[Evaluation],
    reasons: Sequence[str],
    candidates: Sequence[Candidate],
    thresholds: Thresholds,
) -> Conclusion:
    beta = candidate.merged.beta if calibrated else None
    steps = ["permuting them by weight matching"] if candidate.permuted else []
    steps += ["resetting the BatchNorm statistics"] if candidate.reset else []
    steps += [f"multiplying the logits by β = {beta:.3g}"] if beta is not None else []
    if candidate.permuted:
        verdict = WITH_PERMUTATION
    elif calibrated:
        verdict = AFTER_CALIBRATION
    else:
        verdict = AFTER_RESET if candidate.reset else AS_THEY_ARE
    sentence = "These models can be averaged " + (f"after {' and '.join(steps)}." if steps else "as they are.")
    if candidate.permuted:
        sentence = sentence.replace("can be averaged after", "can be averaged only after")
    tried = [each for each in candidates if each.permuted <= candidate.permuted and each != candidate]
    needed = [each for each in tried if candidate.permuted or candidate.reset or calibrated]
    found = [_describe(each, models, thresholds) for each in (*needed, candidate)]
    return Conclusion(verdict, sentence, (*reasons, *found), candidate.name, beta)


def _describe(candidate: Candidate, models: Sequence[Evaluation], thresholds: Thresholds) -> str:
    accuracy = sum(model.accuracy for model in models) / len(models)
    excess, merged = candidate.excess, candidate.merged
    verbs = {
        calibrated: "passes" if _passes(candidate, models, thresholds, calibrated=calibrated) else "does not"
        for calibrated in (False, True)
    }
    name = candidate.name[0].upper() + candidate.name[1:]
    return (
        f"{name}: accuracy {merged.accuracy:.1%} against {accuracy:.1%} of the models "
        f"(at most {100 * thresholds.accuracy:g} points less), loss {excess.loss:+.3f} nats ({verbs[False]}), "
        f"with β = {merged.beta:.3g} {excess.calibrated_loss:+.3f} ({verbs[True]}; "
        f"at most {_allowed(models, thresholds, True):.2g})."
    )
