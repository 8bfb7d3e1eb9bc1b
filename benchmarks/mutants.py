"""Change expressions of the code that numbers come from, one at a time, and see whether a test notices.

``python benchmarks/mutants.py`` (``tox -e mutants``) takes 300 of all mutants of `lmc.claims`, `lmc.measuring`,
`lmc.merging` and `lmc.theory`: the same ones each time, as long as their lines stay as they are. It fails where fewer
than 95 % of those are noticed that ``mutants_alike.toml`` does not list as equivalent, with a reason.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).resolve().parents[1]
ALIKE = Path(__file__).with_name("mutants_alike.toml")
ENOUGH = 0.95
OTHERS = ("browser", "calibration", "cluster", "faults", "fuzz")
"""Tests that have environments of their own."""
_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow")
OPERATORS = tuple(
    name
    for name in cosmic_ray.plugins.operator_names()
    if re.fullmatch(r"core/ReplaceBinaryOperator_({0})_({0})".format("|".join(_ARITHMETIC)), name)
    or re.fullmatch(r"core/ReplaceComparisonOperator_(Eq|NotEq|Lt|LtE|Gt|GtE)_(Eq|NotEq|Lt|LtE|Gt|GtE)", name)
    or name in ("core/NumberReplacer", "core/AddNot", "core/ReplaceAndWithOr", "core/ReplaceOrWithAnd")
    or name in ("core/ReplaceTrueWithFalse", "core/ReplaceFalseWithTrue")
    or name in ("core/ReplaceUnaryOperator_USub_UAdd", "core/ReplaceUnaryOperator_Delete_Not")
)
"""What changes an expression. ``|`` stands in annotations, and `lmc` shifts no bits."""


@dataclass(frozen=True)
class Mutant:
    """One changed expression.

    Args:
        path: of the module, from the repository's root.
        operator: what changes it, by cosmic-ray's name.
        occurrence: of the operator's places in the module, from 0.
        line: the number of its line.
        column: where in the line it begins.
        before: the line as it is.
    """

    path: str
    operator: str
    occurrence: int
    line: int
    column: int
    before: str

    @property
    def lot(self) -> str:
        """It is taken where this is among the least: as good as random, and the same whatever changes elsewhere."""
        known_by = (self.path, self.operator, self.before, str(self.column))
        return hashlib.sha256("\0".join(known_by).encode()).hexdigest()

    @property
    def after(self) -> str:
        """The line as it is made."""
        return self.code().split("\n")[self.line - 1].strip()

    @property
    def identity(self) -> tuple[str, str, str]:
        """What it is known by, wherever its line moves to."""
        return self.path, self.before, self.after

    def code(self) -> str:
        """The whole changed module."""
        operator = cosmic_ray.plugins.get_operator(self.operator)()
        changed = mutate_code((ROOT / self.path).read_text(encoding="utf-8"), operator, self.occurrence)
        assert changed is not None
        return str(changed)

    def __str__(self) -> str:
        return f"{self.path}:{self.line}\n    - {self.before}\n    + {self.after}"


def mutants(path: Path) -> Iterator[Mutant]:
    """All mutants of one module."""
    source = path.read_text(encoding="utf-8")
    lines, nodes = source.split("\n"), list(ast_nodes(get_ast(source)))
    for name in OPERATORS:
        operator = cosmic_ray.plugins.get_operator(name)()
        places = [place for node in nodes for place, _ in operator.mutation_positions(node)]
        for occurrence, (line, column) in enumerate(places):
            text = lines[line - 1]
            before = text.strip()
            yield Mutant(str(path.relative_to(ROOT)), name, occurrence, line, column - text.index(before), before)


def sample(size: int) -> list[Mutant]:
    """As many mutants, in the order of their lots."""
    files = [each for folder in ("claims", "measuring", "merging") for each in (ROOT / "lmc" / folder).glob("*.py")]
    found = [mutant for path in sorted([*files, ROOT / "lmc" / "theory.py"]) for mutant in mutants(path)]
    print(f"{len(found)} mutants of {len(files) + 1} modules", flush=True)
    return sorted(found, key=lambda each: each.lot)[:size]


def tests_of(module: str) -> list[list[str]]:
    """The test files that import a module, then the others of its folder; those of its own folder first.

    Tests of other folders that notice a mutant by chance do not count.
    """
    name, folder = module.removesuffix(".py").replace("/", "."), Path(module).parent.name
    files = sorted([*(ROOT / "tests").glob("*/test_*.py"), *(ROOT / "tests").glob("test_*.py")])
    files = sorted(
        (each for each in files if each.parent.name not in OTHERS), key=lambda each: each.parent.name != folder
    )
    near = [path for path in files if re.search(rf"\b{re.escape(name)}\b", path.read_text(encoding="utf-8"))]
    rest = [path for path in files if path not in near and path.parent.name == folder]
    return [[str(path.relative_to(ROOT)) for path in group] for group in (near, rest) if group]


def noticed(mutant: Mutant, place: Path, limit: float) -> str:
    """The first test in ``place``, a copy of the checkout, that fails; nothing where none does."""
    target = place / mutant.path
    original = target.read_text(encoding="utf-8")
    target.write_text(mutant.code(), encoding="utf-8")
    try:
        for group in tests_of(mutant.path):
            if said := _failing(group, place, limit):
                return said
    finally:
        target.write_text(original, encoding="utf-8")
    return ""


def _failing(tests: Sequence[str], place: Path, limit: float) -> str:
    """What fails first of ``tests``, else nothing."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(place)}
    with subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "takes too long"
    if process.returncode == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    return failed[1] if failed else f"exit {process.returncode}"


