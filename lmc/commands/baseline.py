"""The results file a run is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lmc.claims.cases import Case
from lmc.errors import StoreError
from lmc.results.document import Document
from lmc.results.file import read_results


def read_baseline(path: Path, tier: str, selected: Iterable[Case]) -> Document:
    """Read the results file that a run of ``selected`` is to be compared with, before anything is trained.

    Args:
        path: the file.
        tier: of the run.
        selected: what the run judges.

    Raises:
        StoreError: the file cannot be read (see `lmc.results.file.read_results`), is of another tier, or
            judges nothing of what is selected.
    """
    try:
        document = read_results(path)
    except StoreError as error:
        raise StoreError(f"the baseline cannot be used: {error}, or choose another with --lmc-baseline") from error
    if document.tier != tier:
        raise StoreError(
            f"the baseline {path} is of tier {document.tier}, this run of tier {tier}; choose a baseline of tier "
            f"{tier}, or run --lmc-tier {document.tier}"
        )
    judged = {(claim.id, judged.name) for claim, judged in document.judged()}
    if judged.isdisjoint((case.claim.id, case.name) for case in selected):
        names = ", ".join(sorted({name for _, name in judged}))
        raise StoreError(
            f"the baseline {path} judges none of the claims and settings selected, only {len(judged)} others on "
            f"{names}; choose another baseline or other claims"
        )
    return document
