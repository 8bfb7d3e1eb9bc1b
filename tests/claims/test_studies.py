"""Studies: which measurements of which families they need, and how their numbers are labelled. Nothing is trained."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from lmc.claims.claim import Study
from lmc.claims.extracts import barrier
from lmc.claims.paper import CLAIMS, ITEMS
from lmc.claims.studies import (
    Arm,
    Values,
    aligned,
    computed,
    draws,
    fits,
    flatness,
    merged,
    merges,
    models,
    over_aligned,
    over_pairs,
    pairs,
    permuted,
    pruned,
    self_merge,
    study,
    whole_paths,
)
from lmc.measuring.measurements import (
    FULL_PATH,
    MIDPOINT,
    LayerFitMeasurement,
    Measurement,
    MergeMeasurement,
    ModelMeasurement,
    PairMeasurement,
    PruneMeasurement,
)
from lmc.specs import RunSpec
from lmc.tiers import Family, Setting
from lmc.tiers.families import variant

RECIPE = RunSpec(dataset="digits", arch="mlp", width=1, weight_decay=0.1)
STRONG = Family(RECIPE, (0.5, 1.0, 2.0), tuple(range(6)))
SETTING = Setting(
    "here",
    {
        "strong": STRONG,
        "weak": variant(STRONG, weight_decay=0.01, widths=(1.0, 2.0, 4.0)),
        "zero": variant(STRONG, weight_decay=0.0, widths=(0.5, 1.0)),
        "many": variant(STRONG, lr=0.2, seeds=tuple(range(24))),
    },
    0.0,
)


def key_of(record: dict[str, Any]) -> Values:
    """A number that tells the measurement, so that mixed-up records would show."""
    return {"": record["number"]}


def layers_of(record: dict[str, Any]) -> Values:
    return {"relu1": record["number"], "relu2": None}


def recorded(found: Study) -> tuple[list[Measurement], dict[str, dict[str, Any]]]:
    wanted = list(found.needs(SETTING))
    return wanted, {each.key: {"number": float(index)} for index, each in enumerate(wanted)}


def observed(found: Study) -> list[Any]:
    return found.observe(SETTING, recorded(found)[1])


def test_pairs_are_all_pairs_with_whole_paths_where_they_are_independent() -> None:
    found = over_pairs(key_of)
    wanted, _ = recorded(found)
    assert len(wanted) == 3 * 15
    assert found.groups == ("strong",)
    for each in wanted:
        assert isinstance(each, PairMeasurement)
        seeds = each.a.init_seed, each.b.init_seed
        assert each.lams == (FULL_PATH if seeds in STRONG.independent else MIDPOINT)
        assert (each.alignment, each.a.width) == ("unpermuted", each.b.width)
    observations = observed(found)
    assert [each.value for each in observations] == [float(index) for index in range(45)]
    for each, measurement in zip(observations, wanted, strict=True):
        assert each.seeds == (measurement.specs[0].init_seed, measurement.specs[1].init_seed)
        assert (each.width, each.group, each.part) == (measurement.specs[0].width, "strong", "")
        assert each.independent == (each.seeds in ((0, 1), (2, 3), (4, 5)))


def test_whole_paths_are_of_neighbours_and_have_layers_where_pairs_have_them_anyway() -> None:
    found = study(Arm(key_of, sample=whole_paths), widest=True)
    wanted, _ = recorded(found)
    assert [tuple(spec.seed for spec in each.specs) for each in wanted] == [
        (0, 1),
        (0, 5),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5),
    ]
    for each in wanted:
        assert isinstance(each, PairMeasurement)
        assert (each.lams, each.alignment, each.draw) == (FULL_PATH, "unpermuted", 0)
        assert each.layers == ((each.a.seed, each.b.seed) in STRONG.independent)
    every_pair = {each.key for each in over_pairs(key_of).needs(SETTING)}
    assert sum(each.key in every_pair for each in wanted) == 3, "they are measured once"


def test_an_extract_knows_the_dataset_s_size() -> None:
    setting = replace(SETTING, families={"strong": variant(STRONG, classes=((0,), (1, 2)))})
    found = over_pairs(lambda record: {"": record["size"].test_images / record["size"].classes})
    for where, share in ((setting, (78 + 80 + 91) / 2), (SETTING, 79.7)):
        records: dict[str, dict[str, Any]] = {each.key: {} for each in found.needs(where)}
        assert {each.value for each in found.observe(where, records)} == {share}


def test_every_part_of_a_record_is_an_observation() -> None:
    observations = observed(over_pairs(layers_of))
    assert Counter(each.part for each in observations) == {"relu1": 45, "relu2": 45}
    assert all((each.value is None) == (each.part == "relu2") for each in observations)


@pytest.mark.parametrize(
    ("families", "widest", "widths"),
    [
        (("strong", "weak"), False, {1.0, 2.0}),
        (("weak", "strong"), False, {1.0, 2.0}),
        (("strong", "weak", "zero"), False, {1.0}),
        (("strong",), True, {2.0}),
        (("strong", "weak"), True, {2.0}),
        (("zero", "strong"), True, {1.0}),
        (("weak",), True, {4.0}),
    ],
)
def test_arms_are_compared_at_the_widths_all_have_or_the_widest_of_them(
    families: tuple[str, ...], widest: bool, widths: set[float]
) -> None:
    found = over_pairs(key_of, *families, widest=widest)
    assert found.groups == families
    observations = observed(found)
    assert {each.width for each in observations} == widths
    assert {each.group for each in observations} == set(families)
    decays = {each.specs[0].weight_decay for each in found.needs(SETTING)}
    assert decays == {SETTING.families[role].recipe.weight_decay for role in families}


def test_without_a_width_in_common_nothing_is_measured() -> None:
    apart = Setting("", {"a": variant(STRONG, widths=(1.0,)), "b": variant(STRONG, widths=(2.0,))}, 0.0)
    for widest in (False, True):
        assert list(over_pairs(key_of, "a", "b", widest=widest).needs(apart)) == []


def test_labels_name_the_groups_of_one_family() -> None:
    found = study(Arm(key_of, label="merged"), Arm(key_of, sample=flatness, label="perturbed"), widest=True)
    assert found.groups == ("strong",), "a family is named once"
    observations = observed(found)
    assert Counter(each.group for each in observations) == {"merged": 15, "perturbed": 6}
    assert {each.width for each in observations} == {2.0}
    assert len({each.value for each in observations}) == 21


SAMPLES: list[tuple[Any, type, list[tuple[int, ...]]]] = [
    (models, ModelMeasurement, [(0,), (1,), (2,), (3,), (4,), (5,)]),
    (merges(models=2), MergeMeasurement, [(0, 1), (2, 3), (4, 5)]),
    (merges(0.5, 0.3, 0.2), MergeMeasurement, [(0, 1, 2), (3, 4, 5)]),
    (merges(models=6), MergeMeasurement, [(0, 1, 2, 3, 4, 5)]),
    (merges(models=8), MergeMeasurement, []),
]


@pytest.mark.parametrize(("sample", "kind", "groups"), SAMPLES)
def test_independent_samples_are_labelled_by_their_models(
    sample: Callable[..., Any], kind: type, groups: list[tuple[int, ...]]
) -> None:
    found = study(Arm(key_of, sample=sample))
    wanted, _ = recorded(found)
    assert all(type(each) is kind for each in wanted)
    observations = observed(found)
    assert [each.seeds for each in observations] == groups * 3
    assert all(each.independent for each in observations)
    assert [each.width for each in observations] == [width for width in STRONG.widths for _ in groups]


def test_the_weights_of_a_merge_reach_the_measurement() -> None:
    (first, *_) = study(Arm(key_of, "many", merges(0.5, 0.3, 0.2))).needs(SETTING)
    assert isinstance(first, MergeMeasurement)
    assert (first.weights, len(first.specs)) == ((0.5, 0.3, 0.2), 3)
    eights = study(Arm(key_of, "many", merges(models=8)), widest=True).needs(SETTING)
    assert [len(each.specs) for each in eights] == [8, 8, 8]
    assert all(isinstance(each, MergeMeasurement) and each.weights == () for each in eights)


NEIGHBOURS = [(0, 1), (0, 5), (1, 2), (2, 3), (3, 4), (4, 5)]
EVERYONE = list(combinations(range(6), 2))


@pytest.mark.parametrize(("family", "expected"), [(STRONG, NEIGHBOURS), (replace(STRONG, draws=2), EVERYONE)])
def test_what_takes_long_is_measured_of_neighbours_unless_the_family_is_small(
    family: Family, expected: list[tuple[int, int]]
) -> None:
    for sample in (aligned("matching"), merged("sum", "complementary"), fits(0.25), flatness):
        found = list(sample(family, 2.0))
        seeds = [tuple(spec.seed for spec in each.specs[:2]) for _, each in found]
        assert sorted(seeds) == expected
        assert [pair for pair, (free, _) in zip(seeds, found, strict=True) if free] == family.independent


def test_a_few_merges_are_of_neighbours_and_none_has_layers() -> None:
    for few, expected in ((True, NEIGHBOURS), (False, EVERYONE)):
        found = [each for _, each in merged("sum", "reversed", few=few)(replace(STRONG, draws=2), 2.0)]
        assert sorted(tuple(spec.seed for spec in each.specs) for each in found) == expected
        assert all(isinstance(each, MergeMeasurement) and not each.layers for each in found)
        assert {(each.rule, each.alignment) for each in found if isinstance(each, MergeMeasurement)} == {
            ("sum", "reversed")
        }


def test_every_model_is_pruned_to_what_two_three_and_four_have() -> None:
    found = list(pruned(STRONG, 2.0))
    assert all(free for free, _ in found)
    assert [each for _, each in found] == [
        PruneMeasurement(STRONG.spec(2.0, seed), (1 / 2, 1 / 3, 1 / 4)) for seed in STRONG.seeds
    ]


def test_the_narrowest_width_can_be_left_out() -> None:
    found = study(Arm(key_of), past_narrowest=True)
    assert {each.width for each in observed(found)} == {1.0, 2.0}


def test_the_third_model_of_a_fit_is_the_next_one() -> None:
    found = [each for _, each in fits(0.25, "matching")(STRONG, 2.0) if isinstance(each, LayerFitMeasurement)]
    seeds = {(each.a.seed, each.b.seed): each.c.seed for each in found}
    assert seeds == {(0, 1): 2, (0, 5): 1, (1, 2): 3, (2, 3): 4, (3, 4): 5, (4, 5): 0}
    assert {(each.lam, each.alignment) for each in found} == {(0.25, "matching")}
    study_of_fits = study(Arm(key_of, sample=fits(0.25)), widest=True)
    assert {each.seeds for each in observed(study_of_fits)} == set(seeds), "the third stands for any"


def test_neighbours_are_matched_and_all_pairs_permuted_at_random() -> None:
    for sample, expected, how in (
        (aligned("matching"), NEIGHBOURS, ("matching", 0, True)),
        (permuted, EVERYONE, ("unpermuted", 1, True)),
    ):
        found = list(sample(STRONG, 2.0))
        seeds = [tuple(spec.init_seed for spec in each.specs) for _, each in found]
        assert sorted(seeds) == expected
        assert [pair for pair, (free, _) in zip(seeds, found, strict=True) if free] == STRONG.independent
        assert all(isinstance(each, PairMeasurement) and each.lams == MIDPOINT for _, each in found)
        assert {(each.alignment, each.draw, each.layers) for _, each in found} == {how}  # type: ignore[attr-defined]


def test_pairs_are_measured_in_every_draw() -> None:
    drawn = replace(STRONG, draws=3)
    found = [(each.specs, each.draw) for _, each in draws(drawn, 2.0) if isinstance(each, PairMeasurement)]
    assert len(set(found)) == len(found) == 3 * len(drawn.pairs)
    assert [each.draw for _, each in draws(STRONG, 2.0) if isinstance(each, PairMeasurement)] == [0] * 15

    def path(value: float, error: float | None) -> dict[str, Any]:
        name = "calibrated_loss_barrier_midpoint"
        return {"path": {"barriers": {name: value}, "errors": {name: error}}}

    setting = Setting("drawn", {"strong": drawn}, min_accuracy=0.0)
    of_path = over_pairs(barrier("calibrated_loss"))
    needs = of_path.needs(setting)
    records = {each.key: path(0.1 * number, None if number else 0.02) for number, each in enumerate(needs)}
    found_there = of_path.observe(setting, records)
    assert len(found_there) == len(needs) == 3 * len(drawn.pairs) * len(drawn.widths)
    assert [each.value for each in found_there] == [0.1 * number for number in range(len(needs))]
    assert [each.error for each in found_there[:2]] == [0.02, 0.0]
    assert [each.draw for each in found_there] == [each.draw for each in needs if isinstance(each, PairMeasurement)]


def test_alignments_are_groups_and_unpermuted_are_all_plain_pairs() -> None:
    found = over_aligned(key_of, "unpermuted", "matching", "random", widest=True)
    assert found.groups == ("strong",)
    observations = observed(found)
    assert Counter(each.group for each in observations) == {"unpermuted": 15, "matching": 6, "random": 15}
    assert Counter(each.group for each in observations if each.independent) == {
        "unpermuted": 3,
        "matching": 3,
        "random": 3,
    }
    plain = [each.key for _, each in pairs(STRONG, 2.0)]
    assert [each.key for each in found.needs(SETTING)][:15] == plain


def test_a_model_is_merged_with_itself_at_every_width() -> None:
    found = self_merge()
    wanted = list(found.needs(SETTING))
    assert [(each.specs[0].width, each.specs[0].init_seed) for each in wanted] == [
        (width, seed) for width in (0.5, 1.0, 2.0) for seed in SETTING.families["strong"].seeds[:3]
    ]
    assert all(each.specs[0] == each.specs[1] for each in wanted)
    barriers = {"loss_barrier_midpoint": 0.1, "accuracy_barrier_midpoint": 0.2, "loss_barrier_maximum": None}
    observations = found.observe(SETTING, {each.key: {"path": {"barriers": barriers}} for each in wanted})
    assert [(each.part, each.value) for each in observations[:2]] == [
        ("loss_barrier_midpoint", 0.1),
        ("accuracy_barrier_midpoint", 0.2),
    ]
    assert len(observations) == 18


def test_what_is_computed_needs_nothing() -> None:
    found = computed(lambda: [("x", 1.0), ("y", 2.0)])
    assert (list(found.needs(SETTING)), found.groups) == ([], ())
    assert [(each.part, each.value) for each in found.observe(SETTING, {})] == [("x", 1.0), ("y", 2.0)]


# -- The paper's claims and items. --


def test_every_claim_has_an_id_of_its_own_and_says_why() -> None:
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        texts = (claim.ref, claim.statement, claim.unit, claim.why)
        assert all(text.strip() for text in texts), claim.id
        assert claim.statement.endswith("."), claim.id
        assert set(claim.kinds) <= {"mlp", "vgg", "resnet"} or claim.kinds == ("vit",)
        assert bool(claim.kinds) == bool(claim.study.groups), f"{claim.id}: theory needs no models, others do"
        for each in claim.explanations.values():
            assert each.why.endswith("."), claim.id
            assert "refute" in each.refuted_by.what, claim.id


def test_everything_the_paper_reports_is_there_once_and_encoded() -> None:
    expected = [f"Figure {number}" for number in range(1, 28)]
    expected += ["Table 1", "Theorem 5.3", "Theorem 5.4", "Conjecture 1.1"]
    assert sorted(item.name for item in ITEMS) == sorted(expected)
    for item in ITEMS:
        assert item.encoded_by(), item.name
        assert item.about


def test_every_item_that_a_claim_names_exists() -> None:
    names = {item.name for item in ITEMS}
    assert all(set(claim.items) <= names for claim in CLAIMS)
    assert all(len(set(claim.items)) == len(claim.items) for claim in CLAIMS)


@pytest.mark.parametrize("number", range(1, 28))
def test_a_claim_named_after_a_figure_stands_for_it_and_for_no_other(number: int) -> None:
    (item,) = (item for item in ITEMS if item.name == f"Figure {number}")
    named = {claim.id for claim in CLAIMS if _number(claim.id) == number}
    found = {claim.id for claim in item.encoded_by()}
    assert named <= found
    assert all(_number(name) in (number, None) for name in found), found


def test_a_reason_tells_no_history() -> None:
    told = re.compile(
        r"pilots: |(bound|it) was .* before|verdicts among them|fresh seeds|in sight|verdicts on seeds", re.IGNORECASE
    )
    assert not [claim.id for claim in CLAIMS if told.search(claim.why)]
    assert sum(bool(told.search(claim.history)) for claim in CLAIMS) > 20  # the pattern finds what it should


def _number(claim_id: str) -> int | None:
    head = claim_id.split("-")[0]
    digits = "".join(each for each in head.removeprefix("fig") if each.isdigit())
    return int(digits) if head.startswith("fig") and digits else None
