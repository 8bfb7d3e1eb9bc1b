"""The ways to merge models, tried in the order of what they take, until one is good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations

import torch

from lmc.diagnosing.alignment import complementary, matched, traced
from lmc.diagnosing.candidates import (
    COMPLEMENTARY,
    MATCHED,
    SUM,
    UNPERMUTED,
    Candidate,
    LinearPath,
    Way,
    excess_of,
    name_of,
)
from lmc.diagnosing.conclusion import Conclusion, conclude
from lmc.diagnosing.options import Asked
from lmc.diagnosing.preparing import Prepared
from lmc.diagnosing.rescaling import rescaled
from lmc.diagnosing.scoring import Score, Tally, paired, tally
from lmc.measuring.measurements import MIDPOINT
from lmc.measuring.paths import load_interpolated
from lmc.merging import State, reset_bn_stats
from lmc.merging.permutation_spec import PermutationSpec


@dataclass(frozen=True)
class Merges:
    """What merging some states gives, without and with the BatchNorm reset.

    Args:
        candidates: the merges at equal weights.
        paths: by candidate's name, two models only.
    """

    candidates: tuple[Candidate, ...]
    paths: Mapping[str, LinearPath]

    def __add__(self, other: Merges) -> Merges:
        return Merges((*self.candidates, *other.candidates), {**self.paths, **other.paths})


@dataclass(frozen=True)
class Tried:
    """What was tried, and what it leads to.

    Args:
        merges: of the models as they are, then of rescaled, summed and permuted ones.
        states: the models' states by (alignment, rescaled), where that was tried.
        alignment: why no permutation was tried; ``None`` if one was.
        conclusion: the verdict.
        notes: what to know of it.
    """

    merges: Merges
    states: Mapping[tuple[str, bool], Sequence[State]]
    alignment: str | None
    conclusion: Conclusion
    notes: Sequence[str]

    @property
    def matched(self) -> Sequence[State]:
        """The states matched to the first; none where that was not tried."""
        return self.states.get((MATCHED, False), ())

    @property
    def chosen(self) -> Candidate | None:
        """The merge that is recommended."""
        return next((each for each in self.merges.candidates if each.name == self.conclusion.candidate), None)


def try_to_merge(prepared: Prepared, asked: Asked) -> Tried:
    """Merge the models as they are and in other ways, each if asked for, or allowed and needed.

    Where their mean is not good, channels are rescaled and hidden layers summed; where that is not either, channels are
    permuted, to match or to complement each other.
    """
    standard = prepared.standard(asked)
    notes = _stale(prepared, standard.allowed_metric)
    states: dict[tuple[str, bool], Sequence[State]] = {(UNPERMUTED, False): prepared.states}
    merges = _merge_states(prepared, prepared.states, Way(), asked.lams)
    alignment: str | None = None
    spec: PermutationSpec | str | None = asked.spec

    def settled() -> bool:
        return conclude(merges.candidates, standard).candidate is not None

    if not settled():
        spec = spec or traced(prepared.spare, prepared.probe[:2])
        merges += _rescaled(prepared, states, spec, Way(), asked.lams)
    if not settled() or asked.permutation == "always":
        merges += _summed(prepared, prepared.states, UNPERMUTED)
    if asked.permutation == "never":
        alignment = "it was not asked for"
    elif asked.permutation == "auto" and settled():
        alignment = "the models can be averaged without"
    else:
        spec = spec or traced(prepared.spare, prepared.probe[:2])
        found: Sequence[State]
        found, alignment = matched(prepared.spare, prepared.states, prepared.probe[:2], spec)
        if found:
            states[MATCHED, False] = found
            lams = asked.lams if asked.permutation == "always" else fewer(asked.lams)
            merges += _merge_states(prepared, found, Way(MATCHED), lams)
            if not settled():
                merges += _rescaled(prepared, states, spec, Way(MATCHED), lams)
            placed, reason = complementary(prepared.spare, prepared.states, prepared.probe[:2], spec)
            notes += [f"no complementary permutation: {reason}"] if reason else []
            if placed:
                states[COMPLEMENTARY, False] = placed
                merges += _merge_states(prepared, placed, Way(COMPLEMENTARY), ())
                merges += _summed(prepared, placed, COMPLEMENTARY)
    if alignment is not None:
        notes.append(f"no permutation: {alignment}")
    if isinstance(prepared.parts, str) and len(merges.candidates) > 1 + prepared.resets:
        notes.append(f"no sum merging: {prepared.parts}")
    return Tried(merges, states, alignment, conclude(merges.candidates, standard, alignment), notes)


def _rescaled(
    prepared: Prepared,
    states: dict[tuple[str, bool], Sequence[State]],
    spec: PermutationSpec | str | None,
    way: Way,
    lams: Sequence[float],
) -> Merges:
    """Merges of rescaled states, where rescaling brings them closer; these are added to ``states``."""
    known = spec if isinstance(spec, PermutationSpec) else None
    found = rescaled(prepared.spare, states[way.alignment, False], prepared.free, known, prepared.probe[:2])
    if found is None:
        return Merges((), {})
    states[way.alignment, True] = found
    return _merge_states(prepared, found, replace(way, rescaled=True), fewer(lams))


def _summed(prepared: Prepared, states: Sequence[State], alignment: str) -> Merges:
    """Sums of states, where their architecture has a last layer to average."""
    if isinstance(prepared.parts, str):
        return Merges((), {})
    return _merge_states(prepared, states, Way(alignment, rule=SUM), ())


def _merge_states(prepared: Prepared, states: Sequence[State], way: Way, lams: Sequence[float]) -> Merges:
    """Merge and evaluate.

    Args:
        prepared: the models and the data.
        states: of the models, permuted and rescaled as said.
        way: what was done to them, and how they are merged.
        lams: points of the path, with 0, ½ and 1; used for two models; none leaves the path out. A net with
            BatchNorm gets fewer before its statistics are reset.
    """
    candidates: list[Candidate] = []
    paths: dict[str, LinearPath] = {}
    lower = prepared.task.lower_is_better
    for reset in (False, True) if prepared.resets else (False,):
        name = name_of(way, reset=reset)
        middle = prepared.merged(states, way.rule, reset=reset)
        if len(states) == 2 and lams:
            at = tuple(lams) if reset == prepared.resets else fewer(lams)  # what BatchNorm spoils needs less detail
            paths[name] = _path(prepared, states, at, middle, reset=reset)
        merged = middle.score()
        excess = excess_of(merged, *prepared.references, lower_is_better=lower)
        candidates.append(Candidate(name, way, reset, merged, excess))
    return Merges(tuple(candidates), paths)


@torch.no_grad()
def _path(
    prepared: Prepared, states: Sequence[State], lams: Sequence[float], middle: Tally, *, reset: bool
) -> LinearPath:
    """The points of a path; its ends get the treatment of the merge."""
    whole = (prepared.reset_tallies if reset else prepared.tallies)[:2]
    ends = whole
    inner = [lam for lam in lams if lam not in MIDPOINT]
    if inner and prepared.part is not prepared.samples:
        ends = [_at(prepared, states, lam, reset=reset) for lam in (1.0, 0.0)]
    a, b = (each.score() for each in whole)
    points, errors = [], {"metric": [], "loss": []}  # type: ignore[var-annotated]
    for lam in lams:
        if lam in MIDPOINT:
            point = {0.0: whole[1], 0.5: middle, 1.0: whole[0]}[lam]
            points.append(point.score())
            excess = paired(lam, point, *whole)
        else:
            point = _at(prepared, states, lam, reset=reset)
            excess = paired(lam, point, *ends)
            line = {name: lam * getattr(a, name) + (1 - lam) * getattr(b, name) for name in errors}
            points.append(point.score() if ends is whole else Score(*(line[name] + excess[name][0] for name in errors)))
        for name, kept in errors.items():
            kept.append(excess[name][1])
    found = tuple(points)
    kept_errors = {name: tuple(each) for name, each in errors.items()}
    return LinearPath(
        tuple(lams),
        found,
        _barriers(lams, found, prepared.task.lower_is_better),
        kept_errors,
        len(prepared.part.labels),
    )


def _at(prepared: Prepared, states: Sequence[State], lam: float, *, reset: bool) -> Tally:
    """A point of a path on a part of the inputs."""
    load_interpolated(prepared.spare, states[0], states[1], lam)
    if reset:
        reset_bn_stats(prepared.spare, prepared.part.train_batches(prepared.part.train_count))
    return tally([prepared.spare], prepared.part, prepared.task)[0]


def _barriers(lams: Sequence[float], path: Sequence[Score], lower: bool) -> dict[str, float | None]:
    """Barriers (Def. 2.1) at the midpoint and at the maximum over λ; ``None`` where a value is unknown."""
    found: dict[str, float | None] = {}
    for name, sign in (("loss", 1), ("calibrated_loss", 1), ("metric", 1 if lower else -1)):
        values = [getattr(point, name) for point in path]
        excess = {
            lam: sign * (value - lam * values[-1] - (1 - lam) * values[0])
            for lam, value in zip(lams, values, strict=True)
            if None not in (value, values[0], values[-1])
        }
        found[f"{name}_barrier_midpoint"] = excess.get(0.5)
        found[f"{name}_barrier_maximum"] = max(excess.values()) if len(excess) == len(lams) > 3 else None
    return found


def fewer(lams: Sequence[float]) -> tuple[float, ...]:
    """Every other inner point, with the middle and the ends: the shape of a path for half the time."""
    kept = {*MIDPOINT, *lams[::2]}
    return tuple(lam for lam in lams if lam in kept)


def _stale(prepared: Prepared, margin: float) -> list[str]:
    """A remark where a model is better by ``margin`` once its BatchNorm statistics are reset."""
    sign = -1 if prepared.task.lower_is_better else 1
    told = prepared.task.told
    return [
        f"model {number} has {prepared.task.metric_name} {told(plain.metric)}, and {told(fresh.metric)} after a BN "
        "reset: its own BatchNorm statistics look stale; reset them (lmc.reset_bn_stats), then diagnose again"
        for number, (plain, fresh) in enumerate(zip(prepared.models, prepared.reset_models, strict=False), start=1)
        if sign * (fresh.metric - plain.metric) > margin
    ]


def pairwise(prepared: Prepared) -> dict[str, dict[str, float | None]]:
    """How much worse the mean of every two of three models or more is than they are, after a BatchNorm reset.

    Returns:
        By pair such as ``"1-2"``; empty for two models.
    """
    if len(prepared.states) == 2:
        return {}
    found = {}
    for (one, a), (other, b) in combinations(enumerate(prepared.states), 2):
        merged = prepared.merged([a, b], reset=prepared.resets).score()
        pairs = [[models[one], models[other]] for models in prepared.references]
        excess = excess_of(merged, *pairs, lower_is_better=prepared.task.lower_is_better)
        found[f"{one + 1}-{other + 1}"] = asdict(excess)
    return found
