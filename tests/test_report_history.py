"""The history of a folder of results files, and the commands that make things of results files."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import report_documents
from test_report import Page
from typer.testing import CliRunner

from lmc.errors import SpecError, StoreError
from lmc.reporting.history import effect_figure, history_page, read_history
from lmc.running import cli

BASELINE = Path(__file__).parents[1] / "benchmarks" / "baselines" / "quick-cpu.json"
DOCUMENT = report_documents.complete()


def put(folder: Path, name: str, **changes: Any) -> dict[str, Any]:
    """A results file whose first claim holds, with changes; returns what was written."""
    document = copy.deepcopy(DOCUMENT) | changes
    (folder / name).write_text(json.dumps(document))
    return document


def fail_first(document: dict[str, Any]) -> list[Any]:
    claims = copy.deepcopy(document["claims"])
    claims[0]["settings"][0].update(verdict="fails", effect=0.5, reason="<i>0.5</i>", known_gap="")
    return claims


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    first = copy.deepcopy(DOCUMENT)
    first["claims"][0]["settings"][0].update(verdict="holds", known_gap="")
    put(tmp_path, "z.json", claims=first["claims"], started="2026-01-01T00:00:00+00:00", commit="a" * 40)
    put(
        tmp_path, "a.json", claims=fail_first(DOCUMENT), started="2026-01-03T00:00:00+00:00", commit="c" * 40 + "+dirty"
    )
    put(tmp_path, "m.json", claims=first["claims"], started="2026-01-02T00:00:00+00:00", commit="b" * 40)
    return tmp_path


def test_runs_are_in_the_order_of_their_start(folder: Path) -> None:
    assert [run.file for run in read_history(folder).runs] == ["z.json", "m.json", "a.json"]


def test_a_changed_verdict_names_the_commits(folder: Path) -> None:
    (turn,) = read_history(folder).turns()
    assert (turn.claim, turn.before, turn.after) == ("control-self-merge", "holds", "fails")
    assert (turn.old.commit, turn.new.commit) == ("b" * 10, "c" * 10 + "+dirty")


def test_the_page_is_well_formed_and_the_same_twice(folder: Path) -> None:
    text = history_page(read_history(folder))
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert set(page.targets) <= set(page.ids)
    assert "&lt;i&gt;0.5&lt;/i&gt;" in text
    assert "bbbbbbbbbb</code> and <code>cccccccccc+dirty" in text
    assert "http" not in text.replace("http-equiv", "")
    assert history_page(read_history(folder)) == text


def test_a_run_that_leaves_a_claim_out_is_passed_over(folder: Path) -> None:
    put(folder, "between.json", claims=DOCUMENT["claims"][5:], started="2026-01-02T12:00:00+00:00")
    found = read_history(folder)
    assert [(turn.old.file, turn.new.file) for turn in found.turns() if turn.claim == "control-self-merge"] == [
        ("m.json", "a.json")
    ]
    figure = effect_figure(found, DOCUMENT["claims"][0])
    assert figure is not None
    assert [mean.x for mean in figure.panels[0].series[0].means if mean.x != 2] <= [0.0, 1.0, 3.0]


def test_mixed_tiers_are_refused_unless_one_is_named(folder: Path) -> None:
    put(folder, "s.json", tier="standard")
    with pytest.raises(SpecError, match=r"tiers quick, standard, which do not compare; name one, --tier"):
        read_history(folder)
    assert len(read_history(folder, "quick").runs) == 3
    with pytest.raises(StoreError, match=r"no results file of tier paper; it has quick, standard"):
        read_history(folder, "paper")


def test_unreadable_files_are_named_and_skipped(folder: Path) -> None:
    (folder / "broken.json").write_text('{"schema":')
    (folder / "old.json").write_text('{"schema": "lmc-results/1"}')
    (folder / "notes.txt").write_text("no results")
    found = read_history(folder)
    assert len(found.runs) == 3
    assert [Path(each.split()[0]).name for each in found.skipped if each.split()[0].endswith("old.json")] == [
        "old.json"
    ]
    assert any("broken.json" in each for each in found.skipped)
    run = CliRunner().invoke(cli.app, ["history", str(folder), "-o", str(folder / "h.html")])
    assert run.exit_code == 0
    assert "skipped: " in run.stderr
    assert "holds -> fails" in run.stdout


def test_folders_without_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no results file; make one with lmc run"):
        read_history(tmp_path)
    with pytest.raises(StoreError, match=r"cannot read the folder"):
        read_history(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content",
    ['{"schema":', '{"schema": "lmc-results/1"}', '{"schema": "lmc-results/2", "seconds": NaN}', None],
    ids=["half-written", "schema", "nan", "missing"],
)
@pytest.mark.parametrize("command", ["report", "figures", "export", "summary", "diff"])
def test_every_command_refuses_a_broken_file(command: str, content: str | None, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    if content:
        broken.write_text(content)
    files = [str(BASELINE), str(broken)] if command == "diff" else [str(broken)]
    run = CliRunner().invoke(cli.app, [command, *files])
    assert isinstance(run.exception, StoreError)
    assert str(broken) in str(run.exception)
    assert "make it again" in str(run.exception)
    assert run.output == ""


def test_runs_of_different_tiers_say_what_compares(tmp_path: Path) -> None:
    put(tmp_path, "old.json")
    put(tmp_path, "new.json", tier="standard")
    run = CliRunner().invoke(cli.app, ["diff", str(tmp_path / "old.json"), str(tmp_path / "new.json")])
    cases = sum(len(claim["settings"]) for claim in DOCUMENT["claims"])
    assert f"  tier: quick -> standard; only the {cases} pairs of claim and setting in both compare" in run.output


def test_commands(folder: Path) -> None:
    results, runner = str(folder / "a.json"), CliRunner()
    run = runner.invoke(cli.app, ["report", results, "-o", str(folder / "out" / "r.html")])
    assert run.exit_code == 0, run.output
    assert (folder / "out" / "r.html").exists()
    run = runner.invoke(cli.app, ["export", results, "-o", str(folder / "tables"), "--format", "csv"])
    assert run.exit_code == 0, run.output
    assert (folder / "tables" / "values.csv").exists()
    pytest.importorskip("matplotlib")
    figures = ["figures", results, "-o", str(folder / "f"), "--format", "svg", "--only", "fig2b-calibrated-barrier-f"]
    run = runner.invoke(cli.app, figures)
    assert run.exit_code == 0, run.output
    assert [path.name for path in (folder / "f").iterdir()] == ["fig2b-calibrated-barrier-falls-with-width.svg"]
