"""The laptop tier: the paper's convolutional nets on real images, where a CPU can train past the onset of merging.

With fewer classes, narrower nets merge: VGG-11 and ResNet-20 of the paper's topology, on two, four and ten classes of
CIFAR-10 and on ten that are relabelled into two. All train on 10,000 images of 32x32, so that only the classes differ.
"""

from __future__ import annotations

import dataclasses

from lmc.specs import RunSpec
from lmc.tiers.families import Family, Setting, Tier, decays, sophia, variant

TWO = ((1,), (6,))
"""Automobile against frog."""
FOUR = ((0,), (1,), (6,), (7,))
"""Airplane, automobile, frog and horse."""
TEN_AS_TWO = ((0, 1, 2, 8, 9), (3, 4, 5, 6, 7))
"""The images of all classes with two labels, vehicles and birds against the other animals."""

_VGG = RunSpec(
    dataset="cifar10",
    arch="vgg11",
    width=1,
    classes=TWO,
    train_size=10_000,
    augment=True,
    lr=0.2,
    weight_decay=0.01,
    epochs=20,
    batch_size=100,
)
_RESNET = dataclasses.replace(_VGG, arch="resnet20", weight_decay=0.02, epochs=12)
_WEAK = 5e-4


def laptop() -> Tier:
    """Two classes first: strong decay at three widths, less at the widest. Every setting can be run by itself.

    The decay horizons are 2 (VGG-11) and 2.4 (ResNet-20) where the paper's is 6. Twice the decay brings VGG-11's
    barrier down further and its accuracy on two classes to 0.936, so it stands in the sweep of decays only.
    """
    vgg = Family(_VGG, (1 / 16, 1 / 8, 1 / 4))
    resnet = Family(_RESNET, (1 / 8, 1 / 4, 1 / 2))
    vgg_4 = variant(vgg, classes=FOUR, widths=(1 / 16, 1 / 8, 1 / 4, 1 / 2))
    vgg_10 = variant(vgg, classes=(), widths=(1 / 8, 1 / 4, 1 / 2))
    resnet_4 = variant(resnet, classes=FOUR, widths=(1 / 4, 1 / 2, 1))
    return Tier(
        "laptop",
        (
            _setting("vgg-cifar10-2", vgg, wide=1 / 4, more=decays(vgg, 2e-3, 5e-3, 2e-2, widths=(1 / 4,))),
            _setting("resnet-cifar10-2", resnet, wide=1 / 2),
            _setting("vgg-cifar10-4", vgg_4, wide=1 / 2, accuracy=0.7, narrow=0.4),
            _setting("resnet-cifar10-4", resnet_4, wide=1, accuracy=0.7, narrow=0.4),
            _only_strong("vgg-cifar10-10-as-2", variant(vgg_10, classes=TEN_AS_TWO), wide=1 / 2, accuracy=0.8),
            _only_strong("vgg-cifar10-10", vgg_10, wide=2, accuracy=0.4),
        ),
        "VGG-11 and ResNet-20 on two, four and ten classes of CIFAR-10; hours on a CPU, in parts",
        mixed_precision=True,
        small=True,
    )


def _setting(
    name: str,
    strong: Family,
    *,
    wide: float,
    accuracy: float = 0.9,
    narrow: float = 0.7,
    more: dict[str, Family] | None = None,
) -> Setting:
    """Families at the widths that a laptop has time for: the others at the one where two classes merge, and up."""
    return Setting(
        name,
        {
            "strong": strong,
            "weak": variant(strong, weight_decay=_WEAK, widths=(wide,)),
            "zero": variant(strong, weight_decay=0.0, widths=(wide,)),
            "sophia": sophia(strong, widths=(strong.widths[1],)),
            **(more or {}),
        },
        min_accuracy=accuracy,
        wide=wide,
        narrow_accuracy=narrow,
    )


def _only_strong(name: str, strong: Family, *, wide: float, accuracy: float) -> Setting:
    """For the width of the onset alone, which lies beyond these widths where there are ten classes."""
    return Setting(name, {"strong": strong}, min_accuracy=accuracy, wide=wide, narrow_accuracy=accuracy / 2)
