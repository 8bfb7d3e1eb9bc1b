"""What the measurements mean for someone who wants to average the models, in plain language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmc.diagnosing.candidates import Candidate
from lmc.diagnosing.standard import Standard

AS_THEY_ARE = "as they are"
AFTER_RESET = "after BN reset"
AFTER_CALIBRATION = "after calibration"
WITH_PERMUTATION = "only with permutation"
NOT_AT_ALL = "not at all"
UNDECIDED = "undecided"


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
            simpler = [each for each in candidates if each.permuted <= candidate.permuted and each != candidate]
            needed = simpler if candidate.permuted or candidate.reset or calibrated else []
            reasons += [_describe(each, standard) for each in (*needed, candidate)]
            beta = candidate.merged.beta if calibrated else None
            verdict, sentence = _recommendation(candidate, beta)
            return Conclusion(verdict, sentence, tuple(reasons), candidate.name, beta)
    reasons += [_describe(each, standard) for each in candidates]
    if alignment is not None:
        reasons.append(f"Permutation was not tried: {alignment}.")
    verdict, sentence = _refusal(candidates, standard)
    return Conclusion(verdict, sentence, tuple(reasons))


def _by_intervention(candidates: Sequence[Candidate]) -> list[tuple[Candidate, bool]]:
    """Candidates without and with β. Resetting needs no labels, so it comes before a fit; a permutation comes last."""
    ordered = []
    for permuted in (False, True):
        group = [each for each in candidates if each.permuted == permuted]
        ordered += [(each, False) for each in group] + [(each, True) for each in reversed(group)]
    return ordered


def _reservations(standard: Standard) -> list[str]:
    """What makes the verdict worth less."""
    found = []
    if standard.identical:
        found.append("The models are identical, so the barrier is zero: this says nothing about merging.")
    if standard.poor:
        shares = ", ".join(f"{standard.models[number - 1].accuracy:.1%}" for number in standard.poor)
        found.append(
            f"Model {', '.join(map(str, standard.poor))}: accuracy {shares} on {standard.inputs} inputs of which "
            f"{standard.commonest:.1%} are of one class, not reliably better than always naming that class: check "
            "that checkpoints, labels and normalisation belong together, or take more inputs."
        )
    if 1 / standard.inputs > standard.thresholds.accuracy / 4:
        one = f"{100 / standard.inputs:.2g} points of accuracy"
        found.append(f"One of the {standard.inputs} inputs is {one}: take more for a firm verdict.")
    return found


def _recommendation(candidate: Candidate, beta: float | None) -> tuple[str, str]:
    """Verdict and sentence where a merge is good."""
    steps = ["permuting them by weight matching"] if candidate.permuted else []
    steps += ["resetting the BatchNorm statistics"] if candidate.reset else []
    steps += [f"multiplying the logits by β = {beta:.3g}"] if beta is not None else []
    after = f"after {' and '.join(steps)}" if steps else "as they are"
    if candidate.permuted:
        verdict, after = WITH_PERMUTATION, f"only {after}"
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
    permuted = any(each.permuted for each in candidates)
    tried = ["calibration by β"]
    tried += ["BN reset"] if any(each.reset for each in candidates) else []
    tried += ["permutation"] if permuted else []
    sentence = f"These models cannot be averaged: their mean is worse than they are, also after {' and '.join(tried)}"
    return NOT_AT_ALL, f"{sentence}." if permuted else f"{sentence}; permutation was not tried."


def _describe(candidate: Candidate, standard: Standard) -> str:
    accuracy = sum(model.accuracy for model in standard.models) / len(standard.models)
    excess, merged = candidate.excess, candidate.merged
    plain, calibrated = (
        f"({_passes(standard.fits(candidate, calibrated=with_beta))}: "
        f"at most {standard.allowed(calibrated=with_beta):.2g})"
        for with_beta in (False, True)
    )
    return (
        f"{candidate.name[0].upper()}{candidate.name[1:]}: accuracy {merged.accuracy:.1%} against {accuracy:.1%} of "
        f"the models ({_passes(standard.accurate(candidate))}: at most {100 * standard.thresholds.accuracy:g} points "
        f"less), loss {excess.loss:+.3f} nats {plain}, with β = {merged.beta:.3g} {excess.calibrated_loss:+.3f} "
        f"{calibrated}."
    )


def _passes(good: bool) -> str:
    return "passes" if good else "fails"
