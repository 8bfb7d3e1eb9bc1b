"""From verdicts to the document of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from lmc.claims.cases import CaseResult, claim_verdict
from lmc.results.document import Claim, Document, Evidence, Judged, MadeCounts, Selection, Value


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
    """
    return Document(
        tier=tier,
        started=started,
        seconds=round(seconds, 1),
        commit=commit,
        machine=dict(machine),
        versions=dict(versions),
        made=made,
        selection=selection,
        claims=tuple(_claim(list(group)) for _, group in groupby(results, key=lambda each: each.case.claim.id)),
        evidence=evidence,
    )


def _claim(results: list[CaseResult]) -> Claim:
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
        settings=tuple(map(_judged, results)),
    )


def _judged(result: CaseResult) -> Judged:
    found = result.judgement
    low, high = found.interval or (None, None)
    return Judged(
        name=result.case.name,
        verdict=found.verdict,
        reason=found.reason,
        part=found.part,
        mean_of=found.mean_of,
        known_gap=result.known_gap,
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
            )
            for each in result.observations
        ),
        kind=result.case.setting.kind if result.case.setting else "",
    )


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None  # numpy's numbers, too
