"""A reader's data as the measurements read it: held in memory where it fits, else read anew on every pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lmc.diagnosing.reading import Columns, joined, read_batch
from lmc.errors import DataError
from lmc.measuring.inputs import BATCH, HeldInputs, StreamedInputs

HELD_BYTES = 512 * 2**20
"""Inputs held in memory, at most; more are read from the data loader on every pass."""

BATCH_NUMBERS = 200 * 3 * 64 * 64
"""Numbers of a batch, at most, unless eight inputs have more; activations are many times as large."""

LEAST = 5
"""Inputs needed, as β is fitted on a fifth of them."""

Samples = HeldInputs | StreamedInputs

Data = Iterable[Any] | tuple[Any, ...] | Mapping[str, Tensor] | Dataset[Any]
"""A DataLoader of batches, a dataset, or one batch, which is (inputs, labels), several inputs and labels, or a dict."""


@dataclass(frozen=True)
class Read:
    """A reader's data.

    Args:
        samples: as measurements call models: with inputs, or with the numbers of examples where models read several.
        columns: all inputs, where models are called with numbers; else ``None``.
    """

    samples: Samples
    columns: Columns | None = None


def read_samples(
    data: Data,
    model: nn.Module,
    device: torch.device,
    *,
    inputs: Callable[[Any], Any] | None = None,
    labels: Callable[[Any], Any] | None = None,
    held_bytes: int = HELD_BYTES,
) -> Read:
    """Read and check labelled inputs; BatchNorm statistics will be reset on the same, see `with_training`.

    Args:
        data: see `Data`; floating inputs are converted to the model's dtype.
        model: on ``device``.
        device: where the inputs go.
        inputs: what the model reads of a batch; see `lmc.diagnosing.reading.read_batch`.
        labels: where the labels of a batch are.
        held_bytes: see `HELD_BYTES`; several inputs are always held.

    Raises:
        DataError: there are fewer than `LEAST` inputs, or they are no inputs with labels; the message
            names the remedy.
    """
    batches: list[Columns] = []
    targets: list[Tensor] = []
    size, streamed = 0, False
    for item in batches_of(data):
        columns, wanted = read_batch(item, inputs, labels)
        assert wanted is not None
        targets.append(_checked_labels(columns, wanted))
        if batches and _shapes(columns) != _shapes(batches[0]):
            raise DataError(
                f"inputs of shapes {_shown(batches[0])} and {_shown(columns)} in one data set; bring them to one shape"
            )
        if targets[0].shape[1:] != wanted.shape[1:]:
            raise DataError(
                f"labels of shapes {tuple(targets[0].shape[1:])} and {tuple(wanted.shape[1:])} in one data set; bring "
                "them to one shape"
            )
        size += sum(each.numel() * each.element_size() for each in columns.tensors)
        plain = columns.single is not None and inputs is None and labels is None
        streamed = streamed or (size > held_bytes and plain and not isinstance(data, tuple))
        if not streamed or not batches:
            batches.append(columns)
    count = sum(map(len, targets))
    if count < LEAST:
        raise DataError(f"the data holds {count} inputs; pass at least {LEAST}, better some hundreds")
    return _held(joined(batches[:1] if streamed else batches), targets, data if streamed else None, model, device)


def _held(
    found: Columns, targets: Sequence[Tensor], loader: Data | None, model: nn.Module, device: torch.device
) -> Read:
    """Inputs on the device as measurements read them; with ``loader`` they are but the first batch."""
    per_input = max(1, sum(math.prod(each.shape[1:]) for each in found.tensors))
    batch = max(8, min(BATCH, BATCH_NUMBERS // per_input))
    known = torch.cat(list(targets)).to(device)
    known = known.long() if not known.is_floating_point() and known.dtype != torch.bool else known
    test = found.single
    if test is None:
        found = found.apply(lambda each: each.to(device, _dtype(each, model)))
        numbers = torch.arange(len(known), device=device)
        return Read(HeldInputs(numbers, known, numbers, torch.clone, batch, torch.int64), found)
    dtype = _dtype(test, model)
    held = test.to(device, dtype)
    if loader is not None:
        return Read(StreamedInputs(held, known, held, loader, batch))  # type: ignore[arg-type]
    return Read(HeldInputs(held, known, held, torch.clone, batch, dtype))  # clone: a model may work in place


def first_part(samples: Samples, count: int) -> Samples:
    """A part of the test inputs, evenly spread where all are held; the same inputs to reset on, fewer."""
    total = len(samples.labels)
    train = samples.train[: max(2, count)]
    if isinstance(samples, HeldInputs):
        picked = torch.linspace(0, total - 1, min(count, total)).round().long().to(samples.test.device)
        return replace(samples, test=samples.test[picked], labels=samples.labels[picked], train=train)
    held = samples.first[:count]
    return HeldInputs(held, samples.labels[: len(held)], train, torch.clone, samples.batch, held.dtype)


def with_training(
    read: Read, train_data: Data | Tensor | None, limit: int, inputs: Callable[[Any], Any] | None = None
) -> Read:
    """The same data, with what BatchNorm statistics are reset on: at most ``limit`` inputs.

    Args:
        read: see `read_samples`.
        train_data: training inputs with or without labels; ``None`` takes the test inputs.
        limit: inputs, at most; fewer where they would take more than `HELD_BYTES`.
        inputs: as for `read_samples`.

    Raises:
        DataError: the training inputs are none, or of another shape than the test inputs.
    """
    samples, columns = read.samples, read.columns
    example = Columns((samples.examples(1),)) if columns is None else columns.apply(lambda each: each[:1])
    limit = max(2, min(limit, HELD_BYTES // max(1, sum(each.nbytes for each in example.tensors))))
    source: Iterable[Columns]
    if train_data is None:
        if columns is not None:
            return replace(read, samples=replace(samples, train=samples.train[:limit]))
        source = (Columns((batch,)) for batch in samples.test_batches())
    elif isinstance(train_data, Tensor):
        source = [Columns((train_data,))]
    else:
        source = (read_batch(item, inputs, None, labelled=False)[0] for item in batches_of(train_data))
    found: list[Columns] = []
    count = 0
    for batch in source:
        if _shapes(batch) != _shapes(example):
            raise DataError(
                f"the training inputs are of shape {_shown(batch)}, the test inputs of shape {_shown(example)}; "
                "prepare both alike"
            )
        found.append(_like(batch, example, limit - count))
        count += len(found[-1].tensors[0])
        if count >= limit:
            break
    if count < 2:
        raise DataError("the training data holds fewer than two inputs; BatchNorm statistics need some hundreds")
    training = joined(found)
    if columns is None:
        return replace(read, samples=replace(samples, train=training.tensors[0]))
    before = len(columns.tensors[0])
    numbers = torch.arange(before, before + count, device=samples.labels.device)
    return Read(replace(samples, train=numbers), joined([columns, training]))


def check_labels(labels: Tensor, classes: int, ignored: int) -> None:
    """Refuse labels that are no class of the model.

    Raises:
        DataError: naming the range and the number of classes.
    """
    counted = labels[labels != ignored]
    if not len(counted):
        raise DataError(f"every label is {ignored}, which does not count; pass labels to judge by")
    low, high = int(counted.min()), int(counted.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"the labels run from {low} to {high}, but the model gives {classes} logits; "
            "number the classes from 0 as in training"
        )


def batches_of(data: Data) -> Iterable[Any]:
    """The batches of data in one of its forms; see `Data`."""
    if isinstance(data, (tuple, list)) and len(data) >= 2 and _is_one_batch(data):
        return [data]
    if isinstance(data, Mapping):
        return [data]
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return DataLoader(data, batch_size=BATCH)
    if (
        isinstance(data, (tuple, list))
        and len(data) == 2
        and any(not isinstance(part, (tuple, list, Mapping)) for part in data)
    ):
        kinds = " and ".join(type(part).__name__ for part in data)
        raise DataError(
            f"the data is a pair of {kinds}; pass two tensors, torch.as_tensor(inputs) and torch.as_tensor(labels)"
        )
    if isinstance(data, Tensor) or not isinstance(data, Iterable) or isinstance(data, str):
        raise DataError(f"data is a {type(data).__name__}; pass a DataLoader or a pair (inputs, labels) of tensors")
    return data


def _is_one_batch(data: Sequence[Any]) -> bool:
    """Whether it is inputs and labels, not a list of batches."""
    first, last = data[0], data[-1]
    grouped = isinstance(first, Mapping) or (
        isinstance(first, (tuple, list)) and bool(first) and all(isinstance(part, Tensor) for part in first)
    )
    return (
        isinstance(data, tuple)
        and isinstance(last, Tensor)
        and (all(isinstance(part, Tensor) for part in data) or (len(data) == 2 and grouped))
    ) or (len(data) == 2 and all(isinstance(part, Tensor) for part in data))


def _shapes(columns: Columns) -> list[tuple[str, torch.Size]]:
    named = [*((str(number), each) for number, each in enumerate(columns.args)), *sorted(columns.kwargs.items())]
    return [(name, each.shape[1:]) for name, each in named]


def _like(batch: Columns, example: Columns, count: int) -> Columns:
    """The first examples of a batch, on the device and of the types of others."""
    return Columns(
        tuple(each[:count].to(one.device, one.dtype) for each, one in zip(batch.args, example.args, strict=True)),
        {name: batch.kwargs[name][:count].to(one.device, one.dtype) for name, one in example.kwargs.items()},
    )


def _shown(columns: Columns) -> str:
    if columns.single is not None:
        return str(tuple(columns.single.shape[1:]))
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in _shapes(columns))


def _checked_labels(columns: Columns, labels: Tensor) -> Tensor:
    counts = {each.shape[0] if each.ndim else 0 for each in columns.tensors}
    if labels.is_complex() or labels.ndim < 1 or counts != {len(labels)}:
        raise DataError(
            f"labels are {labels.dtype} {tuple(labels.shape)} for inputs {tuple(columns.tensors[0].shape)}; "
            "they must be whole numbers, one class index per input, or what loss= and metric= read, (N, ...)"
        )
    for tensor in columns.tensors:
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise DataError("the inputs hold NaN or infinite values; clean the data")
    if labels.is_floating_point() and not torch.isfinite(labels).all():
        raise DataError("the labels hold NaN or infinite values; clean the data")
    return labels


def _dtype(inputs: Tensor, model: nn.Module) -> torch.dtype:
    """What the inputs are converted to: floating ones to the model's own type."""
    if inputs.dtype == torch.uint8:
        raise DataError("the inputs are uint8 images; make them floating and normalise them as in training")
    if not inputs.is_floating_point():
        return inputs.dtype
    return next((each.dtype for each in model.parameters() if each.is_floating_point()), inputs.dtype)
