"""The verdict table that closes a run."""

from __future__ import annotations

from pathlib import Path

from documents import claim, document, edited, on, setting

from lmc.reporting.table import WIDTH, verdict_table
from lmc.results.document import Explained
from lmc.results.file import read_results

BASELINE = Path(__file__).parents[2] / "benchmarks" / "baselines" / "quick-cpu.json"


def test_what_does_not_hold_comes_first_and_the_worst_of_it_at_the_top() -> None:
    made = edited(
        on(0, 0, verdict="inconclusive"),
        on(0, 1, verdict="fails", explained=Explained("why"), mean_of=3),
        on(1, 0, verdict="fails", part="relu1"),
        on(2, 0, verdict="invalid", asked=None),
    )
    lines = verdict_table(made)
    heads = [line for line in lines[: lines.index("")] if not line.startswith(" ")]
    assert heads == [
        "✗ fails: b on mlp",  # red
        "! invalid: c on theory",  # red
        "≠ fails, explained: a on vgg",
        "? inconclusive: a on mlp",
    ]
    assert lines[1:3] == [
        "    relu1: 0.1 [0.05, 0.15] at width 1, p = 0.01; expected: rises by at least 0.1, p <= 0.05",
        "! invalid: c on theory",
    ]
    assert "    mean of 3 layers: 0.1 [0.05, 0.15] at width 1, p = 0.01; expected: below 0.2 at the widest" in lines
    assert lines[-3:] == [
        "red, for 2 of 4 cases:",
        "  b on mlp: fails beyond what chance does to 4 cases, and nothing explains it",
        "  c on theory: invalid",
    ]


def test_claims_stand_once_under_the_items_of_the_paper() -> None:
    made = document(
        claim("control", setting("mlp"), role="check"),
        claim("two", setting("mlp", effect=0.123456), setting("vgg", verdict="fails"), items=("Figure 2", "Table 1")),
        claim("one", setting("not-run", verdict="not-run", effect=None, reason="no vgg"), items=("Figure 1",)),
    )
    lines = verdict_table(made)
    assert lines[lines.index("") + 1 : -2] == [
        "Figure 1: accuracy of merged models by width",
        f"  {'one':<48} – not-run: no vgg",
        "Figure 2: loss and calibrated loss by width",
        "  two",
        f"    {'✓ mlp 0.123':<32}✗ vgg 0.1",
        "Checks: what follows from a symmetry or from another bound",
        f"  {'control':<48} ✓ mlp 0.1",
        "",
        "claims: 1 hold, 1 fail, 1 not run; checks: 1 of 1",
    ]


def test_nothing_is_first_where_all_holds() -> None:
    lines = verdict_table(document())
    assert lines[0].startswith("Claims of others")
    assert lines[-2:] == ["claims: 4 hold, 0 fail", "not red"]


def test_an_explained_failure_that_holds_for_once_is_remarked() -> None:
    lines = verdict_table(edited(on(0, 0, explained=Explained("why"))))
    assert "    ✓ mlp 0.1, though a failure is explained" in "\n".join(lines)


def test_the_committed_run_fits_a_hundred_columns_and_is_whole() -> None:
    made = read_results(BASELINE)
    lines = verdict_table(made)
    assert max(map(len, lines)) <= WIDTH
    text = "\n".join(lines)
    assert all(f"  {each.id}" in text for each in made.claims)
