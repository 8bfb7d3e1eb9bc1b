"""Two runs side by side."""

from __future__ import annotations

import pytest
from documents import claim, document, edited, machine, on, setting

from lmc.errors import StoreError
from lmc.reporting.beside import beside
from lmc.reporting.report import report

HERE = edited(
    on(0, 1, verdict="fails", effect=0.16, interval=(0.11, 0.21)),  # 1.7 errors away
    on(1, 0, verdict="fails", effect=-0.5, interval=(-0.55, -0.45)),
    machine(processor="Q"),
)


def test_what_differs_comes_first_with_whether_other_models_explain_it() -> None:
    found = beside(HERE, document())
    assert [(row.claim.id, row.here.name, row.here.shown, row.there.shown) for row in found.rows] == [
        ("a", "vgg", "fails", "holds"),
        ("b", "mlp", "fails", "holds"),
        ("a", "mlp", "holds", "holds"),
        ("c", "theory", "holds", "holds"),
    ]
    assert [row.differs for row in found.rows] == [
        "verdict: other models; effect: other models",
        "verdict: other models do not explain it; effect: other models do not explain it",
        "",
        "",
    ]
    assert found.summary.startswith("2 of 4 verdicts differ. Of 1 of these other models")
    assert [(limit.what, limit.old, limit.new) for limit in found.limits] == [("machine, processor", "P", "Q")]


def test_the_report_has_both_runs() -> None:
    page = report(HERE, document())
    section = page[page.index('id="beside"') : page.index('id="conjecture-1-1"')]
    assert "here Q, there P" in section
    assert section.count("<tr>") == 5
    assert "0.16 [0.11, 0.21]" in section
    assert 'id="beside"' not in report(HERE)


def test_runs_of_nothing_in_common_are_refused() -> None:
    with pytest.raises(StoreError, match="nothing to compare"):
        beside(HERE, document(claim("z", setting("mlp"))))
