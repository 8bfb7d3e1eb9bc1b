"""How a model is called with a batch of a reader's data, and where its outputs and labels are.

Measurements call every net with one tensor. Where a net reads several, or names them, its copy is called with the
numbers of the examples, (N,), and looks its inputs up.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from lmc.errors import DataError, MergeError, SpecError, in_one_line

LABELS = ("labels", "label", "targets", "target", "y")
"""What a batch with names may call its labels."""

OUTPUTS = ("logits", "out", "prediction", "predictions")
"""What a model's output with names may call the tensor to judge."""


@dataclass(frozen=True)
class Columns:
    """What a model reads, example by example.

    Args:
        args: tensors (N, ...) in the order of its arguments.
        kwargs: tensors (N, ...) by the names of its arguments.
    """

    args: tuple[Tensor, ...] = ()
    kwargs: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def tensors(self) -> list[Tensor]:
        """All of them."""
        return [*self.args, *self.kwargs.values()]

    @property
    def single(self) -> Tensor | None:
        """The only tensor, where the model reads one without a name."""
        return self.args[0] if len(self.args) == 1 and not self.kwargs else None

    def apply(self, change: Callable[[Tensor], Tensor]) -> Columns:
        """The same columns, changed."""
        return Columns(tuple(map(change, self.args)), {name: change(each) for name, each in self.kwargs.items()})


def columns_of(given: Any) -> Columns | None:
    """Tensors, a tuple of them or a mapping as what a model reads; ``None`` for anything else."""
    if isinstance(given, Tensor):
        return Columns((given,))
    if _is_mapping(given):
        kept = {str(name): value for name, value in given.items() if isinstance(value, Tensor)}
        return Columns((), kept) if kept and len(kept) == len(given) else None
    if isinstance(given, (tuple, list)) and given and all(isinstance(each, Tensor) for each in given):
        return Columns(tuple(given))
    return None


def split(item: Any) -> tuple[Any, Tensor | None]:
    """Inputs and labels of a batch in one of the common forms; no labels where none are recognised."""
    if _is_mapping(item):
        name = next((name for name in LABELS if isinstance(item.get(name), Tensor)), None)
        return {key: value for key, value in item.items() if key != name}, None if name is None else item[name]
    if isinstance(item, (tuple, list)) and len(item) >= 2 and isinstance(item[-1], Tensor):
        return (item[0] if len(item) == 2 else tuple(item[:-1])), item[-1]
    return item, None


def joined(parts: Sequence[Columns]) -> Columns:
    """Batches one after another."""
    first = parts[0]
    return Columns(
        tuple(torch.cat([each.args[number] for each in parts]) for number in range(len(first.args))),
        {name: torch.cat([each.kwargs[name] for each in parts]) for name in first.kwargs},
    )


def read_output(given: Any, kind: str, outputs: Callable[[Any], Any] | None) -> Tensor:
    """The tensor to judge in what a model gives.

    Args:
        given: by the model.
        kind: its class, for messages.
        outputs: the reader's word for where it is; ``None`` recognises the common forms.

    Raises:
        SpecError: the reader's function fails.
        MergeError: it is in none of these.
    """
    if outputs is not None:
        try:
            given = outputs(given)
        except Exception as error:  # the reader's own code
            raise SpecError(
                f"outputs failed on what {kind} gives, a {type(given).__name__}: {in_one_line(error)}"
            ) from error
    elif isinstance(given, _TENSORS):
        return given  # type: ignore[return-value]
    elif _is_mapping(given):
        given = next((given[name] for name in OUTPUTS if isinstance(given.get(name), _TENSORS)), given)
    else:
        given = next((each for name in OUTPUTS if isinstance(each := getattr(given, name, None), _TENSORS)), given)
    if not isinstance(given, _TENSORS):
        raise MergeError(
            f"{kind} gives a {type(given).__name__}, not one tensor of logits; pass outputs=, a function that takes "
            "the tensor out of it, or wrap it in a module whose forward returns the logits only"
        )
    return given  # type: ignore[return-value]


_TENSORS = (Tensor, fx.Proxy)
"""Tensors, and what stands for them while a net is traced."""


