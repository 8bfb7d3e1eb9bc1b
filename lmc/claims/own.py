"""Claims of somebody else's package, by their name, beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lmc.architectures import kinds
from lmc.claims.claim import Claim
from lmc.claims.null import holds_at_its_null
from lmc.claims.paper import CLAIMS, ITEMS
from lmc.errors import SpecError
from lmc.references import find


def all_claims(extra: Iterable[str] = ()) -> tuple[Claim, ...]:
    """The paper's claims, then those of somebody else's packages.

    Args:
        extra: ``package.module:NAME`` of sequences of claims.

    Raises:
        SpecError: there is no such module or name, it is no sequence of claims, an id is taken, or a claim is for an
            unknown kind of network, names an unknown item of the paper, or holds at its null.
    """
    found = list(CLAIMS)
    for reference in extra:
        for claim in _sequence(reference):
            _check(claim, reference, {each.id for each in found})
            found.append(claim)
    return tuple(found)


def _sequence(reference: str) -> Sequence[Claim]:
    wanted = "a sequence of Claim"
    found = find(reference, option="extra-claims", example="own_claim:CLAIMS", wanted=wanted)
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise SpecError(f"extra claims {reference} are a {type(found).__name__}; name {wanted}")
    for each in found:
        if not isinstance(each, Claim):
            raise SpecError(f"extra claims {reference} hold a {type(each).__name__}; name {wanted}")
    return found


def _check(claim: Claim, reference: str, taken: set[str]) -> None:
    if claim.id in taken:
        raise SpecError(f"extra claims {reference}: there is a claim {claim.id!r} already; give yours another id")
    if unknown := [kind for kind in claim.kinds if kind not in kinds()]:
        raise SpecError(
            f"extra claims {reference}: {claim.id} is for networks of kind {unknown[0]!r}, which no architecture is; "
            f"choose of {', '.join(kinds())}, or register an architecture of that kind"
        )
    try:
        empty = holds_at_its_null(claim)
    except ValueError as error:
        raise SpecError(f"extra claims {reference}: {claim.id}: {error}") from error
    if empty:
        raise SpecError(
            f"extra claims {reference}: {claim.id} holds where there is nothing in it ({claim.null.text}); ask for more"
        )
    items = [item.name for item in ITEMS]
    if unknown := [name for name in claim.items if name not in items]:
        raise SpecError(
            f"extra claims {reference}: {claim.id} stands for {unknown[0]!r}, which the paper does not have; choose of "
            f"{', '.join(items)}, or name none"
        )
