"""Markdown tables of the committed benchmarks, plans and soak: the README's, and those of the documentation."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench_files import read_document
from committed import BASELINES
from cuda_cases import targets
from table import measures_table, speed_table, unmeasured_table

from lmc.executing.costs import ASSUMED
from lmc.executing.settings import Settings
from lmc.planning.plan import make_plan

SPEED, SPEED_AMX = "bench-cpu-2core.json", "bench-cpu-2core-amx.json"
"""Of two classes of machines: with bf16 in vectors, and in tiles."""

FRONT = (
    "six MLPs of 32 units, batch 50",
    "MLP 784-512-512-512-10, batch 512",
    "vgg-digits of the quick tier",
    "logits of an 11-point path, MLP of 512 units",
    "ResNet-20, batch 128, augmented random images of 32x32, ours bf16, a model per worker",
)
"""The beginnings of the works that the README names."""


def timed(table: Callable[[Path], str], name: str = SPEED) -> str:
    """A table of the committed benchmarks of a class of machines without a GPU."""
    path = BASELINES / name
    text = table(path) if path.exists() else ""
    return text if text.count("\n") > 1 else "Not measured yet."  # a head without rows says nothing


def front() -> str:
    """The README's five rows: work, peer and ratio."""
    head, line, *rows = timed(speed_table).splitlines()
    chosen = [row for start in FRONT for row in rows if row.startswith(f"| {start}")]
    return "\n".join(" | ".join(row.split(" | ")[:3]) + " |" for row in (head, line, *chosen))


def timed_on_gpus(folder: Path = BASELINES) -> str:
    """The tables of every committed file of a machine with a GPU; the targets, where there is none."""
    told = []
    for path in sorted(folder.glob("bench-*.json")):
        device = read_document(path)["machine_info"].get("device", "cpu")
        if device != "cpu":
            tables = [make(path, "test_cuda.py") for make in (speed_table, measures_table)]
            told += [f"On one {device}:", *tables]
    return "\n\n".join(told) or unmeasured_table(targets())


def schedule() -> str:
    """What the paper tier takes on GPUs, simulated: ``lmc plan --tier paper --gpus 1,8,64``."""
    with tempfile.TemporaryDirectory() as home:
        plan = make_plan(Settings.resolve({"LMC_HOME": home}, tier="paper", device="cpu"), [1, 8, 64])
    lines = ["| GPUs | from start to end | in use | longest chain of jobs |", "|---|---|---|---|"]
    for each in plan.schedules:
        hours = f"{each.makespan / 3600:.1f} h"
        lines.append(f"| {each.devices} | {hours} | {each.utilisation:.0%} | {each.critical_path / 3600:.1f} h |")
    models = sum(row.models for row in plan.rows)
    flops = sum(row.models * row.flops for row in plan.rows)
    return "\n".join([*lines, "", f"({models} models, {flops:.2g} FLOP; assumed GPU: {ASSUMED}.)"])


def soak() -> str:
    """What the soak run found."""
    path = BASELINES / "soak-cpu.json"
    if not path.exists():
        return "Not measured yet."
    found = json.loads(path.read_text("utf-8"))
    faults = ", ".join(f"{count} x {name}" for name, count in sorted(found["faults"].items()))
    lines = ["| | early | at the end | per round | growth | at most |", "|---|---|---|---|---|---|"]
    for name in ("memory_mib", "open_files", "threads", "processes", "store_mib"):
        each, shown_as = found[name], name.replace("_mib", ", MiB").replace("_", " ")
        figures = (each[column] for column in ("first", "last", "per_round", "grown", "limit"))
        lines.append(
            f"| {shown_as} | " + " | ".join("–" if value is None else f"{value:g}" for value in figures) + " |"
        )
    told = (
        f"{found['rounds']} rounds in {found['minutes']:g} minutes; {faults}. Rounds with any other number: "
        f"{found['rounds_with_other_numbers']}; left behind: {found['leases_left']:g} leases, "
        f"{found['workers_left']:g} worker processes. Growth is that of the median, from the first third of the "
        f"{found['settled_rounds']} settled rounds to the last third."
    )
    failed = [f"The soak failed: {problem}." for problem in found["problems"]]
    return "\n".join([told, *failed, "", *lines])
