"""What changed from one run to another: verdicts, effects, run time, and how far the two can be compared.

Imports neither torch nor scipy, so that a comparison takes a fraction of a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from statistics import NormalDist

from lmc.claims.asked import Asked
from lmc.claims.verdicts import SEVERITY
from lmc.errors import SpecError, StoreError
from lmc.results.chances import holm
from lmc.results.difference import BETTER, MOVED, THRESHOLD, WORSE, Case, Change, Difference, Limit, place
from lmc.results.document import Document, Found, Judged
from lmc.results.durations import HARDWARE, time_change, training_changes
from lmc.results.scalars import Seeds
from lmc.results.wording import asked_in_words, measured_in_words, seeds_in_words, subject_in_words

_ROUNDING = ("processor", "device", "gpu", "torch", "numpy")  # what the last bits depend on
_HALF = NormalDist().inv_cdf(0.975)  # of a 95 % interval, in errors
_SLACK = 1e-9  # an interval of no width is left by rounding alone

_Sides = tuple[Found, Found]
"""A claim on a setting in the old run and in the new one."""


def difference_between(
    old: Document, new: Document, *, tolerance: float = 0.25, time_counts: bool = True
) -> Difference:
    """What changed from the run ``old`` to the run ``new``.

    Claims are matched by id and setting name. What counts as worse:

    - an effect that moved towards the bound, or beyond it, farther than its error explains: at 5 % over all that both
      judge (Holm). The error is that of both runs; of the old one alone where the models are the same, down to the
      rounding of processor, torch and numpy. Every effect outside the old run's 95 % interval is shown;
    - a verdict further along `lmc.claims.verdicts.SEVERITY` together with such an effect, or where there is no effect
      to compare, as nothing is random or a precondition is unmet.
      Neither counts where the new run explains a failure there, between tiers, or where another layer decides;
    - run time beyond ``tolerance``, only on the same machine, for the same claims, and where both runs made as
      many models and measurements;
    - the training of a recipe, only on the same machine and where both runs trained: the median over its models,
      each against the same model before, beyond `lmc.results.durations.TRAINING_TOLERANCE`.

    Where other models were trained, as another machine or other seeds do, a change within the errors of both runs is
    told apart, see `lmc.results.difference.Change`.

    What only one of the runs judges is listed and never counts: ``lmc run --claims`` leaves claims out.

    Args:
        old: a run.
        new: another.
        tolerance: share by which run time may grow or shrink unreported.
        time_counts: whether run time can count as worse; else it is only shown.

    Raises:
        SpecError: ``tolerance`` is negative.
        StoreError: the runs have no claim and setting in common.
    """
    if not tolerance >= 0:
        raise SpecError(f"the tolerance of run time is {tolerance}; give a share such as 0.25")
    before, after = _cases(old), _cases(new)
    pairs = {case: (before[case], after[case]) for case in after if case in before}
    if not pairs:
        raise StoreError(
            f"nothing to compare: the old run (tier {old.tier}) and the new run (tier {new.tier}) have no "
            "claim and setting in common; compare two runs of one tier"
        )
    changes = _judged_otherwise(pairs, old, new)
    changes += time_change(old, new, tolerance, same_claims=before.keys() == after.keys(), counts=time_counts)
    changes += training_changes(old, new, counts=time_counts)
    return Difference(
        old=_about(old),
        new=_about(new),
        compared=len(pairs),
        changes=tuple(changes),
        only_old=_only(before, after),
        only_new=_only(after, before),
        limits=(*_run_limits(old, new, len(pairs)), *_case_limits(pairs)),
        other_models=tuple(_other_models(old, new, pairs)),
    )


def _other_models(old: Document, new: Document, pairs: Mapping[Case, _Sides]) -> Iterator[str]:
    """What makes the models of the new run others: what rounds their training, and their seeds or widths."""
    yield from (name for name, was, now in zip(_ROUNDING, _rounding(old), _rounding(new), strict=True) if was != now)
    if any(was.values and now.values and _models(was) != _models(now) for (_, was), (_, now) in pairs.values()):
        yield "seeds or widths"


def _judged_otherwise(pairs: Mapping[Case, _Sides], old: Document, new: Document) -> list[Change]:
    """The verdicts that changed, then the effects."""
    moved = {case: p for case, sides in pairs.items() if (p := _p_of_worse(*sides, old, new)) is not None}
    real = holm(moved)
    chance = {case: f"within chance over {len(moved)} effects" for case in moved if case not in real}
    changes = [change for case, sides in pairs.items() for change in _verdict_change(case, sides, old, new, chance)]
    changes += [change for case, sides in pairs.items() for change in _effect_change(case, sides, old, new, chance)]
    explained = _by_models(pairs, old, new)
    return [replace(each, by_models=(each.claim, each.setting) in explained) for each in changes]


def _cases(document: Document) -> dict[Case, Found]:
    return {(claim.id, judged.name): (claim, judged) for claim, judged in document.judged()}


def _only(these: Iterable[Case], those: Iterable[Case]) -> tuple[Case, ...]:
    others = set(those)
    claims = {claim for claim, _ in others}
    found = [(claim, setting if claim in claims else "") for claim, setting in these if (claim, setting) not in others]
    return tuple(dict.fromkeys(found))


def _p_of_worse(one: Found, other: Found, old: Document, new: Document) -> float | None:
    """p-value of "the effect is as far on the asked side as it was"; ``None`` where that cannot be said."""
    (_, was), (_, now) = one, other
    errors = _error(was), _error(now)
    if (
        was.effect is None
        or now.effect is None
        or None in errors
        or now.asked is None
        or not _same_quantity(one, other)
    ):
        return None
    same = _same_models(was, now, old, new)
    error = errors[0] if same else math.hypot(*(each or 0.0 for each in errors))
    lost = _room(now.asked, was.effect) - _room(now.asked, now.effect)
    return NormalDist().cdf(-lost / error) if error else float(lost <= _SLACK * max(1.0, abs(was.effect)))


def _same_models(was: Judged, now: Judged, old: Document, new: Document) -> bool:
    """Whether both rest on the same models, bit by bit."""
    return _models(was) == _models(now) and _rounding(old) == _rounding(new)


def _by_models(pairs: Mapping[Case, _Sides], old: Document, new: Document) -> set[Case]:
    """Where other models were asked the same, and their effects do not differ beyond both errors (at 5 %, Holm)."""
    p_values = {}
    for case, ((one, was), (other, now)) in pairs.items():
        errors = _error(was), _error(now)
        if was.effect is None or now.effect is None or errors[0] is None or errors[1] is None:
            continue
        asked_alike = was.asked == now.asked and one.unit == other.unit  # else that may be what changed a verdict
        if asked_alike and not _same_models(was, now, old, new):
            error, moved = math.hypot(errors[0], errors[1]), abs(now.effect - was.effect)
            p_values[case] = 2 * NormalDist().cdf(-moved / error) if error else float(moved <= _SLACK)
    return p_values.keys() - holm(p_values)


def _error(judged: Judged) -> float | None:
    low, high = judged.interval or (None, None)
    return None if low is None or high is None else (high - low) / 2 / _HALF


def _room(asked: Asked, effect: float) -> float:
    """How far inside of what is asked an effect lies; negative outside."""
    ends = (asked.low, 1), (asked.high, -1)
    return min((effect - end) * sign for end, sign in ends if end is not None)


def _verdict_change(
    case: Case, sides: _Sides, old: Document, new: Document, chance: Mapping[Case, str]
) -> list[Change]:
    (_, was), (_, now) = sides
    if was.verdict == now.verdict:
        return []
    direction = WORSE if SEVERITY.index(now.verdict) > SEVERITY.index(was.verdict) else BETTER
    random = None not in (_error(was), _error(now))
    why_not = _why_not(was, now, old, new) if random or now.explained else ""
    uncounted = (why_not or chance.get(case, "")) if direction == WORSE else ""
    return [Change("verdict", *case, was.verdict, now.verdict, direction, measured_in_words(now), uncounted)]


def _effect_change(case: Case, sides: _Sides, old: Document, new: Document, chance: Mapping[Case, str]) -> list[Change]:
    (_, was), (claim, now) = sides
    below, above = left_interval(*sides)
    if not (below or above) or was.effect is None or now.effect is None or was.interval is None or now.asked is None:
        return []
    direction = MOVED
    if asked := now.asked.direction:
        direction = WORSE if (below if asked > 0 else above) else BETTER
    low, high = ("?" if bound is None else f"{bound:.4g}" for bound in was.interval)
    detail = f"[{low}, {high}] {claim.unit}, {asked_in_words(now.asked)}"
    if direction == MOVED and _room(now.asked, now.effect) < _room(now.asked, was.effect):
        direction = WORSE if case not in chance else MOVED
    known = None not in (_error(was), _error(now))
    by_chance = chance.get(case, "") if known else "its error is unknown"
    uncounted = (_why_not(was, now, old, new) or by_chance) if direction == WORSE else ""
    return [Change("effect", *case, was.effect, now.effect, direction, detail, uncounted)]


def left_interval(old: Found, new: Found) -> tuple[bool, bool]:
    """Whether a new effect lies below, and whether it lies above, the old effect's 95 % interval.

    Neither is true where the two effects are of different quantities.
    """
    (_, was), (_, now) = old, new
    if was.effect is None or now.effect is None or not was.interval or not _same_quantity(old, new):
        return False, False
    low, high = was.interval
    below = low is not None and now.effect < low - _SLACK * max(1.0, abs(low))
    above = high is not None and now.effect > high + _SLACK * max(1.0, abs(high))
    return below, above


def _same_quantity(old: Found, new: Found) -> bool:
    """Whether both effects are of one quantity and unit; what they had to reach may differ."""
    (one, was), (other, now) = old, new
    return one.unit == other.unit and (was.asked and was.asked.shape) == (now.asked and now.asked.shape)


def _why_not(was: Judged, now: Judged, old: Document, new: Document) -> str:
    """Why what is worse does not count, or nothing."""
    if now.explained:
        return "explained"
    if old.tier != new.tier:
        return "another tier"
    before, after = subject_in_words(was), subject_in_words(now)
    if before != after:
        return f"of {after or 'all layers'}, was of {before or 'all layers'}"
    return ""


def _rounding(run: Document) -> list[object]:
    facts = {**run.machine, **run.versions}
    return [facts.get(name) for name in _ROUNDING]


def _models(judged: Judged) -> set[tuple[float, Seeds, str]]:
    return {(each.width, each.seeds, each.group) for each in judged.values}


def _run_limits(old: Document, new: Document, common: int) -> list[Limit]:
    limits = []
    if old.tier != new.tier:
        so = f"only the {common} pairs of claim and setting in both compare, by their verdicts"
        limits.append(Limit("tier", old.tier, new.tier, so))

    limits += _differing("machine", old.machine, new.machine)
    return limits + _differing("versions", old.versions, new.versions)


def _differing(what: str, old: Mapping[str, object], new: Mapping[str, object]) -> list[Limit]:
    def so(name: str) -> str:
        rounds = name in _ROUNDING
        effects = "verdicts and effects compare, as of other models" if rounds else "verdicts and effects compare"
        return f"{effects}, run time {'does not count' if name in HARDWARE else 'can move with it'}"

    return [
        Limit(f"{what}, {name}", str(old.get(name, "none")), str(new.get(name, "none")), so(name))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _case_limits(pairs: Mapping[Case, _Sides]) -> list[Limit]:
    limits = []
    judged = [(was, now) for (_, was), (_, now) in pairs.values() if was.values and now.values]
    other = [(was, now) for was, now in judged if _models(was) != _models(now)]
    if other:
        so = f"in {len(other)} pairs of claim and setting; verdicts and effects compare, within the errors of both"
        limits.append(Limit("models", _first_models(other[0][0]), _first_models(other[0][1]), so))
    for case, (old, new) in pairs.items():
        asked, asks = (f"{asked_in_words(judged.asked)}, in {claim.unit}" for claim, judged in (old, new))
        if old[1].asked and new[1].asked and asked != asks:  # nothing is asked where the verdict is invalid
            compares = "compares" if _same_quantity(old, new) else "does not compare"
            so = f"a verdict may have changed with it, the effect {compares}"
            limits.append(Limit(f"{THRESHOLD} {place(*case)}", asked, asks, so))
    return limits


def _first_models(judged: Judged) -> str:
    pairs, widths = {each.seeds for each in judged.values}, {each.width for each in judged.values}
    said = ", ".join(f"{width:g}" for width in sorted(widths))
    return f"{len(pairs)} pair(s) from {seeds_in_words(judged.values[0].seeds)} at width {said}"


def _about(run: Document) -> str:
    device = run.machine.get("device", "unknown device")
    return f"tier {run.tier} on {device}, {run.seconds:.4g} s, {run.started}, commit {run.commit}"
