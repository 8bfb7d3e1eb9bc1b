"""Tiers as data: every family can be trained, costed and judged; parts of a tier; pilot seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations, pairwise
from typing import Any

import pytest

from lmc.architectures import architecture
from lmc.claims.cases import cases
from lmc.claims.paper import CLAIMS
from lmc.datasets import size_of
from lmc.errors import SpecError
from lmc.measuring.measurements import PairMeasurement
from lmc.nets.costs import net_cost
from lmc.specs import RunSpec
from lmc.tiers import Family, Setting, Tier, load_tier, restricted, tier_names, with_pilot_seeds, with_precision
from lmc.tiers.families import sophias, spawned, variant
from lmc.tiers.seeds import PILOT_OFFSET, SEED_BLOCKS, VERDICT_SEEDS, VERDICTS

every_tier = pytest.mark.parametrize("name", tier_names())
every_full_tier = pytest.mark.parametrize("name", [name for name in tier_names() if name != "preview"])
of_every_kind = pytest.mark.parametrize("name", ["quick", "standard", "paper"])
RECIPE = RunSpec(dataset="digits", arch="mlp", width=1)


def families(tier: Tier) -> Iterator[tuple[Setting, str, Family]]:
    for setting in tier.settings:
        for role, family in setting.families.items():
            yield setting, role, family


def test_there_are_six_tiers_and_no_other() -> None:
    assert tier_names() == ("quick", "preview", "laptop", "vit", "standard", "paper")
    with pytest.raises(SpecError, match="unknown tier 'huge'; choose one of quick, preview, laptop, vit, standard"):
        load_tier("huge")


@every_tier
def test_every_family_has_three_independent_pairs_and_trainable_models(name: str) -> None:
    tier = load_tier(name)
    assert tier.name == name
    assert len({setting.name for setting in tier.settings}) == len(tier.settings)
    for setting, role, family in families(tier):
        where = f"{setting.name} {role}"
        assert len(family.independent) >= 3, where
        assert len(set(chain(*family.independent))) == 2 * len(family.independent), where
        assert len(set(family.seeds)) == len(family.seeds), where
        assert set(family.independent) <= set(family.pairs)
        assert list(family.widths) == sorted(set(family.widths)), where
        assert family.recipe.dataset == setting.families["strong"].recipe.dataset
        assert architecture(family.recipe.arch).kind == setting.kind, where
        for width in family.widths:
            a, b = (family.spec(width, seed) for seed in family.seeds[:2])
            assert (a.width, a.seed, b.seed) == (width, *family.seeds[:2])
            PairMeasurement(a, b)


def test_a_setting_is_of_the_kind_of_its_strong_familys_architecture() -> None:
    kinds = {setting.name: setting.kind for setting in load_tier("quick").settings}
    assert kinds == {"mlp-digits": "mlp", "vgg-digits": "vgg", "resnet-digits": "resnet"}
    strong, other = Family(replace(RECIPE, arch="mlp-bn"), (1.0,)), Family(replace(RECIPE, arch="vgg-small"), (1.0,))
    assert Setting("mine", {"other": other, "strong": strong}, 0.0).kind == "mlp"


@every_tier
def test_every_model_can_be_counted_on_its_dataset(name: str) -> None:
    found = {}
    for setting, role, family in families(load_tier(name)):
        size = size_of(family.recipe.dataset, family.recipe.classes)
        sizes = []
        for width in family.widths:
            spec = family.spec(width, 0)
            assert spec.batch_size <= (spec.train_size or size.train_images) <= size.train_images
            cost = net_cost(spec.arch, spec.width, size.shape, size.classes, bias=spec.bias, depth=spec.depth)
            sizes.append(cost.parameters)
        assert sizes == sorted(set(sizes)), "wider models have more parameters"
        found[setting.name, role] = sizes[-1]
    assert found


@every_full_tier
def test_a_tier_has_a_plain_strong_family_everywhere_and_others_differ_from_it(name: str) -> None:
    for setting, role, family in families(load_tier(name)):
        strong = setting.families["strong"].recipe
        assert strong.weight_decay > 0
        assert (family.recipe == strong) == (role == "strong"), f"{setting.name} {role}"
        assert set(family.widths) <= set(setting.families["strong"].widths) | ({1 / 2} if role == "many" else set()), (
            "compared with strong at widths it lacks"
        )
    roles = {role for _, role, _ in families(load_tier(name))}
    assert {"strong", "weak", "zero"} <= roles


@of_every_kind
def test_the_core_claims_are_judged_in_every_tier(name: str) -> None:
    core = {claim.id for claim in CLAIMS if claim.core}
    assert core <= {case.claim.id for case in cases(CLAIMS, load_tier(name)) if not case.skip}


def test_the_quick_tier_judges_more_than_two_models_at_once() -> None:
    tier = load_tier("quick")
    by_role = {role: family for _, role, family in families(tier)}
    assert len(by_role["many"].groups(4)) >= 3
    assert len(by_role["many"].groups(3)) >= 3
    assert len(by_role["crowd"].groups(8)) >= 3
    assert not by_role["many"].recipe.bias
    assert not by_role["crowd"].recipe.bias, "Theorem 5.3 is of nets without biases"


# -- Groups of seeds. --


@pytest.mark.parametrize(("size", "count"), [(1, 7), (2, 3), (3, 2), (4, 1), (7, 1), (8, 0)])
def test_groups_share_no_model_and_come_in_order(size: int, count: int) -> None:
    family = Family(RECIPE, (1.0,), tuple(range(10, 17)))
    groups = family.groups(size)
    assert [len(group) for group in groups] == [size] * count
    assert list(chain(*groups)) == list(range(10, 10 + size * count))


def test_pairs_are_all_and_independent_ones_consecutive() -> None:
    family = Family(RECIPE, (1.0,))
    assert family.seeds == VERDICT_SEEDS
    assert family.independent == list(zip(VERDICT_SEEDS[::2], VERDICT_SEEDS[1::2], strict=True))
    assert family.pairs == list(combinations(family.seeds, 2))


def test_many_models_are_paired_with_their_neighbours_around_a_ring() -> None:
    family = Family(RECIPE, (1.0,), tuple(range(12)))
    assert Counter(chain(*family.pairs)) == dict.fromkeys(range(12), 2 * family.reach)
    assert len(set(family.pairs)) == 12 * family.reach
    assert Counter(chain(*family.neighbours)) == dict.fromkeys(range(12), 2)
    assert set(family.independent) < set(family.neighbours) < set(family.pairs)
    assert all(first < second for first, second in family.pairs)
    assert replace(family, reach=6).pairs == list(combinations(range(12), 2))


def test_a_variant_changes_what_it_names_and_nothing_else() -> None:
    family = Family(RECIPE, (1.0, 2.0))
    assert variant(family) == family
    assert variant(family, widths=(1.0,), seeds=(1, 2), lr=0.5) == Family(replace(RECIPE, lr=0.5), (1.0,), (1, 2))


# -- Widths. --


def test_the_preview_judges_no_claim_about_wide_models() -> None:
    found = cases(CLAIMS, load_tier("preview"))
    judged = {case.claim.id for case in found if case.setting and not case.skip}
    assert judged == {"control-self-merge", "control-narrow-barrier"}
    assert [case.skip for case in found if case.claim.id == "fig2b-calibrated-barrier-approaches-zero"] == [
        "vgg-cifar10 is trained to x0.125 only, and wide begins at x2",
        "resnet-cifar10 is trained to x0.25 only, and wide begins at x4",
    ]


def test_a_tier_cut_to_narrow_widths_judges_no_claim_about_wide_ones() -> None:
    tier = load_tier("standard")

    def judged(width: float) -> set[str]:
        part = restricted(tier, arch="vgg", max_width=width)
        return {case.claim.id for case in cases(CLAIMS, part) if case.setting and not case.skip}

    assert judged(1 / 8) == {"control-self-merge", "control-narrow-barrier"}
    assert "fig2b-calibrated-barrier-approaches-zero" in judged(2)


# -- The decay horizon. --


def test_the_standard_tier_keeps_the_papers_decay_horizon_under_sgd() -> None:
    """H = Σ η_t · wd; Adam's steps do not scale with the gradient, so that its MLPs have none to keep."""
    horizons = {}
    for name in ("standard", "paper"):
        for setting in load_tier(name).settings:
            recipe = setting.families["strong"].recipe
            if recipe.optimizer == "sgd" and recipe.dataset == "cifar10":
                horizons[name, setting.kind] = recipe.decay_horizon(50_000)
    assert len(horizons) == 4
    assert all(each == pytest.approx(6.0, rel=0.01) for each in horizons.values()), horizons


