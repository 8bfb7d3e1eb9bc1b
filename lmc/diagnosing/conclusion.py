"""What the measurements mean for someone who wants to average the models, in plain language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmc.diagnosing.candidates import COMPLEMENTARY, SUM, Candidate
from lmc.diagnosing.rescaling import APART
from lmc.diagnosing.standard import CLASSES, Standard

AS_THEY_ARE = "as they are"
AFTER_RESET = "after BN reset"
AFTER_CALIBRATION = "after calibration"
AFTER_RESCALING = "after rescaling"
AS_A_SUM = "as a sum"
WITH_PERMUTATION = "only with permutation"
NOT_AT_ALL = "not at all"
UNDECIDED = "undecided"


@dataclass(frozen=True)
class Conclusion:
    """The verdict.

    Args:
        verdict: ``AS_THEY_ARE``, ``AFTER_RESET``, ``AFTER_CALIBRATION``, ``AFTER_RESCALING``, ``AS_A_SUM``,
            ``WITH_PERMUTATION``, ``NOT_AT_ALL`` or ``UNDECIDED``.
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


def conclude(candidates: Sequence[Candidate], standard: Standard, alignment: str | None = None) -> Conclusion:
    """Take the least intervention that makes the merged model as good as the models.

    Args:
        candidates: ways to merge, without the BatchNorm reset before those with it.
        standard: what they are held to.
        alignment: why no permutation was tried, if none was.
    """
    reasons = _reservations(standard)
    for candidate, calibrated in _by_intervention(candidates):
        good = standard.accurate(candidate) and standard.fits(candidate, calibrated=calibrated)
        if good and standard.tells(candidate):
            effort = candidate.way.effort
            simpler = [each for each in candidates if each.way.effort <= effort and each != candidate]
            needed = simpler if any(effort) or candidate.reset or calibrated else []
            reasons += [_describe(each, standard) for each in (*needed, candidate)]
            beta = candidate.merged.beta if calibrated else None
            verdict, sentence = _recommendation(candidate, beta)
            sentence += _judged_by(standard)
            return Conclusion(verdict, sentence, tuple(reasons), candidate.name, beta)
    reasons += [_describe(each, standard) for each in candidates]
    if alignment is not None:
        reasons.append(f"Permutation was not tried: {alignment}.")
    verdict, sentence = _refusal(candidates, standard)
    return Conclusion(verdict, sentence + _judged_by(standard), tuple(reasons))


def _by_intervention(candidates: Sequence[Candidate]) -> list[tuple[Candidate, bool]]:
    """Candidates without and with β. Resetting needs no labels, so it comes before a fit; a permutation comes last."""
    ordered = []
    for effort in sorted({each.way.effort for each in candidates}):
        group = [each for each in candidates if each.way.effort == effort]
        ordered += [(each, False) for each in group] + [(each, True) for each in reversed(group)]
    return ordered


def _judged_by(standard: Standard) -> str:
    """What counts, where that is not the accuracy and loss of a classifier."""
    task = standard.task
    if task == CLASSES:
        return ""
    worse = "more" if task.lower_is_better else "less"
    points = f"{100 * standard.allowed_metric:g} points" if task.share else f"{standard.allowed_metric:.3g}"
    loss = f"{standard.allowed(calibrated=False):.3g}{' ' + task.loss_unit if task.loss_unit else ''}"
    return (
        f" (Judged by {task.metric_name}, at most {points} {worse} than the models, and the loss, at most {loss} more.)"
    )


def _reservations(standard: Standard) -> list[str]:
    """What makes the verdict worth less."""
    found = []
    if standard.identical:
        found.append("The models are identical, so the barrier is zero: this says nothing about merging.")
    if standard.balanced:
        names = ", ".join(standard.balanced[:6]) + (", ..." if len(standard.balanced) > 6 else "")
        found.append(
            f"A normalisation ignores the scale of layers {names}, which lies {APART:g} times or more apart between "
            "the models: these were brought to one scale before anything was averaged, which changes no model's "
            "function. A mean without that is mostly the larger model."
        )
    if standard.poor and standard.task.counts_inputs and standard.commonest is not None:
        shares = ", ".join(f"{standard.models[number - 1].metric:.1%}" for number in standard.poor)
        found.append(
            f"Model {', '.join(map(str, standard.poor))}: accuracy {shares} on {standard.inputs} inputs of which "
            f"{standard.commonest:.1%} are of one class, not reliably better than always naming that class: check "
            "that checkpoints, labels and normalisation belong together, or take more inputs."
        )
    elif standard.poor and standard.commonest is not None:
        said = ", ".join(standard.task.told(standard.models[number - 1].metric) for number in standard.poor)
        found.append(
            f"Model {', '.join(map(str, standard.poor))}: {standard.task.metric_name} {said}, no better than "
            f"{standard.task.told(standard.commonest)} of an answer that ignores the inputs: check that checkpoints, "
            "labels and normalisation belong together."
        )
    if standard.task.counts_inputs and 1 / standard.inputs > standard.allowed_metric / 4:
        one = f"{100 / standard.inputs:.2g} points of {standard.task.metric_name}"
        found.append(f"One of the {standard.inputs} inputs is {one}: take more for a firm verdict.")
    return found


