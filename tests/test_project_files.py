"""What describes and guards the project says what is so: its workflow, hooks, metadata and changelog."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
TOX = configparser.ConfigParser()
TOX.read(ROOT / "tox.ini")


def read_yaml(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / name).read_text("utf-8"))
    return found


JOB: dict[str, Any] = read_yaml(".github/workflows/ci.yml")["jobs"]["ci"]
HOOKS: list[dict[str, Any]] = [
    hook for repository in read_yaml(".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]
]
PYTHONS = [
    found[1]
    for each in PROJECT["project"]["classifiers"]
    if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each))
]


def lint_commands() -> list[list[str]]:
    return [shlex.split(line) for line in TOX["testenv:lint"]["commands"].strip().splitlines()]


def test_the_workflow_does_what_a_clone_does() -> None:
    """And nothing more, so that no step is written down twice."""
    commands = [step["run"] for step in JOB["steps"] if "run" in step]
    assert commands == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)


def test_the_workflow_needs_no_secrets_and_may_only_read() -> None:
    assert read_yaml(".github/workflows/ci.yml")["permissions"] == {"contents": "read"}
    assert "secrets" not in (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")


def test_the_workflow_takes_every_python_that_the_package_names() -> None:
    assert JOB["strategy"]["matrix"]["python"] == PYTHONS
    assert PROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"
    (version,) = (step["with"]["python-version"] for step in JOB["steps"] if "with" in step)
    assert version == "${{ matrix.python }}"


def test_the_workflow_takes_other_systems_and_the_oldest_torch() -> None:
    """The newest on Linux is the first job's."""
    job = read_yaml(".github/workflows/ci.yml")["jobs"]["systems"]
    matrix = job["strategy"]["matrix"]
    assert matrix["python"] == PYTHONS
    assert matrix["system"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    oldest = [{"system": system, "python": PYTHONS[0], "versions": "oldest"} for system in matrix["system"]]
    assert matrix["include"] == oldest
    assert matrix["exclude"] == [{"system": "ubuntu-latest", "versions": "newest"}]
    *_, last = (step["run"] for step in job["steps"] if "run" in step)
    assert set(re.findall(r"'(\w+)'", last)) == {"oldest", "tests"}
    assert {"testenv:oldest", "testenv:tests"} <= set(TOX.sections())


def test_the_documentation_is_published_as_a_clone_builds_it() -> None:
    """By the commands of the environment docs, and only from the main branch."""
    workflow = read_yaml(".github/workflows/docs.yml")
    build, publish = workflow["jobs"]["build"]["steps"], workflow["jobs"]["publish"]
    assert [step["run"] for step in build if "run" in step] == ["pip install -q tox tox-uv", "tox -q -e docs"]
    (upload,) = (step["with"] for step in build if "upload-pages-artifact" in step.get("uses", ""))
    assert f"docs {upload['path']}" in TOX["testenv:docs"]["commands"]
    assert publish["needs"] == "build"
    assert workflow["permissions"] == {"contents": "read"}
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}


def test_ci_runs_environments_that_exist() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    named = {name for names in re.findall(r"tox -q .*-e (\S+)", script) for name in names.split(",")}
    assert {"tests", "lint", "docs", "wheel", "browser", "ray", "faults", "fuzz", "paper"} == named
    assert {f"testenv:{name}" for name in named} <= set(TOX.sections())


def test_hooks_are_the_checks_of_the_environment_lint() -> None:
    programs = {re.split(r"\W", requirement)[0] for requirement in PROJECT["dependency-groups"]["lint"]}
    commands = [shlex.split(hook["entry"]) for hook in HOOKS]
    assert {command[0] for command in commands} == programs
    assert {tuple(command[:2]) for command in commands} == {tuple(command[:2]) for command in lint_commands()}
    assert {hook["language"] for hook in HOOKS} == {"system"}, "a hook of another language is downloaded"


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_is_understood_by_its_program(hook: dict[str, Any]) -> None:
    program, *arguments = shlex.split(hook["entry"])
    if shutil.which(program, path=Path(sys.executable).parent) is None:
        pytest.skip(f"{program} is not installed: tox -e lint")
    found = subprocess.run(
        [sys.executable, "-m", program, *arguments, "--help"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr


def test_the_citation_is_of_this_version_and_of_the_paper() -> None:
    citation = read_yaml("CITATION.cff")
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["authors"] == PROJECT["project"]["authors"]
    (paper,) = citation["references"]
    assert paper["identifiers"][0]["value"] == "arXiv:2510.08023"
    assert {"type", "title", "authors"} <= set(paper)
    assert {"cff-version", "message", "title"} <= set(citation)


def test_the_changelog_tells_of_this_version() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1] == PROJECT["project"]["version"]


def test_every_test_is_run_by_some_environment() -> None:
    """Those of ``pytest`` alone, each once, and those whose processes are in the way of others'."""
    paths = [ROOT / each for each in PROJECT["tool"]["pytest"]["testpaths"]]
    commands = "\n".join(section.get("commands", "") for section in TOX.values())
    paths += [ROOT / each for each in re.findall(r"pytest (tests/\w+) ", commands)]
    found = set((ROOT / "tests").rglob("test_*.py")) | {ROOT / "lmc" / "commands" / "test_paper.py"}
    assert len({path.name for path in found}) == len(found), "tests are no packages: a name can be imported once"
    covered = [sum(each in (path, *path.parents) for each in paths) for path in found]
    assert set(covered) == {1}, [str(path) for path, count in zip(found, covered, strict=True) if count != 1]
    assert all(path.exists() for path in paths)


@pytest.mark.parametrize("only", [["-m", "paper"], ["tests/test_specs.py"]], ids=["claims", "unit tests"])
def test_claims_are_asked_for_without_importing_unit_tests(only: list[str]) -> None:
    script = "import sys, pytest; pytest.main(sys.argv[1:]); print('', *sys.modules)"
    command = [sys.executable, "-c", script, "--collect-only", "-q", *only]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    imported = {each for each in lines[-1].split() if each.startswith("test_")}
    assert imported == (set() if "paper" in only else {"test_specs"})
    assert any("test_paper.py::test_claim" in line for line in lines) == ("paper" in only)
