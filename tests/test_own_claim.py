"""The example of somebody else's package, used as its README says, from a folder of its own."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_claim"
NAMED = ["tier", "own_claim:tier", "extra-claims", "own_claim:CLAIMS", "claims", "gelu"]


def options(prefix: str) -> list[str]:
    """Of the example's tier and claim alone."""
    return [f"{prefix}{name}={value}" for name, value in zip(NAMED[::2], NAMED[1::2], strict=True)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, with its images, not installed."""
    found = tmp_path_factory.mktemp("own") / "own_claim"
    shutil.copytree(EXAMPLE, found, ignore=shutil.ignore_patterns("few-digits", "__pycache__"))
    run(found, sys.executable, "-m", "own_claim.make_images")
    return found


def run(place: Path, *command: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LMC_", "PYTHONPATH"))}
    environ |= {"LMC_HOME": str(place / "home"), "LMC_DEVICE": "cpu"}
    found = subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def lmc(place: Path, *arguments: str) -> str:
    return run(place, sys.executable, "-m", "lmc.commands.cli", *arguments)


def test_a_plan_knows_its_sizes_without_loading_anything(place: Path) -> None:
    planned = lmc(place, "plan", *options("--"))
    assert planned.count("few-digits     gelu-mlp") == 3
    assert "to train: 18 models" in planned
    assert "few-digits: registered, from" in lmc(place, "doctor", "--tier", "own_claim:tier")


def test_its_claim_is_judged_reported_and_compared_like_ours(place: Path) -> None:
    results = place / "results.json"
    command = [sys.executable, "-m", "pytest", "--pyargs", "lmc.commands", "-m", "paper", "-p", "no:cacheprovider"]
    told = run(place, *command, *options("--lmc-"), f"--lmc-results={results}")
    assert "1 passed" in told
    row = next(line for line in told.splitlines() if line.startswith("gelu-barrier-falls-with-width"))
    assert "gelu-few-digits" in row
    assert "holds" in row

    document: dict[str, Any] = json.loads(results.read_text())
    assert document["tier"] == "own_claim:tier"
    assert document["selection"]["extra_claims"] == ["own_claim:CLAIMS"]
    (claim,) = document["claims"]
    (setting,) = claim["settings"]
    assert (claim["id"], setting["name"], setting["verdict"]) == (row.split()[0], "gelu-few-digits", "holds")
    assert len(setting["values"]) == 3 * 15

    page = results.with_suffix(".html").read_text("utf-8")
    assert 'id="claim-gelu-barrier-falls-with-width"' in page
    again = "pytest -m paper --lmc-tier own_claim:tier --lmc-extra-claims own_claim:CLAIMS --lmc-claims gelu-barrier"
    assert again in page

    better = place / "better.json"
    setting.update(effect=-5.0, interval=[-5.1, -4.9])
    better.write_text(json.dumps(document))
    told = run(
        place,
        "sh",
        "-c",
        shlex.join([sys.executable, "-m", "lmc.commands.cli", "diff", "better.json", "results.json"])
        + " || test $? = 1",
    )
    assert "worse   gelu-barrier-falls-with-width on gelu-few-digits: -5 -> " in told


def test_nothing_of_it_is_known_without_its_module(place: Path) -> None:
    """So what the runs above found was found through the seams."""
    assert "gelu" not in lmc(place, "claims")
    assert "gelu-barrier-falls-with-width" in lmc(place, "claims", "--extra-claims", "own_claim:CLAIMS")
