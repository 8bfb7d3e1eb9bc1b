"""The diagnosis of two or more models of one architecture: everything measured, and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Unpack

import torch
from torch import nn

from lmc.diagnosing.diagnosis import Diagnosis
from lmc.diagnosing.models import built
from lmc.diagnosing.options import Asked, Options, checked
from lmc.diagnosing.preparing import Prepared, prepare
from lmc.diagnosing.recommending import recommended
from lmc.diagnosing.samples import Data
from lmc.diagnosing.trying import Tried, pairwise, try_to_merge
from lmc.errors import SpecError
from lmc.measuring.layers import Records, measure_layers
from lmc.measuring.ranks import weight_ranks
from lmc.merging import State


def diagnose(
    model_a: nn.Module | Sequence[nn.Module],
    model_b: nn.Module | Data,
    data: Data | None = None,
    **options: Unpack[Options],
) -> Diagnosis:
    """Whether models of one architecture can be merged by averaging their weights, and why (§2.2, §3.1, §4, §5).

    ``diagnose(a, b, data)`` compares two models, ``diagnose([a, b, c], data)`` any number. The models are neither
    run nor changed: copies are. All numbers at equal weights 1/k; two models also along the path between them.

    Args:
        model_a: a model, at λ = 1; or a list of models.
        model_b: another of its architecture, at λ = 0; or the data, if ``model_a`` is a list.
        data: held-out inputs with labels, a DataLoader, a dataset, or one batch: inputs as the models read them
            (normalised), (N, ...), and labels (N, ...); several inputs and labels; or a dict. What fits is held in
            memory.
        **options: ``train_data``, ``loss``, ``metric``, ``inputs``, ``labels``, ``outputs``, ``ignore_index``, ``ema``
            (of state dicts), ``lams``, ``permutation``, ``device``, ``layer_inputs``, ``reset_inputs`` and
            ``thresholds``; `lmc.diagnosing.options.Options` says what they mean.

    Returns:
        The diagnosis. Print its ``lines()``, read its ``verdict``, keep its ``merged`` weights.

    Raises:
        TypeError: there is no such option.
        SpecError: an argument is out of range.
        DeviceError: this machine lacks the device.
        DataError: the data does not fit the models.
        MergeError: the models are not of one architecture, hold NaN, or give outputs that cannot be judged; or
            the specification is not of their symmetry.

    Example:
        >>> import torch, lmc
        >>> net = torch.nn.Linear(4, 2, bias=False)
        >>> inputs = torch.randn(20, 4)
        >>> inputs = torch.cat([inputs, -inputs])
        >>> lmc.diagnose(net, net, (inputs, net(inputs).argmax(1))).verdict
        'as they are'
    """
    models, found = _told_apart(model_a, model_b, data)
    if len(models) < 2:
        raise SpecError(f"{len(models)} models cannot be averaged; pass at least two")
    for number, model in enumerate(models, start=1):
        if not isinstance(model, nn.Module):
            raise SpecError(f"model {number} is a {type(model).__name__}; pass a torch.nn.Module")
    return _diagnose(models, found, checked(options, models[0]))


def diagnose_states(
    factory: Callable[[], nn.Module], states: Sequence[State], data: Data, **options: Unpack[Options]
) -> Diagnosis:
    """`diagnose` of state dicts.

    Args:
        factory: builds a model of their architecture.
        states: two state dicts or more, by the names of the factory's model or with what trainers put around them.
        data: as for `diagnose`.
        **options: as for `diagnose`; and ``ema``, whether an average among the tensors of a state is taken.

    Raises:
        SpecError: the factory fails or gives no module.
        DataError: the data does not fit the models.
        MergeError: see `diagnose`; or a state dict does not fit the factory's model.
    """
    options = {**options}
    models, notes = built(factory, states, ema=options.pop("ema", False))
    if len(models) < 2:
        raise SpecError(f"{len(models)} models cannot be averaged; pass at least two")
    return _diagnose(models, data, checked(options, models[0]), notes)


def _told_apart(
    model_a: nn.Module | Sequence[nn.Module], model_b: nn.Module | Data, data: Data | None
) -> tuple[Sequence[nn.Module], Data]:
    """The models and the data."""
    if isinstance(model_a, nn.Module):
        if data is None:
            raise SpecError("there is no data; call diagnose(model_a, model_b, data) or diagnose([models], data)")
        if not isinstance(model_b, nn.Module):
            raise SpecError(f"model_b is a {type(model_b).__name__}; pass a torch.nn.Module")
        return [model_a, model_b], data
    if data is not None or isinstance(model_b, nn.Module):
        raise SpecError("call diagnose(model_a, model_b, data) or diagnose([models], data)")
    if not isinstance(model_a, Sequence):
        raise SpecError(f"model_a is a {type(model_a).__name__}; pass a torch.nn.Module or a list of them")
    return model_a, model_b


@torch.no_grad()
def _diagnose(given: Sequence[nn.Module], data: Data, asked: Asked, notes: Sequence[str] = ()) -> Diagnosis:
    prepared = prepare(given, data, asked)
    tried = try_to_merge(prepared, asked)
    ranks = weight_ranks(prepared.copies, prepared.samples.examples(2))
    layers, remarks = _layers(prepared, tried, asked)
    pairs = pairwise(prepared)
    best = recommended(prepared, tried)
    return Diagnosis(
        architecture=type(prepared.spare).__name__,
        task=prepared.task,
        inputs=len(prepared.samples.labels),
        classes=prepared.classes,
        reset_inputs=prepared.reset_inputs,
        models=tuple(prepared.models),
        reset_models=tuple(prepared.reset_models),
        ensemble=prepared.tallies[-1].score(),
        candidates=tried.merges.candidates,
        paths=tried.merges.paths,
        layers=layers,
        ranks=ranks,
        pairs=pairs,
        alignment=tried.alignment,
        notes=(*notes, *prepared.notes, *tried.notes, *remarks, *best.notes),
        thresholds=asked.thresholds,
        conclusion=tried.conclusion,
        beta_folded=best.beta_folded,
        merged=best.merged,
    )


def _layers(prepared: Prepared, tried: Tried, asked: Asked) -> tuple[dict[str, Records], list[str]]:
    """Layers of the models as they are and, where that was tried, permuted; and remarks. The copies are overwritten."""
    layers: dict[str, Records] = {}
    notes: list[str] = []
    for name, states in (("unpermuted", prepared.states), ("permuted", tried.matched)):
        if not states:
            continue
        for model, state in zip(prepared.copies, states, strict=True):
            model.load_state_dict(state)
        merged = prepared.load_merge(states, reset=prepared.resets)
        layers[name], remarks = measure_layers(prepared.copies, merged, prepared.samples, asked.layer_inputs)
        notes += [remark for remark in remarks if remark not in notes]
    return layers, notes
