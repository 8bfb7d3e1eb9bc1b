"""The preview tier: the narrowest nets on a part of CIFAR-10, to see on a CPU that everything runs."""

from __future__ import annotations

from lmc.tiers.families import Family, Setting, Tier, variant
from lmc.tiers.paper import VGG


def preview() -> Tier:
    """VGG-11 and ResNet-20 on 10,000 images for ten epochs, at a twelfth of the paper's decay horizon.

    More decay in so few steps leaves the narrow nets at chance (0.02: accuracies of 0.2). It decides no claim about
    wide models; those need the tier ``standard`` and a GPU.
    """
    vgg = variant(VGG, train_size=10_000, epochs=10, batch_size=100, lr=0.2, weight_decay=0.005, widths=(1 / 8,))
    return Tier(
        "preview",
        (
            _setting("vgg-cifar10", vgg, wide=2),
            _setting("resnet-cifar10", variant(vgg, arch="resnet20", widths=(1 / 4,)), wide=4),
        ),
        "narrow nets on a fifth of CIFAR-10; minutes on a CPU, proves the path and nothing about width",
        mixed_precision=True,
        small=True,
    )


def _setting(name: str, strong: Family, *, wide: float) -> Setting:
    return Setting(name, {"strong": strong}, min_accuracy=0.3, wide=wide)
