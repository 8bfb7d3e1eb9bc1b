"""The paper tier: Appendix B as written."""

from __future__ import annotations

from lmc.specs import RunSpec
from lmc.tiers.families import Family, Setting, Tier, sophia, variant
from lmc.tiers.seeds import MANY_SEEDS

_MLP_WIDTHS = (1 / 4, 1 / 2, 1, 2, 4, 8, 16)
_VGG_WIDTHS = (1 / 4, 1 / 2, 1, 2, 4, 8, 16)
_RESNET_WIDTHS = (1, 2, 4, 8, 16, 32)
NARROW_CIFAR10, _NARROW_CIFAR100 = 0.3, 0.1  # several times chance: what strong decay must leave of narrow nets


MLP = Family(
    RunSpec(
        dataset="mnist",
        arch="mlp",
        width=1,
        optimizer="adam",
        schedule="constant",
        lr=1e-3,
        weight_decay=0.003,
        epochs=100,
        batch_size=512,
    ),
    _MLP_WIDTHS,
)
VGG = Family(
    RunSpec(
        dataset="cifar10",
        arch="vgg11",
        width=1,
        augment=True,
        lr=0.4,
        weight_decay=0.003,
        epochs=100,
        batch_size=500,
    ),
    _VGG_WIDTHS,
)


def paper() -> Tier:
    """100 epochs, MLP and VGG-11 to 16x, ResNet-20 to 32x, CIFAR-100, three independent pairs.

    Deviates: the last epoch's weights are kept, not those with the best test accuracy; what the extracted
    text of the paper does not give (the narrow widths, the MLP's decay) is taken from its companion's recipe.
    """
    resnet = variant(VGG, arch="resnet20", widths=_RESNET_WIDTHS)
    return Tier(
        "paper",
        (
            *(
                _mlp(variant(MLP, dataset=name), accuracy)
                for name, accuracy in (("mnist", 0.95), ("fashion-mnist", 0.82))
            ),
            _convolutional("vgg-cifar10", VGG, wide=(4, 16), min_accuracy=0.8),
            _convolutional("resnet-cifar10", resnet, wide=(4, 16), min_accuracy=0.8),
            _cifar100("vgg-cifar100", VGG),
            _cifar100("resnet-cifar100", resnet),
        ),
        "Appendix B of the paper; GPUs for hours, a cluster, always resumable",
        mixed_precision=True,
    )


def _mlp(strong: Family, min_accuracy: float) -> Setting:
    wide = (1, 4, 16)
    return Setting(
        f"mlp-{strong.recipe.dataset}",
        {
            "strong": strong,
            "weak": variant(strong, weight_decay=1e-4, widths=wide),
            "zero": variant(strong, weight_decay=0.0, widths=wide),
            "many": variant(strong, bias=False, widths=(1 / 4, 1, 4), seeds=MANY_SEEDS[:12]),
            "crowd": variant(strong, bias=False, widths=(1,), seeds=MANY_SEEDS),
            "bn": variant(strong, arch="mlp-bn", widths=wide),
            "skip": variant(strong, arch="mlp-skip", widths=wide),
            "shallow": variant(strong, depth=2, widths=wide),
            "deep": variant(strong, depth=4, widths=wide),
            "sophia": sophia(strong, widths=wide),
        },
        min_accuracy=min_accuracy,
        wide=wide[0],
    )


def _convolutional(name: str, strong: Family, *, wide: tuple[float, ...], min_accuracy: float) -> Setting:
    return Setting(
        name,
        {
            "strong": strong,
            "weak": variant(strong, weight_decay=1e-4, widths=wide),
            "zero": variant(strong, weight_decay=0.0, widths=wide),
            "sophia": sophia(strong, widths=(1, *wide)),
        },
        min_accuracy=min_accuracy,
        wide=wide[0],
        narrow_accuracy=NARROW_CIFAR10,
    )


def _cifar100(name: str, family: Family) -> Setting:
    strong = {"strong": variant(family, dataset="cifar100")}
    return Setting(name, strong, min_accuracy=0.4, wide=4, narrow_accuracy=_NARROW_CIFAR100)
