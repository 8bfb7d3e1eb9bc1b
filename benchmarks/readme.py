"""Write the README's tables from committed results: ``python benchmarks/readme.py``.

``--check`` changes nothing and exits with 1 where the README is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lmc.reporting.results import read_results

ROOT = Path(__file__).resolve().parents[1]
BASELINES = ROOT / "benchmarks" / "baselines"
TABLES = {"verdicts quick": "quick-cpu.json"}


def verdicts(name: str) -> str:
    """A table of verdicts from a results file in the baselines folder."""
    document = read_results(BASELINES / name)
    machine, versions = document["machine"], document["versions"]
    lines = [
        f"`benchmarks/baselines/{name}`: {machine['cores']} cores of {machine['processor']}, "
        f"torch {versions['torch']}, {document['seconds']:.0f} s with nothing stored.",
        "",
        "| claim | where | verdict | measured | expected |",
        "|---|---|---|---|---|",
    ]
    for claim in document["claims"]:
        for index, setting in enumerate(claim["settings"]):
            lines.append(_row(claim if index == 0 else None, setting))
    gaps = {
        (claim["id"], setting["name"]): setting["known_gap"]
        for claim in document["claims"]
        for setting in claim["settings"]
        if setting["known_gap"]
    }
    if gaps:
        lines += ["", "Known gaps:", ""]
        lines += [f"- {claim} on {setting}: {why}" for (claim, setting), why in gaps.items()]
    return "\n".join(lines)


def _row(claim: dict[str, Any] | None, setting: dict[str, Any]) -> str:
    said = f"{claim['statement']} ({claim['ref']})" if claim else ""
    gap = " (known gap)" if setting["known_gap"] else ""
    cells = (said, setting["name"], setting["verdict"] + gap, setting["reason"], setting["threshold"])
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def filled(text: str) -> str:
    """``text`` with every marked table made anew."""
    for mark, name in TABLES.items():
        begin, end = f"<!-- begin: {mark} -->", f"<!-- end: {mark} -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{verdicts(name)}\n{end}{tail}"
    return text


def main(arguments: list[str]) -> int:
    """Fill the README, or check it."""
    readme = ROOT / "README.md"
    before = readme.read_text("utf-8")
    after = filled(before)
    if "--check" in arguments:
        return int(before != after)
    readme.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
