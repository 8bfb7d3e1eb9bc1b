"""Measure every way to merge two models beside the others: ``python benchmarks/merging_table.py``; writes a page.

Models come from a store that a finished run has left (``$LMC_HOME/store`` or ``--store``); nothing is trained. What is
measured stays there, so that a second call only writes. ``--pilot`` takes the models of the pilot seeds.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from lmc.claims.studies import KEEPS
from lmc.data import load_dataset
from lmc.measuring.measurements import (
    MIDPOINT,
    Measurement,
    MergeMeasurement,
    PairMeasurement,
    PruneMeasurement,
)
from lmc.measuring.records import measure_all
from lmc.specs import RunSpec
from lmc.store.store import Store
from lmc.tiers import Family, Setting, load_tier
from lmc.tiers.families import with_pilot_seeds

PAGE = Path(__file__).resolve().parents[1] / "docs" / "merging_table.md"
ORDERS = ("unpermuted", "random", "matching", "complementary", "reversed", "distance")
DOSES = (0.25, 0.5, 0.75)

Record = Mapping[str, Any]
Records = Mapping[str, Record]
Merge = Callable[[tuple[RunSpec, ...]], MergeMeasurement]


def merging(order: str, rule: str, bn: str = "reset", dose: float = 1.0) -> Merge:
    """How two models or more are merged; ``random`` is a draw of the unpermuted ones."""
    drawn = order == "random"
    alignment = "unpermuted" if drawn else order
    return lambda specs: MergeMeasurement(specs, (), alignment, rule, bn, int(drawn), dose, layers=False)


ROWS: dict[str, Merge] = {
    **{f"{order}, {rule}": merging(order, rule) for order in ORDERS for rule in ("mean", "sum")},
    "complementary, sum, statistics summed": merging("complementary", "sum", bn="summed"),
    "unpermuted, sum, statistics summed": merging("unpermuted", "sum", bn="summed"),
    **{f"complementary {dose:.0%} of the channels, sum": merging("complementary", "sum", dose=dose) for dose in DOSES},
    "neuron transplantation, before fine-tuning": merging("unpermuted", "transplant"),
}


def barriers(found: Sequence[Record], what: str = "merged") -> str:
    """Cells: raw and calibrated barrier, accuracy lost; means over merges, and the largest raw barrier of one."""

    def over(quantity: str) -> list[float]:
        return [each[what][quantity] - fmean(model[quantity] for model in each["models"]) for each in found]

    raw = over("loss")
    cells = f"{fmean(raw):.3f}", f"{max(raw):.3f}", f"{fmean(over('calibrated_loss')):.3f}"
    return " | ".join([*cells, f"{-100 * fmean(over('accuracy')):.1f}"])


def fixed(found: Sequence[Record]) -> str:
    """Cells: raw barriers at the inverse temperatures that theory names, in place of a fitted one."""

    def mean(name: str) -> float:
        return fmean(each["fixed"][name] - fmean(model["loss"] for model in each["models"]) for each in found)

    return " | ".join(f"{mean(name):.3f}" for name in ("k^(L-1)", "k", "sqrt(k)"))


def merges(family: Family, width: float, how: Merge) -> list[MergeMeasurement]:
    """Of neighbours."""
    return [how((family.spec(width, a), family.spec(width, b))) for a, b in family.neighbours]


def of_records(measurements: Iterable[Measurement], records: Records) -> list[Record]:
    return [records[each.key] for each in measurements]


def orders_table(family: Family, width: float, records: Records) -> str:
    """Every order and rule at one width."""
    head = "| order and rule | raw | worst raw | own β | points lost | β = k^(L-1) | β = k | β = √k |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for name, how in ROWS.items():
        found = of_records(merges(family, width, how), records)
        betas = fixed(found) if name.endswith("mean") else "| |"
        lines.append(f"| {name} | {barriers(found)} | {betas} |")
    found = of_records(merges(family, width, ROWS["unpermuted, mean"]), records)
    lines.append(f"| ensemble: mean of the logits | {barriers(found, 'mean_logits')} | | | |")
    return "\n".join(lines)


def packed(family: Family, width: float, k: int) -> list[MergeMeasurement]:
    """k models in one, each model the first of one of them."""
    seeds = [*family.seeds, *family.seeds]
    groups = (seeds[first : first + k] for first in range(len(family.seeds)))
    return [merging("complementary", "sum")(tuple(family.spec(width, seed) for seed in group)) for group in groups]


def pruned(family: Family, width: float) -> list[PruneMeasurement]:
    """Every model."""
    return [PruneMeasurement(family.spec(width, seed), KEEPS) for seed in family.seeds]


def pairs(family: Family, width: float, alignment: str) -> list[PairMeasurement]:
    """Of neighbours, at the midpoint."""
    found = ((family.spec(width, a), family.spec(width, b)) for a, b in family.neighbours)
    return [PairMeasurement(a, b, MIDPOINT, alignment, layers=False) for a, b in found]


def own(family: Family, width: float) -> list[PairMeasurement]:
    """Of every model with permutations of itself."""
    specs = (family.spec(width, seed) for seed in family.seeds)
    return [PairMeasurement(spec, spec, MIDPOINT, draw=draw, layers=False) for spec in specs for draw in (1, 2, 3)]


def capacity_table(family: Family, records: Records) -> str:
    """Accuracy of k models in one, and of one that keeps 1/k of its channels, by width."""
    lines = ["| width | own | occupied | half / two | third / three | quarter / four | trained at half the width |"]
    lines.append("|---|---|---|---|---|---|---|")
    accuracies = {}
    for width in family.widths:
        alone = of_records(pruned(family, width), records)
        accuracies[width] = fmean(each["model"]["accuracy"] for each in alone)
    for width in family.widths:
        alone = of_records(pruned(family, width), records)
        cells = []
        for place, k in enumerate((2, 3, 4)):
            kept = fmean(each["points"][place]["accuracy"] for each in alone)
            together = fmean(each["merged"]["accuracy"] for each in of_records(packed(family, width, k), records))
            cells.append(f"{kept:.3f} / {together:.3f}")
        occupied = fmean(each["occupancy"]["norm"] for each in alone)
        half = f"{accuracies[width / 2]:.3f}" if width / 2 in accuracies else "–"
        lines.append(f"| x{width:g} | {accuracies[width]:.3f} | {occupied:.2f} | {' | '.join(cells)} | {half} |")
    return "\n".join(lines)


def forecast_table(family: Family, records: Records) -> str:
    """Calibrated barriers of pairs and forecasts by width; what an ensemble gains stands apart."""
    lines = [
        "| width | pairs | forecast | forecast / pairs | ensemble's gain | after matching | complementary sum, raw |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for width in family.widths:
        plain, forecast, matched = (
            fmean(each["path"]["barriers"]["calibrated_loss_barrier_midpoint"] for each in of_records(some, records))
            for some in (pairs(family, width, "unpermuted"), own(family, width), pairs(family, width, "matching"))
        )
        summed = of_records(merges(family, width, ROWS["complementary, sum"]), records)
        own_losses = [fmean(model["calibrated_loss"] for model in each["models"]) for each in summed]
        gains = (own - each["mean_logits"]["calibrated_loss"] for own, each in zip(own_losses, summed, strict=True))
        gain = fmean(gains)
        raw = fmean(each["merged"]["loss"] - fmean(model["loss"] for model in each["models"]) for each in summed)
        shown = (plain, forecast, forecast / plain, gain, matched, raw)
        lines.append(f"| x{width:g} | " + " | ".join(f"{value:.3f}" for value in shown) + " |")
    return "\n".join(lines)


def wanted(setting: Setting) -> list[Measurement]:
    """All that the page tells of a setting."""
    strong, found = setting.families["strong"], list[Measurement]()
    for family in shown(setting).values():
        found += [each for how in ROWS.values() for each in merges(family, family.widths[-1], how)]
    for width in strong.widths:
        found += [*pruned(strong, width), *own(strong, width), *merges(strong, width, ROWS["complementary, sum"])]
        found += [each for alignment in ("unpermuted", "matching") for each in pairs(strong, width, alignment)]
        found += [each for k in (2, 3, 4) for each in packed(strong, width, k)]
    return list({each.key: each for each in found}.values())


def shown(setting: Setting) -> dict[str, Family]:
    """The families whose orders are shown."""
    return {role: setting.families[role] for role in ("strong", "weak", "skip") if role in setting.families}


def measured(measurements: Sequence[Measurement], store: Store, data: Path) -> Records:
    """Their records, from the store or made now.

    Raises:
        SystemExit: a model has not been trained, or cannot be measured.
    """
    records = {each.key: store.read("measurements", each.key) for each in measurements}
    missing = [each for each in measurements if records[each.key] is None]

    def load(spec: RunSpec) -> dict[str, torch.Tensor]:
        state = store.load_model(spec.key)
        if state is None:
            raise SystemExit(f"{spec.describe()} is not in {store.root}; run its tier first")
        return state

    if missing:
        dataset = load_dataset(missing[0].specs[0].dataset, data)
        for measurement, record in measure_all(missing, load, dataset, "cpu"):
            if record["status"] != "measured":
                raise SystemExit(f"{measurement.describe()}: {record['status']}")
            store.write("measurements", measurement.key, record)
            records[measurement.key] = record
    return {key: record for key, record in records.items() if record is not None}


HEAD = """# Ways to merge, side by side

