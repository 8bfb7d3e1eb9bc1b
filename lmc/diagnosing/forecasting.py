"""From one model, the barrier that an independently trained twin would show: θ merged with permutations of itself.

Entezari et al. (ICLR 2022) found such barriers strikingly similar to those of independent solutions. What a permuted
copy lacks is another function: the gain of an ensemble, which lies in the barrier of a real pair, is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Unpack

import numpy as np
import torch
from torch import nn

from lmc.diagnosing.alignment import traced
from lmc.diagnosing.candidates import excess_of
from lmc.diagnosing.options import Options, checked
from lmc.diagnosing.preparing import prepare
from lmc.diagnosing.samples import Data
from lmc.diagnosing.scoring import Score
from lmc.diagnosing.task import Task
from lmc.errors import MergeError, SpecError
from lmc.merging.permutation_spec import permute, random_permutations, verify


@dataclass(frozen=True)
class Spread:
    """What draws gave.

    Args:
        mean: over draws.
        low: lower end of the mean's 95 % interval (Student's t).
        high: the upper one.
        least: the 5 % quantile of single draws.
        most: the 95 % quantile; 90 % of single draws lie between the two.
        values: the draws.
    """

    mean: float
    low: float
    high: float
    least: float
    most: float
    values: tuple[float, ...] = ()

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of two values or more."""
        from scipy.special import stdtrit

        drawn = np.asarray(values, dtype=np.float64)
        mean = float(drawn.mean())
        half = float(stdtrit(len(drawn) - 1, 0.975)) * float(drawn.std(ddof=1)) / math.sqrt(len(drawn))
        least, most = np.quantile(drawn, (0.05, 0.95))
        return cls(mean, mean - half, mean + half, float(least), float(most), tuple(drawn.tolist()))


@dataclass(frozen=True)
class Forecast:
    """The barrier at λ = ½ that an independent twin would show.

    Args:
        task: what outputs mean.
        model: what the model itself does.
        metric: how much worse the metric gets.
        loss: barrier, nats or the unit of a reader's loss.
        calibrated_loss: the same after both got their own β; ``None`` without β.
        draws: number of permutations.
        notes: what was found and done, and why.
    """

    task: Task
    model: Score
    metric: Spread
    loss: Spread
    calibrated_loss: Spread | None
    draws: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything but a reader's functions, JSON-ready."""
        document = asdict(replace(self, task=replace(self.task, loss=None, metric=None)))
        del document["task"]["loss"], document["task"]["metric"]
        return document


@torch.no_grad()
def forecast(model: nn.Module, data: Data, draws: int = 20, seed: int = 0, **options: Unpack[Options]) -> Forecast:
    """Merge a model with random permutations of itself, BatchNorm statistics reset, and compare with the model.

    Args:
        model: a copy is run.
        data: held-out inputs with labels, as for `lmc.diagnosing.diagnose.diagnose`.
        draws: number of permutations, at least 2.
        seed: of the first; the others' follow.
        **options: as for `lmc.diagnosing.diagnose.diagnose`; ``lams`` and ``thresholds`` are of no use, and of
            ``permutation`` only a specification is.

    Raises:
        SpecError: fewer than two draws, or an option is out of range.
        DataError: the data does not fit the model.
        MergeError: the architecture cannot be traced or has nothing to permute, or outputs are not finite.
    """
    if draws < 2:
        raise SpecError(f"draws is {draws}; an interval needs two or more")
    asked = checked(options, model)
    prepared = prepare([model], data, asked)
    state, example = prepared.states[0], prepared.probe[:2]
    spec = asked.spec or traced(prepared.spare, example)
    if isinstance(spec, str):
        raise MergeError(f"there is no forecast without permutations: {spec}")
    if not spec.groups:
        raise MergeError("no channels of this architecture can be reordered, so that there is no forecast")
    found = []
    for draw in range(draws):
        permutations = random_permutations(spec, seed + draw)
        if draw == 0:
            verify(prepared.spare, state, spec, permutations, example)
        merged = prepared.merged([state, permute(state, spec, permutations)], reset=prepared.resets).score()
        if not merged.finite:
            raise MergeError(f"the outputs of the merge with permutation {draw + 1} are not finite; check the model")
        found.append(excess_of(merged, prepared.models, lower_is_better=prepared.task.lower_is_better))
    calibrated = [each.calibrated_loss for each in found if each.calibrated_loss is not None]
    return Forecast(
        prepared.task,
        prepared.models[0],
        Spread.of([each.metric for each in found]),
        Spread.of([each.loss for each in found]),
        Spread.of(calibrated) if len(calibrated) == draws else None,
        draws,
        tuple(prepared.notes),
    )
