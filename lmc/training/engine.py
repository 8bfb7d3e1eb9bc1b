"""The training loop: device-resident uint8 images, one plain loop, the last epoch's weights."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmc.data import Dataset, Normaliser, augment, epoch_order
from lmc.errors import SpecError
from lmc.nets import build, memory_format_of
from lmc.specs import RunSpec
from lmc.training.optimisers import learning_rate, make_optimizer, needs_curvature
from lmc.training.stacking import stack, unstack

EpochHook = Callable[[int, int], None]


@dataclass(frozen=True)
class TrainedModel:
    """The outcome of one training.

    Args:
        state: the state dict, float32 on the CPU.
        log: JSON-ready record: ``status`` (``"trained"`` or ``"diverged"``), per-epoch ``loss``,
            ``seconds``, ``steps``, ``decay_horizon``, ``images``, ``parameters``.
    """

    state: dict[str, Tensor]
    log: dict[str, Any]


def initial_model(spec: RunSpec, dataset: Dataset) -> nn.Module:
    """The untrained network of ``spec``: the same weights on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.init_seed)
        return build(spec.arch, spec.width, dataset.shape, len(dataset.classes), bias=spec.bias, depth=spec.depth)


def train(
    spec: RunSpec,
    dataset: Dataset,
    device: torch.device | str = "cpu",
    *,
    on_epoch: EpochHook | None = None,
) -> TrainedModel:
    """Train one model and keep its last epoch (never the best test epoch).

    Args:
        spec: the recipe.
        dataset: its dataset, before ``train_size`` is applied.
        device: where to train.
        on_epoch: called with (epochs done, epochs) after each epoch.

    Returns:
        The model; one whose loss became NaN or infinite has status ``"diverged"``.

    Raises:
        SpecError: the batch is larger than the training set.
        DataError: fewer images than ``train_size``.
    """
    with torch.random.fork_rng(), warnings.catch_warnings():  # for the noise of Sophia's curvature estimates
        torch.manual_seed(spec.data_seed)
        warnings.filterwarnings("ignore", message=".*backward\\(\\) with create_graph=True")
        return _train([spec], dataset, torch.device(device), stacked=False, on_epoch=on_epoch)[0]


def train_stack(
    specs: Sequence[RunSpec],
    dataset: Dataset,
    device: torch.device | str = "cpu",
    *,
    on_epoch: EpochHook | None = None,
) -> list[TrainedModel]:
    """Train models that differ only in their seeds side by side (see `lmc.training.stacking`).

    Each draws its own batches. The weights agree with those of `train` up to rounding, which depends on
    how many models there are. Arguments and errors are those of `train`.

    Raises:
        SpecError: the specs differ in more than their seeds.
    """
    if len({spec.with_seed(0) for spec in specs}) != 1:
        raise SpecError(f"specs of a stack differ in more than seeds: {[each.describe() for each in specs]}")
    return _train(specs, dataset, torch.device(device), stacked=True, on_epoch=on_epoch)


def _train(
    specs: Sequence[RunSpec],
    dataset: Dataset,
    device: torch.device,
    *,
    stacked: bool,
    on_epoch: EpochHook | None,
) -> list[TrainedModel]:
    spec, members = specs[0], len(specs)
    dataset = dataset.limited(spec.train_size).to(device)
    images, labels = dataset.train_images, dataset.train_labels
    if spec.batch_size > len(images):
        raise SpecError(f"batch_size {spec.batch_size} exceeds the {len(images)} training images")
    models = [initial_model(each, dataset) for each in specs]
    parameters = sum(value.numel() for value in models[0].parameters())
    layout = memory_format_of(spec.arch)
    model = (stack(models) if stacked else models[0]).to(device).to(memory_format=layout).train()
    normalise = Normaliser.fit(images)
    optimizer = make_optimizer(spec, model.parameters())
    generators = [torch.Generator().manual_seed(each.data_seed) for each in specs]
    batches, batch = len(images) // spec.batch_size, spec.batch_size
    steps = spec.steps(len(images))
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bf16")

    losses: list[list[float]] = []  # one list of members per epoch
    started = time.perf_counter()
    for epoch in range(spec.epochs):
        orders = torch.stack([epoch_order(len(images), each, device) for each in generators], dim=1)
        orders = orders[: batches * batch].view(batches, batch * members)  # the members' images in turn
        targets = labels[orders]
        total = torch.zeros(members, device=device)
        for index in range(batches):
            picked = images.index_select(0, orders[index])
            if spec.augment:
                shares = picked.view(batch, members, *picked.shape[1:]).unbind(1)
                pairs = zip(shares, generators, strict=True)
                picked = torch.stack([augment(*pair) for pair in pairs], dim=1).flatten(0, 1)
            joined = normalise(picked).view(batch, -1, *images.shape[2:])  # (batch, members · C, H, W)
            inputs = joined.contiguous(memory_format=layout)
            step = epoch * batches + index
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(spec, step, steps)
            optimizer.zero_grad(set_to_none=True)
            with autocast:
                logits = model(inputs).float().view(batch * members, -1)
            each_loss = F.cross_entropy(logits, targets[index], reduction="none").view(batch, members).mean(0)
            each_loss.sum().backward(create_graph=needs_curvature(spec, step))  # type: ignore[no-untyped-call]
            optimizer.step()
            total += each_loss.detach()
        losses.append((total / batches).tolist())
        if on_epoch is not None:
            on_epoch(epoch + 1, spec.epochs)
        if not any(map(math.isfinite, losses[-1])):
            break
    seconds = (time.perf_counter() - started) / members
    states = unstack(model, members) if stacked else [model.state_dict()]
    facts = {
        "seconds": seconds,
        "steps": batches * len(losses),
        "images": len(images),
        "decay_horizon": spec.decay_horizon(len(images)),
        "parameters": parameters,
    }
    return [_finished(state, [epoch[member] for epoch in losses], facts) for member, state in enumerate(states)]


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