# -- Pilot seeds. --


@every_tier
def test_pilot_seeds_are_none_that_any_verdict_uses(name: str) -> None:
    verdict = {seed for tier in map(load_tier, tier_names()) for *_, family in families(tier) for seed in family.seeds}
    tier = load_tier(name)
    pilot = with_pilot_seeds(tier)
    for (setting, role, plain), (_, _, moved) in zip(families(tier), families(pilot), strict=True):
        assert not set(moved.seeds) & verdict, f"{setting.name} {role}"
        assert len(moved.seeds) == len(plain.seeds)
        assert moved.independent[0][0] - plain.independent[0][0] == moved.seeds[-1] - plain.seeds[-1]
        assert (moved.recipe, moved.widths) == (plain.recipe, plain.widths)


@every_tier
def test_pilot_models_are_trained_in_the_same_blocks(name: str) -> None:
    """A block of seeds side by side may not hold pilot and verdict models at once."""
    from lmc.specs import stack_seeds

    for _, _, family in families(with_pilot_seeds(load_tier(name))):
        for width in family.widths:
            for seed in family.seeds:
                assert min(stack_seeds(family.spec(width, seed))) >= PILOT_OFFSET + VERDICT_SEEDS[0]


def test_one_table_says_what_every_block_of_seeds_has_served() -> None:
    ends = [(block.first, block.last) for block in SEED_BLOCKS]
    assert ends[:3] == [(0, 59), (60, 95), (96, 107)]
    assert ends[-1] == (9000, None)
    assert all(block.first % 6 == 0 and block.served for block in SEED_BLOCKS)
    assert all(before[1] < after[0] for before, after in pairwise(ends) if before[1] is not None)
    looked_at = {*range(144), *range(1230, 1300)}
    for name in tier_names():
        for offset in (0, PILOT_OFFSET):
            seeds = {seed + offset for *_, family in families(load_tier(name)) for seed in family.seeds}
            assert not seeds & looked_at
            assert any(block.first <= min(seeds) <= max(seeds) <= (block.last or 0) for block in SEED_BLOCKS)
    assert (VERDICTS.first, VERDICT_SEEDS[0], VERDICT_SEEDS[0] + PILOT_OFFSET) == (144, 144, 1320)


