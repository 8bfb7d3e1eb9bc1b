"""The standard tier: the paper's datasets at reduced width and epochs.

Under SGD the paper's decay horizon is kept. Adam's steps do not scale with the gradient, so that η · wd says little of
its decay: its MLPs keep rate and decay, and by their ranks and conditions 12 epochs are enough.
"""

from __future__ import annotations

from lmc.tiers.families import Family, Setting, Tier, decays, sophia, sophias, spawned, variant
from lmc.tiers.paper import MLP, NARROW_CIFAR10, VGG
from lmc.tiers.seeds import MANY_SEEDS

_NARROW, _MIDDLE, _WIDE = 1 / 16, 1 / 4, 1


def standard() -> Tier:
    """MLPs on MNIST and Fashion-MNIST, VGG-11 and ResNet-20 on CIFAR-10."""
    mlp = variant(MLP, epochs=12, widths=(_NARROW, _MIDDLE, _WIDE, 2))
    # 15 of 100 epochs in batches of half the size: 3.3 times the decay keeps the horizon of 6.
    vgg = variant(VGG, epochs=15, batch_size=250, weight_decay=0.01, widths=(1 / 8, 1 / 2, 2, 4))
    resnet = variant(vgg, arch="resnet20", widths=(1 / 4, 1, 4, 8))
    return Tier(
        "standard",
        (
            _mnist(variant(mlp, widths=(*mlp.widths, 4))),
            Setting("mlp-fashion-mnist", _mlp(variant(mlp, dataset="fashion-mnist")), min_accuracy=0.78, wide=_WIDE),
            _convolutional("vgg-cifar10", vgg, wide=2, more={"spawned": spawned(vgg, widths=(2,))}),
            _convolutional("resnet-cifar10", resnet, wide=4),
        ),
        "MNIST, Fashion-MNIST and CIFAR-10 at fewer epochs; for one modern GPU, the MLPs also for a CPU",
        mixed_precision=True,
    )


def _mnist(strong: Family) -> Setting:
    more = {
        **decays(strong, 3e-4, 1e-3, 1e-2, widths=(_MIDDLE, _WIDE)),  # with strong, weak and zero, six of them
        **sophias(strong, widths=(_NARROW, _MIDDLE, _WIDE)),
        "spawned": spawned(strong, widths=(_WIDE,)),
        "shallow": variant(strong, depth=2, widths=(_WIDE,)),
        "deep": variant(strong, depth=4, widths=(_WIDE,)),
        "many": variant(strong, bias=False, widths=(_NARROW, _MIDDLE, _WIDE), seeds=MANY_SEEDS[:12]),
        "crowd": variant(strong, bias=False, widths=(_WIDE,), seeds=MANY_SEEDS),
    }
    return Setting("mlp-mnist", {**_mlp(strong), **more}, min_accuracy=0.93, wide=_WIDE)


def _mlp(strong: Family) -> dict[str, Family]:
    return {
        "strong": strong,
        "weak": variant(strong, weight_decay=1e-4, widths=(_MIDDLE, _WIDE)),
        "zero": variant(strong, weight_decay=0.0, widths=(_MIDDLE, _WIDE)),
        "bn": variant(strong, arch="mlp-bn", widths=(_MIDDLE, _WIDE)),
        "skip": variant(strong, arch="mlp-skip", widths=(_MIDDLE, _WIDE)),
        "sophia": sophia(strong, widths=(_NARROW, _MIDDLE, _WIDE)),
    }


def _convolutional(name: str, strong: Family, *, wide: float, more: dict[str, Family] | None = None) -> Setting:
    return Setting(
        name,
        {
            "strong": strong,
            "weak": variant(strong, weight_decay=3.3e-4, widths=(wide,)),
            "zero": variant(strong, weight_decay=0.0, widths=(wide,)),
            **(more or {}),
        },
        min_accuracy=0.75,
        wide=wide,
        narrow_accuracy=NARROW_CIFAR10,
    )
