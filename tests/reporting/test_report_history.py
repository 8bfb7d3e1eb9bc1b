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

from lmc.commands import cli
from lmc.errors import SpecError, StoreError
from lmc.reporting.history import effect_figure, history_page, read_history

BASELINE = Path(__file__).parents[2] / "benchmarks" / "baselines" / "quick-cpu.json"
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
    turns = read_history(folder).turns()
    (turn,) = [turn for turn in turns if turn.what == "verdict"]
    assert (turn.claim, turn.before, turn.after) == ("control-self-merge", "holds", "fails")
    assert (turn.old.commit, turn.new.commit) == ("b" * 10, "c" * 10 + "+dirty")


@pytest.mark.parametrize(("effect", "told"), [(0.301, True), (0.299, False), (0.099, True), (None, False)])
def test_an_effect_outside_the_interval_before_it_names_the_commits(
    effect: float | None, told: bool, tmp_path: Path
) -> None:
    for at, found in enumerate([0.2, effect]):
        claims = copy.deepcopy(DOCUMENT["claims"])
        claims[3]["settings"][0].update(verdict="holds", effect=found, interval=[0.1, 0.3], known_gap="", threshold="t")
        put(tmp_path, f"{at}.json", claims=claims, started=f"2026-01-0{at + 1}", commit=f"{at}" * 40)
    history = read_history(tmp_path)
    said = [(turn.what, turn.claim, turn.before, turn.old.commit, turn.new.commit) for turn in history.turns()]
    name, unit = DOCUMENT["claims"][3]["id"], DOCUMENT["claims"][3]["unit"]
    assert said == ([("effect", name, f"0.2 [0.1, 0.3] {unit}", "0" * 10, "1" * 10)] if told else [])
    assert ("Nothing changed." in history_page(history)) == (not told)


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
    turns = [turn for turn in found.turns() if (turn.what, turn.claim) == ("verdict", "control-self-merge")]
    assert [(turn.old.file, turn.new.file) for turn in turns] == [("m.json", "a.json")]
    figure = effect_figure(found, DOCUMENT["claims"][0])
    assert figure is not None
    assert [mean.x for mean in figure.panels[0].series[0].means] == [0.0, 1.0, 3.0]


def test_mixed_tiers_are_refused_unless_one_is_named(folder: Path) -> None:
    put(folder, "s.json", tier="standard")
    with pytest.raises(SpecError, match=r"tiers quick, standard, which do not compare; name one, --tier"):
        read_history(folder)
    assert len(read_history(folder, "quick").runs) == 3
    with pytest.raises(StoreError, match=r"no results file of tier paper; it has quick, standard"):
        read_history(folder, "paper")


ASKED: dict[str, Any] = {"pilot": False, "claims": [], **dict.fromkeys(("arch", "dataset", "max_width", "precision"))}


def test_pilots_and_verdicts_are_never_one_series(folder: Path) -> None:
    put(folder, "p.json", selection=ASKED | {"pilot": True}, started="2026-01-02T06:00:00+00:00")
    found = read_history(folder)
    assert [run.file for run in found.runs] == ["z.json", "m.json", "a.json"]
    assert [each.partition("p.json ")[2] for each in found.skipped] == [
        "is a run of pilot seeds, which are shown with --pilot"
    ]
    pilots = read_history(folder, pilot=True)
    assert [run.file for run in pilots.runs] == ["p.json"]
    assert len(pilots.skipped) == 3
    (folder / "p.json").unlink()
    with pytest.raises(StoreError, match=r"3 left out, the first: .*a.json is a run of verdict seeds"):
        read_history(folder, pilot=True)


def test_runs_of_other_widths_have_a_line_of_their_own(folder: Path) -> None:
    narrow = ASKED | {"max_width": 0.25}
    put(folder, "n.json", selection=narrow, claims=fail_first(DOCUMENT), started="2026-01-01T12:00:00+00:00")
    put(folder, "c.json", selection=ASKED | {"claims": ["control"]}, started="2026-01-04T00:00:00+00:00")
    found = read_history(folder)
    turns = [(turn.old.file, turn.new.file) for turn in found.turns() if turn.claim == "control-self-merge"]
    assert turns[0] == ("m.json", "a.json")  # z, n, m would be there and back
    assert all("n.json" not in turn for turn in turns)
    figure = effect_figure(found, DOCUMENT["claims"][0])
    assert figure is not None
    drawn = {series.label: [mean.x for mean in series.means] for series in figure.panels[0].series}
    assert drawn == {"as the tier has it": [0.0, 2.0, 3.0, 4.0], "max width 0.25": [1.0]}
    assert "<td>max width 0.25</td>" in history_page(found)
    assert "<td>claims control</td>" in history_page(found)


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
    ['{"schema":', '{"schema": "lmc-results/1"}', '{"schema": "lmc-results/2", "seconds": NaN}', None, ""],
    ids=["half-written", "schema", "nan", "missing", "folder"],
)
@pytest.mark.parametrize("command", ["report", "figures", "export", "summary", "diff"])
def test_every_command_refuses_a_broken_file(command: str, content: str | None, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    remedy = "make it again"
    if content:
        broken.write_text(content)
    elif content is None:
        remedy = "name another, or make one with lmc run"
    else:
        broken.mkdir()
        remedy = "is a folder; name a results file in it"
    files = [str(BASELINE), str(broken)] if command == "diff" else [str(broken)]
    run = CliRunner().invoke(cli.app, [command, *files])
    assert isinstance(run.exception, StoreError)
    assert str(broken) in str(run.exception)
    assert remedy in str(run.exception)
    assert ("make it again" in str(run.exception)) == bool(content)
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
