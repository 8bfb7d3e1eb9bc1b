"""Models small enough to train within a test, and a tier of them with every family that a claim asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lmc.data import Dataset, load_dataset
from lmc.measuring.inputs import HeldInputs
from lmc.measuring.measurements import Measurement, PairMeasurement
from lmc.measuring.records import measure
from lmc.nets import build, memory_format_of
from lmc.specs import RunSpec
from lmc.tiers import Family, Setting, Tier
from lmc.tiers.families import decays, spawned, variant
from lmc.training.engine import train, train_stack

MLP = RunSpec(dataset="digits", arch="mlp", width=1 / 64, optimizer="adam", lr=4e-3, epochs=1, batch_size=50)
VGG = replace(MLP, arch="vgg-small", width=1 / 16, optimizer="sgd", lr=0.1)
RESNET = replace(VGG, arch="resnet8", width=1 / 4)


@cache
def dataset(name: str) -> Dataset:
    """Two hundred training and a hundred test images of 8x8 pixels: digits, or noisy patterns of 100 classes."""
    if name == "digits":
        digits = load_dataset("digits", Path("absent")).limited(200)
        return replace(digits, test_images=digits.test_images[:100], test_labels=digits.test_labels[:100])
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(100)
    patterns, *noise = (torch.randint(0, 128, (100, 3, 8, 8), generator=generator).byte() for _ in range(4))
    first, second, test_images = (patterns + each for each in noise)
    train_images = torch.cat([first, second])
    return Dataset(name, train_images, labels.repeat(2), test_images, labels, tuple(map(str, range(100))), "made here")


class FewPairs(Family):
    """A family measured on its independent pairs and, but for siblings, one more, which shares models with them."""

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """See `Family`."""
        return super().pairs if self.siblings > 1 else [*self.independent, (self.seeds[0], self.seeds[2])]


def tier() -> Tier:
    """Every kind of architecture with every family it needs; CIFAR-100 with the strong one only."""
    mlp = Family(replace(MLP, weight_decay=1e-2), (1 / 256, 1 / 128, 1 / 64))
    vgg = Family(replace(VGG, weight_decay=1e-2), (1 / 64, 1 / 32, 1 / 16))
    resnet = Family(replace(RESNET, weight_decay=1e-2), (1 / 16, 1 / 8, 1 / 4))

    def roles(strong: Family) -> dict[str, Family]:
        wide = strong.widths[2:]
        return {
            "strong": strong,
            "weak": variant(strong, weight_decay=1e-4, widths=wide),
            "zero": variant(strong, weight_decay=0.0, widths=wide),
            "sophia": variant(strong, optimizer="sophia", lr=0.05),
            "spawned": spawned(variant(strong, epochs=2), widths=wide),
        }

    mlps = roles(mlp) | {
        "sophia-first-order": variant(mlp, optimizer="sophia", widths=mlp.widths[2:]),
        "sophia-coupled": variant(mlp, optimizer="sophia", lr=0.05, weight_decay=2e-2),
        **decays(mlp, 3e-4, 1e-3, widths=mlp.widths[2:]),
        "decay-0.01": variant(mlp, weight_decay=2e-2, widths=mlp.widths[2:]),
        "bn": variant(mlp, arch="mlp-bn", widths=mlp.widths[2:]),
        "skip": variant(mlp, arch="mlp-skip", widths=mlp.widths[2:]),
        "shallow": variant(mlp, depth=2, widths=mlp.widths[2:]),
        "deep": variant(mlp, depth=4, widths=mlp.widths[2:]),
        "many": variant(mlp, bias=False, seeds=tuple(range(12))),
        "crowd": variant(mlp, bias=False, widths=mlp.widths[2:], seeds=tuple(range(24))),
    }
    vit = variant(mlp, arch="vit", bias=False, widths=(1 / 8, 1 / 4, 1 / 2))
    settings = (
        ("mlp-tiny", mlps),
        ("vit-tiny", {"strong": vit, "weak": variant(vit, weight_decay=1e-4, widths=(1 / 2,))}),
        ("vgg-tiny", roles(vgg)),
        ("resnet-tiny", {role: each for role, each in roles(resnet).items() if role not in ("sophia", "spawned")}),
        ("vgg-cifar100", {"strong": variant(vgg, dataset="cifar100")}),
    )
    few = {
        name: {
            role: FewPairs(each.recipe, each.widths, each.seeds, siblings=each.siblings)
            for role, each in families.items()
        }
        for name, families in settings
    }
    return Tier("tiny", tuple(Setting(name, families, 0.0) for name, families in few.items()), "for tests")


def trained(family: Family, width: float, seeds: tuple[int, ...] | None = None) -> Mapping[RunSpec, dict[str, Tensor]]:
    """The weights of a family's models of one width."""
    specs = [family.spec(width, seed) for seed in seeds or family.seeds]
    images = dataset(family.recipe.dataset)
    if (
        family.recipe.optimizer == "sophia" or family.recipe.arch == "vit" or family.siblings > 1
    ):  # which are not stacked
        models = [train(spec, images) for spec in specs]
    else:
        models = train_stack(specs, images)
    return {spec: model.state for spec, model in zip(specs, models, strict=True)}


# -- Single models, and what is measured of them. --

DIGITS = dataset("digits")
SPECS = {
    "mlp": replace(MLP, width=1 / 32, epochs=6),
    "mlp-bn": replace(MLP, arch="mlp-bn", width=1 / 32, epochs=3),
    "vgg": replace(VGG, epochs=3),
    "resnet": replace(RESNET, epochs=3),
}
State = Mapping[str, Tensor]


@cache
def state_of(spec: RunSpec) -> State:
    """Trained weights, not to be changed."""
    return train(spec, DIGITS).state


def network(spec: RunSpec, state: State) -> nn.Module:
    """A network of its own, in evaluation mode."""
    net = build(spec.arch, spec.width, DIGITS.shape, len(DIGITS.classes))
    net.load_state_dict(state)
    return net.to(memory_format=memory_format_of(spec.arch)).eval()


def inputs_of(images: Dataset = DIGITS) -> HeldInputs:
    """The images as the models' inputs."""
    return HeldInputs.of(images, None, "cpu")


def measured(measurement: Measurement, images: Dataset = DIGITS) -> dict[str, Any]:
    """The record of a measurement of trained models."""
    return measure(measurement, [state_of(spec) for spec in measurement.specs], images, "cpu")


def seeds(name: str, count: int) -> tuple[RunSpec, ...]:
    """The first ``count`` specs of one of `SPECS`."""
    return tuple(SPECS[name].with_seed(seed) for seed in range(count))


def pair(name: str, **changes: Any) -> PairMeasurement:
    """The first two models of one of `SPECS`."""
    a, b = seeds(name, 2)
    return PairMeasurement(a, b, **changes)
