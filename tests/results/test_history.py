"""The history of a folder of results files: which runs are one series, and what turned from one to the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from documents import document, edited, on, without
from msgspec.structs import replace
from old_results import old_document

from lmc.errors import SpecError, StoreError
from lmc.results.document import Document, Explained, Selection
from lmc.results.file import write_results
from lmc.results.history import History, Run, read_history
from lmc.results.migration import migrated

FAILS = on(0, 0, verdict="fails", effect=0.5, reason="<i>0.5</i>", part="relu1")


def put(folder: Path, name: str, made: Document | None = None, day: int = 1, **changes: Any) -> None:
    """A results file started on a day of January."""
    write_results(replace(made or document(), started=f"2026-01-{day:02}T00:00:00+00:00", **changes), folder / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three runs, of which the last fails at what the others hold."""
    put(tmp_path, "z.json", day=1, commit="a" * 40)
    put(tmp_path, "a.json", edited(FAILS), day=5, commit="c" * 40 + "+dirty")
    put(tmp_path, "m.json", day=3, commit="b" * 40)
    return tmp_path


def test_runs_are_in_the_order_of_their_start(folder: Path) -> None:
    assert [run.file for run in read_history(folder).runs] == ["z.json", "m.json", "a.json"]


def test_a_changed_verdict_names_the_commits(folder: Path) -> None:
    (turn,) = [turn for turn in read_history(folder).turns() if turn.what == "verdict"]
    assert (turn.claim, turn.setting, turn.before, turn.after) == ("a", "mlp", "holds", "fails")
    assert (turn.old.commit, turn.new.commit) == ("b" * 10, "c" * 10 + "+dirty")
    assert turn.reason == "relu1: <i>0.5</i>"


def test_an_explanation_is_a_turn(tmp_path: Path) -> None:
    put(tmp_path, "a.json", edited(on(0, 0, verdict="fails")), day=1)
    put(tmp_path, "b.json", edited(on(0, 0, verdict="fails", explained=Explained("why"))), day=2)
    (turn,) = read_history(tmp_path).turns()
    assert (turn.before, turn.after) == ("fails", "fails, explained")


@pytest.mark.parametrize(("effect", "told"), [(0.151, True), (0.149, False), (0.049, True), (None, False)])
def test_an_effect_outside_the_interval_before_it_names_the_commits(
    effect: float | None, told: bool, tmp_path: Path
) -> None:
    for at, found in enumerate([0.1, effect]):
        put(tmp_path, f"{at}.json", edited(on(1, 0, effect=found)), day=at + 1, commit=f"{at}" * 40)
    turns = [
        (turn.what, turn.claim, turn.before, turn.old.commit, turn.new.commit)
        for turn in read_history(tmp_path).turns()
    ]
    assert turns == ([("effect", "b", "0.1 [0.05, 0.15] nats", "0" * 10, "1" * 10)] if told else [])


def test_a_run_that_leaves_a_claim_out_is_passed_over(folder: Path) -> None:
    put(folder, "between.json", edited(without(0)), day=4)
    turns = [turn for turn in read_history(folder).turns() if turn.what == "verdict"]
    assert [(turn.old.file, turn.new.file) for turn in turns] == [("m.json", "a.json")]


def test_mixed_tiers_are_refused_unless_one_is_named(folder: Path) -> None:
    put(folder, "s.json", tier="standard")
    with pytest.raises(SpecError, match=r"tiers quick, standard, which do not compare; name one, --tier"):
        read_history(folder)
    assert len(read_history(folder, "quick").runs) == 3
    with pytest.raises(StoreError, match=r"no results file of tier paper; it has quick, standard"):
        read_history(folder, "paper")


def test_pilots_and_verdicts_are_never_one_series(folder: Path) -> None:
    put(folder, "p.json", day=2, selection=Selection(pilot=True))
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


def test_runs_of_other_widths_are_a_series_of_their_own(folder: Path) -> None:
    put(folder, "n.json", edited(FAILS), day=2, selection=Selection(max_width=0.25))
    put(folder, "c.json", day=6, selection=Selection(claims=("a",)))
    turns = [(turn.old.file, turn.new.file) for turn in read_history(folder).turns() if turn.what == "verdict"]
    assert turns == [("m.json", "a.json"), ("a.json", "c.json")]  # z, n, m would be there and back


def test_files_of_the_schema_before_and_of_this_one_are_one_history(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps(old_document()), "utf-8")
    now = migrated(old_document())
    first = now.claims[0].settings[0]
    other = "fails" if first.verdict == "holds" else "holds"
    settings = (replace(first, verdict=other, explained=None), *now.claims[0].settings[1:])
    put(tmp_path, "new.json", replace(now, claims=(replace(now.claims[0], settings=settings), *now.claims[1:])), day=28)
    found = read_history(tmp_path, pilot=now.selection.pilot)
    assert [run.file for run in found.runs] == ["old.json", "new.json"]
    (turn,) = [turn for turn in found.turns() if turn.claim == now.claims[0].id]
    assert (turn.what, turn.before, turn.after) == ("verdict", first.verdict, other)


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


def test_folders_without_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no results file; make one with lmc run"):
        read_history(tmp_path)
    with pytest.raises(StoreError, match=r"cannot read the folder"):
        read_history(tmp_path / "nowhere")


def test_a_case_is_what_every_run_found_of_it() -> None:
    runs = (Run("1", document()), Run("2", edited(without(0, 1))))
    cases = History("quick", runs, ()).cases()
    assert [at for at, _ in cases["a", "mlp"]] == [0, 1]
    assert [at for at, _ in cases["a", "vgg"]] == [0]
