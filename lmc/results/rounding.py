"""Six significant digits: more than any figure, table or verdict can tell, and a third of the file."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from lmc.results.document import Claim, Document, Judged, Value


def six_digits(value: Any) -> Any:
    """Every float in ``value``, at any depth of lists and dicts, rounded to six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: six_digits(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [six_digits(each) for each in value]
    return value


def rounded(document: Document) -> Document:
    """A document with its observations rounded; effects, intervals and p-values stay as they were computed."""
    return replace(document, claims=tuple(map(_claim, document.claims)))


def _claim(claim: Claim) -> Claim:
    return replace(claim, settings=tuple(map(_judged, claim.settings)))


def _judged(judged: Judged) -> Judged:
    return replace(judged, values=tuple(map(_value, judged.values)))


def _value(value: Value) -> Value:
    known = {"error": six_digits(value.error)} if value.error else {}
    return replace(value, value=six_digits(value.value), **known)
