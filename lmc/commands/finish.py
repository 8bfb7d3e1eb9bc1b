"""From verdicts to the results file, what is written beside it, and how it compares with a baseline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lmc.claims.cases import CaseResult
from lmc.commands.machine import commit, machine_facts, version_facts
from lmc.errors import StoreError
from lmc.executing.session import Made
from lmc.executing.settings import Settings
from lmc.reporting.markdown import summary
from lmc.reporting.report import report, write_page
from lmc.reporting.table import verdict_table
from lmc.results.building import build_document
from lmc.results.comparing import difference_between
from lmc.results.deciding import Decision
from lmc.results.difference import Difference
from lmc.results.document import Document, Judged, MadeCounts
from lmc.results.evidence import evidence
from lmc.results.file import write_results


@dataclass(frozen=True)
class Finished:
    """What a run leaves.

    Args:
        document: its results document.
        written: the files.
        difference: from the baseline; ``None`` where there is none.
    """

    document: Document
    written: tuple[Path, ...]
    difference: Difference | None

    @property
    def red(self) -> bool:
        """Whether the run is red, see `lmc.results.deciding`, or anything that counts is worse than in the baseline."""
        return bool(Decision(self.document).red) or (self.difference is not None and self.difference.worse)

    def why_red(self, claim: str, setting: str) -> str:
        """Why a case makes the run red, by itself or against the baseline; nothing where it does not."""
        worse = [each for each in self.difference.changes if each.worse] if self.difference else []
        changed = [each.line() for each in worse if (each.claim, each.setting) == (claim, setting)]
        return "; ".join([*filter(None, [Decision(self.document).why_red(self.judged(claim, setting))]), *changed])

    def judged(self, claim: str, setting: str) -> Judged:
        """What the document says of a case."""
        return next(judged for each, judged in self.document.judged() if (each.id, judged.name) == (claim, setting))

    def lines(self) -> list[str]:
        """The verdict table, the difference, the files."""
        compared = ["", "compared with the baseline", *self.difference.lines(), ""] if self.difference else []
        return [*verdict_table(self.document), *compared, *(f"written: {path}" for path in self.written)]


def finish(
    results: Sequence[CaseResult],
    made: Made,
    settings: Settings,
    *,
    baseline: Document | None,
    started: str,
    seconds: float,
    pilot: bool = False,
) -> Finished:
    """Write the results file of a run, beside it its report and its summary in Markdown, and compare it.

    Under GitHub Actions the summary is appended to that of the job, too.

    Args:
        results: the verdicts.
        made: what they rest on.
        settings: of the run.
        baseline: the results document to compare with, which predicts how many cases are inconclusive, too.
        started: ISO 8601 time in UTC.
        seconds: duration.
        pilot: whether it ran on the seeds that thresholds are chosen on.

    Raises:
        StoreError: a file cannot be written, or an interrupted run has nothing in common with the baseline.
    """
    document = build_document(
        results,
        tier=settings.tier,
        machine=machine_facts(settings),
        versions=version_facts(),
        commit=commit(),
        started=started,
        seconds=seconds,
        made=MadeCounts(**made.counts),
        evidence=evidence([each.case for each in results], made.records, made.logs),
        selection=settings.selection(pilot=pilot),
        earlier=baseline,
    )
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    path = settings.results or settings.home / "results" / f"{settings.tier.replace(':', '.')}-{stamp}.json"
    write_results(document, path)
    page, text = path.with_suffix(".html"), path.with_suffix(".md")
    write_page(report(document), page)
    difference = difference_between(baseline, document, time_counts=False) if baseline else None
    told = summary(document, difference)
    write_page(told, text)
    _tell_the_job(told)
    return Finished(document, (path, page, text), difference)


def _tell_the_job(text: str) -> None:
    """Append ``text`` to the summary of the GitHub Actions job this runs in, if it runs in one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise StoreError(f"cannot append to {path}: {error.strerror}; unset GITHUB_STEP_SUMMARY") from error
