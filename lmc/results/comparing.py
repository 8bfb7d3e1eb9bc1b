"""What changed from one run to another: verdicts, effects, run time, and how far the two can be compared.

Imports neither torch nor scipy, so that a comparison takes a fraction of a second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

from lmc.claims.verdicts import SEVERITY
from lmc.errors import SpecError, StoreError
from lmc.results.difference import BETTER, MOVED, WORSE, Case, Change, Difference, Limit, place

_HARDWARE = ("processor", "cores", "workers", "device", "gpu")  # what run time depends on
_ROUNDING = {"machine": ("processor", "device", "gpu"), "versions": ("torch", "numpy")}  # what the last bits depend on
_UPWARDS, _DOWNWARDS = (
    re.compile(r"above |rises|.+ exceeds .+ by at least|width\^-a"),
    re.compile(r"below |falls|.+ exceeds .+ by less"),
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
TRAINING_TOLERANCE = 1.0
"""Share by which a recipe's training may grow or shrink unreported, to twice as long or to half. Four times what a
whole run may, as other processes disturb seconds more than minutes."""
LEAST_TRAINING = 1.0
"""Seconds that a recipe's models must have trained for together; the start of a process is noise of that order."""
_SLACK = 1e-9  # an interval of no width is left by rounding alone


def compare(
    old: Mapping[str, Any], new: Mapping[str, Any], *, tolerance: float = 0.25, time_counts: bool = True
) -> Difference:
    """What changed from the run ``old`` to the run ``new``.

    Claims are matched by id and setting name. What counts as worse:

    - a verdict further along `lmc.claims.verdicts.SEVERITY`, unless the new run names a known gap there;
    - an effect outside the old run's 95 % interval, on the side away from what the claim expects. It is
      shown but not counted under a known gap, between tiers, where the models (widths and seeds) are not
      the same, or where another layer decides: the mean of six other models leaves a 95 % interval
      about one time in eight by chance. Another processor, torch or numpy rounds differently, which draws
      other models from the same seeds: there it counts only where the new interval does not reach the old one.
      Exact claims have no interval; only their verdicts are compared;
    - run time beyond ``tolerance``, only on the same machine, for the same claims, and where both runs made as
      many models and measurements;
    - the training of a recipe, only on the same machine and where both runs trained: the median over its models,
      each against the same model before, beyond `TRAINING_TOLERANCE`.

    What only one of the runs judges is listed and never counts: ``lmc run --claims`` leaves claims out.

    Args:
        old: a results document.
        new: a results document.
        tolerance: share by which run time may grow or shrink unreported.
        time_counts: whether run time can count as worse; else it is only shown.

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
    pairs = {case: (before[case], after[case]) for case in common}
    changes = [change for case, pair in pairs.items() for change in _verdict_change(case, *pair)]
    changes += [change for case, pair in pairs.items() for change in _effect_change(case, *pair)]
    changes += _time_change(old, new, tolerance, same_claims=before.keys() == after.keys(), counts=time_counts)
    changes += _training_changes(old, new, counts=time_counts)
    return Difference(
        old=_about(old),
        new=_about(new),
        compared=len(common),
        changes=tuple(changes),
        only_old=_only(before, after),
        only_new=_only(after, before),
        limits=(*_run_limits(old, new, len(common)), *_case_limits(pairs)),
    )


def _cases(document: Mapping[str, Any]) -> dict[Case, dict[str, Any]]:
    rounding = [document[part].get(name) for part, names in _ROUNDING.items() for name in names]
    run = {"tier": document["tier"], "rounding": rounding}
    return {
        (claim["id"], setting["name"]): {**setting, **run, "unit": claim["unit"]}
        for claim in document["claims"]
        for setting in claim["settings"]
    }


def _only(these: Iterable[Case], those: Iterable[Case]) -> tuple[Case, ...]:
    others = set(those)
    claims = {claim for claim, _ in others}
    found = [(claim, setting if claim in claims else "") for claim, setting in these if (claim, setting) not in others]
    return tuple(dict.fromkeys(found))


def _verdict_change(case: Case, old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    was, is_ = old["verdict"], new["verdict"]
    if was == is_:
        return []
    direction = WORSE if SEVERITY.index(is_) > SEVERITY.index(was) else BETTER
    uncounted = "a known gap" if direction == WORSE and new["known_gap"] else ""
    return [Change("verdict", *case, was, is_, direction, new["reason"], uncounted)]


def _effect_change(case: Case, old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    was, is_ = old["effect"], new["effect"]
    below, above = left_interval(old, new)
    if not below and not above:
        return []
    low, high = old["interval"]
    direction = MOVED
    if _UPWARDS.match(new["threshold"]):
        direction = WORSE if below else BETTER
    elif _DOWNWARDS.match(new["threshold"]):
        direction = WORSE if above else BETTER
    low, high = ("?" if bound is None else f"{bound:.4g}" for bound in (low, high))
    detail = f"[{low}, {high}] {new['unit']}, {new['threshold']}"
    uncounted = _why_not(old, new) if direction == WORSE else ""
    return [Change("effect", *case, was, is_, direction, detail, uncounted)]


def left_interval(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether a new effect lies below, and whether it lies above, the old effect's 95 % interval.

    Args:
        old: a setting of a results document, with the ``unit`` of its claim.
        new: the same of another run; neither is true where the two effects are of different quantities.
    """
    if old["effect"] is None or new["effect"] is None or not old["interval"] or not _same_quantity(old, new):
        return False, False
    (low, high), effect = old["interval"], new["effect"]
    below = low is not None and effect < low - _SLACK * max(1.0, abs(low))
    above = high is not None and effect > high + _SLACK * max(1.0, abs(high))
    return below, above


