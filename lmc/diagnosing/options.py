"""What a diagnosis may be told besides models and data, checked before anything is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from lmc.diagnosing.samples import Data
from lmc.diagnosing.standard import Thresholds
from lmc.diagnosing.task import IGNORED, Metric, PerExample
from lmc.errors import DeviceError, MergeError, SpecError
from lmc.measuring.measurements import MIDPOINT
from lmc.measuring.paths import BN_IMAGES
from lmc.merging.permutation_spec import PermutationSpec

LAMS = tuple(step / 10 for step in range(11))
"""Points of a path, in tenths."""

RESET_INPUTS = 1000
"""Inputs that BatchNorm statistics are reset on, at most; a mean over 1,000 is known to 3 % of a deviation."""

LAYER_INPUTS = 200
"""Test inputs that layers are measured on; cosines are means over them, known to a few thousandths."""

CHOICES = ("auto", "always", "never")
"""How a permutation may be asked for."""


class Options(TypedDict, total=False):
    """The keyword arguments of `lmc.diagnosing.diagnose.diagnose` and ``diagnose_states``.

    Args:
        train_data: what BatchNorm statistics are reset on; the labels are not used. ``None``, the default, takes the
            held-out inputs.
        loss: (outputs, labels) -> one number per example, (N,). ``None``, the default, takes the cross-entropy of
            logits (N, classes, ...) or (N, ..., classes), of a logit per label, or the squared error of numbers.
        metric: (outputs, labels) -> one number per example, (N,), larger being better, or a
            `lmc.diagnosing.task.Metric`. ``None``, the default, takes the accuracy, or R² for numbers.
        inputs: what the models read of a batch: a tensor, a tuple of them, or a dict of named ones. ``None``, the
            default, recognises (inputs, labels), (several, inputs, labels) and dicts with labels.
        labels: where the labels of a batch are; ``None``, the default, recognises these.
        outputs: takes the tensor to judge out of what a model gives. ``None``, the default, takes a tensor, or
            ``logits`` or ``out`` of something with names.
        ignore_index: the label that does not count, by default -100.
        ema: of ``diagnose_states`` alone: whether an average among the tensors of a state is taken, by default not.
        lams: points of the path, by default `LAMS`; 0, ½ and 1 are added. Paths that are seldom good, after a
            permutation and before a BatchNorm reset, get about half of them.
        permutation: ``"auto"``, the default, tries weight matching if the models cannot be averaged without,
            ``"always"`` and ``"never"`` do as they say. A model that cannot be traced is diagnosed without, and the
            reason given; with a `lmc.merging.permutation_spec.PermutationSpec` written for it, weight matching is
            always tried.
        device: where to compute; ``None``, the default, stays where model a is.
        layer_inputs: test inputs that layers are measured on, by default `LAYER_INPUTS`.
        reset_inputs: inputs that BatchNorm statistics are reset on, by default `RESET_INPUTS`, at most
            `lmc.measuring.paths.BN_IMAGES`.
        thresholds: what still counts as a good merge, by default `lmc.diagnosing.standard.Thresholds` as it is.
    """

    train_data: Data | Tensor | None
    loss: PerExample | None
    metric: Metric | PerExample | None
    inputs: Callable[[Any], Any] | None
    labels: Callable[[Any], Any] | None
    outputs: Callable[[Any], Any] | None
    ignore_index: int
    ema: bool
    lams: Sequence[float]
    permutation: str | PermutationSpec
    device: torch.device | str | None
    layer_inputs: int
    reset_inputs: int
    thresholds: Thresholds | None


@dataclass(frozen=True)
class Asked:
    """The options, checked, each with its value: see `Options`.

    Args:
        train_data: what BatchNorm statistics are reset on; ``None`` for the test inputs.
        loss: a reader's.
        metric: a reader's.
        inputs: what models read of a batch.
        labels: where those of a batch are.
        outputs: what to judge of what a model gives.
        ignore_index: the label that does not count.
        lams: points of the path, in order, with 0, ½ and 1.
        permutation: one of `CHOICES`.
        spec: of the architecture; ``None`` traces it.
        device: where to compute.
        layer_inputs: test inputs that layers are measured on, at least 1.
        reset_inputs: inputs that BatchNorm statistics are reset on, from 2 to `lmc.measuring.paths.BN_IMAGES`.
        thresholds: what still counts as a good merge.
    """

    train_data: Data | Tensor | None
    loss: PerExample | None
    metric: Metric | PerExample | None
    inputs: Callable[[Any], Any] | None
    labels: Callable[[Any], Any] | None
    outputs: Callable[[Any], Any] | None
    ignore_index: int
    lams: tuple[float, ...]
    permutation: str
    spec: PermutationSpec | None
    device: torch.device
    layer_inputs: int
    reset_inputs: int
    thresholds: Thresholds


def checked(options: Options, model: nn.Module) -> Asked:
    """The options with what counts where one is absent.

    Args:
        options: as given.
        model: a model, on the device to compute on where no other is named.

    Raises:
        TypeError: there is no such option.
        SpecError: one is out of range.
        DeviceError: this machine lacks the device.
        MergeError: no device is named, and the model has no weights yet.
    """
    if unknown := sorted(options.keys() - Options.__optional_keys__):
        raise TypeError(f"there is no option {unknown[0]!r}; choose of {', '.join(Options.__annotations__)}")
    if options.get("ema"):
        raise SpecError(
            "ema is an option of diagnose_states, which reads state dicts; pass models that hold the average"
        )
    permutation = options.get("permutation", "auto")
    written = permutation if isinstance(permutation, PermutationSpec) else None
    choice = "always" if isinstance(permutation, PermutationSpec) else permutation
    if choice not in CHOICES:
        raise SpecError(f"permutation is {choice!r}; choose one of {', '.join(CHOICES)}")
    return Asked(
        train_data=options.get("train_data"),
        loss=_function("loss", options.get("loss")),
        metric=_metric(options.get("metric")),
        inputs=_function("inputs", options.get("inputs")),
        labels=_function("labels", options.get("labels")),
        outputs=_function("outputs", options.get("outputs")),
        ignore_index=options.get("ignore_index", IGNORED),
        lams=_lams(options.get("lams", LAMS)),
        permutation=choice,
        spec=written,
        layer_inputs=_count("layer_inputs", options.get("layer_inputs", LAYER_INPUTS), least=1),
        reset_inputs=min(_count("reset_inputs", options.get("reset_inputs", RESET_INPUTS), least=2), BN_IMAGES),
        thresholds=_thresholds(options.get("thresholds")),
        device=_device(options.get("device"), model),
    )


def _function(name: str, given: Any) -> Any:
    if given is not None and not callable(given):
        raise SpecError(f"{name} is {given!r:.60}; pass a function")
    return given


def _metric(given: Any) -> Any:
    return given if isinstance(given, Metric) else _function("metric", given)


def _lams(lams: Sequence[float]) -> tuple[float, ...]:
    try:
        points = sorted({*MIDPOINT, *map(float, lams)})
    except (TypeError, ValueError):
        points = []
    if not points:
        raise SpecError(f"lams is {lams!r:.60}; pass numbers within [0, 1], such as (0.25, 0.75)")
    if points[0] < 0 or points[-1] > 1 or any(point != point for point in points):
        raise SpecError(f"lams {list(lams)} must lie within [0, 1]")
    return tuple(points)


def _count(name: str, value: int, *, least: int) -> int:
    try:
        count = index(value)
    except TypeError:
        count = 0
    if count < least:
        raise SpecError(f"{name} is {value!r:.60}; it must be a whole number of at least {least}")
    return count


def _thresholds(thresholds: Thresholds | None) -> Thresholds:
    if thresholds is not None and not isinstance(thresholds, Thresholds):
        raise SpecError(f"thresholds is {thresholds!r:.60}; pass lmc.Thresholds(metric=0.02, loss=0.1)")
    return thresholds or Thresholds()


def _device(device: torch.device | str | None, model: nn.Module) -> torch.device:
    if device is None:
        return _device_of(model)
    try:
        where = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise SpecError(f"unknown device {device!r:.60}; use 'cpu', 'cuda', or None for where model 1 is") from error
    try:
        torch.zeros(1, device=where).item()  # on the meta device there is nothing to read
    except Exception as error:  # each kind of device fails in its own way
        said = " ".join(str(error).split())
        raise DeviceError(f"device '{where}' cannot be used: {said:.120}; use 'cpu', or None") from error
    return where


def _device_of(model: nn.Module) -> torch.device:
    tensors = (*model.parameters(), *model.buffers())
    if any(tensor.is_meta for tensor in tensors):
        raise MergeError("the model is on the meta device and has no weights; load its checkpoint first")
    return next(iter(model.parameters()), torch.empty(0)).device
