"""The verdict table that closes a run."""

from __future__ import annotations

from documents import document, edited, on

from lmc.reporting.table import verdict_table


def test_a_line_for_each_claim_and_setting_then_counts() -> None:
    made = edited(on(0, 1, verdict="fails", part="relu1"), on(1, 0, verdict="fails", known_gap="why", mean_of=3))
    lines = verdict_table(made)
    assert len(lines) == 4 + 2
    assert lines[0].startswith("a  mlp ")
    assert lines[1].lstrip().startswith("vgg ")
    assert "relu1: 0.1" in lines[1]
    assert "mean of 3 layers: 0.1" in lines[2]
    assert lines[-1] == "1 fails, 2 holds, 1 known gap"
    assert verdict_table(document())[-1] == "4 holds"
