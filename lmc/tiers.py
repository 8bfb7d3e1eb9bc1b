"""What each tier trains, as data.

A *setting* is an architecture on a dataset; it holds one or more *families*: a recipe trained at several
widths from several seeds. The family ``strong`` is the paper's recipe; ``weak`` differs in nothing but
its weight decay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from lmc.errors import SpecError
from lmc.specs import RunSpec

VERDICT_SEEDS = (6, 7, 8, 9, 10, 11)
"""Six models make three independent pairs. Thresholds were chosen on others, from `PILOT_OFFSET` on.
Seeds 0 to 5 served a first verdict, after which recipes were changed; they decide nothing now."""


PILOT_OFFSET = 1200


@dataclass(frozen=True)
class Family:
    """One recipe at several widths, from several seeds.

    Args:
        recipe: the spec, but for width and seeds.
        widths: increasing multipliers.
        seeds: consecutive seeds form the independent pairs.
    """

    recipe: RunSpec
    widths: tuple[float, ...]
    seeds: tuple[int, ...] = VERDICT_SEEDS

    def spec(self, width: float, seed: int) -> RunSpec:
        """The spec of one model."""
        return dataclasses.replace(self.recipe, width=width).with_seed(seed)

    @property
    def independent(self) -> list[tuple[int, int]]:
        """Pairs of seeds no two of which share a model."""
        return list(zip(self.seeds[0::2], self.seeds[1::2], strict=False))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every pair of seeds."""
        return list(combinations(self.seeds, 2))


@dataclass(frozen=True)
class Setting:
    """An architecture on a dataset.

    Args:
        name: unique within the tier.
        kind: ``"mlp"``, ``"vgg"`` or ``"resnet"``; claims name the kinds they are made for.
        families: by role: ``strong``, ``weak``, and for the MLP ``bn`` and ``skip``.
        min_accuracy: below this an endpoint counts as undertrained and its claims are invalid.
    """

    name: str
    kind: str
    families: Mapping[str, Family]
    min_accuracy: float


@dataclass(frozen=True)
class Tier:
    """A named choice of settings.

    Args:
        name: ``quick``, ``standard`` or ``paper``.
        settings: what is trained.
        about: one line for the plan and the report.
    """

    name: str
    settings: tuple[Setting, ...]
    about: str


def _variant(family: Family, *, widths: tuple[float, ...] | None = None, **changes: object) -> Family:
    recipe = dataclasses.replace(family.recipe, **changes)  # type: ignore[arg-type]
    return Family(recipe, family.widths if widths is None else widths, family.seeds)


def _quick() -> Tier:
    mlp = Family(
        RunSpec(
            dataset="digits",
            arch="mlp",
            width=1,
            optimizer="adam",
            lr=4e-3,
            weight_decay=0.012,
            epochs=50,
            batch_size=50,
        ),
        (1 / 16, 1 / 4, 1),
    )
    vgg = Family(
        RunSpec(
            dataset="digits",
            arch="vgg-small",
            width=1,
            lr=0.2,
            weight_decay=0.03,
            epochs=20,
            batch_size=16,
        ),
        (1 / 8, 1 / 4, 1 / 2, 3 / 4),
    )
    resnet = Family(
        dataclasses.replace(vgg.recipe, arch="resnet8", weight_decay=0.02, epochs=12), (1 / 4, 1, 3 / 2)
    )
    return Tier(
        "quick",
        (
            Setting(
                "mlp-digits",
                "mlp",
                {
                    "strong": mlp,
                    "weak": _variant(mlp, weight_decay=4e-4, widths=(1 / 4, 1)),
                    "bn": _variant(mlp, arch="mlp-bn", widths=(1 / 4,)),
                    "skip": _variant(mlp, arch="mlp-skip", widths=(1 / 4,)),
                },
                min_accuracy=0.93,
            ),
            Setting(
                "vgg-digits",
                "vgg",
                {"strong": vgg, "weak": _variant(vgg, weight_decay=5e-4, widths=(3 / 4,))},
                min_accuracy=0.93,
            ),
            Setting(
                "resnet-digits",
                "resnet",
                {"strong": resnet, "weak": _variant(resnet, weight_decay=5e-4, widths=(1,))},
                min_accuracy=0.9,
            ),
        ),
        "scikit-learn's digits, nothing to download; minutes on a laptop",
    )


_TIERS = {"quick": _quick}


def tier_names() -> tuple[str, ...]:
    """The tiers there are."""
    return tuple(_TIERS)


def load_tier(name: str) -> Tier:
    """The tier called ``name``.

    Raises:
        SpecError: there is none.
    """
    if name not in _TIERS:
        raise SpecError(f"unknown tier {name!r}; choose one of {', '.join(_TIERS)}")
    return _TIERS[name]()


def with_pilot_seeds(tier: Tier) -> Tier:
    """``tier`` on the seeds that thresholds are chosen on, none of which a verdict uses."""
    settings = tuple(
        dataclasses.replace(
            setting,
            families={
                role: dataclasses.replace(family, seeds=tuple(PILOT_OFFSET + seed for seed in family.seeds))
                for role, family in setting.families.items()
            },
        )
        for setting in tier.settings
    )
    return dataclasses.replace(tier, settings=settings)
