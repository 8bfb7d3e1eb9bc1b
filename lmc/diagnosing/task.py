"""What the outputs of a model mean: the loss and the metric of every example, and whether they are logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lmc.errors import DataError, in_one_line
from lmc.precision import double, where_float64

IGNORED = -100
"""The label that torch's cross-entropy leaves out, at which no position counts."""

PerExample = Callable[[Tensor, Tensor], Tensor]
"""(outputs, labels) -> one number per example, (N,)."""


@dataclass(frozen=True)
class Metric:
    """A reader's metric, with what a verdict must know of it.

    Args:
        function: (outputs, labels) -> one number per example, (N,), whose mean is the metric.
        name: for the sentences; by default the function's.
        lower_is_better: as for errors.
        share: whether it lies in [0, 1] and is told in per cent and points.
    """

    function: PerExample
    name: str = ""
    lower_is_better: bool = False
    share: bool = False


@dataclass(frozen=True)
class Task:
    """How outputs are judged.

    Args:
        kind: ``"classes"`` (logits of one class per position), ``"labels"`` (a logit per label, each right or wrong),
            ``"numbers"`` (regression) or ``"own"`` (a reader's loss, which says all).
        metric_name: for the sentences.
        share: whether the metric is told in per cent.
        lower_is_better: whether a smaller metric is better.
        loss_unit: ``"nats"`` or nothing.
        class_axis: of the outputs, ``"classes"`` only: 1, or -1 for sequences.
        shifted: whether position t is judged by label t + 1, as in language models.
        ignored: the label that does not count.
        variance: of the labels, ``"numbers"`` only.
        counts_inputs: whether the metric is the share of inputs that are right, one position each.
        loss: the reader's.
        metric: the reader's.
    """

    kind: str
    metric_name: str
    share: bool = True
    lower_is_better: bool = False
    loss_unit: str = "nats"
    class_axis: int = 1
    shifted: bool = False
    ignored: int = IGNORED
    variance: float = 1.0
    counts_inputs: bool = False
    loss: PerExample | None = None
    metric: Metric | None = None

    def told(self, value: float) -> str:
        """A metric in its unit."""
        return f"{value:.1%}" if self.share else f"{value:.4g}"

    @property
    def has_beta(self) -> bool:
        """Whether outputs are logits whose softmax or sigmoid may be rescaled, and the loss is its own."""
        return self.kind in ("classes", "labels") and self.loss is None

    def judge(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Metric, loss and weight of every example, float64 (N,) each: means over a set weigh examples so.

        Raises:
            DataError: the reader's loss or metric fails, or gives something else than one number per example.
        """
        count, given = len(outputs), (outputs, labels)
        outputs, labels = where_float64(outputs), where_float64(labels)
        weight = torch.ones(count, dtype=torch.float64, device=outputs.device)
        metric = loss = weight
        if self.kind == "classes":
            scores, true, counted = self._scores(outputs, labels)
            weight = double(counted).sum(1)
            nll = scores.exp().sum(-1).log() - true
            right = (true == 0) & ((scores == 0).sum(-1) == 1)
            at_least = weight.clamp_min(1)
            loss = torch.where(counted, nll, 0.0).sum(1) / at_least
            metric = double(right & counted).sum(1) / at_least
        elif self.kind == "labels":
            logits, wanted = double(outputs), double(labels)
            nll = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
            loss = nll.flatten(1).mean(1)
            metric = double((logits > 0) == (wanted > 0.5)).flatten(1).mean(1)
        elif self.kind == "numbers":
            loss = (double(outputs).reshape(labels.shape) - double(labels)).square()
            loss = loss.reshape(count, -1).mean(1)
            metric = 1 - loss / self.variance
        if self.loss is not None:
            loss = _per_example("loss", self.loss, *given)
            if self.kind == "own" and self.metric is None:
                metric = loss
        if self.metric is not None:
            metric = _per_example("metric", self.metric.function, *given)
        broken = ~torch.isfinite(outputs.flatten(1)).all(1)
        worst = torch.inf if self.lower_is_better else 0.0 if self.share else -torch.inf
        loss = torch.where(broken, torch.inf, loss).nan_to_num(torch.inf, torch.inf, -torch.inf)
        metric = torch.where(broken, worst, metric)
        return metric, loss, weight

    def rows(self, outputs: Tensor, labels: Tensor, positions: int) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (n, classes), labels (n,) and number of the example (n,) for the fit of β.

        Args:
            outputs: (N, ...).
            labels: (N, ...).
            positions: taken of every example, at most; the same in all.
        """
        if self.kind == "labels":
            logits, targets = outputs.flatten(1), labels.flatten(1).long()
            logits = torch.stack([torch.zeros_like(logits), logits], -1)
            counted = torch.ones_like(targets, dtype=torch.bool)
        else:
            logits, targets, counted = self._aligned(outputs, labels)
        count = logits.shape[1]
        if count > positions:
            order = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:positions].to(logits.device)
            logits, targets, counted = logits[:, order], targets[:, order], counted[:, order]
        numbers = torch.arange(len(logits), device=logits.device)[:, None].expand_as(targets)
        return logits[counted], targets[counted], numbers[counted]

    def _aligned(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (N, positions, classes), labels (N, positions), and which count."""
        logits = outputs.movedim(self.class_axis, -1)
        if self.shifted:
            logits, labels = logits[:, :-1], labels[:, 1:]
        logits, targets = logits.reshape(len(outputs), -1, logits.shape[-1]), labels.reshape(len(outputs), -1).long()
        return logits, targets, targets != self.ignored

    def _scores(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, targets, counted = self._aligned(outputs, labels)
        scores = double(logits)
        scores = scores - scores.amax(-1, keepdim=True)
        true = scores.gather(-1, torch.where(counted, targets, 0)[..., None])[..., 0]
        return scores, true, counted


def task_of(
    outputs: Tensor,
    labels: Tensor,
    inputs: Tensor | None,
    loss: PerExample | None,
    metric: Metric | PerExample | None,
    ignored: int = IGNORED,
) -> Task:
    """What some outputs and labels are, from their types and shapes.

    Args:
        outputs: of one model for the first few examples, (n, ...).
        labels: of all examples, (N, ...).
        inputs: of all examples where they are one tensor of whole numbers, which tells language models.
        loss: the reader's; ``None`` takes the cross-entropy or the squared error.
        metric: the reader's; ``None`` takes the accuracy or R².
        ignored: the label that does not count.

    Raises:
        DataError: outputs and labels do not fit each other.
    """
    if metric is not None and not isinstance(metric, Metric):
        metric = Metric(metric)
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    shape, known = tuple(outputs.shape), tuple(labels.shape[1:])
    axis = _class_axis(shape[1:], known) if whole and len(shape) == len(known) + 2 else None
    same = shape[1:] == known or shape[1:] == (*known, 1) or (*shape[1:], 1) == known
    unit = "nats" if loss is None else ""
    if axis is not None:
        shifted = inputs is not None and _are_next(inputs, labels, ignored) and axis == -1 and len(known) == 1
        alone = not known and metric is None
        task = Task("classes", "accuracy", True, False, unit, axis, shifted, ignored, 1.0, alone, loss, metric)
    elif loss is not None:
        task = Task("own", "loss", share=False, lower_is_better=True, loss_unit="", loss=loss, metric=metric)
    elif _binary(labels) and shape[1:] == known and known:
        task = Task("labels", "accuracy of the labels", metric=metric)
    elif same and labels.is_floating_point():
        spread = float((double(labels) - double(labels).mean(0)).square().mean()) or 1.0
        task = Task("numbers", "R²", share=False, loss_unit="", variance=spread, metric=metric)
    else:
        raise DataError(_unknown(shape, labels))
    if metric is None:
        return task
    name = metric.name or _name_of(metric.function)
    return replace(task, metric_name=name, share=metric.share, lower_is_better=metric.lower_is_better)


def _unknown(shape: tuple[int, ...], labels: Tensor) -> str:
    return (
        f"the models give outputs of shape {shape} for labels of {labels.dtype} {tuple(labels.shape)}: neither logits "
        "(N, classes, ...) of class numbers, nor a logit per label, nor numbers of one shape; "
        "pass loss= (one number per example) and perhaps metric="
    )


def _class_axis(outputs: tuple[int, ...], labels: tuple[int, ...]) -> int | None:
    if outputs[1:] == labels and outputs[0] > 1:
        return 1
    return -1 if outputs[:-1] == labels and outputs[-1] > 1 else None


def _are_next(inputs: Tensor, labels: Tensor, ignored: int) -> bool:
    """Whether labels are the inputs themselves, as language models take them: each position is to foresee the next."""
    if inputs.is_floating_point() or inputs.shape != labels.shape:
        return False
    counted = labels != ignored
    return bool((inputs.to(labels.device)[counted] == labels[counted]).all())


def _binary(labels: Tensor) -> bool:
    return labels.dtype == torch.bool or bool(((labels == 0) | (labels == 1)).all())


def _per_example(what: str, function: PerExample, outputs: Tensor, labels: Tensor) -> Tensor:
    try:
        found = function(outputs, labels)
    except Exception as error:  # the reader's own code
        raise DataError(
            f"the {what} {_name_of(function)} failed on outputs {tuple(outputs.shape)} and labels "
            f"{tuple(labels.shape)}: {in_one_line(error)}"
        ) from error
    if not isinstance(found, Tensor) or found.ndim < 1 or len(found) != len(outputs):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise DataError(
            f"the {what} {_name_of(function)} gives {shape} for {len(outputs)} examples; it must give one number each "
            "(torch's losses do with reduction='none')"
        )
    return double(found.detach()).flatten(1).mean(1) if found.ndim > 1 else double(found.detach())


def _name_of(function: object) -> str:
    name = str(getattr(function, "__name__", type(function).__name__))
    return "metric" if name == "<lambda>" else name