def _why_not(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Why an effect on the worse side does not count, or nothing."""
    if new["known_gap"]:
        return "a known gap"
    if old["tier"] != new["tier"]:
        return "another tier"
    if _models(old) != _models(new):
        return "other models"
    if _subject(old) != _subject(new):
        return f"of {_subject(new) or 'all layers'}, was of {_subject(old) or 'all layers'}"
    if old["rounding"] != new["rounding"] and _meet(old["interval"], new["interval"] or (None, None)):
        return "other rounding, and the intervals meet"
    return ""


def _meet(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
    """Whether two intervals have a number in common; an end that is ``None`` is open."""
    (low, high), (least, most) = one, other
    return (low is None or most is None or low <= most) and (high is None or least is None or least <= high)


def _same_quantity(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
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
    old: Mapping[str, Any], new: Mapping[str, Any], tolerance: float, *, same_claims: bool, counts: bool
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
    elif not counts:
        uncounted = "a run's own time is told, not judged"
    detail = f"{is_ / was:.2f} times" if was else ""
    return [Change("seconds", "", "", was, is_, WORSE if slower else BETTER, detail, uncounted)]


def _training_changes(old: Mapping[str, Any], new: Mapping[str, Any], *, counts: bool) -> list[Change]:
    """Recipes whose models train faster or slower, where both runs trained on one machine."""
    trained = all((run.get("made") or {}).get("models", 0) > 0 for run in (old, new))
    if not trained or any(old["machine"].get(name) != new["machine"].get(name) for name in _HARDWARE):
        return []
    was, now = _training(old), _training(new)
    changes = []
    for recipe in (each for each in was if each in now):
        shared = [(was[recipe][model], now[recipe][model]) for model in was[recipe] if model in now[recipe]]
        before, after = (sum(seconds) for seconds in zip(*shared, strict=True)) if shared else (0.0, 0.0)
        if min(before, after) < LEAST_TRAINING:
            continue
        ratio = median(new_seconds / max(old_seconds, 1e-9) for old_seconds, new_seconds in shared)
        if ratio <= 1 + TRAINING_TOLERANCE and ratio * (1 + TRAINING_TOLERANCE) >= 1:
            continue
        detail = f"training of {recipe[1]}, {len(shared)} models, {ratio:.2f} times in the median"
        uncounted = "" if counts else "a run's own time is told, not judged"
        direction = WORSE if ratio > 1 else BETTER
        changes.append(Change("training", "", recipe[0], before, after, direction, detail, uncounted))
    return changes


def _training(document: Mapping[str, Any]) -> dict[tuple[str, str], dict[tuple[float, int], float]]:
    """Seconds by setting and role, then by width and seed; of models whose training is complete in one log."""
    found: dict[tuple[str, str], dict[tuple[float, int], float]] = {}
    for model in document.get("evidence", {}).get("models", []):
        if model["seconds"]:
            seconds = found.setdefault((model["setting"], model["role"]), {})
            seconds[model["width"], model["seed"]] = model["seconds"]
    return found


def _run_limits(old: Mapping[str, Any], new: Mapping[str, Any], common: int) -> list[Limit]:
    limits = []
    if old["tier"] != new["tier"]:
        so = f"only the {common} pairs of claim and setting in both compare, by their verdicts"
        limits.append(Limit("tier", old["tier"], new["tier"], so))

    def so_of(part: str, name: str) -> str:
        rounds = name in _ROUNDING[part]
        effects = "verdicts compare, effects where intervals do not meet" if rounds else "verdicts and effects compare"
        return f"{effects}, run time {'does not count' if name in _HARDWARE else 'can move with it'}"

    for part in _ROUNDING:
        limits += _differing(part, old[part], new[part], partial(so_of, part))
    return limits


def _differing(what: str, old: Mapping[str, Any], new: Mapping[str, Any], so: Callable[[str], str]) -> list[Limit]:
    return [
        Limit(f"{what}, {name}", str(old.get(name, "none")), str(new.get(name, "none")), so(name))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _case_limits(pairs: Mapping[Case, tuple[dict[str, Any], dict[str, Any]]]) -> list[Limit]:
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
            limits.append(Limit(f"threshold of {place(*case)}", asked, asks, so))
    return limits


def _first_models(setting: dict[str, Any]) -> str:
    widths, pairs = ({each[name] for each in setting["values"]} for name in ("width", "pair"))
    said = ", ".join(f"{width:g}" for width in sorted(widths))
    return f"{len(pairs)} pair(s) from {setting['values'][0]['pair']} at width {said}"


def _about(document: Mapping[str, Any]) -> str:
    device, commit = document["machine"].get("device", "unknown device"), document["commit"]
    return f"tier {document['tier']} on {device}, {document['seconds']:.4g} s, {document['started']}, commit {commit}"
