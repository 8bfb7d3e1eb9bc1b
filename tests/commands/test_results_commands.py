"""The commands that make things of results files, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from documents import document, edited, on
from msgspec.structs import replace
from typer.testing import CliRunner

from lmc.commands import cli
from lmc.errors import StoreError
from lmc.results.file import write_results


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_results(document(), tmp_path / "a.json")
    return tmp_path / "a.json"


def invoked(*arguments: object) -> str:
    run = CliRunner().invoke(cli.app, list(map(str, arguments)))
    assert run.exit_code == 0, run.output
    return run.output


@pytest.mark.parametrize(
    "content",
    ['{"schema":', '{"schema": "lmc-results/1"}', '{"schema": "lmc-results/3", "seconds": NaN}', None, ""],
    ids=["half-written", "schema", "nan", "missing", "folder"],
)
@pytest.mark.parametrize("command", ["report", "figures", "export", "summary", "diff"])
def test_every_command_refuses_a_broken_file(command: str, content: str | None, results: Path) -> None:
    broken = results.with_name("broken.json")
    remedy = "make it again"
    if content:
        broken.write_text(content)
    elif content is None:
        remedy = "name another, or make one with lmc run"
    else:
        broken.mkdir()
        remedy = "is a folder; name a results file in it"
    files = [str(results), str(broken)] if command == "diff" else [str(broken)]
    run = CliRunner().invoke(cli.app, [command, *files])
    assert isinstance(run.exception, StoreError)
    assert str(broken) in str(run.exception)
    assert remedy in str(run.exception)
    assert ("make it again" in str(run.exception)) == bool(content)
    assert run.output == ""


def test_a_difference_of_different_tiers_says_what_compares(results: Path) -> None:
    other = results.with_name("other.json")
    write_results(replace(document(), tier="standard"), other)
    said = invoked("diff", results, other)
    assert "  tier: quick -> standard; only the 4 pairs of claim and setting in both compare" in said


def test_report(results: Path) -> None:
    page = results.parent / "out" / "r.html"
    assert f"report: {page}" in invoked("report", results, "-o", page)
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")


def test_export(results: Path) -> None:
    invoked("export", results, "-o", results.parent / "tables", "--format", "csv")
    assert (results.parent / "tables" / "values.csv").exists()


def test_figures(results: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = results.parent / "figures"
    invoked("figures", results, "-o", folder, "--format", "svg", "--only", "b")
    assert [path.name for path in folder.iterdir()] == ["b.svg"]


def test_history_tells_what_turned_and_what_it_skipped(results: Path) -> None:
    later = replace(edited(on(0, 0, verdict="fails")), started="2026-02-01T00:00:00+00:00", commit="def")
    write_results(later, results.with_name("b.json"))
    results.with_name("broken.json").write_text("{")
    page = results.parent / "h.html"
    run = CliRunner().invoke(cli.app, ["history", str(results.parent), "-o", str(page)])
    assert run.exit_code == 0
    assert "a on mlp: holds -> fails, between abc and def" in run.stdout
    assert "lmc: skipped: " in run.stderr
    assert f"history: {page} (2 runs)" in run.stdout


def test_a_report_of_two_runs(results: Path) -> None:
    write_results(edited(on(0, 0, verdict="fails", effect=0.5)), results.with_name("b.json"))
    page = results.parent / "r.html"
    invoked("report", results, "--beside", results.with_name("b.json"), "-o", page)
    assert "1 of 4 verdicts differ" in page.read_text("utf-8")
