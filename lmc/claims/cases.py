"""From measured records to verdicts: preconditions first, then the claim's expectation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmc.architectures import architecture
from lmc.claims.claim import Claim, Records
from lmc.claims.explanation import Explanation
from lmc.claims.parts import Judgement
from lmc.claims.statistics import Observation
from lmc.claims.verdicts import INVALID, NOT_RUN, Verdict, worst_verdict
from lmc.datasets import size_of
from lmc.measuring.measurements import Measurement
from lmc.specs import RunSpec
from lmc.tiers import Setting, Tier


@dataclass(frozen=True)
class Case:
    """A claim on one setting of a tier.

    Args:
        claim: what is claimed.
        setting: where; ``None`` for a claim that needs no model, or that the tier has no setting for.
        skip: why it is not run, else empty.
    """

    claim: Claim
    setting: Setting | None
    skip: str = ""

    @property
    def name(self) -> str:
        """The setting's name, or ``theory`` for a claim without models."""
        return self.setting.name if self.setting else ("not-run" if self.skip else "theory")


@dataclass(frozen=True)
class CaseResult:
    """The verdict on one case, with the numbers it rests on.

    Args:
        case: what was judged.
        judgement: the verdict and why.
        observations: the numbers.
        explanation: why it is known to fail there, if it is.
    """

    case: Case
    judgement: Judgement
    observations: Sequence[Observation]
    explanation: Explanation | None = None


def cases(claims: Sequence[Claim], tier: Tier, left_out: Sequence[Setting] = (), why: str = "") -> list[Case]:
    """Every claim on every setting of its architectures and dataset; not run, with the reason, where unsuited.

    Args:
        claims: to judge.
        tier: on whose settings.
        left_out: further settings, that are not run.
        why: the reason.
    """
    found: list[Case] = []
    for claim in (each.asked_of(tier) for each in claims):
        if not claim.kinds:
            found.append(Case(claim, None))
            continue
        meant = [Case(claim, each, _unsuited(claim, each)) for each in tier.settings if _speaks_of(claim, each)]
        meant += [Case(claim, each, why) for each in left_out if _speaks_of(claim, each)]
        on = f" on {claim.dataset}" if claim.dataset else ""
        found += meant or [Case(claim, None, f"tier {tier.name} has no {' or '.join(claim.kinds)}{on}")]
    return found


def _speaks_of(claim: Claim, setting: Setting) -> bool:
    return setting.kind in claim.kinds and claim.dataset in ("", setting.families["strong"].recipe.dataset)


def _unsuited(claim: Claim, setting: Setting) -> str:
    """What ``setting`` lacks for ``claim``, or nothing."""
    if missing := sorted({*claim.study.groups} - {*setting.families}):
        return f"{setting.name} is not trained as {', '.join(missing)}"
    widest = setting.families["strong"].widths[-1]
    if claim.wide and widest < setting.wide:
        return f"{setting.name} is trained to x{widest:g} only, and wide begins at x{setting.wide:g}"
    return ""


def needed(selected: Iterable[Case]) -> list[Measurement]:
    """Every measurement the selected cases read, once."""
    found = {
        measurement.key: measurement
        for case in selected
        if case.setting is not None and not case.skip
        for measurement in case.claim.study.needs(case.setting)
    }
    return list(found.values())


def judge(case: Case, records: Records) -> CaseResult:
    """The verdict on ``case``.

    It is invalid where two models are identical, or where one is undertrained or has collapsed: where it is below the
    setting's floor, no better than naming one class whatever the image, or has a layer on the only path from input to
    output no channel of which varies with the input. A residual branch that has died is none.

    Args:
        case: what to judge.
        records: finished measurements by key; those the case needs must be there.
    """
    claim, setting = case.claim, case.setting
    if case.skip:
        return CaseResult(case, Judgement(NOT_RUN, case.skip), ())
    if setting is None:
        observations = claim.study.observe(Setting("theory", {}, 0.0), records)
        return CaseResult(case, claim.expect.judge(observations), observations)
    explanation = claim.explanations.get(setting.name)
    if problem := _unmet(claim, setting, records):
        return CaseResult(case, Judgement(INVALID, problem), (), explanation)
    observations = claim.study.observe(setting, records)
    return CaseResult(case, claim.expect.judge(observations), observations, explanation)


def _unmet(claim: Claim, setting: Setting, records: Records) -> str:
    """Why the case's preconditions are not met, or nothing."""
    for measurement in claim.study.needs(setting):
        record = records[measurement.key]
        what = measurement.describe()
        if record["status"] != "measured":
            return f"{what}: {record['status']}"
        if len(set(measurement.specs)) > 1 and record.get("distance") == 0:
            return f"{what}: the two models are identical"
        if setting.min_accuracy:
            for which, spec in enumerate(measurement.specs):
                if why := _untrained(setting, spec, record, which):
                    return f"{spec.describe()} {why}"
    return ""


def _untrained(setting: Setting, spec: RunSpec, record: Mapping[str, Any], which: int) -> str:
    """Why one of a record's models tells nothing of trained ones, or nothing."""
    accuracy, floor = record["accuracies"][which], setting.accuracy_floor(spec.width)
    reaches = f"reaches an accuracy of {accuracy:.3f}"
    if accuracy < floor:
        return f"{reaches}, below the {floor:g} that counts as trained"
    if accuracy <= (constant := size_of(spec.dataset, spec.classes).largest_class):
        return f"{reaches}, no more than the {constant:.3f} of naming one class whatever the image"
    if architecture(spec.arch).chain and (layers := _collapsed(record, which)):
        return f"has collapsed: nothing in {', '.join(layers)} varies with the image"
    return ""


def _collapsed(record: Mapping[str, Any], which: int) -> list[str]:
    """Layers of one of the models, no channel of which varies with the input; none where none was looked for."""
    if by_model := record.get("collapsed"):
        return list(by_model[which])
    activations = record.get("activations", {})
    return [name for name, each in activations.items() if each.get("varying_share") == 0]


def claim_verdict(results: Sequence[CaseResult]) -> Verdict:
    """The worst verdict of a claim's cases."""
    return worst_verdict(each.judgement.verdict for each in results)
