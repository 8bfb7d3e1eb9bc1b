"""What changed from one run to another: verdicts, effects, run time, and how far the two can be compared.

Imports neither torch nor scipy, so that a comparison takes a fraction of a second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lmc.claims.verdicts import SEVERITY
from lmc.errors import SpecError, StoreError

WORSE, BETTER, MOVED = "worse", "better", "moved"

_HARDWARE = ("processor", "cores", "workers", "device", "gpu")  # what run time depends on
_UPWARDS, _DOWNWARDS = re.compile(r"above |rises|.+ exceeds |width\^-a"), re.compile(r"below |falls")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_SLACK = 1e-9  # an interval of no width is left by rounding alone

_Case = tuple[str, str]


@dataclass(frozen=True)
class Change:
    """One thing that differs between two runs.

    Args:
        what: ``"verdict"``, ``"effect"`` or ``"seconds"``.
        claim: the claim's id, empty for run time.
        setting: the setting's name, empty for run time.
        old: a verdict, an effect in the claim's unit, or seconds.
        new: the same, of the new run.
        direction: ``"worse"``, ``"better"``, or ``"moved"`` where neither can be said.
        detail: what else a reader needs.
        uncounted: why the change does not count as worse, else empty.
    """

    what: str
    claim: str
    setting: str
    old: str | float
    new: str | float
    direction: str
    detail: str = ""
    uncounted: str = ""

    @property
    def worse(self) -> bool:
        """Whether it counts."""
        return self.direction == WORSE and not self.uncounted

    def line(self) -> str:
        """The change as text."""
        old, new = (each if isinstance(each, str) else f"{each:.4g}" for each in (self.old, self.new))
        where = f"{self.claim} on {self.setting}: " if self.claim else ""
        note = f" (not counted: {self.uncounted})" if self.uncounted else ""
        return f"{self.direction:<6}  {where}{old} -> {new}{self.detail and f'; {self.detail}'}{note}"


@dataclass(frozen=True)
class Limit:
    """Something that limits what a comparison says.

    Args:
        what: what differs.
        old: its value in the old run.
        new: its value in the new run.
        so: what can be compared nevertheless.
    """

    what: str
    old: str
    new: str
    so: str


@dataclass(frozen=True)
class Difference:
    """The outcome of `compare`.

    Args:
        old: one line about the old run.
        new: one line about the new run.
        compared: how many pairs of claim and setting both runs judge.
        changes: verdicts, effects, run time, in this order; each in paper order.
        only_old: (claim, setting) only in the old run; an empty setting stands for the whole claim.
        only_new: the same of the new run.
        limits: what limits the comparison.
    """

    old: str
    new: str
    compared: int
    changes: tuple[Change, ...]
    only_old: tuple[_Case, ...]
    only_new: tuple[_Case, ...]
    limits: tuple[Limit, ...]

    @property
    def worse(self) -> bool:
        """Whether anything that counts got worse."""
        return any(change.worse for change in self.changes)

    def lines(self) -> list[str]:
        """The difference as text; nothing where nothing differs."""
        sections = {
            "limits:": [f"{each.what}: {each.old} -> {each.new}; {each.so}" for each in self.limits],
            "verdicts:": self._lines_of("verdict"),
            "effects outside the old run's 95 % interval:": self._lines_of("effect"),
            "seconds:": self._lines_of("seconds"),
            "only in the old run:": [_where(*case) for case in self.only_old],
            "only in the new run:": [_where(*case) for case in self.only_new],
        }
        if not any(sections.values()):
            return []
        lines = [f"old: {self.old}", f"new: {self.new}", f"compared: {self.compared} pairs of claim and setting"]
        for title, found in sections.items():
            lines += [title, *(f"  {line}" for line in found)] if found else []
        counted = sum(change.worse for change in self.changes)
        return [*lines, f"{counted} of {len(self.changes)} changes count as worse"]

    def _lines_of(self, what: str) -> list[str]:
        return [change.line() for change in self.changes if change.what == what]

    def to_json(self) -> dict[str, Any]:
        """The difference, JSON-ready."""
        return {
            "worse": self.worse,
            "old": self.old,
            "new": self.new,
            "compared": self.compared,
            "changes": [{**asdict(change), "counted": change.worse} for change in self.changes],
            "only_old": [{"claim": claim, "setting": setting or None} for claim, setting in self.only_old],
            "only_new": [{"claim": claim, "setting": setting or None} for claim, setting in self.only_new],
            "limits": [asdict(limit) for limit in self.limits],
        }


def compare(old: Mapping[str, Any], new: Mapping[str, Any], *, tolerance: float = 0.25) -> Difference:
    """What changed from the run ``old`` to the run ``new``.

    Claims are matched by id and setting name. What counts as worse:

    - a verdict further along `SEVERITY`, unless the new run names a known gap there;
    - an effect outside the old run's 95 % interval, on the side away from what the claim expects. It is
      shown but not counted under a known gap, between tiers, where the models (widths and seeds) are not
      the same, or where another layer decides: the mean of six other models leaves a 95 % interval
      about one time in eight by chance. Exact claims have no interval; only their verdicts are compared;
    - run time beyond ``tolerance``, only on the same machine and for the same claims.

    What only one of the runs judges is listed and never counts: ``lmc run --claim`` leaves claims out.
    A results file does not say what was already in the store: compare the run time of runs that both began empty.
    Other versions or another machine round differently, which draws other models from the same seeds:
    a limit says so, the effects still count.

    Args:
        old: a results document.
        new: a results document.
        tolerance: share by which run time may grow or shrink unreported.

    Raises:
        SpecError: ``tolerance`` is negative.
        StoreError: the runs have no claim and setting in common.
    """
    if not tolerance >= 0:
        raise SpecError(f"the tolerance of run time is {tolerance}; give a share such as 0.25")
    before, after = _cases(old), _cases(new)
    common = [case for case in after if case in before]
    if not common:
        raise StoreError(
            f"nothing to compare: the old run (tier {old['tier']}) and the new run (tier {new['tier']}) have no "
            "claim and setting in common; compare two runs of one tier"
        )
    same_tier = old["tier"] == new["tier"]
    pairs = {case: (before[case], after[case]) for case in common}
    changes = [change for case, pair in pairs.items() for change in _verdict_change(case, *pair)]
    changes += [change for case, pair in pairs.items() for change in _effect_change(case, *pair, same_tier)]
    changes += _time_change(old, new, tolerance, same_claims=before.keys() == after.keys())
    return Difference(
        old=_about(old),
        new=_about(new),
        compared=len(common),
        changes=tuple(changes),
        only_old=_only(before, after),
        only_new=_only(after, before),
        limits=(*_run_limits(old, new, len(common)), *_case_limits(pairs)),
    )


def _cases(document: Mapping[str, Any]) -> dict[_Case, dict[str, Any]]:
    return {
        (claim["id"], setting["name"]): {**setting, "unit": claim["unit"]}
        for claim in document["claims"]
        for setting in claim["settings"]
    }


def _only(these: Iterable[_Case], those: Iterable[_Case]) -> tuple[_Case, ...]:
    others = set(those)
    claims = {claim for claim, _ in others}
    found = [(claim, setting if claim in claims else "") for claim, setting in these if (claim, setting) not in others]
    return tuple(dict.fromkeys(found))


def _verdict_change(case: _Case, old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    was, is_ = old["verdict"], new["verdict"]
    if was == is_:
        return []
    direction = WORSE if SEVERITY.index(is_) > SEVERITY.index(was) else BETTER
    uncounted = "a known gap" if direction == WORSE and new["known_gap"] else ""
    return [Change("verdict", *case, was, is_, direction, new["reason"], uncounted)]


def _effect_change(case: _Case, old: dict[str, Any], new: dict[str, Any], same_tier: bool) -> list[Change]:
    was, is_ = old["effect"], new["effect"]
    if was is None or is_ is None or not old["interval"] or not _same_quantity(old, new):
        return []
    low, high = old["interval"]
    below = low is not None and is_ < low - _SLACK * max(1.0, abs(low))
    above = high is not None and is_ > high + _SLACK * max(1.0, abs(high))
    if not below and not above:
        return []
    direction = MOVED
    if _UPWARDS.match(new["threshold"]):
        direction = WORSE if below else BETTER
    elif _DOWNWARDS.match(new["threshold"]):
        direction = WORSE if above else BETTER
    low, high = ("?" if bound is None else f"{bound:.4g}" for bound in (low, high))
    detail = f"[{low}, {high}] {new['unit']}, {new['threshold']}"
    uncounted = _why_not(old, new, same_tier) if direction == WORSE else ""
    return [Change("effect", *case, was, is_, direction, detail, uncounted)]


def _why_not(old: dict[str, Any], new: dict[str, Any], same_tier: bool) -> str:
    """Why an effect on the worse side does not count, or nothing."""
    if new["known_gap"]:
        return "a known gap"
    if not same_tier:
        return "another tier"
    if _models(old) != _models(new):
        return "other models"
    if _subject(old) != _subject(new):
        return f"of {_subject(new) or 'all layers'}, was of {_subject(old) or 'all layers'}"
    return ""


def _same_quantity(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether both effects are of one expectation and unit; its numbers may differ."""
    shapes = [(_NUMBER.sub("#", each["threshold"]), each["unit"]) for each in (old, new)]
    return shapes[0] == shapes[1]


