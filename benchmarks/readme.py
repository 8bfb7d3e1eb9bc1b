"""Write what is made of committed results: ``python benchmarks/readme.py``.

The tables of README.md and VERDICTS.md, and what a run predicts of the next one.

``--check`` changes nothing and exits with 1 where a file is out of date.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench_files import read_document
from cuda_cases import targets
from option_table import option_table
from table import growth_table, measures_table, runs_table, speed_table, unmeasured_table

from lmc.claims.cases import cases
from lmc.claims.paper import CLAIMS, ITEMS
from lmc.claims.verdicts import Role
from lmc.executing.costs import ASSUMED
from lmc.executing.settings import Settings
from lmc.planning.plan import make_plan
from lmc.results.chances import chances_of_inconclusive
from lmc.results.deciding import counted, counts_in_words
from lmc.results.document import Claim, Document, Judged
from lmc.results.file import read_results
from lmc.results.wording import asked_in_words, measured_in_words, remark_in_words
from lmc.tiers import load_tier, tier_names

ROOT = Path(__file__).resolve().parents[1]
BASELINES = ROOT / "benchmarks" / "baselines"
RESULTS = {"quick": "quick-cpu.json", "preview": "preview-cpu.json", "standard": "standard-mlp-cpu.json"}
"""By tier, the committed results its verdicts are taken from."""

PREDICTIONS = "lmc/results/predicted.json"
"""What `lmc.results.chances.committed_chances` reads."""

SPEED, SPEED_AMX = "bench-cpu-2core.json", "bench-cpu-2core-amx.json"
"""Of two classes of machines: with bf16 in vectors, and in tiles."""


def documents() -> dict[str, Document]:
    """The committed results documents there are, by tier."""
    return {tier: read_results(BASELINES / name) for tier, name in RESULTS.items() if (BASELINES / name).exists()}


def items() -> str:
    """Every claim that stands for a figure, table or theorem, the tiers it runs at, and its latest verdicts there."""
    found = documents()
    runs = {tier: {case.claim.id for case in cases(CLAIMS, load_tier(tier)) if not case.skip} for tier in tier_names()}
    lines = ["| paper | shows | claim | at tiers | latest verdicts |", "|---|---|---|---|---|"]
    for item in ITEMS:
        for number, claim in enumerate(item.encoded_by()):
            named = f"{item.name} | {item.about}" if number == 0 else " | "
            tiers = ", ".join(tier for tier, run in runs.items() if claim.id in run)
            judged = (tier for tier, document in found.items() if claim.id in runs[tier] and _has(document, claim.id))
            told = "; ".join(f"{tier}: {_counted(found[tier], claim.id, claim.role)}" for tier in judged)
            lines.append(f"| {named} | `{claim.id}` | {tiers} | {told or 'not yet run'} |")
    return "\n".join(lines)


def _has(document: Document, claim_id: str) -> bool:
    return any(claim.id == claim_id for claim in document.claims)


def _counted(document: Document, claim_id: str, role: Role) -> str:
    return counts_in_words([judged.shown for claim, judged in document.judged() if claim.id == claim_id], role)


def counts() -> str:
    """How many verdicts of each kind every committed run has, on what machine."""
    lines = ["| run | machine | torch | trained | training | whole run | verdicts |", "|---|---|---|---|---|---|---|"]
    for tier, document in documents().items():
        machine, models = document.machine, document.evidence.models
        where = machine.get("gpu") or f"{machine['cores']} cores of {machine['processor']}"
        training = sum(model.seconds for model in models) / 60
        whole = f"{document.seconds:.0f} s" if document.made.models else "from the store"
        lines.append(
            f"| `{RESULTS[tier]}` | {where} | {document.versions['torch']} | {len(models)} models "
            f"| {training:.1f} core minutes | {whole} | {'; '.join(counted(document))} |"
        )
    return "\n".join(lines)


def verdicts(tier: str) -> str:
    """Every claim and setting of a committed run: verdict, numbers, threshold; then the explanations of failures."""
    document = documents().get(tier)
    if document is None:
        return f"The {tier} tier has no committed results yet."
    lines = ["| claim | where | verdict | measured | expected |", "|---|---|---|---|---|"]
    for claim in document.claims:
        for index, judged in enumerate(claim.settings):
            lines.append(_row(claim if index == 0 else None, judged))
    explained = [
        f"- {claim.id} on {judged.name}: {remark_in_words(judged)}"
        for claim, judged in document.judged()
        if judged.explained
    ]
    return "\n".join([*lines, "", "Explained:", "", *explained] if explained else lines)


def _row(claim: Claim | None, judged: Judged) -> str:
    said = f"{claim.statement} ({claim.ref}; `{claim.id}`)" if claim else ""
    cells = (said, judged.name, judged.shown, measured_in_words(judged), asked_in_words(judged.asked))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def timed(table: Callable[[Path], str], name: str = SPEED) -> str:
    """A table of the committed benchmarks of a class of machines without a GPU."""
    path = BASELINES / name
    text = table(path) if path.exists() else ""
    return text if text.count("\n") > 1 else "Not measured yet."  # a head without rows says nothing


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


TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {
        "options": option_table,
        "items": items,
        "counts": counts,
        "speed": lambda: timed(speed_table),
        "speed-amx": lambda: timed(speed_table, SPEED_AMX),
        "speed-cuda": timed_on_gpus,
        "growth": lambda: timed(growth_table),
        "measures": lambda: timed(measures_table),
        "runs": lambda: timed(runs_table),
        "schedule": schedule,
        "soak": soak,
    },
    "VERDICTS.md": {"quick": lambda: verdicts("quick"), "standard": lambda: verdicts("standard")},
}
"""By file, what stands between ``<!-- begin: name -->`` and ``<!-- end: name -->``."""


def predictions() -> str:
    """Of every case of the committed runs, the chance that it is inconclusive on fresh seeds, as JSON."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for tier, document in documents().items():
        for (claim, name), chance in chances_of_inconclusive(document).items():
            found.setdefault(tier, {}).setdefault(claim, {})[name] = round(chance, 4)
    return json.dumps(found, indent=1) + "\n"


def filled(text: str, tables: dict[str, Callable[[], str]]) -> str:
    """``text`` with every marked table made anew."""
    for mark, make in tables.items():
        begin, end = f"<!-- begin: {mark} -->", f"<!-- end: {mark} -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{make()}\n{end}{tail}"
    return text


def main(arguments: list[str]) -> int:
    """Fill the files, or check them."""
    stale = 0
    made = {name: filled((ROOT / name).read_text("utf-8"), tables) for name, tables in TABLES.items()}
    for name, after in {**made, PREDICTIONS: predictions()}.items():
        path = ROOT / name
        before = path.read_text("utf-8")
        stale |= before != after
        if "--check" not in arguments:
            path.write_text(after, "utf-8")
    return int(stale and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
