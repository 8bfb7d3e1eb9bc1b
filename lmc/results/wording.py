"""The one place where text is made of what a results document holds as data."""

from __future__ import annotations

from typing import Protocol

from lmc.claims.asked import Asked
from lmc.claims.verdicts import FAILS
from lmc.results.document import Judged
from lmc.results.scalars import Seeds


class Measured(Protocol):
    """What a judgement and what is kept of it share."""

    @property
    def reason(self) -> str:
        """The numbers, in words."""
        ...

    @property
    def part(self) -> str:
        """The part that decided, if one did."""
        ...

    @property
    def mean_of(self) -> int:
        """How many parts the effect is the mean of; 0 where it is of one."""
        ...


def asked_in_words(asked: Asked | None) -> str:
    """What was asked of an effect, as a sentence; empty where nothing was.

    Args:
        asked: see `lmc.claims.asked.Asked`.
    """
    if asked is None:
        return ""
    significant = "" if asked.alpha is None else f", p <= {asked.alpha:g}"
    return f"{_IN_WORDS[asked.quantity](asked)}{significant}"


def measured_in_words(judged: Measured) -> str:
    """The numbers behind a verdict, after the part, or the mean of parts, that they are of."""
    subject = subject_in_words(judged)
    return f"{subject}: {judged.reason}" if subject else judged.reason


def subject_in_words(judged: Measured) -> str:
    """The part that decided, or ``mean of N layers``; empty where there are no parts."""
    return f"mean of {judged.mean_of} layers" if judged.mean_of else judged.part


def remark_in_words(judged: Judged) -> str:
    """Why a claim is known to fail there and what would refute that; empty where nothing explains a failure."""
    if judged.explained is None:
        return ""
    found = judged.explained
    opening = "" if judged.verdict == FAILS else f"{judged.verdict} this time, though a failure is explained: "
    refuted = f" Would be refuted by: {found.refuted_by}" if found.refuted_by else ""
    result = f" {found.result or 'Not run.'}" if found.refuted_by else ""
    return f"{opening}{found.why}{refuted}{result}"


def seeds_in_words(seeds: Seeds) -> str:
    """``6-7`` for a pair; nothing for what rests on no model."""
    return "-".join(map(str, seeds))


def _value(asked: Asked) -> str:
    where = f" at the {asked.at} width" if asked.at else ""
    if asked.target is not None:
        return f"{_deviation(asked)}{where}"
    side = f"below {asked.high:g}" if asked.low is None else f"above {asked.low:g}"
    return f"{side}{where}"


def _change(asked: Asked) -> str:
    by, way, back = (
        (0.0 - (asked.high or 0.0), "falls", "rises") if asked.low is None else (asked.low, "rises", "falls")
    )
    if not asked.pooled:
        return f"{way} by at least {by:g}"
    slack = f" by more than {asked.slack:g}" if asked.slack else ""
    return f"{way} by at least {by:g} on average over layers, none {back} significantly{slack}"


def _step(asked: Asked) -> str:
    way, back, slack = ("falls", "rises", asked.high) if asked.low is None else ("rises", "falls", -asked.low)
    return f"{way} from each width to the next" if not slack else f"{back} from no width to the next by {slack:g}"


def _share(asked: Asked) -> str:
    return f"at most {asked.high:.0%} {asked.bad} {asked.limit:g} at the {asked.at} width"


def _difference(asked: Asked) -> str:
    one, other = asked.groups
    pooled = " on average over layers" if asked.pooled else ""
    if asked.low is None:
        return f"{one} exceeds {other} by less than {asked.high:g}{pooled}"
    if asked.high is not None:
        return f"{one} and {other} differ by less than {asked.high:g}{pooled}"
    slack = f" by more than {asked.slack:g}" if asked.slack else ""
    none = f"{pooled}, {other} significantly{slack} at none" if asked.pooled else ""
    return f"{one} exceeds {other} by at least {asked.low:g}{none}"


def _rise(asked: Asked) -> str:
    return f"rises by at least {asked.low:g} along {', '.join(asked.groups)}"


def _deviation(asked: Asked) -> str:
    within = ((asked.high or 0.0) - (asked.low or 0.0)) / 2
    return f"within {within:g} of {asked.target or 0.0:g}"


def _exponent(asked: Asked) -> str:
    return f"width^-a with a above {asked.low:g}"


_IN_WORDS = {
    "value": _value,
    "change": _change,
    "step": _step,
    "difference": _difference,
    "rise": _rise,
    "share": _share,
    "deviation": _deviation,
    "exponent": _exponent,
}
