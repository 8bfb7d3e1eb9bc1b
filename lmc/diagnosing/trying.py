"""The ways to merge models, tried in the order of what they take, until one is good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

from lmc.diagnosing.alignment import matched
from lmc.diagnosing.candidates import NAMES, Candidate, LinearPath, excess_of
from lmc.diagnosing.conclusion import Conclusion, conclude
from lmc.diagnosing.options import Asked
from lmc.diagnosing.preparing import Prepared
from lmc.measuring.barriers import barriers
from lmc.measuring.measurements import MIDPOINT
from lmc.measuring.paths import interpolation_path
from lmc.merging import State


@dataclass(frozen=True)
class Merges:
    """What merging some states gives, without and with the BatchNorm reset.

    Args:
        candidates: the merges at equal weights.
        paths: by candidate's name, two models only.
    """

    candidates: tuple[Candidate, ...]
    paths: Mapping[str, LinearPath]


@dataclass(frozen=True)
class Tried:
    """What was tried, and what it leads to.

    Args:
        merges: of the models as they are, then of the permuted ones.
        permuted: the models' states, matched to the first; none where that was not tried.
        alignment: why no permutation was tried; ``None`` if one was.
        conclusion: the verdict.
        notes: what to know of it.
    """

    merges: Merges
    permuted: Sequence[State]
    alignment: str | None
    conclusion: Conclusion
    notes: Sequence[str]

    @property
    def chosen(self) -> Candidate | None:
        """The merge that is recommended."""
        return next((each for each in self.merges.candidates if each.name == self.conclusion.candidate), None)


def try_to_merge(prepared: Prepared, asked: Asked) -> Tried:
    """Merge the models as they are, and permuted if that is asked for, or allowed and needed."""
    standard = prepared.standard(asked)
    merges = merge_states(prepared, prepared.states, asked.lams, permuted=False)
    notes = [*stale_statistics(merges, asked.thresholds.accuracy)]
    permuted: Sequence[State] = ()
    alignment: str | None
    if asked.permutation == "never":
        alignment = "it was not asked for"
    elif asked.permutation == "auto" and conclude(merges.candidates, standard).candidate is not None:
        alignment = "the models can be averaged without"
    else:
        permuted, alignment = matched(prepared.spare, prepared.states, prepared.probe[:2], asked.spec)
    if permuted:
        lams = asked.lams if asked.permutation == "always" else fewer(asked.lams)
        found = merge_states(prepared, permuted, lams, permuted=True)
        merges = Merges((*merges.candidates, *found.candidates), {**merges.paths, **found.paths})
    if alignment is not None:
        notes.append(f"no permutation: {alignment}")
    return Tried(merges, permuted, alignment, conclude(merges.candidates, standard, alignment), notes)


def merge_states(prepared: Prepared, states: Sequence[State], lams: Sequence[float], *, permuted: bool) -> Merges:
    """Merge and evaluate.

    Args:
        prepared: the models and the data.
        states: of the models; permuted to match the first where ``permuted``.
        lams: points of the path, with 0, ½ and 1; used for two models. A net with BatchNorm gets fewer before its
            statistics are reset.
        permuted: whether ``states`` were permuted.
    """
    candidates: list[Candidate] = []
    paths: dict[str, LinearPath] = {}
    for reset in (False, True) if prepared.resets else (False,):
        name = NAMES[permuted, reset]
        if len(states) == 2:
            at = tuple(lams) if reset == prepared.resets else fewer(lams)  # what BatchNorm spoils needs less detail
            ends = {1.0: prepared.logits[0], 0.0: prepared.logits[1]}
            points, _ = interpolation_path(
                prepared.spare, states[0], states[1], at, prepared.samples, ends, reset=reset
            )
            paths[name] = LinearPath(at, tuple(points), barriers(at, points))
            merged = paths[name].midpoint
        else:
            merged = prepared.average(states, reset=reset)
        candidates.append(Candidate(name, permuted, reset, merged, excess_of(merged, prepared.models)))
    return Merges(tuple(candidates), paths)


def fewer(lams: Sequence[float]) -> tuple[float, ...]:
    """Every other inner point, with the middle and the ends: the shape of a path for half the time."""
    kept = {*MIDPOINT, *lams[::2]}
    return tuple(lam for lam in lams if lam in kept)


def stale_statistics(merges: Merges, margin: float) -> list[str]:
    """A remark where a mean of the models, its BatchNorm statistics reset, is better than either by ``margin``.

    Args:
        merges: with the reset at every inner point of its path, none at the ends.
        margin: accuracy, in [0, 1].
    """
    path = merges.paths.get(NAMES[False, True])
    if path is None:
        return []
    lam, best = max(zip(path.lams, path.points, strict=True), key=lambda pair: pair[1].accuracy)
    ends = max(path.points[0].accuracy, path.points[-1].accuracy)
    if best.accuracy <= ends + margin:
        return []
    return [
        f"at λ = {lam:g} the mean after a BN reset has accuracy {best.accuracy:.1%}, the better model {ends:.1%}: "
        "the models' own BatchNorm statistics look stale; reset them (lmc.reset_bn_stats), then diagnose again"
    ]


def pairwise(prepared: Prepared) -> dict[str, dict[str, float]]:
    """How much worse the mean of every two of three models or more is than they are, after a BatchNorm reset.

    Returns:
        By pair such as ``"1-2"``; empty for two models.
    """
    if len(prepared.states) == 2:
        return {}
    found = {}
    for (one, a), (other, b) in combinations(enumerate(prepared.states), 2):
        merged = prepared.average([a, b], reset=prepared.resets)
        excess = excess_of(merged, [prepared.models[one], prepared.models[other]])
        found[f"{one + 1}-{other + 1}"] = asdict(excess)
    return found