# -- Siblings and draws. --

SIX = tuple(range(120, 126))
SPAWNED = Family(replace(RECIPE, epochs=4, shared_epochs=2), (1.0,), SIX, siblings=2)


def test_siblings_share_their_start_and_are_paired_with_each_other_only() -> None:
    assert [(each.init_seed, each.data_seed) for each in (SPAWNED.spec(1.0, seed) for seed in SIX)] == [
        (120, 120),
        (120, 121),
        (122, 122),
        (122, 123),
        (124, 124),
        (124, 125),
    ]
    together = [(120, 121), (122, 123), (124, 125)]
    assert SPAWNED.pairs == SPAWNED.independent == SPAWNED.neighbours == together
    assert len({SPAWNED.spec(1.0, seed).key for seed in SIX}) == 6
    assert SPAWNED.spec(0.5, 123).shared_epochs == 2
    for a, b in together:
        PairMeasurement(SPAWNED.spec(1.0, a), SPAWNED.spec(1.0, b))


def test_pilots_of_siblings_are_siblings() -> None:
    tier = Tier("own", (Setting("own", {"strong": SPAWNED}, 0.0),), "")
    pilot = with_pilot_seeds(tier).settings[0].families["strong"]
    assert [pilot.spec(1.0, seed).init_seed for seed in pilot.seeds] == [
        PILOT_OFFSET + seed for seed in (120, 120, 122, 122, 124, 124)
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"siblings": 3}, "siblings is 3 and draws 1; give 1 or 2, and at least 1"),
        ({"draws": 0, "siblings": 1}, "siblings is 1 and draws 0"),
        ({"draws": 2}, "draws is 2, but siblings must not be permuted; leave it at 1"),
        ({"seeds": SIX[:5]}, "make no pairs of siblings; give an even number of consecutive ones"),
        ({"seeds": (120, 122)}, r"seeds \(120, 122\) make no pairs of siblings"),
    ],
)
def test_families_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(SPAWNED, **changes)


