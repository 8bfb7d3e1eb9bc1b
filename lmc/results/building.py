"""From verdicts to the document of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from msgspec.structs import replace

from lmc.claims.cases import CaseResult, claim_verdict
from lmc.claims.explanation import Explanation
from lmc.claims.verdicts import FAILS
from lmc.results.chances import Case, chances_of_inconclusive, committed_chances, failures_beyond_chance
from lmc.results.document import Claim, Document, Explained, Judged, MadeCounts, Selection, Value
from lmc.results.recorded import Evidence
from lmc.results.rounding import rounded


def build_document(
    results: Sequence[CaseResult],
    *,
    tier: str,
    machine: Mapping[str, Any],
    versions: Mapping[str, str],
    commit: str,
    started: str,
    seconds: float,
    made: MadeCounts,
    evidence: Evidence,
    selection: Selection,
    earlier: Document | None = None,
) -> Document:
    """Everything about one run.

    Args:
        results: verdicts, cases of one claim next to each other.
        tier: the tier's name.
        machine: see `lmc.commands.machine.machine_facts`.
        versions: package versions.
        commit: of the code.
        started: ISO 8601 time in UTC.
        seconds: duration of the run, training and measuring included.
        made: how many models the run trained and how many measurements it made.
        evidence: see `lmc.results.evidence.evidence`.
        selection: what was asked to be judged.
        earlier: the run that predicts how many cases are inconclusive; ``None`` for the committed one of the tier.
    """
    predicted = chances_of_inconclusive(earlier) if earlier else committed_chances(tier)
    document = Document(
        tier=tier,
        started=started,
        seconds=round(seconds, 1),
        commit=commit,
        machine=dict(machine),
        versions=dict(versions),
        made=made,
        selection=selection,
        claims=_claims(results, predicted),
        evidence=evidence,
    )
    return rounded(document)


def _claims(results: Sequence[CaseResult], predicted: Mapping[Case, float]) -> tuple[Claim, ...]:
    judged = [_judged(each, predicted) for each in results]
    beyond = failures_beyond_chance(dict(enumerate(judged)))
    marked = (replace(each, by_chance=each.verdict == FAILS and at not in beyond) for at, each in enumerate(judged))
    groups = groupby(zip(results, marked, strict=True), key=lambda each: each[0].case.claim.id)
    return tuple(_claim(*map(list, zip(*group, strict=True))) for _, group in groups)


def _claim(results: Sequence[CaseResult], judged: Sequence[Judged]) -> Claim:
    claim = results[0].case.claim
    return Claim(
        id=claim.id,
        ref=claim.ref,
        items=claim.items,
        statement=claim.statement,
        verdict=claim_verdict(results),
        unit=claim.unit,
        why=claim.why,
        history=claim.history,
        settings=tuple(judged),
        null=claim.null.text,
        role=claim.role,
    )


def _judged(result: CaseResult, predicted: Mapping[Case, float]) -> Judged:
    found = result.judgement
    low, high = found.interval or (None, None)
    return Judged(
        name=result.case.name,
        verdict=found.verdict,
        reason=found.reason,
        part=found.part,
        mean_of=found.mean_of,
        effect=_finite(found.effect),
        interval=found.interval and (_finite(low), _finite(high)),
        p_value=_finite(found.p_value),
        asked=found.asked,
        values=tuple(
            Value(
                width=each.width,
                seeds=each.seeds,
                value=_finite(each.value),
                part=each.part,
                group=each.group,
                independent=each.independent,
                draw=each.draw,
                error=each.error,
            )
            for each in result.observations
        ),
        kind=result.case.setting.kind if result.case.setting else "",
        p_contrary=_finite(found.p_contrary),
        explained=_explained(result.explanation) if result.explanation else None,
        predicted=predicted.get((result.case.claim.id, result.case.name)),
    )


def _explained(explanation: Explanation) -> Explained:
    by = explanation.refuted_by
    return Explained(explanation.why, by.what, by.result)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None  # numpy's numbers, too
