"""What the measurements mean for someone who wants to average the models, in plain language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

from scipy.special import bdtrc

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

AS_THEY_ARE = "as they are"
AFTER_RESET = "after BN reset"
AFTER_CALIBRATION = "after calibration"
WITH_PERMUTATION = "only with permutation"
NOT_AT_ALL = "not at all"
UNDECIDED = "undecided"


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
        verdict: ``AS_THEY_ARE``, ``AFTER_RESET``, ``AFTER_CALIBRATION``, ``WITH_PERMUTATION``, ``NOT_AT_ALL``
            or ``UNDECIDED``.
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
    commonest: float,
    identical: bool = False,
    alignment: str | None = None,
) -> Conclusion:
    """Take the least intervention that makes the merged model as good as the models.

    Args:
        candidates: ways to merge, without the BatchNorm reset before those with it.
        models: what the models do.
        thresholds: what counts as good.
        inputs: number of test inputs.
        commonest: share of the commonest class among their labels.
        identical: whether the models hold the same weights.
        alignment: why no permutation was tried, if none was.
    """
    reasons = []
    if identical:
        reasons.append("The models are identical, so the barrier is zero: this says nothing about merging.")
    poor = [index for index, model in enumerate(models, start=1) if guesses(model.accuracy, inputs, commonest)]
    if poor:
        shares = ", ".join(f"{models[each - 1].accuracy:.1%}" for each in poor)
        reasons.append(
            f"Model {', '.join(map(str, poor))}: accuracy {shares}"
            f" on {inputs} inputs of which {commonest:.1%} are of one class, not reliably better than always naming "
            "that class: check that checkpoints, labels and normalisation belong together, or take more inputs."
        )
    if 1 / inputs > thresholds.accuracy / 4:
        reasons.append(
            f"One of the {inputs} inputs is {100 / inputs:.2g} points of accuracy: take more for a firm verdict."
        )
    for candidate, calibrated in _by_intervention(candidates):
        sound = not poor or (
            not guesses(candidate.merged.accuracy, inputs, commonest)
            and max(model.accuracy for model in models) - candidate.merged.accuracy <= thresholds.accuracy + 1e-9
        )  # beside a model that knows nothing, a merge must be as good as the better one
        if sound and _accurate(candidate, thresholds) and _fits(candidate, models, thresholds, calibrated):
            return _positive(candidate, calibrated, models, reasons, candidates, thresholds)
    reasons += [_describe(each, models, thresholds) for each in candidates]
    if alignment is not None:
        reasons.append(f"Permutation was not tried: {alignment}.")
    if poor:
        which = "the models are" if len(poor) == len(models) else f"model {', '.join(map(str, poor))} is"
        sentence = f"Whether these models can be averaged is undecided: {which} not reliably better than a guess."
        return Conclusion(UNDECIDED, sentence, tuple(reasons))
    tried = ["calibration by β"]
    tried += ["BN reset"] if any(each.reset for each in candidates) else []
    tried += ["permutation"] if any(each.permuted for each in candidates) else []
    sentence = f"These models cannot be averaged: their mean is worse than they are, also after {' and '.join(tried)}"
    sentence += "." if tried[-1] == "permutation" else "; permutation was not tried."
    return Conclusion(NOT_AT_ALL, sentence, tuple(reasons))


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


def _by_intervention(candidates: Sequence[Candidate]) -> list[tuple[Candidate, bool]]:
    """Candidates without and with β. Resetting needs no labels, so it comes before a fit; a permutation comes last."""
    ordered = []
    for permuted in (False, True):
        group = [each for each in candidates if each.permuted == permuted]
        ordered += [(each, False) for each in group] + [(each, True) for each in reversed(group)]
    return ordered


def _accurate(candidate: Candidate, thresholds: Thresholds) -> bool:
    return candidate.excess.accuracy <= thresholds.accuracy + 1e-9


def _fits(candidate: Candidate, models: Sequence[Evaluation], thresholds: Thresholds, calibrated: bool) -> bool:
    loss = candidate.excess.calibrated_loss if calibrated else candidate.excess.loss
    return loss <= _allowed(models, thresholds, calibrated)


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
    name = candidate.name[0].upper() + candidate.name[1:]
    plain, calibrated = (
        f"({'passes' if _fits(candidate, models, thresholds, with_beta) else 'fails'}: "
        f"at most {_allowed(models, thresholds, with_beta):.2g})"
        for with_beta in (False, True)
    )
    return (
        f"{name}: accuracy {merged.accuracy:.1%} against {accuracy:.1%} of the models "
        f"({'passes' if _accurate(candidate, thresholds) else 'fails'}: at most {100 * thresholds.accuracy:g} points "
        f"less), loss {excess.loss:+.3f} nats {plain}, with β = {merged.beta:.3g} {excess.calibrated_loss:+.3f} "
        f"{calibrated}."
    )
