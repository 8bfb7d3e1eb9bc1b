"""What models do with a reader's data: loss and metric per example, gathered batch by batch, and β."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lmc.diagnosing.task import Task
from lmc.measuring.inputs import Inputs
from lmc.merging import calibration_split, fit_inverse_temperature
from lmc.precision import double

HELD_LOGITS = 2**25
"""Logits held for the fit of β, at most; of dense outputs some positions are taken."""


@dataclass(frozen=True)
class Score:
    """What one model does with the test inputs.

    Args:
        metric: mean of the metric; for a classifier its accuracy, ties counting as wrong.
        loss: mean loss, for a classifier nats.
        beta: inverse temperature fitted on 20 % of the inputs; ``None`` where the outputs are no logits.
        calibrated_loss: mean loss of the others with β, nats; ``None`` without β.
    """

    metric: float
    loss: float
    beta: float | None = None
    calibrated_loss: float | None = None

    @property
    def finite(self) -> bool:
        """Whether every output was a number."""
        return math.isfinite(self.loss)


@dataclass
class Tally:
    """Per example: metric, loss and weight; and the logits that β is fitted to."""

    task: Task
    parts: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    rows: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    seen: int = 0

    def add(self, outputs: Tensor, labels: Tensor, positions: int) -> None:
        """Add a batch."""
        self.parts.append(tuple(each.cpu() for each in self.task.judge(outputs, labels)))  # type: ignore[arg-type]
        if self.task.has_beta and positions:
            logits, targets, numbers = self.task.rows(outputs, labels, positions)
            self.rows.append((logits.cpu(), targets.cpu(), numbers.cpu() + self.seen))
        self.seen += len(outputs)

    @property
    def each(self) -> tuple[Tensor, Tensor, Tensor]:
        """Metric, loss and weight, float64 (M,)."""
        metric, loss, weight = (torch.cat(column) for column in zip(*self.parts, strict=True))
        return metric, loss, weight

    def score(self) -> Score:
        """The means, and β of its own."""
        metric, loss, weight = self.each
        mean, mean_loss = (float((each * weight)[weight > 0].sum() / weight.sum()) for each in (metric, loss))
        if not self.rows:
            return Score(mean, mean_loss)
        logits, targets, numbers = (torch.cat(column) for column in zip(*self.rows, strict=True))
        if not torch.isfinite(logits).all():
            return Score(mean, mean_loss, 1.0, math.inf)
        fitted = torch.zeros(self.seen, dtype=torch.bool)
        fitted[calibration_split(self.seen)[0]] = True
        mine = fitted[numbers]
        if not mine.any() or mine.all():
            return Score(mean, mean_loss)
        smoothing = 1 / (int(mine.sum()) + 2)
        beta = float(fit_inverse_temperature(logits[mine], targets[mine], smoothing=smoothing))
        judged = beta * double(logits[~mine])
        calibrated = nn.functional.cross_entropy(judged, targets[~mine]).item()
        return Score(mean, mean_loss, beta, calibrated)


@torch.no_grad()
def tally(
    models: Sequence[Callable[[Tensor], Tensor]], samples: Inputs, task: Task, *, ensemble: bool = False
) -> list[Tally]:
    """Run models on all test inputs.

    Args:
        models: in evaluation mode.
        samples: the inputs.
        task: how outputs are judged.
        ensemble: whether the mean of all outputs is judged too, last.
    """
    labels, position, positions = samples.labels, 0, 0
    found = [Tally(task) for _ in range(len(models) + ensemble)]
    for batch in samples.test_batches():
        wanted = labels[position : position + len(batch)]
        mean: Tensor | None = None
        for number, model in enumerate(models):
            outputs = model(batch.clone())
            if not position and not number:
                positions = _positions(outputs, task, len(labels))
            found[number].add(outputs, wanted.to(outputs.device), positions)
            if ensemble:
                mean = double(outputs) if mean is None else mean + double(outputs)
        if mean is not None:
            found[-1].add(mean / len(models), wanted.to(mean.device), positions)
        position += len(batch)
    return found


def _positions(outputs: Tensor, task: Task, count: int) -> int:
    """Positions per example that β is fitted to."""
    classes = outputs.shape[task.class_axis] if task.kind == "classes" else 2
    return max(1, HELD_LOGITS // max(1, count * classes))


def paired(lam: float, point: Tally, a: Tally, b: Tally) -> dict[str, tuple[float, float]]:
    """How much more a point of a path has than the straight line between its ends, on the same examples.

    Args:
        lam: λ, the weight of model a.
        point: at λ.
        a: at 1.
        b: at 0.

    Returns:
        By ``metric`` and ``loss``: the mean of the paired differences, and its standard error.
    """
    found = {}
    weight = point.each[2]
    for number, name in enumerate(("metric", "loss")):
        excess = point.each[number] - lam * a.each[number] - (1 - lam) * b.each[number]
        mean = (excess * weight)[weight > 0].sum() / weight.sum()
        rest = (excess - mean) * weight
        count = int((weight > 0).sum())
        error = rest.square().sum().sqrt() / weight.sum() * math.sqrt(count / max(1, count - 1))
        found[name] = (float(mean), float(error))
    return found