def _models(setting: dict[str, Any]) -> set[tuple[float, str, str]]:
    return {(each["width"], each["pair"], each["group"]) for each in setting["values"]}


def _subject(setting: dict[str, Any]) -> str:
    """The layer, or mean of layers, that decided: reasons open with it and a colon."""
    subject, colon, _ = setting["reason"].partition(": ")
    return str(subject) if colon else ""


def _time_change(
    old: Mapping[str, Any], new: Mapping[str, Any], tolerance: float, *, same_claims: bool
) -> list[Change]:
    was, is_ = float(old["seconds"]), float(new["seconds"])
    slower = is_ > was * (1 + tolerance)
    if not slower and not was > is_ * (1 + tolerance):
        return []
    uncounted = ""
    if old["tier"] != new["tier"]:
        uncounted = "another tier"
    elif any(old["machine"].get(name) != new["machine"].get(name) for name in _HARDWARE):
        uncounted = "another machine"
    elif not same_claims:
        uncounted = "other claims"
    elif old.get("made") != new.get("made"):
        uncounted = "more or less was already stored"
    detail = f"{is_ / was:.2f} times" if was else ""
    return [Change("seconds", "", "", was, is_, WORSE if slower else BETTER, detail, uncounted if slower else "")]


def _run_limits(old: Mapping[str, Any], new: Mapping[str, Any], common: int) -> list[Limit]:
    limits = []
    if old["tier"] != new["tier"]:
        so = f"only the {common} pairs of claim and setting in both compare, by their verdicts"
        limits.append(Limit("tier", old["tier"], new["tier"], so))

    def machine(name: str) -> str:
        if name in ("processor", "device", "gpu"):
            return "verdicts compare, effects can move by rounding, run time does not count"
        return "verdicts and effects compare, run time " + ("does not count" if name in _HARDWARE else "may differ")

    limits += _differing("machine", old["machine"], new["machine"], machine)
    so = "verdicts compare, effects and run time can move with it"
    return limits + _differing("versions", old["versions"], new["versions"], lambda _: so)


