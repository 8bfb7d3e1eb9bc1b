"""The quick tier: scikit-learn's digits, minutes on a laptop."""

from __future__ import annotations

import dataclasses

from lmc.specs import RunSpec
from lmc.tiers.families import Family, Setting, Tier, sophia, spawned, variant
from lmc.tiers.seeds import MANY_SEEDS

_DRAWS = 4
"""So many random permutations of every pair take the place of further models: which channels meet is chance."""

_MLP = RunSpec(
    dataset="digits",
    arch="mlp",
    width=1,
    optimizer="adam",
    lr=4e-3,
    weight_decay=0.012,
    epochs=50,
    batch_size=50,
)
_VGG = RunSpec(
    dataset="digits",
    arch="vgg-small",
    width=1,
    lr=0.2,
    weight_decay=0.03,
    epochs=20,
    batch_size=16,
)
_RESNET = dataclasses.replace(_VGG, arch="resnet8", weight_decay=0.02, epochs=12)


def quick() -> Tier:
    """Small nets on 1,000 images of 8x8 pixels.

    The decay horizons are 3.7 (VGG) and 1.5 (ResNet) where the paper's is 6: enough for the mechanism, in seconds.
    """
    mlp = Family(_MLP, (1 / 16, 1 / 4, 1), draws=_DRAWS)
    vgg = Family(_VGG, (1 / 8, 1 / 4, 1 / 2), draws=_DRAWS)
    resnet = Family(_RESNET, (1 / 4, 1, 3 / 2), draws=_DRAWS)
    return Tier(
        "quick",
        (
            Setting(
                "mlp-digits",
                {
                    "strong": mlp,
                    "weak": variant(mlp, weight_decay=4e-4, widths=(1 / 4, 1)),
                    "zero": variant(mlp, weight_decay=0.0, widths=(1 / 4, 1)),
                    "bn": variant(mlp, arch="mlp-bn", widths=(1 / 4,)),
                    "skip": variant(mlp, arch="mlp-skip"),
                    "shallow": variant(mlp, depth=2, widths=(1,)),
                    "deep": variant(mlp, depth=4, widths=(1,)),
                    "sophia": sophia(mlp),
                    "spawned": spawned(mlp, widths=(1 / 4,)),
                    "many": variant(mlp, bias=False, widths=(1 / 4, 1 / 2, 1), seeds=MANY_SEEDS[:12]),
                    "crowd": variant(mlp, bias=False, widths=(1 / 4,), seeds=MANY_SEEDS),
                },
                min_accuracy=0.93,
            ),
            Setting(
                "vgg-digits",
                {
                    "strong": vgg,
                    "weak": variant(vgg, weight_decay=5e-4, widths=(1 / 2,)),
                    "zero": variant(vgg, weight_decay=0.0, widths=(1 / 2,)),
                },
                min_accuracy=0.93,
            ),
            Setting(
                "resnet-digits",
                {
                    "strong": resnet,
                    "weak": variant(resnet, weight_decay=5e-4, widths=(1,)),
                    "zero": variant(resnet, weight_decay=0.0, widths=(1,)),
                },
                min_accuracy=0.9,
            ),
        ),
        "scikit-learn's digits, nothing to download; minutes on a laptop",
        small=True,
    )