def copies(count: int, folder: Path) -> Queue[Path]:
    """Copies of what is tested and of its tests."""
    places: Queue[Path] = Queue()
    for number in range(count):
        place = folder / str(number)
        place.mkdir()
        for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines():
            if (ROOT / name).is_file():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, place / name)
        places.put(place)
    return places


def run(chosen: Sequence[Mutant], processes: int, limit: float) -> list[tuple[Mutant, str]]:
    """Every mutant with what noticed it.

    Raises:
        SystemExit: a test fails where nothing is changed, and would notice everything.
    """
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(processes) as pool:
        places = copies(processes, Path(folder))
        asked = {test for mutant in chosen for group in tests_of(mutant.path) for test in group}
        if said := _failing(sorted(asked), places.queue[0], 6 * limit):
            raise SystemExit(f"{said} fails without a mutant; mend it first")

        def one(mutant: Mutant) -> tuple[Mutant, str]:
            place = places.get()
            started = time.monotonic()
            try:
                by = noticed(mutant, place, limit)
            finally:
                places.put(place)
            print(f"{time.monotonic() - started:5.0f} s  {by or 'NOT NOTICED'}\n  {mutant}", flush=True)
            return mutant, by

        return list(pool.map(one, chosen))


def alike() -> dict[tuple[str, str, str], str]:
    """The reasons why mutants change nothing, by what they are known by."""
    listed = tomllib.loads(ALIKE.read_text(encoding="utf-8")) if ALIKE.exists() else {}
    return {(each["path"], each["before"], each["after"]): each["reason"] for each in listed.get("mutant", [])}


def main() -> int:
    """See this module's description."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=300, help="how many mutants are tried (default: 300)")
    parser.add_argument("--skip", type=int, default=0, help="how many of them are left out at the front (default: 0)")
    parser.add_argument("--processes", type=int, default=2, help="how many are tried at once (default: 2)")
    parser.add_argument("--limit", type=float, default=600, help="seconds that a group of tests may take")
    given = parser.parse_args()
    known = alike()
    chosen = sample(given.sample)[given.skip :]
    listed = [each for each in chosen if each.identity in known]
    found = run([each for each in chosen if each.identity not in known], given.processes, given.limit)
    missed = [mutant for mutant, by in found if not by]
    share = 1 - len(missed) / max(1, len(found))
    print(f"\nnoticed {len(found) - len(missed)} of {len(found)} ({share:.1%}); {len(listed)} change nothing")
    for mutant in missed:
        print(mutant)
    print(", ".join(f"{path}: {count}" for path, count in Counter(each.path for each in missed).most_common()))
    return 0 if share >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
