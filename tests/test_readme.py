"""The README and the documentation say what is true: tables and pictures are the committed results', programs run."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bench_modules import load

from lmc.claims.paper import CLAIMS
from lmc.claims.parts import ALPHA
from lmc.claims.verdicts import HOLDS
from lmc.results.file import read_results

ROOT = Path(__file__).parents[1]
BASELINES = ROOT / "benchmarks" / "baselines"
README = (ROOT / "README.md").read_text("utf-8")
RESEARCHER = (ROOT / "docs" / "tutorials" / "researcher.md").read_text("utf-8")
PAGES = sorted(
    path
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    if "claims" not in path.parts
)


def test_tables_and_pictures_are_those_of_the_committed_results() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "readme.py"), "--check"]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    assert found.returncode == 0, f"run python benchmarks/readme.py: {found.stdout}{found.stderr}"


def test_the_front_figure_draws_the_numbers_of_the_results() -> None:
    """Its words for those who cannot see it hold the mean of what the paths themselves give, calculated anew."""
    document = read_results(BASELINES / "quick-cpu.json")
    (wide,) = (
        judged
        for claim, judged in document.judged()
        if claim.id == "sum-needs-no-temperature" and judged.name == "vgg-digits"
    )
    values = [each.value for each in wide.values if each.value is not None and each.width == 0.5]
    said = f"at 1/2 {sum(values) / len(values) / math.log(10):.4g}"
    assert said in (ROOT / "docs" / "images" / "barrier.svg").read_text("utf-8")


def test_the_raw_barrier_is_recovered_from_two_claims() -> None:
    committed, pictures = load("committed"), load("pictures")
    found = pictures.barriers(committed.committed()["quick"], "mlp-digits")
    paths = [
        path
        for path in read_results(BASELINES / "quick-cpu.json").evidence.paths
        if (path.setting, path.role, path.width, path.alignment) == ("mlp-digits", "strong", 1.0, "unpermuted")
        and len(set(path.seeds)) > 1
    ]
    raw = {each.seeds: each.value for each in found["average"] if each.width == 1.0 and each.draw == 0}
    assert paths
    for path in paths:
        middle = path.loss[path.lams.index(0.5)]
        assert raw[path.seeds] * math.log(10) == pytest.approx(middle - (path.loss[0] + path.loss[-1]) / 2, abs=1e-4)


def test_the_readme_is_short() -> None:
    assert len(README.encode()) <= 10_000


def test_its_commands_are_those_of_the_environments() -> None:
    commands = re.findall(r"tox -q -e (\w+)", README)
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert commands == ["paper", "tests"]
    assert all(f"tox -q -e {name}" in script for name in commands)


def test_every_claim_has_a_committed_verdict() -> None:
    document = read_results(BASELINES / "quick-cpu.json")
    assert [claim.id for claim in document.claims] == [claim.id for claim in CLAIMS]


def test_committed_results_are_of_commits() -> None:
    for path in BASELINES.glob("*-cpu.json"):
        commit = json.loads(path.read_text("utf-8"))["commit"]
        assert re.fullmatch("[0-9a-f]{40}", commit), f"{path.name}: {commit}"


def test_every_verdict_that_holds_has_an_effect_a_p_value_and_three_independent_pairs() -> None:
    """Of trained models; a merge of a model with itself, and a theorem, are exact."""
    for name in ("quick-cpu", "pilot-quick-cpu", "preview-cpu", "standard-mlp-cpu"):
        for claim, judged in read_results(BASELINES / f"{name}.json").judged():
            if judged.verdict == HOLDS and judged.name != "theory" and claim.id != "control-self-merge":
                named = f"{name}: {claim.id} on {judged.name}"
                assert judged.effect is not None, named
                assert judged.p_value is not None, named
                assert judged.p_value <= ALPHA, named
                assert len({value.seeds for value in judged.values if value.independent}) >= 3, named


def test_thresholds_come_from_other_seeds_than_verdicts() -> None:
    seeds = []
    for name in ("quick-cpu", "pilot-quick-cpu"):
        document = read_results(BASELINES / f"{name}.json")
        seeds.append({seed for _, judged in document.judged() for value in judged.values for seed in value.seeds})
    assert seeds[0]
    assert seeds[1]
    assert not seeds[0] & seeds[1]


def test_the_python_example_runs(tmp_path: Path) -> None:
    example = re.findall(r"```python\n(.*?)```", RESEARCHER, re.DOTALL)[0]
    script = f"{example}\nassert middle.keys() == a.keys()"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)


def test_the_tutorials_print_what_they_say() -> None:
    """Up to the numbers: the verdict, the reasons, the tables and what they name."""
    command = [sys.executable, str(ROOT / "benchmarks" / "tutorial.py"), "--check"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, f"run python benchmarks/tutorial.py; it prints\n{found.stdout}{found.stderr}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "examples/own_claim/README.md"])
def test_every_path_it_names_exists(name: str) -> None:
    folder, text = (ROOT / name).parent, (ROOT / name).read_text("utf-8")
    named = re.findall(r"`((?:lmc|benchmarks|tests|docs|examples|own_claim)/[\w/.-]+)`", text)
    named += re.findall(r"]\((?!http)([^)#]+)", text)
    assert named
    assert missing(named, folder) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    """As files, too: on GitHub nothing has been built."""
    text = path.read_text("utf-8")
    links = re.findall(r"]\((?!http)([^)]+)\)", text)
    links += re.findall(r"{literalinclude} (\S+)", text)
    assert missing([link.partition("#")[0] for link in links], path.parent) == []
    for link in links:
        target, _, heading = link.partition("#")
        if heading:
            assert heading in headings(path.parent / target), f"{target} has no heading {heading}"


def missing(named: list[str], folder: Path) -> list[str]:
    return [each for each in named if not (ROOT / each).exists() and not (folder / each).exists()]


def headings(path: Path) -> list[str]:
    """As GitHub calls them in links."""
    found = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in found]


def test_what_is_not_there_is_missed(tmp_path: Path) -> None:
    assert missing(["docs/conf.py", "docs/no_such_page.md"], tmp_path) == ["docs/no_such_page.md"]


def test_every_page_is_listed() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    names = {str(path.relative_to(ROOT / "docs").with_suffix("")) for path in PAGES if ROOT / "docs" in path.parents}
    assert {name for name in names - {"index"} if f"\n{name}\n" not in index} == set()
