"""Results files of the schema lmc-results/3, in which a failure with a reason was a known gap and counted as none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import asdict, replace

from lmc.claims.verdicts import CHECK, FOUND_HERE, worst_verdict
from lmc.results import document as new
from lmc.results.scalars import Text

_CHECKS = (
    "control-self-merge",
    "control-narrow-barrier",
    "table1-permutation-is-not-needed",
    "sec3.2-random-permutations-do-no-harm",
    "fig18b-any-permutation-will-do-when-wide",
)
_FOUND_HERE = (
    "lewc-inverse-temperature-doubles-per-layer",
    "thm5.3-error-proportional-to-violation",
    "thm5.4-general-lambda",
    "kmodels-",
    "scaling-",
)
"""What claims of those files were, which did not say it."""


class _Judged(new.Judged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    known_gap: Text


class _Claim(new.Claim, frozen=True, kw_only=True, forbid_unknown_fields=True):
    settings: Annotated[tuple[_Judged, ...], Meta(min_length=1)]


class _Document(new.Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    claims: tuple[_Claim, ...]


def migrated(found: Mapping[str, Any]) -> new.Document:
    """The document that a results file of the schema lmc-results/3 holds.

    Its failures keep their reasons, without an experiment that would refute them. How likely the contrary of a verdict
    was is unknown: nothing is said of chance.

    Args:
        found: its content, as JSON gives it.

    Raises:
        ValueError: it lacks a part, or has a wrong or an unknown one.
    """
    document = msgspec.convert(found, _Document)
    claims = tuple(map(_claim, document.claims))
    return new.Document(**{**asdict(document), "schema": new.SCHEMA, "claims": claims})


def _claim(claim: _Claim) -> new.Claim:
    settings = tuple(map(_judged, claim.settings))
    return with_role(new.Claim(**{**asdict(claim), "settings": settings}))


def with_role(claim: new.Claim) -> new.Claim:
    """A claim of an old file with its role, and the worst verdict of all of its settings."""
    role = CHECK if claim.id in _CHECKS else FOUND_HERE if claim.id.startswith(_FOUND_HERE) else claim.role
    return replace(claim, role=role, verdict=worst_verdict(each.verdict for each in claim.settings))


def _judged(judged: _Judged) -> new.Judged:
    fields = asdict(judged)
    gap = fields.pop("known_gap")
    return new.Judged(**{**fields, "explained": explained(gap)})


def explained(known_gap: str) -> new.Explained | None:
    """A known gap, if there was one, as the explanation of a failure."""
    return new.Explained(known_gap) if known_gap else None
