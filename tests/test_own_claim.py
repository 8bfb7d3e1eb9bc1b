"""The example of somebody else's package, used as its README says, from a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lmc.reporting.sections import sections
from lmc.results.file import read_results

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_claim"
NAMED = {"tier": "own_claim:tier", "extra-claims": "own_claim:CLAIMS", "claims": "gelu"}
BARRIER, LEWC = "gelu-barrier-falls-with-width", "gelu-lewc-rises-with-width"


def options(prefix: str) -> list[str]:
    """Of the example's tier and claims alone."""
    return [f"{prefix}{name}={value}" for name, value in NAMED.items()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, with its images, not installed."""
    found = tmp_path_factory.mktemp("own") / "own_claim"
    shutil.copytree(EXAMPLE, found, ignore=shutil.ignore_patterns("few-digits", "__pycache__"))
    run(found, "own_claim.make_images")
    return found


def run(place: Path, module: str, *arguments: str, status: int = 0) -> str:
    """What a module prints that is run in the package's folder, as by somebody who has only lmc."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LMC_", "PYTHONPATH"))}
    environ |= {"LMC_HOME": str(place / "home"), "LMC_DEVICE": "cpu"}
    command = [sys.executable, "-m", module, *arguments]
    found = subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, check=False)
    assert found.returncode == status, found.stdout + found.stderr
    return found.stdout


def lmc(place: Path, *arguments: str, status: int = 0) -> str:
    return run(place, "lmc.commands.cli", *arguments, status=status)


def test_a_plan_knows_its_sizes_without_loading_anything(place: Path) -> None:
    planned = lmc(place, "plan", *options("--"))
    assert planned.count("few-digits     gelu-mlp") == 3
    assert "to train: 18 models" in planned
    assert "few-digits: registered, from" in lmc(place, "doctor", "--tier", "own_claim:tier")


def test_its_claims_are_judged_reported_and_compared_like_ours(place: Path) -> None:
    results, better = place / "results.json", place / "better.json"
    asked = ["--pyargs", "lmc.commands", "-m", "paper", "-p", "no:cacheprovider", *options("--lmc-")]
    told = run(place, "pytest", *asked, f"--lmc-results={results}")
    assert "2 passed" in told
    rows = {line.split()[0]: line for line in told.splitlines() if line.startswith("  gelu-")}
    assert set(rows) == {BARRIER, LEWC}
    assert all("✓ gelu-few-digits" in row for row in rows.values())

    document = read_results(results)
    assert (document.tier, document.selection.extra_claims) == ("own_claim:tier", ("own_claim:CLAIMS",))
    judged = {claim.id: claim.settings for claim in document.claims}
    assert [(each.name, each.verdict, len(each.values)) for each in judged[BARRIER]] == [
        ("gelu-few-digits", "holds", 3 * 15)
    ]
    assert {value.part for value in judged[LEWC][0].values} == {"4", "logits"}  # the second GELU, and the last layer
    assert {family.kind for family in document.evidence.families} == {"gelu-mlp"}

    shown = {section.name: [claim.id for claim in section.claims] for section in sections(document) if section.claims}
    assert shown == {"Figure 3": [LEWC], "Claims of own_claim:CLAIMS": [BARRIER]}
    page = results.with_suffix(".html").read_text("utf-8")
    for claim in (BARRIER, LEWC):
        assert f'id="claim-{claim}"' in page
        again = f"--lmc-tier own_claim:tier --lmc-extra-claims own_claim:CLAIMS --lmc-claims {claim}"
        assert f"pytest -m paper {again}" in page

    changed = json.loads(results.read_text("utf-8"))
    changed["claims"][0]["settings"][0].update(effect=-5.0, interval=[-5.1, -4.9])
    better.write_text(json.dumps(changed))
    told = lmc(place, "diff", str(better), str(results), status=1)
    assert f"worse   {BARRIER} on gelu-few-digits: -5 -> " in told
    assert "nothing differs in 2 pairs" in lmc(place, "diff", str(results), str(results))


def test_nothing_of_it_is_known_without_its_module(place: Path) -> None:
    """So what the runs above found was found through the seams."""
    assert "gelu" not in lmc(place, "claims")
    assert BARRIER in lmc(place, "claims", "--extra-claims", "own_claim:CLAIMS")
