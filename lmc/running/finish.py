"""From verdicts to the results file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lmc.claims.judging import CaseResult
from lmc.reporting.evidence import evidence
from lmc.reporting.report import report, write_page
from lmc.reporting.results import results_document, write_results
from lmc.running.machine import commit, machine_facts, version_facts
from lmc.running.session import Made
from lmc.running.settings import Settings


def finish(
    results: Sequence[CaseResult], made: Made, settings: Settings, *, started: str, seconds: float
) -> tuple[dict[str, Any], list[Path]]:
    """Write the results file of a run, and beside it its report.

    Args:
        results: the verdicts.
        made: what they rest on.
        settings: of the run.
        started: ISO 8601 time in UTC.
        seconds: duration.

    Returns:
        The document, and where it and its report were written.

    Raises:
        StoreError: a file cannot be written.
    """
    document = results_document(
        results,
        tier=settings.tier,
        machine=machine_facts(settings),
        versions=version_facts(),
        commit=commit(),
        started=started,
        seconds=seconds,
        made=made.counts,
        evidence=evidence([each.case for each in results], made.records, made.logs),
    )
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    path = settings.results or settings.home / "results" / f"{settings.tier}-{stamp}.json"
    write_results(document, path)
    page = path.with_suffix(".html")
    write_page(report(document), page)
    return document, [path, page]
