"""A run in the order of the paper: for each of its items the claims that stand for it, and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmc.claims.paper import CLAIMS, ITEMS
from lmc.claims.verdicts import INVALID, NOT_RUN
from lmc.reporting.claim_figures import claim_figure
from lmc.reporting.evidence_figures import evidence_figures
from lmc.reporting.figures import Figure
from lmc.results.document import Claim, Document
from lmc.results.wording import measured_in_words

BEYOND = "Controls and extensions"


@dataclass(frozen=True)
class Section:
    """An item of the paper in one run.

    Args:
        name: as the paper calls it.
        about: what it shows.
        claims: of the results document, those that stand for it.
        figures: from the evidence.
        of_claim: the figure of each claim that has values, by its id.
        missing: why there is nothing to draw, else empty.
    """

    name: str
    about: str
    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...]
    of_claim: Mapping[str, Figure]
    missing: str


def sections(document: Document) -> list[Section]:
    """Every item of the paper, then the claims that name none of them: ours, and somebody else's.

    Args:
        document: a results document.
    """
    drawn = {claim.id: figure for claim in document.claims if (figure := claim_figure(claim)) is not None}
    found = []
    for item in ITEMS:
        claims = [claim for claim in document.claims if item.name in claim.items]
        found.append(_section(item.name, item.about, claims, evidence_figures(item.name, document), drawn))
    known = {item.name for item in ITEMS}
    beyond = [claim for claim in document.claims if known.isdisjoint(claim.items)]
    extra = document.selection.extra_claims
    ids = {claim.id for claim in CLAIMS if extra}
    own = [claim for claim in beyond if extra and claim.id not in ids]
    ours = [claim for claim in beyond if claim not in own]
    for name, about, claims in (
        (BEYOND, "what the paper's items do not cover", ours),
        (f"Claims of {', '.join(extra)}", "judged beside the paper's", own),
    ):
        if claims:
            found.append(_section(name, about, claims, [], drawn))
    return found


def _section(name: str, about: str, claims: list[Claim], figures: list[Figure], drawn: Mapping[str, Figure]) -> Section:
    of_claim = {claim.id: drawn[claim.id] for claim in claims if claim.id in drawn}
    missing = "" if figures or of_claim else _why_nothing(claims)
    return Section(name, about, tuple(claims), tuple(figures), of_claim, missing)


def _why_nothing(claims: Sequence[Claim]) -> str:
    if not claims:
        return "No claim that stands for it is in this run: it was restricted to others."
    reasons = dict.fromkeys(
        f"{judged.verdict}: {measured_in_words(judged)}"
        for claim in claims
        for judged in claim.settings
        if judged.verdict in (NOT_RUN, INVALID)
    )
    return "; ".join(reasons) or "Nothing was measured."
