"""A wheel, installed: it has all that the package has in the repository, and its commands work."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]


def of_package(path: Path) -> bool:
    return path.suffix != ".pyc" and path.parts[0] == "lmc"


def test_it_holds_every_file_of_the_package() -> None:
    installed = {str(path) for path in distribution("lmc").files or [] if of_package(Path(path))}
    there = (path.relative_to(ROOT) for path in (ROOT / "lmc").rglob("*") if path.is_file())
    assert installed == {str(path) for path in there if of_package(path)}


def test_its_claims_are_collected_anywhere(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--pyargs",
        "lmc.commands",
        "-m",
        "paper",
        "-k",
        "fig2b",
        "--collect-only",
    ]
    found = subprocess.run([*command, "-q"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "test_claim[fig2b-calibrated-barrier-falls-with-width" in found.stdout
    assert str(ROOT) not in found.stdout


def test_its_command_speaks(tmp_path: Path) -> None:
    found = subprocess.run(
        [str(Path(sys.executable).with_name("lmc")), "diagnose", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--model" in found.stdout
