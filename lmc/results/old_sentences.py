"""Sentences of results files from before what was asked was kept as data. Nothing else reads numbers out of text."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from lmc.claims.asked import Asked

_N = r"(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)"
_POOLED = " on average over layers"


def _level(found: re.Match[str]) -> dict[str, Any]:
    return {"quantity": "value", "low" if found[1] == "above" else "high": float(found[2]), "at": found[3]}


def _within(found: re.Match[str]) -> dict[str, Any]:
    within, target = float(found[1]), float(found[2])
    if found[3]:
        return {"quantity": "value", "low": target - within, "high": target + within, "target": target, "at": found[3]}
    return {"quantity": "deviation", "low": -within, "high": within, "target": target}


def _moves(found: re.Match[str]) -> dict[str, Any]:
    end = {"low": float(found[2])} if found[1] == "rises" else {"high": 0.0 - float(found[2])}
    return {"quantity": "change", **end, "pooled": bool(found[3]), "slack": float(found[4] or 0)}


def _along(found: re.Match[str]) -> dict[str, Any]:
    return {"quantity": "rise", "low": float(found[1]), "groups": found[2].split(", ")}


def _exceeds(found: re.Match[str]) -> dict[str, Any]:
    end = {"low" if found[3] == "at least" else "high": float(found[4])}
    return {"quantity": "difference", **end, "groups": [found[1], found[2]], "pooled": bool(found[5])}


def _differ(found: re.Match[str]) -> dict[str, Any]:
    within, groups = float(found[3]), [found[1], found[2]]
    return {"quantity": "difference", "low": -within, "high": within, "groups": groups, "pooled": bool(found[4])}


def _law(found: re.Match[str]) -> dict[str, Any]:
    return {"quantity": "exponent", "low": float(found[1])}


_FORMS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], dict[str, Any]]], ...] = tuple(
    (re.compile(form), read)
    for form, read in (
        (rf"(above|below) {_N} at the (widest|narrowest) width", _level),
        (rf"within {_N} of {_N}(?: at the (widest|narrowest) width)?", _within),
        (rf"rises by at least {_N} along (.+)", _along),
        (
            rf"(rises|falls) by at least {_N}"
            rf"(?:({_POOLED}), none (?:rises|falls) significantly(?: by more than {_N})?)?",
            _moves,
        ),
        (rf"(.+) exceeds (.+) by (at least|less than) {_N}(?:({_POOLED}), .+ significantly at none)?", _exceeds),
        (rf"(.+) and (.+) differ by less than {_N}({_POOLED})?", _differ),
        (rf"width\^-a with a above {_N}", _law),
    )
)


def asked_from(sentence: str) -> Asked | None:
    """What a sentence asked; ``None`` of an empty one.

    Raises:
        ValueError: it is of no known form, or asks for what cannot be.
    """
    if not sentence:
        return None
    said, significance, alpha = sentence.partition(", p <= ")
    try:
        for form, read in _FORMS:
            if found := form.fullmatch(said):
                asked = read(found) | {"alpha": float(alpha) if significance else None}
                asked["groups"] = [group_from(each) for each in asked.get("groups", ())]
                return msgspec.convert(asked, Asked)
    except ValueError as error:
        raise ValueError(f"the threshold {sentence!r} cannot be: {error}") from error
    raise ValueError(f"the threshold {sentence!r} is of no known form")


def group_from(name: str) -> str:
    """A group or an alignment, of which one was called ``none``."""
    return "unpermuted" if name == "none" else name


def unpermuted(text: str) -> str:
    """``text`` that names the group ``none``, with its name of today."""
    return re.sub(r"\bnone\b", "unpermuted", text)


def reason_from(sentence: str, parts: Collection[str]) -> tuple[str, str, int]:
    """The numbers of a reason, the part that decided, and how many parts the effect is the mean of.

    Args:
        sentence: may open with the part, or ``mean of N layers``, and a colon.
        parts: that have values.
    """
    subject, colon, rest = sentence.partition(": ")
    if colon and (mean := re.fullmatch(r"mean of (\d{1,9}) layers", subject)):
        against = rest.partition(" goes the other way, p = ")[0].rpartition("; ")[2]
        return rest, against if against in parts else "", int(mean[1])
    return (rest, subject, 0) if colon and subject in parts else (sentence, "", 0)