class Reading:
    """The forward pass of a model that is called with one tensor, whatever it reads and gives.

    Args:
        model: whose class knows the true forward pass.
        columns: all inputs; ``None`` where the model is called with its own one tensor.
        outputs: see `read_output`.
    """

    def __init__(self, model: nn.Module, columns: Columns | None, outputs: Callable[[Any], Any] | None) -> None:
        self.model, self.columns, self.outputs = model, columns, outputs
        self.inner = vars(model).get("forward")

    def __deepcopy__(self, memo: dict[int, Any]) -> Reading:
        copied = Reading.__new__(Reading)
        memo[id(self)] = copied
        copied.columns, copied.outputs = self.columns, self.outputs  # the data is not copied with the model
        copied.inner = copy.deepcopy(self.inner, memo)
        copied.model = copy.deepcopy(self.model, memo)
        return copied

    def __call__(self, batch: Tensor) -> Tensor:
        """Outputs of the examples whose inputs, or numbers, are given."""
        args: tuple[Tensor, ...] = (batch,)
        kwargs: Mapping[str, Tensor] = {}
        if self.columns is not None:
            dtype = next((each.dtype for each in self.model.parameters() if each.is_floating_point()), None)
            rows = batch.cpu() if self.columns.tensors[0].device.type == "cpu" else batch
            picked = self.columns.apply(lambda each: _as(each[rows], dtype).to(batch.device))
            args, kwargs = picked.args, picked.kwargs
        forward = self.inner or type(self.model).forward.__get__(self.model)
        return read_output(forward(*args, **kwargs), type(self.model).__name__, self.outputs)


def _as(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def adapt(model: nn.Module, columns: Columns | None, outputs: Callable[[Any], Any] | None) -> None:
    """Let ``model`` be called with one tensor; its names and its state dict stay."""
    vars(model)["forward"] = Reading(model, columns, outputs)


class Bound(nn.Module):
    """A model as a function of its first input alone, to be traced.

    Args:
        model: see `adapt`; a copy is taken.
        rows: numbers of the examples that the other inputs are of.
    """

    def __init__(self, model: nn.Module, rows: Tensor) -> None:
        super().__init__()
        reading: Reading = vars(model)["forward"]
        self.net = copy.deepcopy(model)
        vars(self.net).pop("forward")
        self.outputs = reading.outputs
        columns = (
            Columns()
            if reading.columns is None
            else reading.columns.apply(lambda each: each[rows.cpu()].to(rows.device))
        )
        names = list(columns.kwargs)
        self.name = None if columns.args or not names else names[0]
        self.named = [name for name in names if name != self.name]
        self.first = columns.tensors[0] if columns.tensors else None
        self.others = len(columns.args[1:])
        rest = [*columns.args[1:], *(columns.kwargs[name] for name in self.named)]
        for number, tensor in enumerate(rest):  # buffers, so that a check in float64 converts them too
            self.register_buffer(f"rest{number}", tensor, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs."""
        rest = [getattr(self, f"rest{number}") for number in range(self.others + len(self.named))]
        kwargs = dict(zip(self.named, rest[self.others :], strict=True))
        if self.name is not None:
            found = self.net(**{self.name: x}, **kwargs)
        else:
            found = self.net(x, *rest[: self.others], **kwargs)
        return read_output(found, type(self.net).__name__, self.outputs)


def _is_mapping(given: Any) -> bool:
    """Whether it is a mapping, or behaves as one, as the batches and outputs of transformers do."""
    return isinstance(given, Mapping) or (
        hasattr(given, "keys") and hasattr(given, "get") and not isinstance(given, Tensor)
    )


def describe(item: Any) -> str:
    """What a batch consists of, for messages."""
    if _is_mapping(item):
        return str({name: type(value).__name__ for name, value in item.items()})[:60]
    if isinstance(item, (tuple, list)):
        return str([type(part).__name__ for part in item])[:60]
    return type(item).__name__


def read_batch(
    item: Any, inputs: Callable[[Any], Any] | None, labels: Callable[[Any], Any] | None, *, labelled: bool = True
) -> tuple[Columns, Tensor | None]:
    """What a model reads of a batch, and the labels.

    Args:
        item: a batch.
        inputs: the reader's word for what the model reads: a tensor, a tuple of them, or a dict of named ones.
        labels: the reader's word for where the labels are.
        labelled: whether a batch without labels is refused.

    Raises:
        DataError: nothing of this kind is recognised.
    """
    found, targets = split(item)
    try:
        found = found if inputs is None else inputs(item)
        targets = targets if labels is None else labels(item)
    except Exception as error:  # the reader's own code
        raise DataError(f"inputs or labels failed on a batch, {describe(item)}: {in_one_line(error)}") from error
    if not labelled and inputs is None and isinstance(item, Tensor):
        found, targets = item, None
    columns = columns_of(found)
    if columns is None or (labelled and not isinstance(targets, Tensor)):
        raise DataError(
            f"a batch of the data is {describe(item)}; each must be a pair (inputs, labels) of tensors, several inputs "
            f"and labels, or a dict with {LABELS[0]!r}; for any other form pass "
            "inputs= (and labels=), functions of a batch"
        )
    return columns, targets if isinstance(targets, Tensor) else None
