"""The diagnosis of two or more models of one architecture: everything measured, and a verdict."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from lmc.diagnosing.alignment import matched
from lmc.diagnosing.arguments import (
    Models,
    Permutation,
    check_counts,
    check_spec,
    checked_device,
    checked_lams,
    checked_thresholds,
    sorted_out,
    told_apart,
)
from lmc.diagnosing.candidates import (
    NAMES,
    can_reset,
    ensemble_of,
    evaluate_models,
    fewer,
    load_average,
    pairwise,
    stale_statistics,
    try_merges,
)
from lmc.diagnosing.diagnosis import Diagnosis
from lmc.diagnosing.folding import fold_beta
from lmc.diagnosing.models import PROBED, copies_of, gives_probabilities, identical, try_out
from lmc.diagnosing.samples import Data, check_labels, read_samples, with_training
from lmc.diagnosing.verdict import Candidate, Conclusion, Thresholds, conclude
from lmc.measuring.inputs import Inputs
from lmc.measuring.layers import Records, measure_layers
from lmc.measuring.paths import BN_IMAGES
from lmc.measuring.ranks import weight_ranks
from lmc.measuring.records import LAYER_IMAGES
from lmc.merging import State, untracked_norms

LAMS = tuple(step / 10 for step in range(11))

RESET_INPUTS = 1000
"""Inputs that BatchNorm statistics are reset on, at most; a mean over 1,000 is known to 3 % of a deviation."""


def diagnose(
    model_a: Models,
    model_b: nn.Module | Data,
    data: Data | None = None,
    *,
    train_data: Data | Tensor | None = None,
    lams: Sequence[float] = LAMS,
    permutation: Permutation = "auto",
    device: torch.device | str | None = None,
    layer_inputs: int = LAYER_IMAGES,
    reset_inputs: int = RESET_INPUTS,
    thresholds: Thresholds | None = None,
) -> Diagnosis:
    """Whether models of one architecture can be merged by averaging their weights, and why (§2.2, §3.1, §4, §5).

    ``diagnose(a, b, data)`` compares two models, ``diagnose([a, b, c], data)`` any number. The models are neither
    run nor changed: copies are. All numbers at equal weights 1/k; two models also along the path between them.

    Args:
        model_a: a model, at λ = 1; or a list of models.
        model_b: another of its architecture, at λ = 0; or the data, if ``model_a`` is a list.
        data: held-out inputs with labels, a DataLoader or a pair of tensors: inputs as the models read them
            (normalised), (N, ...), and integer labels (N,). What fits is held in memory.
        train_data: what BatchNorm statistics are reset on; the labels are not used. ``None`` takes ``data``.
        lams: points of the path; 0, ½ and 1 are added. Paths that are seldom good, after a permutation and before
            a BatchNorm reset, get about half of them.
        permutation: ``"auto"`` tries weight matching if the models cannot be averaged without, ``"always"`` and
            ``"never"`` do as they say. A model that cannot be traced is diagnosed without, and the reason given; with
            a `lmc.merging.permutation_spec.PermutationSpec` written for it, weight matching is always tried.
        device: where to compute; ``None`` stays where model a is.
        layer_inputs: test inputs that layers are measured on.
        reset_inputs: inputs that BatchNorm statistics are reset on, at most `lmc.measuring.paths.BN_IMAGES`.
        thresholds: what still counts as a good merge.

    Returns:
        The diagnosis. Print its ``lines()``, read its ``verdict``, keep its ``merged`` weights.

    Raises:
        SpecError: an argument is out of range.
        DeviceError: this machine lacks the device.
        DataError: the data does not fit the models.
        MergeError: the models are not of one architecture, hold NaN, or are no classifiers; or the specification
            is not of their symmetry.

    Example:
        >>> import torch, lmc
        >>> net = torch.nn.Linear(4, 2, bias=False)
        >>> inputs = torch.randn(20, 4)
        >>> inputs = torch.cat([inputs, -inputs])
        >>> lmc.diagnose(net, net, (inputs, net(inputs).argmax(1))).verdict
        'as they are'
    """
    models, found = sorted_out(model_a, model_b, data)
    told_apart(permutation)
    points = checked_lams(lams)
    check_counts(layer_inputs=layer_inputs, reset_inputs=reset_inputs)
    limits = checked_thresholds(thresholds)
    where = checked_device(device, models[0] if models else None)
    with torch.no_grad():
        return _diagnose(
            models,
            found,
            train_data,
            points,
            permutation,
            where,
            layer_inputs,
            reset_inputs,
            limits,
        )


def diagnose_states(
    factory: Callable[[], nn.Module],
    states: Sequence[State],
    data: Data,
    *,
    train_data: Data | Tensor | None = None,
    permutation: Permutation = "auto",
    device: torch.device | str | None = None,
    thresholds: Thresholds | None = None,
) -> Diagnosis:
    """`diagnose` of state dicts.

    Args:
        factory: builds a model of their architecture.
        states: two state dicts or more.
        data: as for `diagnose`.
        train_data: as for `diagnose`.
        permutation: as for `diagnose`.
        device: as for `diagnose`.
        thresholds: as for `diagnose`.

    Raises:
        SpecError: the factory fails or gives no module.
        DataError: the data does not fit the models.
        MergeError: see `diagnose`; or a state dict does not fit the factory's model.
    """
    from lmc.diagnosing.models import built

    models = built(factory, states)
    return diagnose(models, data, train_data=train_data, permutation=permutation, device=device, thresholds=thresholds)


def _diagnose(
    given: Sequence[nn.Module],
    data: Data,
    train_data: Data | Tensor | None,
    lams: Sequence[float],
    permutation: Permutation,
    device: torch.device,
    layer_inputs: int,
    reset_inputs: int,
    thresholds: Thresholds,
) -> Diagnosis:
    choice, spec = told_apart(permutation)
    copies, notes = copies_of(given, device)
    spare = copy.deepcopy(copies[0])
    samples = read_samples(data, copies[0], device)
    classes = try_out(copies, spare, samples.examples(PROBED))
    check_labels(samples.labels, classes)
    if spec is not None:
        check_spec(spec, spare, [model.state_dict() for model in copies], samples.examples(2))
    states: list[State] = [{name: each.clone() for name, each in model.state_dict().items()} for model in copies]
    resets = can_reset(spare)
    if resets:
        samples = with_training(samples, train_data, min(reset_inputs, BN_IMAGES))
        source = "the test inputs, as no training data was given" if train_data is None else "training data"
        notes.append(f"BatchNorm statistics were reset on {samples.train_count} inputs of {source}")
    if untracked := untracked_norms(spare):
        notes.append(
            f"the BatchNorm layer {untracked[0]!r} keeps no running statistics (track_running_stats=False), so no "
            "merge with a BN reset was tried; build the models with track_running_stats=True to have it tried"
        )
    same = identical(states)
    logits, models = evaluate_models(copies, samples)
    if any(map(gives_probabilities, logits)):
        notes.append(
            "the models give rows that are >= 0 and sum to 1: probabilities, which were taken for logits, so that loss "
            "and β mean little; leave the softmax out of the model"
        )

    merges = try_merges(spare, states, samples, models, logits, lams=lams, permuted=False)
    candidates, paths = merges.candidates, dict(merges.paths)
    if resets and paths:
        stale = stale_statistics(paths[NAMES[False, True]], thresholds.accuracy)
        notes += [stale] if stale else []
    commonest = float(samples.labels.bincount().max()) / len(samples.labels)
    judged = partial(
        conclude, models=models, thresholds=thresholds, inputs=len(samples.labels), commonest=commonest, identical=same
    )
    permuted: Sequence[State] = ()
    alignment: str | None = "it was not asked for" if choice == "never" else "the models can be averaged without"
    if choice == "always" or (choice == "auto" and judged(candidates).candidate is None):
        permuted, alignment = matched(spare, states, samples.examples(2), spec)
        if permuted:
            fewer_lams = lams if choice == "always" else fewer(lams)
            merges = try_merges(spare, permuted, samples, models, logits, lams=fewer_lams, permuted=True)
            candidates, paths = (*candidates, *merges.candidates), {**paths, **merges.paths}
    conclusion = judged(candidates, alignment=alignment)
    if alignment is not None:
        notes.append(f"no permutation: {alignment}")
    layers: dict[str, Records] = {}
    ranks = weight_ranks(copies, samples.examples(2))
    for name, each in (("unpermuted", states), ("permuted", permuted)):
        if each:
            for model, state in zip(copies, each, strict=True):
                model.load_state_dict(state)
            load_average(spare, each, samples, reset=resets)
            layers[name], remarks = measure_layers(copies, spare, samples, layer_inputs)
            notes += [remark for remark in remarks if remark not in notes]
    pairs = pairwise(spare, states, samples, models) if len(states) > 2 else {}
    merged, folded = _recommended(spare, conclusion, candidates, states, permuted, samples)
    if merged is not None and conclusion.beta is not None and not folded:
        notes.append("β could not be folded into a last layer: multiply the merged model's logits by it")
    return Diagnosis(
        architecture=type(spare).__name__,
        inputs=len(samples.labels),
        classes=classes,
        reset_inputs=samples.train_count if resets else 0,
        models=tuple(models),
        ensemble=ensemble_of(logits, samples),
        candidates=tuple(candidates),
        paths=paths,
        layers=layers,
        ranks=ranks,
        pairs=pairs,
        alignment=alignment,
        notes=tuple(notes),
        thresholds=thresholds,
        conclusion=conclusion,
        folded=folded,
        merged=merged,
    )


def _recommended(
    spare: nn.Module,
    conclusion: Conclusion,
    candidates: Sequence[Candidate],
    states: Sequence[State],
    permuted: Sequence[State],
    samples: Inputs,
) -> tuple[dict[str, Tensor] | None, bool]:
    """The state dict that the conclusion speaks of, and whether β is in it."""
    if conclusion.candidate is None:
        return None, False
    chosen = next(each for each in candidates if each.name == conclusion.candidate)
    load_average(spare, permuted if chosen.permuted else states, samples, reset=chosen.reset)
    folded = conclusion.beta is not None and fold_beta(spare, conclusion.beta, samples.examples(PROBED))
    return {name: value.detach().cpu().clone() for name, value in spare.state_dict().items()}, folded
