"""Peers that train and match as others would: what the benchmarks compare with.

Needs ``lightning`` and ``torchvision``. A peer trains the same initial weights for the same number of steps
with the same optimizer and schedule; only its random batches differ from ours. `match_weights` is the published
weight matching.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch
from PIL import Image
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from lmc.data import Dataset, Normaliser
from lmc.data.batches import CROP_PADDING
from lmc.merging.channel_groups import Axis, Labels
from lmc.merging.permutation_spec import PermutationSpec
from lmc.merging.weights import State
from lmc.specs import RunSpec
from lmc.training.engine import initial_model
from lmc.training.optimisers import learning_rate

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # it greets every trainer


@dataclass(frozen=True)
class PeerModel:
    """What a peer made of one spec.

    Args:
        steps: optimizer steps.
        loss: mean training loss of the last epoch.
        state: the last weights.
    """

    steps: int
    loss: float
    state: dict[str, Tensor]


def train_lightning(
    specs: Sequence[RunSpec],
    dataset: Dataset,
    *,
    precision: str = "32-true",
    num_workers: int = 0,
    accelerator: str = "cpu",
) -> list[PeerModel]:
    """Train ``specs`` one after another with Lightning, `DataLoader` and torchvision transforms.

    Args:
        specs: the recipes.
        dataset: their dataset, before ``train_size`` is applied.
        precision: Lightning's name for it; ``"bf16-mixed"`` is our ``"bf16"``.
        num_workers: of the loader. None by default: with two cores and images of at most 32x32 pixels, two workers
            took about twice as long for the narrow MLPs and saved a twentieth for ResNet-20 (on a busy machine).
        accelerator: Lightning's name for the device.
    """
    return [_train_lightning(spec, dataset, precision, num_workers, accelerator) for spec in specs]


def _train_lightning(spec: RunSpec, dataset: Dataset, precision: str, num_workers: int, accelerator: str) -> PeerModel:
    dataset = dataset.limited(spec.train_size)
    loader = DataLoader(
        _Pictures(dataset, _transform(spec, dataset)),
        batch_size=spec.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        generator=torch.Generator().manual_seed(spec.data_seed),
    )
    module = _Classifier(spec, dataset)
    trainer = lightning.Trainer(
        accelerator=accelerator,
        devices=1,
        precision=precision,  # type: ignore[arg-type]
        max_epochs=spec.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", module="lightning")  # advice on workers and logging
        torch.manual_seed(spec.data_seed)  # the transforms' draws
        trainer.fit(module, loader)
    return PeerModel(trainer.global_step, module.mean_loss(), module.net.state_dict())


class _Classifier(lightning.LightningModule):  # type: ignore[misc, unused-ignore]
    """Cross-entropy with the spec's optimizer, its learning rate set after every batch."""

    def __init__(self, spec: RunSpec, dataset: Dataset) -> None:
        super().__init__()
        self.spec, self.steps = spec, spec.steps(len(dataset.train_images))
        self.net = initial_model(spec, dataset)
        self.losses: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self.net(images), labels)
        self.losses.append(loss.detach())
        return loss

    def on_train_epoch_start(self) -> None:
        self.losses.clear()

    def configure_optimizers(self) -> Any:
        optimizer = _plain_optimizer(self.spec, self.net.parameters())
        schedule = {"scheduler": _schedule(self.spec, optimizer, self.steps), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def mean_loss(self) -> float:
        """Mean loss of the last epoch."""
        return float(torch.stack(self.losses).mean())


class _Pictures(TorchDataset[tuple[Any, int]]):
    """Images as torchvision's MNIST and CIFAR10 give them: a PIL image, transformed, and an int."""

    def __init__(self, dataset: Dataset, transform: transforms.Compose) -> None:
        self.pixels = dataset.train_images.permute(0, 2, 3, 1).contiguous().numpy()
        if self.pixels.shape[3] == 1:
            self.pixels = self.pixels[..., 0]
        self.labels = dataset.train_labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def _transform(spec: RunSpec, dataset: Dataset) -> transforms.Compose:
    normaliser = Normaliser.fit(dataset.train_images)  # of 0 to 255; Normalize wants 0 to 1
    deviation = 1 / normaliser.scale.flatten()
    mean = -normaliser.shift.flatten() * deviation
    size = dataset.shape[1:]
    varied = [transforms.RandomCrop(size, padding=CROP_PADDING), transforms.RandomHorizontalFlip()]
    fixed = [transforms.ToTensor(), transforms.Normalize((mean / 255).tolist(), (deviation / 255).tolist())]
    return transforms.Compose([*(varied if spec.augment else []), *fixed])


def train_textbook(specs: Sequence[RunSpec], dataset: Dataset) -> list[PeerModel]:
    """Train ``specs`` one after another with a plain loop over normalised float32 tensors.

    The common tutorial: `TensorDataset`, `DataLoader`, no trainer. Nothing is augmented, whatever the
    spec says, so it does less than the others where ``augment`` is set.
    """
    return [_train_textbook(spec, dataset.limited(spec.train_size)) for spec in specs]


def _train_textbook(spec: RunSpec, dataset: Dataset) -> PeerModel:
    images = Normaliser.fit(dataset.train_images)(dataset.train_images)
    loader = DataLoader(
        TensorDataset(images, dataset.train_labels),
        batch_size=spec.batch_size,
        shuffle=True,
        drop_last=True,
        generator=torch.Generator().manual_seed(spec.data_seed),
    )
    model = initial_model(spec, dataset).train()
    optimizer = _plain_optimizer(spec, model.parameters())
    schedule = _schedule(spec, optimizer, spec.steps(len(images)))
    steps, loss = 0, 0.0
    for _ in range(spec.epochs):
        loss = 0.0
        for inputs, labels in loader:
            optimizer.zero_grad()
            batch_loss = F.cross_entropy(model(inputs), labels)
            batch_loss.backward()
            optimizer.step()
            schedule.step()
            loss += batch_loss.item()
            steps += 1
    return PeerModel(steps, loss / len(loader), model.state_dict())


def _plain_optimizer(spec: RunSpec, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The spec's optimizer as PyTorch chooses its implementation, which is not the fused one."""
    if spec.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=spec.lr, weight_decay=spec.weight_decay)
    if spec.optimizer != "sgd":
        raise ValueError(f"the peers have no {spec.optimizer}; compare with sgd or adam")
    return torch.optim.SGD(parameters, lr=spec.lr, momentum=spec.momentum, weight_decay=spec.weight_decay)


def _schedule(spec: RunSpec, optimizer: torch.optim.Optimizer, steps: int) -> LambdaLR:
    return LambdaLR(optimizer, lambda step: learning_rate(spec, step, steps) / spec.lr)


def match_weights(
    spec: PermutationSpec, a: State, b: State, *, seed: int = 0, max_sweeps: int = 100
) -> dict[str, Tensor]:
    """The permutations of ``b`` that algorithm 1 of Ainsworth et al. (ICLR 2023) finds, as it stands there.

    One group after another, every assignment from a cold start, sums in the weights' own float32, until a whole
    sweep improves nothing. The order of the groups is that of `lmc.merging.weight_matching` for the same seed, so
    both walk towards the same local optimum.

    Args:
        spec: which axes share an order; no group may own two axes of one parameter.
        a: state dict to match.
        b: state dict to permute.
        seed: of the order of groups.
        max_sweeps: in float32 near-ties could improve on one another forever.
    """
    learned = {name: labels for name, labels in spec.axes.items() if name not in spec.buffers}
    orders = {group: torch.arange(size) for group, size in spec.groups.items()}
    rng = np.random.default_rng(seed)
    for _ in range(max_sweeps):
        progress = False
        for group in rng.permutation(sorted(spec.groups)):
            size = spec.groups[group]
            gains = torch.zeros(size, size)
            for name, labels in learned.items():
                groups = [axis.group if isinstance(axis, Axis) else None for axis in labels]
                if group in groups:
                    others = {other: order for other, order in orders.items() if other != group}
                    pair = a[name], _reordered(b[name], labels, others)
                    one, other = (each.movedim(groups.index(group), 0).reshape(size, -1) for each in pair)
                    gains += one @ other.T
            best = torch.from_numpy(linear_sum_assignment(gains.numpy(), maximize=True)[1])
            rows = torch.arange(size)
            if gains[rows, best].sum() > gains[rows, orders[group]].sum() + 1e-12:
                orders[group], progress = best, True
        if not progress:
            break
    return orders


def _reordered(tensor: Tensor, labels: Labels, orders: Mapping[str, Tensor]) -> Tensor:
    for number, axis in enumerate(labels):
        if isinstance(axis, Axis) and axis.group in orders:
            blocks = tensor.unflatten(number, (-1, axis.repeat))
            tensor = blocks.index_select(number, orders[axis.group]).flatten(number, number + 1)
    return tensor