def _recommendation(candidate: Candidate, beta: float | None) -> tuple[str, str]:
    """Verdict and sentence where a merge is good."""
    way = candidate.way
    how = "by weight matching" if way.alignment != COMPLEMENTARY else "complementarily, strong channels onto weak ones"
    steps = [f"permuting them {how}"] if way.permuted else []
    steps += ["rescaling channels to model 1's, which changes no function"] if way.rescaled else []
    steps += ["resetting the BatchNorm statistics"] if candidate.reset else []
    steps += [f"multiplying the logits by β = {beta:.3g}"] if beta is not None else []
    after = f"after {' and '.join(steps)}" if steps else "as they are"
    if way.rule == SUM:
        summed = "the sum of their hidden layers and the mean of the last one"
        verdict = WITH_PERMUTATION if way.permuted else AS_A_SUM
        return verdict, f"These models can be merged only as {summed}{f', {after}' if steps else ''}."
    if way.permuted:
        verdict, after = WITH_PERMUTATION, f"only {after}"
    elif way.rescaled:
        verdict, after = AFTER_RESCALING, f"only {after}: rescaling, not permutation, is missing"
    elif beta is not None:
        verdict = AFTER_CALIBRATION
    else:
        verdict = AFTER_RESET if candidate.reset else AS_THEY_ARE
    return verdict, f"These models can be averaged {after}."


def _refusal(candidates: Sequence[Candidate], standard: Standard) -> tuple[str, str]:
    """Verdict and sentence where none is."""
    if standard.poor:
        everyone = len(standard.poor) == len(standard.models)
        which = "the models are" if everyone else f"model {', '.join(map(str, standard.poor))} is"
        undecided = f"Whether these models can be averaged is undecided: {which} not reliably better than a guess."
        return UNDECIDED, undecided
    permuted = any(each.way.permuted for each in candidates)
    tried = ["calibration by β"] if standard.task.has_beta else []
    tried += ["BN reset"] if any(each.reset for each in candidates) else []
    tried += ["permutation"] if permuted else []
    summed = any(each.way.rule == SUM for each in candidates)
    sentence = f"These models cannot be averaged: their mean {'or sum ' if summed else ''}is worse than they are"
    sentence += f", also after {' and '.join(tried)}" if tried else ""
    return NOT_AT_ALL, f"{sentence}." if permuted else f"{sentence}; permutation was not tried."


def _describe(candidate: Candidate, standard: Standard) -> str:
    task, excess, merged = standard.task, candidate.excess, candidate.merged
    unit = f" {task.loss_unit}" if task.loss_unit else ""
    if task.share:
        allowed = f"at most {100 * standard.allowed_metric:g} points {'more' if task.lower_is_better else 'less'}"
    else:
        allowed = f"at most {standard.allowed_metric:.3g} {'more' if task.lower_is_better else 'less'}"
    how = " with their BatchNorm statistics reset" if standard.reset else ""
    text = (
        f"{candidate.name[0].upper()}{candidate.name[1:]}: {task.metric_name} {task.told(merged.metric)} against "
        f"{task.told(standard.metric)} of the models{how} ({_passes(standard.accurate(candidate))}: {allowed}), "
        f"loss {excess.loss:+.3f}{unit} {_judged(candidate, standard, calibrated=False)}"
    )
    if merged.beta is not None and excess.calibrated_loss is not None:
        judged = _judged(candidate, standard, calibrated=True)
        text += f", with β = {merged.beta:.3g} {excess.calibrated_loss:+.3f} {judged}"
    if not merged.finite:
        text += "; its outputs are NaN or infinite, though those of the models are not"
    return f"{text}."


def _judged(candidate: Candidate, standard: Standard, *, calibrated: bool) -> str:
    passes = _passes(standard.fits(candidate, calibrated=calibrated))
    return f"({passes}: at most {standard.allowed(calibrated=calibrated):.2g})"


def _passes(good: bool) -> str:
    return "passes" if good else "fails"
