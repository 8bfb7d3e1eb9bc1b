"""The ways to merge models, each evaluated at equal weights and, for two models, along the path between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lmc.diagnosing.verdict import Candidate, excess_of
from lmc.measuring.evaluation import Evaluation, evaluate_all, logits_of
from lmc.measuring.inputs import Inputs
from lmc.measuring.paths import barriers, interpolation_path, load_interpolated
from lmc.merging import State, has_bn, merge, reset_bn_stats, untracked_norms

MIDDLE = 0.5

NAMES = {
    (False, False): "as they are",
    (False, True): "BN reset",
    (True, False): "permuted",
    (True, True): "permuted, BN reset",
}
"""What a merge is called, by whether the models are permuted first and BatchNorm statistics reset afterwards."""


@dataclass(frozen=True)
class LinearPath:
    """Loss and accuracy along λ between two models (λ weights the first).

    Args:
        lams: λ, increasing from 0 to 1.
        points: the evaluation at each.
        barriers: see `lmc.measuring.paths.barriers`.
    """

    lams: tuple[float, ...]
    points: tuple[Evaluation, ...]
    barriers: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "lams": list(self.lams),
            "points": [asdict(point) for point in self.points],
            "barriers": dict(self.barriers),
        }


@dataclass(frozen=True)
class Merges:
    """What merging some states gives, without and with the BatchNorm reset.

    Args:
        candidates: the merges at equal weights.
        paths: by candidate's name, two models only.
    """

    candidates: tuple[Candidate, ...]
    paths: Mapping[str, LinearPath]


def can_reset(model: nn.Module) -> bool:
    """Whether ``model`` has BatchNorm statistics, and all its BatchNorm layers do."""
    return has_bn(model) and not untracked_norms(model)


def fewer(lams: Sequence[float]) -> tuple[float, ...]:
    """Every other inner point, with the middle and the ends: the shape of a path for half the time."""
    kept = {0.0, MIDDLE, 1.0, *lams[::2]}
    return tuple(lam for lam in lams if lam in kept)


@torch.no_grad()
def try_merges(
    spare: nn.Module,
    states: Sequence[State],
    samples: Inputs,
    models: Sequence[Evaluation],
    ends: Sequence[Tensor],
    *,
    lams: Sequence[float],
    permuted: bool,
) -> Merges:
    """Merge and evaluate.

    Args:
        spare: a module of the architecture, overwritten.
        states: of the models; permuted to match the first where ``permuted``.
        samples: test inputs, and what BatchNorm statistics are reset on.
        models: what the models do.
        ends: their logits (M, classes).
        lams: points of the path, with 0, ½ and 1; used for two models. A net with BatchNorm gets fewer before its
            statistics are reset.
        permuted: whether ``states`` were permuted.
    """
    found: list[Candidate] = []
    paths: dict[str, LinearPath] = {}
    resets = can_reset(spare)
    for reset in (False, True) if resets else (False,):
        name = NAMES[permuted, reset]
        if len(states) == 2:
            at = tuple(lams) if reset == resets else fewer(lams)  # what BatchNorm spoils needs less detail
            points = _path(spare, states, samples, at, ends, reset=reset)
            paths[name] = LinearPath(at, tuple(points), barriers(at, points))
            merged = points[at.index(MIDDLE)]
        else:
            load_average(spare, states, samples, reset=reset)
            (merged,) = _evaluated([logits_of(spare, samples)], samples)
        found.append(Candidate(name, permuted, reset, merged, excess_of(merged, models)))
    return Merges(tuple(found), paths)


@torch.no_grad()
def load_average(spare: nn.Module, states: Sequence[State], samples: Inputs, *, reset: bool) -> None:
    """Overwrite ``spare`` with the mean of the states, its BatchNorm statistics reset if asked for."""
    spare.load_state_dict(merge(states))
    if reset:
        reset_bn_stats(spare, samples.train_batches(samples.train_count))


def stale_statistics(path: LinearPath, margin: float) -> str | None:
    """A remark where a mean of the models, its BatchNorm statistics reset, is better than either by ``margin``.

    Args:
        path: with the reset at every inner point, none at the ends.
        margin: accuracy, in [0, 1].
    """
    lam, best = max(zip(path.lams, path.points, strict=True), key=lambda pair: pair[1].accuracy)
    ends = max(path.points[0].accuracy, path.points[-1].accuracy)
    if best.accuracy <= ends + margin:
        return None
    return (
        f"at λ = {lam:g} the mean after a BN reset has accuracy {best.accuracy:.1%}, the better model {ends:.1%}: "
        "the models' own BatchNorm statistics look stale; reset them (lmc.reset_bn_stats), then diagnose again"
    )


def evaluate_models(copies: Sequence[nn.Module], samples: Inputs) -> tuple[list[Tensor], list[Evaluation]]:
    """Logits (M, classes) and evaluation of every model."""
    logits = [logits_of(model, samples) for model in copies]
    return logits, _evaluated(logits, samples)


def ensemble_of(logits: Sequence[Tensor], samples: Inputs) -> Evaluation:
    """What the mean of the models' logits does."""
    (found,) = _evaluated([torch.stack([each.double() for each in logits]).mean(0)], samples)
    return found


def pairwise(
    spare: nn.Module,
    states: Sequence[State],
    samples: Inputs,
    models: Sequence[Evaluation],
) -> dict[str, dict[str, float]]:
    """How much worse the mean of every two models is than they are, BatchNorm statistics reset where there are any."""
    found = {}
    for one in range(len(states)):
        for other in range(one + 1, len(states)):
            load_average(spare, [states[one], states[other]], samples, reset=can_reset(spare))
            (merged,) = _evaluated([logits_of(spare, samples)], samples)
            found[f"{one + 1}-{other + 1}"] = asdict(excess_of(merged, [models[one], models[other]]))
    return found


def _path(
    spare: nn.Module,
    states: Sequence[State],
    samples: Inputs,
    lams: Sequence[float],
    ends: Sequence[Tensor],
    *,
    reset: bool,
) -> list[Evaluation]:
    a, b = states
    known = {1.0: ends[0], 0.0: ends[1]}
    # That path resets every BatchNorm there is, and refuses one without statistics.
    if reset == has_bn(spare) and not untracked_norms(spare):
        return interpolation_path(spare, a, b, lams, samples, known)[0]  # with the first layer answered from memory
    for lam in lams:
        if lam not in known:
            load_interpolated(spare, a, b, lam)
            if reset:
                reset_bn_stats(spare, samples.train_batches(samples.train_count))
            known[lam] = logits_of(spare, samples)
    return _evaluated([known[lam] for lam in lams], samples)


def _evaluated(logits: Sequence[Tensor], samples: Inputs) -> list[Evaluation]:
    return evaluate_all(torch.stack([each.cpu().double() for each in logits]), samples.labels)
