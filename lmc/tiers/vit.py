"""The transformer tier: small pre-LayerNorm vision transformers on scikit-learn's digits. Beyond the paper."""

from __future__ import annotations

from lmc.specs import RunSpec
from lmc.tiers.families import Family, Setting, Tier, variant

_VIT = RunSpec(
    dataset="digits",
    arch="vit",
    width=1,
    bias=False,
    optimizer="adam",
    decay="decoupled",
    lr=2e-3,
    weight_decay=6.0,
    epochs=40,
    batch_size=50,
)


def vit() -> Tier:
    """Models 32 to 256 wide without biases, under AdamW at a decay horizon of 4.8; weak decay has 0.8.

    An average scales a residual stream by λ and what a branch of two layers adds to it by λ²; the paper's law has no
    such case.
    """
    strong = Family(_VIT, (1 / 4, 1 / 2, 1, 2))
    return Tier(
        "vit",
        (
            Setting(
                "vit-digits",
                {
                    "strong": strong,
                    "weak": variant(strong, weight_decay=1.0, widths=(1 / 2, 1)),
                    "zero": variant(strong, weight_decay=0.0, widths=(1 / 2, 1)),
                },
                min_accuracy=0.9,
                wide=1,
                narrow_accuracy=0.3,  # strong decay leaves the narrowest 0.42
            ),
        ),
        "small vision transformers on scikit-learn's digits; minutes on a laptop",
        small=True,
    )
