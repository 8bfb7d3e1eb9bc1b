"""The README says what is true: its tables are the committed results', its Python runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lmc.claims.paper import CLAIMS
from lmc.claims.parts import ALPHA
from lmc.claims.verdicts import HOLDS
from lmc.results.file import read_results

ROOT = Path(__file__).parents[1]
BASELINES = ROOT / "benchmarks" / "baselines"
README = (ROOT / "README.md").read_text("utf-8")


def test_tables_are_those_of_the_committed_results() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "readme.py"), "--check"]
    found = subprocess.run(command, check=False)
    assert found.returncode == 0, "run python benchmarks/readme.py"


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
                assert judged.effect, named
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
    example = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    script = f"{example}\nassert middle.keys() == a.keys()"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)


def test_the_tutorial_prints_what_it_says() -> None:
    """Up to the numbers: the verdict, the reasons, the tables and what they name."""
    command = [sys.executable, str(ROOT / "benchmarks" / "tutorial.py"), "--check"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, f"run python benchmarks/tutorial.py; it prints\n{found.stdout}{found.stderr}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "examples/own_claim/README.md"])
def test_every_path_it_names_exists(name: str) -> None:
    folder, text = (ROOT / name).parent, (ROOT / name).read_text("utf-8")
    named = re.findall(r"`((?:lmc|benchmarks|tests|own_claim)/[\w/.-]+)`", text)
    assert named
    assert [path for path in named if not (ROOT / path).exists() and not (folder / path).exists()] == []
