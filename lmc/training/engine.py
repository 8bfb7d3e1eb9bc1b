"""The training loop: device-resident uint8 images, one plain loop, the last epoch's weights."""

from __future__ import annotations

import contextlib
import functools
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lmc.data import Dataset, Normaliser
from lmc.errors import SpecError
from lmc.nets import build
from lmc.specs import RunSpec
from lmc.store.checkpoints import Checkpoint
from lmc.training.course import Course
from lmc.training.graphs import RecordedStep, Recorder, cuda_graph
from lmc.training.optimisers import learning_rate, needs_curvature
from lmc.training.stacking import unstack
from lmc.training.state import TrainingState

EpochHook = Callable[[int, int], None]


@dataclass(frozen=True)
class TrainedModel:
    """The outcome of one training.

    Args:
        state: the state dict, float32 on the CPU.
        log: JSON-ready record: ``status`` (``"trained"`` or ``"diverged"``), per-epoch ``loss``,
            ``seconds``, ``steps``, ``decay_horizon``, ``images``, ``parameters``; where it went on from
            checkpoints, also ``resumed``: the steps at which it did.
    """

    state: dict[str, Tensor]
    log: dict[str, Any]


def initial_model(spec: RunSpec, dataset: Dataset) -> nn.Module:
    """The untrained network of ``spec``: the same weights on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(spec.init_seed)
        return build(
            spec.arch, spec.width, dataset.shape, len(spec.classes or dataset.classes), bias=spec.bias, depth=spec.depth
        )


def train(
    spec: RunSpec,
    dataset: Dataset,
    device: torch.device | str = "cpu",
    *,
    on_epoch: EpochHook | None = None,
    checkpoint: Checkpoint | None = None,
    recorded: bool = True,
) -> TrainedModel:
    """Train one model and keep its last epoch (never the best test epoch).

    Args:
        spec: the recipe.
        dataset: its dataset, before ``classes`` and ``train_size`` are applied.
        device: where to train.
        on_epoch: called with (epochs done, epochs) after each epoch.
        checkpoint: where a long training keeps its state, and may have kept it before.
        recorded: whether steps are recorded as a CUDA graph; on a CPU, and with Sophia, they never are.

    Returns:
        The model; one whose loss became NaN or infinite has status ``"diverged"``.

    Raises:
        SpecError: the batch is larger than the training set.
        DataError: fewer images than ``train_size``.
        StoreError: the checkpoint's store is unreadable.

    Example:
        >>> from pathlib import Path
        >>> from lmc import RunSpec, load_dataset
        >>> model = train(RunSpec(dataset="digits", arch="mlp", width=1 / 64), load_dataset("digits", Path("data")))
        >>> model.log["status"], model.log["steps"]
        ('trained', 20)
    """
    record = recorder(spec, torch.device(device)) if recorded else None
    return _train(
        [spec], dataset, torch.device(device), record, stacked=False, on_epoch=on_epoch, checkpoint=checkpoint
    )[0]


def train_stack(
    specs: Sequence[RunSpec],
    dataset: Dataset,
    device: torch.device | str = "cpu",
    *,
    on_epoch: EpochHook | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[TrainedModel]:
    """Train models that differ only in their seeds side by side (see `lmc.training.stacking`).

    Each draws its own batches. The weights agree with those of `train` up to rounding, which depends on
    how many models there are. Arguments and errors are those of `train`.

    Raises:
        SpecError: the specs differ in more than their seeds.
    """
    if len({spec.with_seed(0) for spec in specs}) != 1:
        raise SpecError(f"specs of a stack differ in more than seeds: {[each.describe() for each in specs]}")
    return _train(specs, dataset, torch.device(device), None, stacked=True, on_epoch=on_epoch, checkpoint=checkpoint)


def recorder(spec: RunSpec, device: torch.device) -> Recorder | None:
    """What records the steps of ``spec`` on ``device``, where that can be done."""
    return cuda_graph if device.type == "cuda" and spec.optimizer != "sophia" else None


def _train(
    specs: Sequence[RunSpec],
    dataset: Dataset,
    device: torch.device,
    record: Recorder | None,
    *,
    stacked: bool,
    on_epoch: EpochHook | None,
    checkpoint: Checkpoint | None,
) -> list[TrainedModel]:
    spec = specs[0]
    dataset = dataset.restricted(spec.classes).limited(spec.train_size).to(device)
    if spec.batch_size > len(dataset.train_images):
        raise SpecError(f"batch_size {spec.batch_size} exceeds the {len(dataset.train_images)} training images")
    course = Course(specs, dataset, device, stacked, Normaliser.fit(dataset.train_images))
    batches, steps = course.batches, spec.steps(len(dataset.train_images))
    rate = torch.tensor(spec.lr, device=device) if record else None
    with _own_noise(spec.data_seed, device):

        def untrained() -> TrainingState:
            return course.untrained([initial_model(each, dataset) for each in specs], rate)

        state = checkpoint.resumed(untrained) if checkpoint else untrained()
        advance = functools.partial(course.advance, state)
        recorded = RecordedStep(advance, record, state.changed) if record else None
        started = time.perf_counter() - state.seconds
        for step in range(state.step, steps):
            if checkpoint is not None and checkpoint.due():
                state.step, state.seconds = step, time.perf_counter() - started
                checkpoint.save(state)
            index = step % batches
            if index == 0:
                course.draw_epoch(state)
            _set_rate(state.optimizer, learning_rate(spec, step, steps))
            inputs = state.orders[index], state.crops[index] if spec.augment else state.crops
            if recorded is not None:
                recorded(*inputs)
            else:
                advance(*inputs, curvature=needs_curvature(spec, step))
            if index == batches - 1:
                state.losses.append((state.total / batches).tolist())
                if on_epoch is not None:
                    on_epoch(len(state.losses), spec.epochs)
                if not any(map(math.isfinite, state.losses[-1])):
                    break
        state.seconds = time.perf_counter() - started
    return _finished(course, state)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


@contextlib.contextmanager
def _own_noise(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's own generator, seeded for nets that draw while they train, such as dropout, and put back afterwards."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda), warnings.catch_warnings():
        torch.default_generator.manual_seed(seed)
        for each in cuda:
            torch.cuda.set_rng_state(torch.Generator(each).manual_seed(seed).get_state(), each)
        warnings.filterwarnings("ignore", message=".*backward\\(\\) with create_graph=True")
        # of the steps before a recording
        warnings.filterwarnings("ignore", message=".*constructed with capturable=True")
        yield


def _finished(course: Course, state: TrainingState) -> list[TrainedModel]:
    members, images = len(course.specs), len(course.dataset.train_images)
    facts = {
        "seconds": state.seconds / members,
        "steps": course.batches * len(state.losses),
        "images": images,
        "decay_horizon": course.specs[0].decay_horizon(images),
        "parameters": sum(value.numel() for value in state.model.parameters()) // members,
        **({"resumed": state.resumed} if state.resumed else {}),
    }
    states = unstack(state.model, members) if course.stacked else [state.model.state_dict()]
    return [_kept(each, [epoch[member] for epoch in state.losses], facts) for member, each in enumerate(states)]


def _kept(state: dict[str, Tensor], losses: list[float], facts: dict[str, Any]) -> TrainedModel:
    # Into contiguous memory at once: a device reorders faster than the host, and nothing is copied twice.
    kept = {name: torch.empty(value.shape, dtype=value.dtype).copy_(value.detach()) for name, value in state.items()}
    finite = all(map(math.isfinite, losses)) and all(bool(torch.isfinite(value).all()) for value in kept.values())
    return TrainedModel(
        kept,
        {
            "status": "trained" if finite else "diverged",
            "loss": [value if math.isfinite(value) else None for value in losses],
            **facts,
        },
    )
