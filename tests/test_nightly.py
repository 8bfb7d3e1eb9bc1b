"""The example of a nightly job: what it runs exists, and what it keeps is what is written."""

from __future__ import annotations

import configparser
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
JOB: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "nightly.yml").read_text("utf-8"))
STEPS: list[dict[str, Any]] = JOB["jobs"]["paper"]["steps"]
TOX = configparser.ConfigParser()
TOX.read(ROOT / "tox.ini")


def options() -> list[str]:
    """What the job passes to pytest."""
    (command,) = (shlex.split(step["run"]) for step in STEPS if step.get("run", "").startswith("tox "))
    assert command[:5] == ["tox", "-q", "-e", "paper", "--"]
    return command[5:]


def using(action: str) -> dict[str, Any]:
    (step,) = (step for step in STEPS if step.get("uses", "").partition("@")[0] == action)
    return step


def test_its_command_is_understood(tmp_path: Path) -> None:
    assert "pytest -m paper {posargs}" in TOX["testenv:paper"]["commands"]
    given = [each.replace("results/", f"{tmp_path}/") for each in options()]
    command = [sys.executable, "-m", "pytest", "-m", "paper", "--collect-only", "-q", *given]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LMC_")}
    found = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "test_claim[fig2b" in found.stdout
    baseline = options()[options().index("--lmc-baseline") + 1]
    assert (ROOT / baseline).is_file()


def test_what_the_job_says_reaches_its_summary() -> None:
    assert "GITHUB_STEP_SUMMARY" in TOX["testenv:paper"]["pass_env"]


def test_what_is_written_is_kept() -> None:
    folder = using("actions/upload-artifact")["with"]["path"]
    for option in ("--lmc-results", "--junitxml"):
        assert options()[options().index(option) + 1].startswith(folder)
    assert using("actions/upload-artifact")["if"] == "always()"


def test_the_store_is_cached_under_the_code() -> None:
    restored, saved = (using(f"actions/cache/{what}")["with"] for what in ("restore", "save"))
    assert restored["path"] == saved["path"] == "${{ env.LMC_HOME }}/store"
    assert "LMC_HOME" in JOB["env"]
    assert restored["key"] == restored["restore-keys"] + "${{ github.run_id }}"
    assert "hashFiles('lmc/**/*.py', 'pyproject.toml')" in restored["key"]
    assert saved["key"] == f"${{{{ steps.{using('actions/cache/restore')['id']}.outputs.cache-primary-key }}}}"
    assert using("actions/cache/save")["if"] == "always()"
