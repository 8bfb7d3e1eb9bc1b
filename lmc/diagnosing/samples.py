"""A reader's data as the measurements read it: held in memory where it fits, else read anew on every pass."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lmc.errors import DataError
from lmc.measuring.inputs import BATCH, HeldInputs, StreamedInputs

HELD_BYTES = 512 * 2**20
"""Inputs held in memory, at most; more are read from the data loader on every pass."""

BATCH_NUMBERS = 200 * 3 * 64 * 64
"""Numbers of a batch, at most, unless eight inputs have more; activations are many times as large."""

LEAST = 5
"""Inputs needed, as β is fitted on a fifth of them."""

Samples = HeldInputs | StreamedInputs

Data = Iterable[Any] | tuple[Tensor, Tensor]
"""A DataLoader of (inputs, labels) batches, or one such pair of tensors."""


def read_samples(data: Data, model: nn.Module, device: torch.device, *, held_bytes: int = HELD_BYTES) -> Samples:
    """Read and check labelled inputs; BatchNorm statistics will be reset on the same, see `with_training`.

    Args:
        data: see `Data`; floating inputs are converted to the model's dtype.
        model: on ``device``.
        device: where the inputs go.
        held_bytes: see `HELD_BYTES`.

    Raises:
        DataError: there are fewer than `LEAST` inputs, or they are no inputs with integer labels; the message
            names the remedy.
    """
    batches: list[Tensor] = []
    labels: list[Tensor] = []
    size, streamed = 0, False
    for item in _batches(data):
        inputs, targets = _pair(item)
        labels.append(_checked_labels(inputs, targets))
        if batches and inputs.shape[1:] != batches[0].shape[1:]:
            raise DataError(
                f"inputs of shapes {tuple(batches[0].shape[1:])} and {tuple(inputs.shape[1:])} in one data set; "
                "bring them to one shape"
            )
        size += inputs.numel() * inputs.element_size()
        streamed = streamed or (size > held_bytes and not isinstance(data, tuple))
        if not streamed or not batches:
            batches.append(inputs)
    count = sum(map(len, labels))
    if count < LEAST:
        raise DataError(f"the data holds {count} inputs; pass at least {LEAST}, better some hundreds")
    if streamed:
        batches = batches[:1]
    test = torch.cat(batches)
    dtype = _dtype(test, model)
    per_input = max(1, math.prod(test.shape[1:]))
    held = test.to(device, dtype)
    batch = max(8, min(BATCH, BATCH_NUMBERS // per_input))
    classes = torch.cat(labels).long().to(device)
    if streamed:
        return StreamedInputs(held, classes, held, data, batch)
    return HeldInputs(held, classes, held, torch.clone, batch, dtype)  # clone: a model may work in place


def with_training(samples: Samples, train_data: Data | Tensor | None, limit: int) -> Samples:
    """The same samples, with what BatchNorm statistics are reset on: at most ``limit`` inputs.

    Args:
        samples: see `read_samples`.
        train_data: training inputs with or without labels; ``None`` takes the test inputs.
        limit: inputs, at most; fewer where they would take more than `HELD_BYTES`.

    Raises:
        DataError: the training inputs are none, or of another shape than the test inputs.
    """
    example = samples.examples(1)
    limit = max(2, min(limit, HELD_BYTES // max(1, example.numel() * example.element_size())))
    source: Iterable[Tensor]
    if train_data is None:
        source = samples.test_batches()
    elif isinstance(train_data, Tensor):
        source = [train_data]
    else:
        source = (_inputs(item) for item in _batches(train_data))
    found: list[Tensor] = []
    for batch in source:
        if batch.shape[1:] != example.shape[1:]:
            raise DataError(
                f"the training inputs are of shape {tuple(batch.shape[1:])}, the test inputs of shape "
                f"{tuple(example.shape[1:])}; prepare both alike"
            )
        found.append(batch[: limit - sum(map(len, found))].to(example.device, example.dtype))
        if sum(map(len, found)) >= limit:
            break
    if sum(map(len, found)) < 2:
        raise DataError("the training data holds fewer than two inputs; BatchNorm statistics need some hundreds")
    return replace(samples, train=torch.cat(found))


def check_labels(labels: Tensor, classes: int) -> None:
    """Refuse labels that are no class of the model.

    Raises:
        DataError: naming the range and the number of classes.
    """
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"the labels run from {low} to {high}, but the model gives {classes} logits; "
            "number the classes from 0 as in training"
        )


def _batches(data: Data) -> Iterable[Any]:
    if isinstance(data, (tuple, list)) and len(data) == 2 and all(isinstance(part, Tensor) for part in data):
        return [data]
    if isinstance(data, (tuple, list)) and len(data) == 2 and any(not isinstance(part, (tuple, list)) for part in data):
        kinds = " and ".join(type(part).__name__ for part in data)
        raise DataError(
            f"the data is a pair of {kinds}; pass two tensors, torch.as_tensor(inputs) and torch.as_tensor(labels)"
        )
    if isinstance(data, Tensor) or not isinstance(data, Iterable) or isinstance(data, (str, dict)):
        raise DataError(f"data is a {type(data).__name__}; pass a DataLoader or a pair (inputs, labels) of tensors")
    return data


def _pair(item: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(item, (tuple, list)) or len(item) != 2 or not all(isinstance(part, Tensor) for part in item):
        what = [type(part).__name__ for part in item] if isinstance(item, (tuple, list)) else type(item).__name__
        raise DataError(f"a batch of the data is {what!s:.60}; each must be a pair (inputs, labels) of tensors")
    return item[0], item[1]


def _inputs(item: Any) -> Tensor:
    return item if isinstance(item, Tensor) else _pair(item)[0]


def _checked_labels(inputs: Tensor, labels: Tensor) -> Tensor:
    floating = labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool
    if floating or labels.ndim != 1 or inputs.ndim < 1 or len(labels) != len(inputs):
        raise DataError(
            f"labels are {labels.dtype} {tuple(labels.shape)} for inputs {tuple(inputs.shape)}; "
            "they must be whole numbers, one class index per input"
        )
    if inputs.is_floating_point() and not torch.isfinite(inputs).all():
        raise DataError("the inputs hold NaN or infinite values; clean the data")
    return labels


def _dtype(inputs: Tensor, model: nn.Module) -> torch.dtype:
    """What the inputs are converted to: floating ones to the model's own type."""
    if inputs.dtype == torch.uint8:
        raise DataError("the inputs are uint8 images; make them floating and normalise them as in training")
    if not inputs.is_floating_point():
        return inputs.dtype
    return next((each.dtype for each in model.parameters() if each.is_floating_point()), inputs.dtype)
