"""Greedy selection of the models whose mean is best (Wortsman et al., Model soups, ICML 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Unpack

import torch
from torch import Tensor, nn

from lmc.diagnosing.options import Options, checked
from lmc.diagnosing.preparing import prepare
from lmc.diagnosing.samples import Data
from lmc.diagnosing.scoring import Score
from lmc.errors import SpecError


@dataclass(frozen=True)
class Soup:
    """The models that were chosen, and their mean.

    Args:
        members: numbers of the models from 1, in the order in which they were added.
        metric_name: what they were chosen by.
        models: what each model does.
        steps: what the mean does after each member was added.
        merged: state dict of the mean on the CPU, its BatchNorm statistics reset.
        notes: what was found and done, and why.
    """

    members: tuple[int, ...]
    metric_name: str
    models: tuple[Score, ...]
    steps: tuple[Score, ...]
    merged: Mapping[str, Tensor] = field(repr=False)
    notes: tuple[str, ...] = ()


@torch.no_grad()
def greedy_soup(models: Sequence[nn.Module], data: Data, **options: Unpack[Options]) -> Soup:
    """Start with the best model; add the others, best first, while the metric of the mean does not fall.

    The inputs choose, so judge the mean on others. Models of a common start are meant: no permutation is tried.

    Args:
        models: two or more of one architecture; copies are run.
        data: held-out inputs with labels, as for `lmc.diagnosing.diagnose.diagnose`.
        **options: as for `lmc.diagnosing.diagnose.diagnose`; ``lams`` and ``permutation`` are of no use.

    Raises:
        SpecError: fewer than two models, or an option is out of range.
        DataError: the data does not fit the models.
        MergeError: the models are not of one architecture, or hold NaN.
    """
    if len(models) < 2 or not all(isinstance(model, nn.Module) for model in models):
        raise SpecError(f"{len(models)} models make no soup; pass two torch.nn.Module or more")
    prepared = prepare(models, data, checked(options, models[0]))
    sign = -1 if prepared.task.lower_is_better else 1
    alone = prepared.reset_models if prepared.resets else prepared.models
    order = sorted(range(len(models)), key=lambda number: -sign * alone[number].metric)
    members, steps = [order[0]], [alone[order[0]]]
    for number in order[1:]:
        mixed = [prepared.states[each] for each in (*members, number)]
        score = prepared.merged(mixed, reset=prepared.resets).score()
        if score.finite and sign * (score.metric - steps[-1].metric) >= 0:
            members.append(number)
            steps.append(score)
    mean = prepared.load_merge([prepared.states[each] for each in members], reset=prepared.resets)
    merged = {name: value.detach().cpu().clone() for name, value in mean.state_dict().items()}
    chosen = tuple(number + 1 for number in members)
    return Soup(chosen, prepared.task.metric_name, tuple(alone), tuple(steps), merged, tuple(prepared.notes))
