"""The vocabulary of tiers: families of models, settings, tiers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

from lmc.architectures import architecture
from lmc.errors import SpecError
from lmc.specs import RunSpec

VERDICT_SEEDS = (60, 61, 62, 63, 64, 65)
"""Six models make three independent pairs. Thresholds were chosen on others, from 1230 on (see `PILOT_OFFSET`).
Seeds 0 to 59 served earlier verdicts, after which recipes, claims or bounds were changed; they decide nothing now.
The quick tier's convolutional nets have seeds of their own for the same reason."""


MANY_SEEDS = tuple(range(VERDICT_SEEDS[0], VERDICT_SEEDS[0] + 24))
"""Three independent groups of eight."""

PILOT_OFFSET = 1230 - VERDICT_SEEDS[0]
"""What is added to a verdict seed to get a pilot seed."""


@dataclass(frozen=True)
class Family:
    """One recipe at several widths, from several seeds.

    Args:
        recipe: the spec, but for width and seeds.
        widths: increasing multipliers.
        seeds: consecutive seeds form the independent pairs.
        reach: with how many others to either side around a ring a model is paired.
    """

    recipe: RunSpec
    widths: tuple[float, ...]
    seeds: tuple[int, ...] = VERDICT_SEEDS
    reach: int = 3

    def spec(self, width: float, seed: int) -> RunSpec:
        """The spec of one model."""
        return dataclasses.replace(self.recipe, width=width).with_seed(seed)

    def groups(self, size: int) -> list[tuple[int, ...]]:
        """As many groups of ``size`` seeds as there are, no two of which share a model."""
        return [self.seeds[first : first + size] for first in range(0, len(self.seeds) - size + 1, size)]

    @property
    def independent(self) -> list[tuple[int, int]]:
        """Pairs of seeds no two of which share a model."""
        return [(first, second) for first, second in self.groups(2)]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every model with up to ``reach`` others to either side around a ring; by default all pairs of seven."""
        return self._within(self.reach)

    @property
    def neighbours(self) -> list[tuple[int, int]]:
        """Every model with the next one to either side, the independent pairs among them."""
        return self._within(1)

    def _within(self, reach: int) -> list[tuple[int, int]]:
        n = len(self.seeds)
        places = [(i, j) for i, j in combinations(range(n), 2) if min(j - i, n + i - j) <= reach]
        return [(self.seeds[i], self.seeds[j]) for i, j in places]


@dataclass(frozen=True)
class Setting:
    """An architecture on a dataset.

    Args:
        name: unique within the tier.
        families: by role: ``strong`` (the paper's recipe), ``weak`` and ``zero`` (less decay and none),
            ``bn``, ``skip``, ``shallow`` and ``deep`` (variants of the MLP), ``sophia`` (another
            optimizer), ``many`` and ``crowd`` (without biases and of more
            seeds, for merging more than two).
        min_accuracy: below this an endpoint counts as undertrained and its claims are invalid.
        narrow_accuracy: the same for models narrower than ``wide``, where strong decay leaves a net too few
            channels to reach ``min_accuracy`` at all; ``None`` where they reach it too.
        wide: claims about wide models are not run where the widest is narrower than this.
    """

    name: str
    families: Mapping[str, Family]
    min_accuracy: float
    wide: float = 0.0
    narrow_accuracy: float | None = None

    @property
    def kind(self) -> str:
        """That of the strong family's architecture, see `lmc.architectures.Architecture`; claims name theirs.

        Raises:
            SpecError: the architecture is not in the table.
        """
        return architecture(self.families["strong"].recipe.arch).kind

    def accuracy_floor(self, width: float) -> float:
        """The accuracy below which a model of ``width`` counts as undertrained."""
        if self.narrow_accuracy is None or width >= self.wide:
            return self.min_accuracy
        return self.narrow_accuracy


@dataclass(frozen=True)
class Tier:
    """A named choice of settings.

    Args:
        name: ``quick``, ``preview``, ``standard`` or ``paper``.
        settings: what is trained.
        about: one line for the plan and the report.
        mixed_precision: whether to train in bf16 where the device is fast at it, as the authors did; the
            recipes themselves say fp32.
    """

    name: str
    settings: tuple[Setting, ...]
    about: str
    mixed_precision: bool = False


def variant(
    family: Family,
    *,
    widths: tuple[float, ...] | None = None,
    seeds: tuple[int, ...] | None = None,
    **changes: object,
) -> Family:
    """``family`` with other widths, seeds, or fields of its recipe."""
    recipe = dataclasses.replace(family.recipe, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(family, recipe=recipe, widths=widths or family.widths, seeds=seeds or family.seeds)


def with_pilot_seeds(tier: Tier) -> Tier:
    """``tier`` on the seeds that thresholds are chosen on, none of which a verdict uses."""

    def pilot(family: Family) -> Family:
        return dataclasses.replace(family, seeds=tuple(PILOT_OFFSET + seed for seed in family.seeds))

    return _map_families(tier, pilot)


def restricted(
    tier: Tier, *, arch: str | None = None, dataset: str | None = None, max_width: float | None = None
) -> Tier:
    """The part of ``tier`` with this architecture and dataset, up to this width.

    Args:
        tier: to choose from.
        arch: a kind (``mlp``, ``vgg``, ``resnet``) or a registered architecture; ``None`` for all.
        dataset: ``None`` for all.
        max_width: the widest multiplier; ``None`` for no limit. A family with nothing left is dropped.

    Raises:
        SpecError: nothing of the tier is left.
    """
    kept = []
    for setting in tier.settings:
        recipe = setting.families["strong"].recipe
        if (arch is None or arch in (setting.kind, recipe.arch)) and dataset in (None, recipe.dataset):
            families = {
                role: dataclasses.replace(family, widths=widths)
                for role, family in setting.families.items()
                if (widths := tuple(each for each in family.widths if max_width is None or each <= max_width))
            }
            if "strong" in families:
                kept.append(dataclasses.replace(setting, families=families))
    if not kept:
        there = ", ".join(f"{each.kind} on {each.families['strong'].recipe.dataset}" for each in tier.settings)
        asked = f"arch {arch or 'any'}, dataset {dataset or 'any'}, widths up to {max_width or 'any'}"
        raise SpecError(f"tier {tier.name} has nothing for {asked}; it has {there}")
    return dataclasses.replace(tier, settings=tuple(kept))


def with_precision(tier: Tier, precision: str) -> Tier:
    """``tier`` with every model trained in ``precision``, see `lmc.specs.PRECISIONS`."""

    def change(family: Family) -> Family:
        return variant(family, precision=precision)

    return _map_families(tier, change)


def _map_families(tier: Tier, change: Callable[[Family], Family]) -> Tier:
    settings = tuple(
        dataclasses.replace(setting, families={role: change(each) for role, each in setting.families.items()})
        for setting in tier.settings
    )
    return dataclasses.replace(tier, settings=settings)
