"""What a report opens with: the matrix of verdicts and the key figures, their numbers by hand."""

from __future__ import annotations

import math
import re

import pytest
import report_documents
from documents import PAIRS, claim, document, evidence, setting, value

from lmc.claims.paper import CLAIMS
from lmc.reporting.answer import ACCURACY, BARRIER, COSINE, ORTHOGONALITY, SUM, key_figures, matrix
from lmc.reporting.figures import Figure
from lmc.reporting.report import report
from lmc.results.document import Claim, Value
from lmc.results.recorded import Ensemble, Path
from lmc.results.scalars import Seeds

DOCUMENT = report_documents.complete()


def test_every_verdict_stands_once_in_its_column() -> None:
    made = matrix(DOCUMENT)
    rows = [row for block in made.blocks for row in block.rows]
    found = [
        (row.claim.id, name, judged.shown)
        for row in rows
        for name, judged in zip(made.settings, row.cells, strict=True)
        if judged
    ]
    assert sorted(found) == sorted((claim.id, judged.name, judged.shown) for claim, judged in DOCUMENT.judged())
    assert len(rows) == len(DOCUMENT.claims)


def test_settings_with_models_come_first_and_a_claim_stands_at_its_first_item() -> None:
    made = matrix(
        document(
            claim("t", setting("theory"), items=("Figure 2",)),
            claim("a", setting("mlp", kind="mlp"), setting("vgg", kind="vgg"), items=("Figure 1", "Figure 2")),
        )
    )
    assert made.settings == ("mlp", "vgg", "theory")
    blocks = {
        block.name: [(row.claim.id, [bool(each) for each in row.cells]) for row in block.rows] for block in made.blocks
    }
    assert blocks == {"Figure 1": [("a", [True, True, False])], "Figure 2": [("t", [False, False, True])]}


def test_a_cell_says_its_verdict_in_colour_mark_and_words_and_leads_to_its_claim() -> None:
    bad = setting("mlp", verdict="fails", by_chance=True, reason="0.3 at width 1")
    page = report(document(claim("a.b", bad, setting("vgg"), items=("Figure 1",))))
    cells = re.findall(r'<td class="(v-[^"]*)"><a href="#([^"]*)" aria-label="([^"]*)" title="([^"]*)">(.*?)</a>', page)
    fails, holds = cells
    assert fails[:3] == ("v-fails--not-beyond-chance", "claim-a-b", "a.b on mlp: fails, not beyond chance")
    assert fails[3:] == ("0.3 at width 1", '<span aria-hidden="true">~</span> fails, not beyond chance')
    assert holds[:3] == ("v-holds", "claim-a-b", "a.b on vgg: holds")
    assert holds[4] == '<span aria-hidden="true">✓</span> holds'
    assert '<article aria-labelledby="claim-a-b">' in page
    assert page.index('id="matrix"') < page.index("<article") < page.index('id="verdict-table"')


def by_width(name: str, *values: Value, unit: str = "share") -> Claim:
    return claim(name, setting("mlp", values=values), unit=unit)


def two_widths(number: float, **more: str) -> list[Value]:
    """At width ¼ ``number`` and a little about it, at width 1 twice as much."""
    return [
        value(factor * number + off, width, seeds, **more)
        for width, factor in ((0.25, 1), (1.0, 2))
        for off, seeds in zip((-0.01, 0.0, 0.01), PAIRS, strict=True)
    ]


def means(figure: Figure) -> dict[str, dict[float, float]]:
    (panel,) = figure.panels
    return {series.label: {mean.x: round(mean.value, 9) for mean in series.means} for series in panel.series}


def test_by_width_a_line_for_each_setting_and_the_mean_over_layers() -> None:
    layers = [*two_widths(0.1, part="one"), *two_widths(0.3, part="two")]
    figures = key_figures(document(by_width(COSINE, *layers, unit="cosine"), by_width(ACCURACY, *two_widths(0.4))))
    assert [figure.name for figure in figures] == [f"key-{ACCURACY}", f"key-{COSINE}"]
    accuracy, cosine = figures
    assert means(accuracy) == {"mlp": {-2.0: 0.4, 0.0: 0.8}}
    assert means(cosine) == {"mlp": {-2.0: 0.2, 0.0: 0.4}}
    assert accuracy.panels[0].x.ticks == ((-2.0, "1/4"), (0.0, "1"))
    assert [accuracy.panels[0].y.label, cosine.panels[0].y.label] == ["accuracy (share)", "cosine"]


def path(seeds: Seeds, width: float, middle: float, alignment: str = "unpermuted") -> Path:
    return Path(
        "mlp",
        "strong",
        width,
        seeds=seeds,
        alignment=alignment,
        lams=(0.0, 0.5, 1.0),
        accuracy=(0.9, 0.9, 0.9),
        loss=(0.1, middle, 0.3),
        beta=(1.0, 1.0, 1.0),
        calibrated_loss=(0.1, middle / 2, 0.1),
        ensemble=Ensemble(accuracy=0.9, loss=0.1, beta=1.0, calibrated_loss=0.1),
    )


def test_the_sum_stands_beside_the_average_of_the_same_pairs() -> None:
    summed = claim(SUM, setting("mlp", values=tuple(value(0.02, seeds=seeds) for seeds in PAIRS)))
    paths = [path(seeds, 1.0, 0.8 + off) for off, seeds in zip((-0.1, 0.0, 0.1), PAIRS, strict=True)]
    others = [path((6, 9), 1.0, 50.0), path((6, 7), 0.25, 50.0), path((6, 7), 1.0, 50.0, alignment="matching")]
    made = document(summed, by_width(ORTHOGONALITY, *two_widths(0.1)), evidence=evidence(paths=(*others, *paths)))
    (figure,) = key_figures(made)
    assert means(figure) == {"average": {0.0: 0.6}, "average, calibrated": {0.0: 0.3}, "complementary sum": {0.0: 0.02}}
    (mean,) = figure.panels[0].series[0].means
    assert mean.low is not None
    assert mean.low < 0.5 < 0.7 < (mean.high or 0.0)  # of three pairs, 0.1 apart


def test_without_sums_a_condition_stands_in_their_place() -> None:
    (figure,) = key_figures(document(by_width(ORTHOGONALITY, *two_widths(0.1))))
    assert means(figure) == {"mlp": {-2.0: 0.1, 0.0: 0.2}}


@pytest.mark.parametrize("number", [None, math.nan])
def test_what_has_no_values_is_left_out(number: float | None) -> None:
    undefined = [value(number, seeds=seeds) for seeds in PAIRS]
    assert key_figures(document(by_width(BARRIER, *undefined), by_width(SUM, *undefined))) == []
    assert "Key figures" not in report(document(claim("a", setting("s"))))


def test_a_complete_run_has_four_key_figures_of_claims_that_there_are() -> None:
    assert [figure.name for figure in key_figures(DOCUMENT)] == [
        f"key-{name}" for name in (BARRIER, ACCURACY, COSINE, SUM)
    ]
    assert {BARRIER, ACCURACY, COSINE, SUM, ORTHOGONALITY} <= {claim.id for claim in CLAIMS}
