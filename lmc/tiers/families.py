"""The vocabulary of tiers: families of models, settings, tiers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

from lmc.architectures import architecture
from lmc.errors import SpecError
from lmc.specs import RunSpec
from lmc.tiers.seeds import PILOT_OFFSET, VERDICT_SEEDS

SOPHIA_LR = 0.06


@dataclass(frozen=True)
class Family:
    """One recipe at several widths, from several seeds.

    Args:
        recipe: the spec, but for width and seeds.
        widths: increasing multipliers.
        seeds: consecutive seeds form the independent pairs.
        reach: with how many others to either side around a ring a model is paired.
        siblings: with 2, the first and second seed share a trunk, the third and fourth the next, and so on (the
            recipe's ``shared_epochs`` of it), and only siblings are paired; with 1, every model starts by itself.
        draws: permutations of its second model that a pair is measured with, the pair as it is being the first.
            Siblings have one, for another would undo what they share.

    Raises:
        SpecError: the seeds make no whole trunks, siblings would be permuted, or one of the numbers is out of range.
    """

    recipe: RunSpec
    widths: tuple[float, ...]
    seeds: tuple[int, ...] = VERDICT_SEEDS
    reach: int = 3
    siblings: int = 1
    draws: int = 1

    def __post_init__(self) -> None:
        if self.siblings not in (1, 2) or self.draws < 1:
            raise SpecError(f"siblings is {self.siblings} and draws {self.draws}; give 1 or 2, and at least 1")
        if self.siblings == 1:
            return
        if self.draws > 1:
            raise SpecError(f"draws is {self.draws}, but siblings must not be permuted; leave it at 1")
        if len(self.seeds) % 2 or self.seeds != tuple(range(self.seeds[0], self.seeds[0] + len(self.seeds))):
            raise SpecError(f"seeds {self.seeds} make no pairs of siblings; give an even number of consecutive ones")

    def spec(self, width: float, seed: int) -> RunSpec:
        """The spec of one model, the same object whenever it is asked for: its checks and its key take long."""
        if (width, seed) not in self._specs:
            trunk = seed - (seed - self.seeds[0]) % self.siblings
            self._specs[width, seed] = dataclasses.replace(self.recipe, width=width, init_seed=trunk, data_seed=seed)
        return self._specs[width, seed]

    @functools.cached_property
    def _specs(self) -> dict[tuple[float, int], RunSpec]:
        return {}

    def groups(self, size: int) -> list[tuple[int, ...]]:
        """As many groups of ``size`` seeds as there are, no two of which share a model."""
        return [self.seeds[first : first + size] for first in range(0, len(self.seeds) - size + 1, size)]

    @property
    def independent(self) -> list[tuple[int, int]]:
        """Pairs of seeds no two of which share a model."""
        return [(first, second) for first, second in self.groups(2)]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every model with up to ``reach`` others to either side around a ring, by default all pairs of seven.

        Of siblings, only each with the other.
        """
        return self.independent if self.siblings > 1 else self._within(self.reach)

    @property
    def neighbours(self) -> list[tuple[int, int]]:
        """Every model with the next one to either side, the independent pairs among them; of siblings only these."""
        return self.independent if self.siblings > 1 else self._within(1)

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
            ``decay-0.001`` and the like (that much), ``bn``, ``skip``, ``shallow`` and ``deep`` (variants of the
            MLP), ``sophia`` (another optimizer) and ``sophia-first-order``, ``sophia-coupled`` and ``sophia-horizon``
            (closer to the first one's conditions, see `sophias`), ``spawned`` (siblings), ``many`` and ``crowd``
            (without biases and of more seeds, for merging more than two).
        min_accuracy: below this an endpoint counts as undertrained and its claims are invalid, as they are where one
            has collapsed (see `lmc.claims.cases.judge`); 0 judges whatever was trained.
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
        name: see `lmc.tiers.tier_names`.
        settings: what is trained.
        about: one line for the plan and the report.
        mixed_precision: whether to train in bf16 where the device is fast at it, as the authors did; the
            recipes themselves say fp32.
        small: whether its nets and data are too small for the paper's own bounds, so that claims ask less of it.
    """

    name: str
    settings: tuple[Setting, ...]
    about: str
    mixed_precision: bool = False
    small: bool = False


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


def spawned(family: Family, *, widths: tuple[float, ...]) -> Family:
    """Pairs of siblings that part after half of the epochs, as `Setting` calls them (App. C)."""
    half = variant(family, widths=widths, shared_epochs=family.recipe.epochs // 2)
    return dataclasses.replace(half, siblings=2, draws=1)


def sophia(family: Family, *, widths: tuple[float, ...] | None = None, **changes: object) -> Family:
    """The paper's rate for Sophia and its decoupled decay (F.10), or what ``changes`` say."""
    recipe: dict[str, object] = {"lr": SOPHIA_LR, "decay": "decoupled", **changes}
    return variant(variant(family, widths=widths, optimizer="sophia"), **recipe)  # type: ignore[arg-type]


def sophias(family: Family, *, widths: tuple[float, ...]) -> dict[str, Family]:
    """What tells Sophia from the conditions that it was trained in, for "the training conditions are kept the same".

    One has the learning rate of ``family``, one its coupled decay, one decays as far as it: the product of rate and
    decay is the same.
    """
    recipe = family.recipe
    return {
        "sophia-first-order": sophia(family, widths=widths, lr=recipe.lr),
        "sophia-coupled": sophia(family, widths=widths, decay="coupled"),
        "sophia-horizon": sophia(family, widths=widths, weight_decay=recipe.weight_decay * recipe.lr / SOPHIA_LR),
    }


def decays(family: Family, *amounts: float, widths: tuple[float, ...]) -> dict[str, Family]:
    """``family`` with other decays, as `Setting` calls them."""
    return {f"decay-{each:g}": variant(family, weight_decay=each, widths=widths) for each in amounts}


def with_pilot_seeds(tier: Tier) -> Tier:
    """``tier`` on the seeds that thresholds are chosen on, none of which a verdict uses."""

    def pilot(family: Family) -> Family:
        return dataclasses.replace(family, seeds=tuple(PILOT_OFFSET + seed for seed in family.seeds))

    return _map_families(tier, pilot)


def restricted(
    tier: Tier,
    *,
    setting: tuple[str, ...] = (),
    role: tuple[str, ...] = (),
    arch: str | None = None,
    dataset: str | None = None,
    max_width: float | None = None,
) -> Tier:
    """The part of ``tier`` with these settings and families, this architecture and dataset, up to this width.

    Args:
        tier: to choose from.
        setting: names; empty for all.
        role: of families, see `Setting`; empty for all. The strong one is always kept, for others are compared with it.
        arch: a kind (``mlp``, ``vgg``, ``resnet``, ``vit``) or a registered architecture; ``None`` for all.
        dataset: ``None`` for all.
        max_width: the widest multiplier; ``None`` for no limit. A family with nothing left is dropped.

    Raises:
        SpecError: nothing of the tier is left, or it has no setting or family of a name.
    """
    _all_there(f"setting of tier {tier.name}", setting, [each.name for each in tier.settings])
    _all_there(f"family of tier {tier.name}", role, [name for each in tier.settings for name in each.families])
    kept = []
    for each in tier.settings:
        recipe = each.families["strong"].recipe
        if setting and each.name not in setting:
            continue
        if (arch is None or arch in (each.kind, recipe.arch)) and dataset in (None, recipe.dataset):
            families = {
                name: dataclasses.replace(family, widths=widths)
                for name, family in each.families.items()
                if (widths := tuple(width for width in family.widths if max_width is None or width <= max_width))
                and (not role or name in ("strong", *role))
            }
            if "strong" in families:
                kept.append(dataclasses.replace(each, families=families))
    if not kept:
        there = ", ".join(f"{each.kind} on {each.families['strong'].recipe.dataset}" for each in tier.settings)
        named = f"settings {', '.join(setting)}, " if setting else ""
        asked = f"{named}arch {arch or 'any'}, dataset {dataset or 'any'}, widths up to {max_width or 'any'}"
        raise SpecError(f"tier {tier.name} has nothing for {asked}; it has {there}")
    return dataclasses.replace(tier, settings=tuple(kept))


def _all_there(what: str, asked: tuple[str, ...], there: list[str]) -> None:
    if unknown := sorted({*asked} - {*there}):
        raise SpecError(f"there is no {what} called {', '.join(unknown)}; choose of {', '.join(dict.fromkeys(there))}")


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
