"""Write what is made of committed results: ``python benchmarks/readme.py``.

The tables and pictures of README.md and the documentation, and what a run predicts of the next one. The output of the
tutorials is written by ``python benchmarks/tutorial.py``, which runs them.

``--check`` changes nothing and exits with 1 where a file is out of date, naming it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from committed import ROOT, committed
from option_table import option_table
from pictures import PICTURES, sums
from table import growth_table, measures_table, runs_table, speed_table
from timing_tables import SPEED_AMX, front, schedule, soak, timed, timed_on_gpus
from verdict_tables import counts, explanations, matrix, summary

from lmc.results.chances import chances_of_inconclusive

PREDICTIONS = "lmc/results/predicted.json"
"""What `lmc.results.chances.committed_chances` reads."""

TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"summary": summary, "speed": front, "sums": sums},
    "docs/verdicts.md": {"counts": counts, "matrix": matrix, "explained": explanations},
    "docs/performance.md": {
        "speed": lambda: timed(speed_table),
        "speed-amx": lambda: timed(speed_table, SPEED_AMX),
        "speed-cuda": timed_on_gpus,
        "growth": lambda: timed(growth_table),
        "measures": lambda: timed(measures_table),
        "runs": lambda: timed(runs_table),
    },
    "docs/operating.md": {"options": option_table, "schedule": schedule, "soak": soak},
}
"""By file, what stands between ``<!-- begin: name -->`` and ``<!-- end: name -->``."""


def predictions() -> str:
    """Of every case of the committed runs, the chance that it is inconclusive on fresh seeds, as JSON."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for tier, run in committed().items():
        for document in run.documents:
            for (claim, name), chance in chances_of_inconclusive(document).items():
                found.setdefault(tier, {}).setdefault(claim, {})[name] = round(chance, 4)
    return json.dumps(found, indent=1) + "\n"


def filled(text: str, tables: dict[str, Callable[[], str]]) -> str:
    """``text`` with every marked table made anew."""
    for mark, make in tables.items():
        begin, end = f"<!-- begin: {mark} -->", f"<!-- end: {mark} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"a file needs one {begin} and one {end}, for {mark}")
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{make()}\n{end}{tail}"
    return text


def main(arguments: list[str]) -> int:
    """Write the files, or check them."""
    made = {name: filled((ROOT / name).read_text("utf-8"), tables) for name, tables in TABLES.items()}
    made |= {name: draw() for name, draw in PICTURES.items()} | {PREDICTIONS: predictions()}
    stale = 0
    for name, after in made.items():
        path = ROOT / name
        if path.exists() and path.read_text("utf-8") == after:
            continue
        stale += 1
        print(f"{name} is out of date" if "--check" in arguments else f"wrote {name}")
        if "--check" not in arguments:
            path.write_text(after, "utf-8")
    return int(stale > 0 and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
