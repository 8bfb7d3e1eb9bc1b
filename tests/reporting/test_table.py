"""The verdict table that closes a run."""

from __future__ import annotations

from documents import document, edited, on

from lmc.reporting.table import verdict_table
from lmc.results.document import Explained


def test_a_line_for_each_claim_and_setting_then_counts() -> None:
    made = edited(
        on(0, 1, verdict="fails", part="relu1"), on(1, 0, verdict="fails", explained=Explained("why"), mean_of=3)
    )
    lines = verdict_table(made)
    assert len(lines) == 4 + 4
    assert lines[0].startswith("a  mlp ")
    assert lines[1].lstrip().startswith("vgg ")
    assert "relu1: 0.1" in lines[1]
    assert "mean of 3 layers: 0.1" in lines[2]
    assert "✗ fails " in lines[1]
    assert "≠ fails, explained" in lines[2]
    assert lines[5:] == [
        "claims: 2 hold, 2 fail (1 explained)",
        "red, for 1 of 4 cases:",
        "  a on vgg: fails beyond what chance does to 4 cases, and nothing explains it",
    ]
    assert verdict_table(document())[-2:] == ["claims: 4 hold, 0 fail", "not red"]


def test_an_explained_failure_that_holds_for_once_is_remarked() -> None:
    (first, *_) = verdict_table(edited(on(0, 0, explained=Explained("why"))))
    assert "✓ holds, though a failure is explained" in first