Written by `python benchmarks/merging_table.py` from the models of tier `{tier}`, {seeds}.
Numbers are means over six pairs of six models (each model and the next), barriers in nats against the models' own mean:
raw, of the worst pair, and where the merge and the models each have their own β; then the points of accuracy lost,
below 0 where the merge is better. BatchNorm's statistics are reset on unlabelled training images unless the row says
that they are summed, which needs no data. Only *matching* and *distance* compare weights; *complementary* sorts norms,
*reversed* is the same sort turned, *random* a random permutation, whose law is that of *unpermuted*.

A mean has three more columns: its raw barrier at inverse temperatures that need no fitting, k^(L-1) (averages without
biases and normalisation), k (every layer normalised) and √k (2404.04616).
"""


def page(tier_name: str, store: Store, data: Path, *, pilot: bool) -> str:
    """The page in Markdown."""
    tier = with_pilot_seeds(load_tier(tier_name)) if pilot else load_tier(tier_name)
    first = tier.settings[0].families["strong"].seeds
    said = f"{'pilot' if pilot else 'verdict'} seeds {first[0]} to {first[-1]}"
    parts = [HEAD.format(tier=tier_name, seeds=said)]
    for setting in tier.settings:
        records, strong = measured(wanted(setting), store, data), setting.families["strong"]
        for role, family in shown(setting).items():
            width = family.widths[-1]
            parts += [f"## {setting.name}, {role}, x{width:g}\n", orders_table(family, width, records) + "\n"]
        parts += [
            f"## {setting.name}, strong: room for more models\n",
            "Accuracy of models that keep a share of their channels / of as many models in one, in complementary "
            "order; *occupied* is the share of channels that hold 99 % of a model's strength.\n",
            capacity_table(strong, records) + "\n",
            f"## {setting.name}, strong: forecasts\n",
            "Calibrated barriers of pairs and of models with permutations of themselves. A permuted copy lacks what an "
            "ensemble gains.\n",
            forecast_table(strong, records) + "\n",
        ]
    return "\n".join(parts).rstrip() + "\n"


def main() -> None:
    """Write the page."""
    home = Path(os.environ.get("LMC_HOME", Path.home() / ".cache" / "lmc"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tier", default="quick")
    parser.add_argument("--pilot", action="store_true")
    parser.add_argument("--store", type=Path, default=home / "store")
    parser.add_argument("--data", type=Path, default=home / "data")
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    options.output.write_text(page(options.tier, Store(options.store), options.data, pilot=options.pilot), "utf-8")


if __name__ == "__main__":
    main()
