"""The training loop: device-resident uint8 images, one plain loop, the last epoch's weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmc.data import Dataset, Normaliser, augment, epoch_order
from lmc.errors import SpecError
from lmc.nets import build
from lmc.specs import RunSpec
from lmc.training.optimisers import learning_rate, make_optimizer

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
        return build(spec.arch, spec.width, dataset.shape, len(dataset.classes), bias=spec.bias)


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
        The model; one whose loss became NaN or infinite has status ``"diverged"`` and stops there.

    Raises:
        SpecError: the batch is larger than the training set.
        DataError: fewer images than ``train_size``.
    """
    device = torch.device(device)
    dataset = dataset.limited(spec.train_size).to(device)
    images, labels = dataset.train_images, dataset.train_labels
    if spec.batch_size > len(images):
        raise SpecError(f"batch_size {spec.batch_size} exceeds the {len(images)} training images")
    model = initial_model(spec, dataset).to(device).train()
    channels_last = images.shape[2] > 1 and not spec.arch.startswith("mlp")
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    normalise = Normaliser.fit(images)
    optimizer = make_optimizer(spec, model.parameters())
    generator = torch.Generator().manual_seed(spec.data_seed)
    steps = spec.steps(len(images))
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bf16")

    losses: list[float] = []
    started = time.perf_counter()
    step = 0
    for epoch in range(spec.epochs):
        order = epoch_order(len(images), generator, device)
        total = torch.zeros((), device=device)
        batches = len(images) // spec.batch_size
        for picked in order[: batches * spec.batch_size].view(batches, spec.batch_size):
            batch = images[picked]
            inputs = normalise(augment(batch, generator) if spec.augment else batch)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(spec, step, steps)
            optimizer.zero_grad(set_to_none=True)
            with autocast:
                loss = F.cross_entropy(model(inputs).float(), labels[picked])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach()
            step += 1
        losses.append(total.item() / batches)
        if on_epoch is not None:
            on_epoch(epoch + 1, spec.epochs)
        if not math.isfinite(losses[-1]):
            break
    state = {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in model.state_dict().items()
    }
    finite = all(bool(torch.isfinite(value).all()) for value in state.values())
    return TrainedModel(
        state,
        {
            "status": "trained" if finite and math.isfinite(losses[-1]) else "diverged",
            "loss": [value if math.isfinite(value) else None for value in losses],
            "seconds": time.perf_counter() - started,
            "steps": step,
            "images": len(images),
            "decay_horizon": spec.decay_horizon(len(images)),
            "parameters": sum(value.numel() for value in model.parameters()),
        },
    )
