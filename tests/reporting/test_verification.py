"""What a run says of every item of the paper, in lines for an issue."""

from __future__ import annotations

from documents import claim, document, edited, machine, setting

from lmc.claims.paper import ITEMS
from lmc.reporting.verification import verification
from lmc.results.document import Selection


def test_a_line_for_every_item_with_mark_and_counts() -> None:
    lines = verification(
        document(
            claim("a", setting("mlp"), setting("vgg", verdict="inconclusive"), items=("Figure 1", "Figure 2")),
            claim("b", setting("mlp", verdict="fails"), items=("Figure 2",)),
            claim("c", setting("not-run", None, verdict="not-run"), items=("Table 1",)),
            claim("d", setting("mlp"), setting("vgg"), role="found here"),
        )
    )
    assert len(lines) == 10 + len(ITEMS)  # nine beside the items, and what was found here
    assert "? Figure 1, accuracy of merged models by width: 1 hold, 1 inconclusive, 0 fail" in lines
    assert "✗ Figure 2, loss and calibrated loss by width: 1 hold, 1 inconclusive, 1 fail" in lines
    assert "– Table 1, barriers with and without permutation: 1 not run" in lines
    assert "– Figure 3, LEWC cosine by layer and width: not in this run" in lines
    assert "✓ Found here, what the paper does not report: 2 hold, 0 fail" in lines
    assert lines[-2:] == ["red, for 1 cases", "```"]


def test_machine_torch_and_commit_stand_at_the_head() -> None:
    lines = verification(edited(machine(gpu="G")))
    assert lines[:6] == [
        "```",
        "lmc unknown, tier quick, everything",
        "commit abc, 2026-01-01T00:00:00+00:00, 100 s",
        "machine: gpu G, processor P, cores 2, memory (GiB) 8.0, device cpu",
        "versions: torch 2.15.0, numpy unknown, python 3.11.7",
        "",
    ]
    assert lines[-2] == "not red"
    assert "everything" not in verification(document(selection=Selection(pilot=True)))[1]
    assert verification(document(machine={}))[3] == "machine: unknown"
