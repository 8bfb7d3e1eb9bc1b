"""A run in the order of the paper: for each of its items the claims that stand for it, and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmc.claims.paper import ITEMS
from lmc.claims.verdicts import CHECK, CLAIM, FOUND_HERE, INVALID, NOT_RUN, Role
from lmc.reporting.claim_figures import claim_figure
from lmc.reporting.evidence_figures import evidence_figures
from lmc.reporting.figures import Figure
from lmc.results.document import Claim, Document
from lmc.results.wording import measured_in_words

BEYOND: dict[Role, tuple[str, str]] = {
    CHECK: ("Checks", "what follows from a symmetry or from another bound"),
    FOUND_HERE: ("Found here", "what the paper does not report"),
}
"""Of claims that name no item of the paper, by their role, where they stand and what they are."""


@dataclass(frozen=True)
class Group:
    """The claims of a run that stand for one item of the paper, or that name none.

    Args:
        name: of the item.
        about: what it shows.
        claims: of the results document.
        own: those of them that no group before has.
    """

    name: str
    about: str
    claims: tuple[Claim, ...]
    own: tuple[Claim, ...]


def grouped_claims(document: Document) -> list[Group]:
    """Every item of the paper, then the claims that name none of them: by role, somebody else's last.

    Args:
        document: a results document.
    """
    named = [
        (item.name, item.about, [claim for claim in document.claims if item.name in claim.items]) for item in ITEMS
    ]
    known = {item.name for item in ITEMS}
    beyond = [claim for claim in document.claims if known.isdisjoint(claim.items)]
    others = f"Claims of {', '.join(document.selection.extra_claims) or 'others'}", "judged beside the paper's"
    for role, (name, about) in {**BEYOND, CLAIM: others}.items():
        if claims := [claim for claim in beyond if claim.role == role]:
            named.append((name, about, claims))
    seen: set[str] = set()
    groups = []
    for name, about, claims in named:
        groups.append(Group(name, about, tuple(claims), tuple(claim for claim in claims if claim.id not in seen)))
        seen |= {claim.id for claim in claims}
    return groups


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
    """Every group of claims with its figures.

    Args:
        document: a results document.
    """
    drawn = {claim.id: figure for claim in document.claims if (figure := claim_figure(claim)) is not None}
    return [
        _section(group.name, group.about, list(group.claims), evidence_figures(group.name, document), drawn)
        for group in grouped_claims(document)
    ]


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
