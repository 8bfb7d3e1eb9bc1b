"""The shape of the package: imports point one way, and the light commands stay light."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lmc"
RESULTS = str(PACKAGE.parent / "benchmarks" / "baselines" / "quick-cpu.json")
LAYERS = [  # from the bottom up; a module may import from its own layer and those below
    {"console", "errors", "host", "precision"},
    {"architectures", "datasets", "references", "shares"},
    {"specs"},
    {"tiers", "theory", "data", "nets", "merging"},
    {"store"},
    {"training", "measuring"},
    {"claims", "diagnosing"},
    {"results"},
    {"reporting", "executing"},
    {"planning"},
    {"commands"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def imported(path: Path) -> set[str]:
    """The parts of the package that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("lmc.")}
    return found & set(RANK)


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_part_has_a_rank() -> None:
    assert {part_of(path) for path in MODULES} == set(RANK)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    upwards = {name for name in imported(path) if RANK[name] > RANK[part_of(path)]}
    assert not upwards, f"{path} imports from above: {upwards}"


def modules_imported(path: Path) -> set[Path]:
    """The files of the package that a module imports anywhere in it but for its types."""
    found: set[Path | None] = set()
    for node in _running(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {file_of(f"{node.module}.{alias.name}") or file_of(node.module) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {file_of(alias.name) for alias in node.names}
    return {file for file in found if file is not None}


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _running(node)


def file_of(name: str) -> Path | None:
    """The file of a module of the package, itself or its ``__init__``."""
    if name.split(".")[0] != PACKAGE.name:
        return None
    path = PACKAGE.parent.joinpath(*name.split("."))
    return next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()), None)


def test_no_files_import_each_other() -> None:
    imports = {path: modules_imported(path) for path in MODULES}
    with pytest.raises(CycleError):  # the check itself can fail
        TopologicalSorter({**imports, MODULES[0]: {MODULES[1]}, MODULES[1]: {MODULES[0]}}).prepare()
    TopologicalSorter(imports).prepare()


def loaded_after(code: str, *arguments: str) -> set[str]:
    """Modules loaded once ``code`` ran in a fresh interpreter."""
    script = f"{code}\nimport sys; print('', *sys.modules)"
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "module",
    ["lmc", "lmc.commands.plugin", "lmc.commands.cli", "lmc.executing.session", "lmc.claims.paper"],
)
def test_light_modules_load_no_torch(module: str) -> None:
    assert not {"torch", "scipy"} & loaded_after(f"import {module}")


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["diff", RESULTS, RESULTS], {"torch", "scipy", "numpy", "matplotlib"}),
        (["summary", RESULTS], {"torch", "scipy", "numpy", "matplotlib"}),
        (["export", RESULTS, "-o", "{folder}"], {"torch", "scipy", "numpy", "matplotlib"}),
        (["history", "{folder}", "-o", "{folder}/history.html"], {"torch", "scipy", "matplotlib"}),
        (["report", RESULTS, "-o", "{folder}/report.html"], {"torch", "scipy.stats", "matplotlib"}),
        (["figures", RESULTS, "-o", "{folder}", "--only", "fig2b", "--format", "svg"], {"torch", "scipy.stats"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_made_of_results_files_loads_nothing_heavy(
    arguments: list[str], heavy: set[str], tmp_path: Path
) -> None:
    """The report draws intervals, whose t quantile comes from scipy.special; nothing else needs scipy."""
    shutil.copy(RESULTS, tmp_path)
    command = "import sys; from lmc.commands.cli import app; app(sys.argv[1:], standalone_mode=False)"
    assert not heavy & loaded_after(command, *(each.format(folder=tmp_path) for each in arguments))


def test_public_names_resolve() -> None:
    import lmc

    assert set(lmc.__all__) == set(lmc._HOME_OF)
    for name in lmc.__all__:
        assert getattr(lmc, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'combine'"):
        _ = lmc.combine


def test_public_names_lead_to_their_documentation() -> None:
    import lmc

    index = (PACKAGE.parent / "docs" / "reference.rst").read_text("utf-8")
    homes = {name: getattr(lmc, name) for name in lmc.__all__}
    missing = {name for name, found in homes.items() if f"`{name} <{found.__module__}.{name}>`" not in index}
    assert not missing


def too_long(path: Path) -> Iterator[str]:
    """The file itself where it has over 300 lines, and its functions of over 60, docstrings included."""
    text, name = path.read_text("utf-8"), str(path.relative_to(PACKAGE))
    if len(text.splitlines()) > 300:
        yield name
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 60:
            yield f"{name}: {node.name}"


def test_a_file_and_a_function_are_one_idea() -> None:
    found = {each for path in PACKAGE.rglob("*.py") for each in too_long(path)}
    assert not found, "is it two ideas?"


def test_long_files_and_functions_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    lines = ["def at_the_limit():", *["    pass"] * 59, "async def beyond():", *["    pass"] * 60]
    (path := tmp_path / "long.py").write_text("\n".join(lines), "utf-8")
    assert list(too_long(path)) == ["long.py: beyond"]
    path.write_text("\n" * 300, "utf-8")
    assert not list(too_long(path))
    path.write_text("\n" * 301, "utf-8")
    assert list(too_long(path)) == ["long.py"]
