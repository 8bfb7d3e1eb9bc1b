"""Consoles that do not know our signs: nothing that is printed fails, and what is said can still be told."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmc.console import PLAIN, accept_any_console
from lmc.reporting.marks import MARKS

PACKAGE = Path(__file__).parents[1] / "lmc"


def printed(text: str, encoding: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a console of an encoding shows."""
    written = io.BytesIO()
    console = io.TextIOWrapper(written, encoding=encoding, newline="")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", console)
        accept_any_console()
        print(text, end="", flush=True)
    return written.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("cp1252", "+ lambda = ½, beta -> 8, ||a|| >= 2, ?"),
        ("cp437", "+ lambda = ½, beta -> 8, ||a|| ≥ 2, ?"),
        ("ascii", "+ lambda = 1/2, beta -> 8, ||a|| >= 2, ?"),
        ("utf-8", "✓ λ = ½, β → 8, ‖a‖ ≥ 2, 猫"),
    ],
)
def test_what_cannot_be_printed_is_put_in_plain_letters(
    encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert printed("✓ λ = ½, β → 8, ‖a‖ ≥ 2, 猫", encoding, monkeypatch) == shown


def test_marks_are_told_apart_on_any_console(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [printed(mark, "ascii", monkeypatch) for mark in MARKS.values()]
    assert len(set(shown)) == len(MARKS)
    assert all(each.isascii() and each for each in shown)


def test_signs_of_the_package_have_plain_forms() -> None:
    """All but the names of people, whose letters code page 1252 has."""
    used = {sign for path in PACKAGE.rglob("*.py") for sign in path.read_text("utf-8") if not sign.isascii()}
    unknown = {sign for sign in used - set(PLAIN) if not sign.encode("cp1252", "ignore")}
    assert not unknown, f"say in lmc/console.py what to print for {sorted(unknown)}"


def test_commands_speak_to_a_console_of_code_page_1252() -> None:
    environ = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-m", "lmc.commands.cli", "claims"], env=environ, capture_output=True)
    assert done.returncode == 0, done.stderr.decode("cp1252")
    assert "lambda" in done.stdout.decode("cp1252")
