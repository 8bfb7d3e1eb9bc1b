"""The training loop: device-resident uint8 images, one plain loop, the last epoch's weights."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmc.data import Dataset, Normaliser, augment, epoch_order, random_crops
from lmc.errors import SpecError
from lmc.nets import build, memory_format_of
from lmc.specs import RunSpec
from lmc.training.checkpoints import Checkpoint, TrainingState
from lmc.training.graphs import RecordedStep, Recorder, cuda_graph
from lmc.training.optimisers import learning_rate, make_optimizer, needs_curvature
from lmc.training.stacking import stack, unstack

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
        return build(spec.arch, spec.width, dataset.shape, len(dataset.classes), bias=spec.bias, depth=spec.depth)


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
        dataset: its dataset, before ``train_size`` is applied.
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
    spec, members = specs[0], len(specs)
    dataset = dataset.limited(spec.train_size).to(device)
    images, labels = dataset.train_images, dataset.train_labels
    if spec.batch_size > len(images):
        raise SpecError(f"batch_size {spec.batch_size} exceeds the {len(images)} training images")
    layout = memory_format_of(spec.arch)
    normalise = Normaliser.fit(images)
    batches, batch = len(images) // spec.batch_size, spec.batch_size
    steps = spec.steps(len(images))
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bf16")

    rate = torch.tensor(spec.lr, device=device) if record else None

    def untrained() -> TrainingState:
        models = [initial_model(each, dataset) for each in specs]
        model = (stack(models) if stacked else models[0]).to(device).to(memory_format=layout).train()
        generators = [torch.Generator().manual_seed(each.data_seed) for each in specs]
        optimizer = make_optimizer(spec, model.parameters(), rate)
        return TrainingState(model, optimizer, generators, torch.zeros(members, device=device))

    def advance(order: Tensor, crops: Tensor, target: Tensor, *, curvature: bool = False) -> None:
        picked = images.index_select(0, order)  # members' images in turn
        if spec.augment:
            picked = augment(picked, crops)
        joined = normalise(picked).view(batch, -1, *images.shape[2:])  # (batch, members · C, H, W)
        inputs = joined.contiguous(memory_format=layout)
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            logits = model(inputs).float().view(batch * members, -1)
        each_loss = F.cross_entropy(logits, target, reduction="none").view(batch, members).mean(0)
        each_loss.sum().backward(create_graph=curvature)  # type: ignore[no-untyped-call]
        optimizer.step()
        state.total += each_loss.detach()

    def interleaved(each_member: Sequence[Tensor]) -> Tensor:
        joined = torch.stack(list(each_member), dim=1).to(device)  # (images, members, ...)
        return joined[: batches * batch].view(batches, batch * members, *joined.shape[2:])

    with _own_noise(spec.data_seed, device):
        state = untrained()
        if checkpoint is not None and not checkpoint.resume(state):
            state = untrained()
        model, optimizer, generators = state.model, state.optimizer, state.generators
        make_step = RecordedStep(advance, record) if record else None
        targets = labels[state.orders]
        started = time.perf_counter() - state.seconds
        for step in range(state.step, steps):
            if checkpoint is not None and checkpoint.due():
                state.step, state.seconds = step, time.perf_counter() - started
                checkpoint.save(state)
            index = step % batches
            if index == 0:
                state.orders = interleaved([epoch_order(len(images), each) for each in generators])
                if spec.augment:
                    state.crops = interleaved([_epoch_crops(batches, batch, each) for each in generators])
                targets = labels[state.orders]
                state.total.zero_()
            _set_rate(optimizer, learning_rate(spec, step, steps))
            inputs = state.orders[index], state.crops[index] if spec.augment else state.crops, targets[index]
            if make_step is not None:
                make_step(*inputs)
            else:
                advance(*inputs, curvature=needs_curvature(spec, step))
            if index == batches - 1:
                state.losses.append((state.total / batches).tolist())
                if on_epoch is not None:
                    on_epoch(len(state.losses), spec.epochs)
                if not any(map(math.isfinite, state.losses[-1])):
                    break
        seconds = (time.perf_counter() - started) / members
    states = unstack(model, members) if stacked else [model.state_dict()]
    facts = {
        "seconds": seconds,
        "steps": batches * len(state.losses),
        "images": len(images),
        "decay_horizon": spec.decay_horizon(len(images)),
        "parameters": sum(value.numel() for value in model.parameters()) // members,
        **({"resumed": state.resumed} if state.resumed else {}),
    }
    return [_finished(each, [epoch[member] for epoch in state.losses], facts) for member, each in enumerate(states)]


def _epoch_crops(batches: int, batch: int, generator: torch.Generator) -> Tensor:
    return torch.cat([random_crops(batch, generator) for _ in range(batches)])


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


@contextlib.contextmanager
def _own_noise(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's own generator, seeded for the noise of Sophia's curvature estimates and put back afterwards."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda), warnings.catch_warnings():
        torch.default_generator.manual_seed(seed)
        for each in cuda:
            torch.cuda.set_rng_state(torch.Generator(each).manual_seed(seed).get_state(), each)
        warnings.filterwarnings("ignore", message=".*backward\\(\\) with create_graph=True")
        warnings.filterwarnings(
            "ignore", message=".*constructed with capturable=True"
        )  # of the steps before a recording
        yield


def _finished(state: dict[str, Tensor], losses: list[float], facts: dict[str, Any]) -> TrainedModel:
    kept = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in state.items()}
    finite = all(map(math.isfinite, losses)) and all(bool(torch.isfinite(value).all()) for value in kept.values())
    return TrainedModel(
        kept,
        {
            "status": "trained" if finite else "diverged",
            "loss": [value if math.isfinite(value) else None for value in losses],
            **facts,
        },
    )
