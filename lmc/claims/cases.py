"""From measured records to verdicts: preconditions first, then the claim's expectation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lmc.claims.claim import Claim, Records
from lmc.claims.explanation import Explanation
from lmc.claims.parts import Judgement
from lmc.claims.statistics import Observation
from lmc.claims.verdicts import INVALID, NOT_RUN, Verdict, worst_verdict
from lmc.measuring.measurements import Measurement
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
        for spec, accuracy in zip(measurement.specs, record["accuracies"], strict=True):
            floor = setting.accuracy_floor(spec.width)
            if accuracy < floor:
                return (
                    f"{spec.describe()} reaches an accuracy of {accuracy:.3f}, "
                    f"below the {floor:g} that counts as trained"
                )
    return ""


def claim_verdict(results: Sequence[CaseResult]) -> Verdict:
    """The worst verdict of a claim's cases."""
    return worst_verdict(each.judgement.verdict for each in results)