def _differing(what: str, old: Mapping[str, Any], new: Mapping[str, Any], so: Callable[[str], str]) -> list[Limit]:
    return [
        Limit(f"{what}, {name}", str(old.get(name, "none")), str(new.get(name, "none")), so(name))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _case_limits(pairs: Mapping[_Case, tuple[dict[str, Any], dict[str, Any]]]) -> list[Limit]:
    limits = []
    other = [(old, new) for old, new in pairs.values() if old["values"] and new["values"]]
    other = [(old, new) for old, new in other if _models(old) != _models(new)]
    if other:
        so = f"in {len(other)} pairs of claim and setting; verdicts compare, effects on the worse side do not count"
        limits.append(Limit("models", _first_models(other[0][0]), _first_models(other[0][1]), so))
    for case, (old, new) in pairs.items():
        asked, asks = (f"{each['threshold']}, in {each['unit']}" for each in (old, new))
        if old["threshold"] and new["threshold"] and asked != asks:  # none where the verdict is invalid
            compares = "compares" if _same_quantity(old, new) else "does not compare"
            so = f"a verdict may have changed with it, the effect {compares}"
            limits.append(Limit(f"threshold of {_where(*case)}", asked, asks, so))
    return limits


def _first_models(setting: dict[str, Any]) -> str:
    widths, pairs = ({each[name] for each in setting["values"]} for name in ("width", "pair"))
    said = ", ".join(f"{width:g}" for width in sorted(widths))
    return f"{len(pairs)} pair(s) from {setting['values'][0]['pair']} at width {said}"


def _where(claim: str, setting: str) -> str:
    return f"{claim} on {setting}" if setting else claim


def _about(document: Mapping[str, Any]) -> str:
    device, commit = document["machine"].get("device", "unknown device"), document["commit"]
    return f"tier {document['tier']} on {device}, {document['seconds']:.4g} s, {document['started']}, commit {commit}"