def test_spawned_families_part_half_way_and_keep_all_else() -> None:
    strong = Family(replace(RECIPE, epochs=5), (1.0, 2.0), SIX, draws=4)
    found = spawned(strong, widths=(2.0,))
    assert found == Family(replace(strong.recipe, shared_epochs=2), (2.0,), SIX, siblings=2)
    trained = {
        (name, setting.name): family.widths
        for name in tier_names()
        for setting, role, family in families(load_tier(name))
        if role == "spawned"
    }
    assert trained == {
        ("quick", "mlp-digits"): (1 / 4,),
        ("standard", "mlp-mnist"): (1,),
        ("standard", "vgg-cifar10"): (2,),
    }


def test_the_quick_tier_has_few_models_and_many_draws() -> None:
    for setting, role, family in families(load_tier("quick")):
        if role not in ("many", "crowd"):
            assert len(family.seeds) == 6, f"{setting.name} {role}"
        assert family.draws == (1 if family.siblings > 1 else 4), f"{setting.name} {role}"


# -- Sophia and decays. --


def test_sophias_kin_change_what_they_are_named_for() -> None:
    """The paper's rate is 0.06. H = Σ η_t · wd is what two recipes of one schedule and length have in common."""
    strong = Family(replace(RECIPE, optimizer="adam", lr=0.004, weight_decay=0.012), (1.0,))
    found = {role: each.recipe for role, each in sophias(strong, widths=(1.0,)).items()}
    assert {role: (each.lr, each.decay) for role, each in found.items()} == {
        "sophia-first-order": (0.004, "decoupled"),
        "sophia-coupled": (0.06, "coupled"),
        "sophia-horizon": (0.06, "decoupled"),
    }
    assert {each.optimizer for each in found.values()} == {"sophia"}
    assert found["sophia-first-order"].weight_decay == found["sophia-coupled"].weight_decay == 0.012
    assert found["sophia-horizon"].decay_horizon(1000) == pytest.approx(strong.recipe.decay_horizon(1000))


def test_sophias_kin_are_trained_on_mnist_which_f_10_is_about() -> None:
    for name in tier_names():
        for setting, role, family in families(load_tier(name)):
            if role.startswith("sophia-"):
                assert (name, setting.name) == ("standard", "mlp-mnist")
                assert family.widths == setting.families["sophia"].widths, "compared with Sophia's own recipe"
    assert "sophia-coupled" in load_tier("standard").settings[0].families


@every_tier
def test_every_family_of_sophia_but_the_coupled_decays_as_in_the_paper(name: str) -> None:
    for _, role, family in families(load_tier(name)):
        if family.recipe.optimizer == "sophia":
            assert family.recipe.decay == ("coupled" if role == "sophia-coupled" else "decoupled")


def test_mnist_has_six_decays_at_two_widths_and_a_wide_net() -> None:
    mnist = load_tier("standard").settings[0]
    at_both = {
        family.recipe.weight_decay
        for role, family in mnist.families.items()
        if role in ("strong", "weak", "zero") or role.startswith("decay-")
        if {1 / 4, 1} <= set(family.widths)
    }
    assert at_both == {0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2}
    assert mnist.families["decay-0.0003"].recipe.weight_decay == 3e-4
    assert mnist.families["strong"].widths[-1] == 4


# -- Classes of CIFAR-10 on a laptop. --


def test_the_laptop_tier_differs_in_classes_and_not_in_the_number_of_images() -> None:
    tier = load_tier("laptop")
    labels = {}
    for setting, role, family in families(tier):
        strong = setting.families["strong"].recipe
        assert family.recipe.classes == strong.classes, f"{setting.name} {role}"
        assert (family.recipe.dataset, family.recipe.train_size) == ("cifar10", 10_000)
        labels[setting.name] = size_of("cifar10", strong.classes).classes
    assert labels == {
        "vgg-cifar10-2": 2,
        "resnet-cifar10-2": 2,
        "vgg-cifar10-4": 4,
        "resnet-cifar10-4": 4,
        "vgg-cifar10-10-as-2": 2,
        "vgg-cifar10-10": 10,
    }
    assert tier.settings[0].families["strong"].widths == (1 / 16, 1 / 8, 1 / 4)
    assert tier.settings[1].families["strong"].widths == (1 / 8, 1 / 4, 1 / 2)
    relabelled = tier.settings[4].families["strong"].recipe
    assert size_of("cifar10", relabelled.classes).train_images == 50_000


# -- Precision. --


