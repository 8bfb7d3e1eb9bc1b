"""The page of ways to merge: its cells against hand-made records, its rows against what they name."""

from __future__ import annotations

from typing import Any

from bench_modules import load

from lmc.specs import RunSpec

table = load("merging_table")
SPECS = tuple(RunSpec(dataset="digits", arch="mlp", width=1).with_seed(seed) for seed in range(2))


def record(loss: float, calibrated: float, accuracy: float) -> dict[str, Any]:
    models = [{"loss": own, "calibrated_loss": own, "accuracy": 0.9} for own in (0.1, 0.3)]
    merged = {"loss": loss, "calibrated_loss": calibrated, "accuracy": accuracy}
    return {"models": models, "merged": merged, "fixed": {"k^(L-1)": 0.2 + loss, "k": 0.7, "sqrt(k)": 1.2}}


def test_cells_are_means_over_merges_against_the_models_own_mean() -> None:
    found = [record(0.3, 0.2, 0.8), record(0.5, 0.4, 0.9)]
    assert table.barriers(found) == "0.200 | 0.300 | 0.100 | 5.0"
    assert table.fixed(found) == "0.400 | 0.500 | 1.000"


def test_rows_are_every_order_by_every_rule_and_controls() -> None:
    made = {name: how(SPECS) for name, how in table.ROWS.items()}
    assert len({each.key for each in made.values()}) == len(made)
    for order in ("unpermuted", "random", "matching", "complementary", "reversed", "distance"):
        for rule in ("mean", "sum"):
            found = made[f"{order}, {rule}"]
            expected = ("unpermuted", 1) if order == "random" else (order, 0)
            assert (found.rule, found.alignment, found.draw, found.bn) == (rule, *expected, "reset")
    assert {each.dose for each in made.values()} == {0.25, 0.5, 0.75, 1.0}
    assert {name for name, each in made.items() if each.bn == "summed"} == {
        "complementary, sum, statistics summed",
        "unpermuted, sum, statistics summed",
    }
    assert made["neuron transplantation, before fine-tuning"].rule == "transplant"


def test_k_models_in_one_start_with_each_model_once() -> None:
    family = table.load_tier("quick").settings[0].families["strong"]
    found = table.packed(family, 1.0, 4)
    assert [each.specs[0].seed for each in found] == list(family.seeds)
    assert all(len({spec.seed for spec in each.specs}) == 4 for each in found)