@every_tier
def test_precision_is_changed_everywhere_and_nothing_else(name: str) -> None:
    tier = load_tier(name)
    changed = with_precision(tier, "bf16")
    for (_, role, before), (_, role_after, after) in zip(families(tier), families(changed), strict=True):
        assert role == role_after
        assert before.recipe.precision == "fp32"
        assert after == replace(before, recipe=replace(before.recipe, precision="bf16"))
    assert with_precision(changed, "fp32") == tier
    with pytest.raises(SpecError, match="unknown precision"):
        with_precision(tier, "fp8")


def test_tiers_that_train_small_nets_or_few_images_are_small() -> None:
    assert {name for name in tier_names() if load_tier(name).small} == {"quick", "preview", "laptop", "vit"}


# -- Parts of a tier. --


def names(tier: Tier) -> list[str]:
    return [setting.name for setting in tier.settings]


def test_a_kind_or_an_architecture_restricts_a_tier() -> None:
    tier = load_tier("standard")
    assert restricted(tier) == tier
    assert names(restricted(tier, arch="mlp")) == ["mlp-mnist", "mlp-fashion-mnist"]
    assert names(restricted(tier, arch="vgg11")) == names(restricted(tier, arch="vgg")) == ["vgg-cifar10"]
    assert names(restricted(tier, dataset="cifar10")) == ["vgg-cifar10", "resnet-cifar10"]
    assert names(restricted(tier, arch="mlp", dataset="mnist")) == ["mlp-mnist"]
    kept = restricted(tier, dataset="mnist").settings[0]
    assert kept == tier.settings[0]


def test_settings_and_roles_are_chosen_by_name() -> None:
    tier = load_tier("laptop")
    part = restricted(tier, setting=("vgg-cifar10-4", "vgg-cifar10-2"), role=("weak",))
    assert names(part) == ["vgg-cifar10-2", "vgg-cifar10-4"]
    assert [list(each.families) for each in part.settings] == [["strong", "weak"]] * 2
    assert part.settings[0].families["weak"] == tier.settings[0].families["weak"]
    assert names(restricted(tier, setting=("resnet-cifar10-2",), arch="resnet")) == ["resnet-cifar10-2"]
    for asked, message in [
        ({"setting": ("vgg",)}, "there is no setting of tier laptop called vgg; choose of vgg-cifar10-2, resnet-cifar"),
        ({"role": ("weak", "tiny")}, "there is no family of tier laptop called tiny; choose of strong, weak, zero"),
        ({"setting": ("vgg-cifar10-2",), "arch": "resnet"}, "has nothing for settings vgg-cifar10-2, arch resnet"),
    ]:
        with pytest.raises(SpecError, match=message):
            restricted(tier, **asked)  # type: ignore[arg-type]


def test_widths_up_to_the_limit_are_kept_and_emptied_families_dropped() -> None:
    tier = load_tier("quick")
    narrow = restricted(tier, max_width=1 / 4)
    for setting, role, family in families(narrow):
        whole = next(each for each in tier.settings if each.name == setting.name).families[role]
        assert family.widths == tuple(width for width in whole.widths if width <= 1 / 4)
        assert family.widths
        assert (family.recipe, family.seeds) == (whole.recipe, whole.seeds)
    by_name = {setting.name: set(setting.families) for setting in narrow.settings}
    assert "deep" not in by_name["mlp-digits"]
    assert "bn" in by_name["mlp-digits"]
    assert by_name["vgg-digits"] == by_name["resnet-digits"] == {"strong"}
    assert names(restricted(tier, max_width=1 / 8)) == ["mlp-digits", "vgg-digits"]
    assert restricted(tier, max_width=100) == tier


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"arch": "vit"}, "arch vit, dataset any, widths up to any"),
        ({"dataset": "mnist"}, "arch any, dataset mnist, widths up to any"),
        ({"max_width": 1 / 64}, "arch any, dataset any, widths up to 0.015625"),
        ({"arch": "resnet", "max_width": 1 / 8}, "arch resnet, dataset any, widths up to 0.125"),
    ],
)
def test_nothing_left_is_an_error_that_names_what_there_is(asked: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        restricted(load_tier("quick"), **asked)  # type: ignore[arg-type]
    assert str(refused.value) == (
        f"tier quick has nothing for {message}; it has mlp on digits, vgg on digits, resnet on digits"
    )
