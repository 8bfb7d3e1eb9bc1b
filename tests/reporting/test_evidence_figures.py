"""Figures from a run's evidence: paths by width and along λ, layers, histograms, random steps, training."""

from __future__ import annotations

from typing import Any

import pytest
import report_documents
from documents import claim, document, evidence, setting
from msgspec.structs import replace

from lmc.claims.asked import Asked
from lmc.claims.expectations import Level, Trend
from lmc.claims.paper import CLAIMS, ITEMS
from lmc.reporting.evidence_figures import OTHER_ITEMS, evidence_figures, training_figures
from lmc.reporting.path_figures import PATH_ITEMS
from lmc.results.document import Claim, Document
from lmc.results.recorded import Model

DOCUMENT = report_documents.complete()


def judging(*claims: Claim) -> Document:
    """The document with other claims."""
    return replace(DOCUMENT, claims=claims)


FORMER = {"fig2a-uncalibrated-loss-stays-above"}
"""Claims that only results of before hold."""


def test_what_is_drawn_is_of_items_and_claims_that_there_are() -> None:
    assert {*PATH_ITEMS, *OTHER_ITEMS} <= {item.name for item in ITEMS}
    assert not {*PATH_ITEMS} & {*OTHER_ITEMS}
    items = {claim.id: claim.items for claim in CLAIMS}
    for name, shown in PATH_ITEMS.items():
        assert all(name in items[claim_id] for claim_id in shown.limits if claim_id not in FORMER), name


@pytest.mark.parametrize("item", [*PATH_ITEMS, *OTHER_ITEMS])
def test_evidence_has_figures(item: str) -> None:
    figures = evidence_figures(item, DOCUMENT)
    assert bool(figures) == (item != "Figure 15")  # no setting of the tier is of CIFAR-100
    assert all(panel.series for figure in figures for panel in figure.panels)
    assert evidence_figures(item, document()) == []


def test_figure_1_shows_endpoints_and_ensemble() -> None:
    by_width, along = evidence_figures("Figure 1", DOCUMENT)
    assert [series.label for series in by_width.panels[0].series] == ["merged", "endpoints", "ensemble"]
    assert [series.label for series in along.panels[0].series] == ["width 1/16", "width 1/4", "width 1"]
    assert len(along.panels[0].series[0].means) == 11


@pytest.mark.parametrize("item", ["Figure 1", "Figure 2", "Figure 16", "Figure 19", "Figure 25"])
def test_all_pairs_are_points_by_width_and_independent_ones_lines_along_the_path(item: str) -> None:
    by_width, *along = evidence_figures(item, DOCUMENT)
    for panel in by_width.panels:
        merged = panel.series[0]
        assert [mean.count for mean in merged.means] == [15] * len(panel.x.ticks)
        assert len(merged.points) == 15 * len(panel.x.ticks)
        assert all(mean.low is not None for mean in merged.means)
    for figure in along:
        assert {len(series.lines) for panel in figure.panels for series in panel.series} == {3}


def test_a_model_merged_with_itself_is_no_pair() -> None:
    one = next(path for path in DOCUMENT.evidence.paths if path.role == "strong" and path.alignment == "unpermuted")
    paths = (one, replace(one, seeds=(6, 6)))
    (by_width, _) = evidence_figures("Figure 1", document(evidence=evidence(paths=paths)))
    assert len(by_width.panels[0].series[0].points) == 1


def test_figure_19_has_every_architecture() -> None:
    (figure,) = evidence_figures("Figure 19", DOCUMENT)
    assert [panel.title for panel in figure.panels] == ["mlp-digits", "vgg-digits", "resnet-digits"]
    assert {panel.y.label for panel in figure.panels} == {"β"}
    mine = [path for path in DOCUMENT.evidence.paths if (path.setting, path.role) == ("vgg-digits", "strong")]
    widest = max(path.width for path in mine)
    betas = [
        path.beta[path.lams.index(0.5)] for path in mine if path.width == widest and path.alignment == "unpermuted"
    ]
    assert figure.panels[1].series[0].means[-1].value == pytest.approx(sum(filter(None, betas)) / 15)


@pytest.mark.parametrize(
    ("item", "at", "claim_id", "asked", "bound", "said"),
    [
        ("Figure 2", 0, "fig2a-uncalibrated-loss-stays-above", Level(above=0.2).asked, 0.2, "above"),
        ("Figure 16", 0, "fig16-matched-models-reach-endpoints", Level(below=0.03).asked, -0.03, "above"),
    ],
)
def test_what_a_claim_asks_is_drawn_beside_all_pairs(
    item: str, at: int, claim_id: str, asked: Asked, bound: float, said: str
) -> None:
    figure = evidence_figures(item, judging(claim(claim_id, setting("mlp-digits", asked))))[0]
    panel = figure.panels[at]
    assert panel.rule is not None
    assert panel.rule[0] == pytest.approx(panel.series[1].means[-1].value + bound)
    assert panel.rule[1] == f"to be {said} at the widest"
    assert "A dashed line is what the claim beside it asks" in figure.caption
    others = [
        (),
        (claim(claim_id, setting("vgg-digits", asked)),),
        (claim(claim_id, setting("mlp-digits", None)),),
        (claim(claim_id, setting("mlp-digits", Level(below=0.3, at="narrowest").asked)),),
        (claim("another", setting("mlp-digits", asked)),),
    ]
    for claims in others:
        assert evidence_figures(item, judging(*claims))[0].panels[at].rule is None
    assert "dashed" not in evidence_figures(item, judging())[0].caption


def test_figure_19_shows_how_far_beta_must_rise() -> None:
    name = "fig19-inverse-temperature-rises-with-width"
    judged = claim(name, setting("mlp-digits", Trend(True, 1.0).asked))
    panel = evidence_figures("Figure 19", judging(judged))[0].panels[0]
    assert panel.rule is not None
    assert panel.rule[0] == pytest.approx(panel.series[0].means[0].value + 1)
    assert panel.rule[1] == "to be reached at the widest"


def test_norms_and_cosines_by_layer() -> None:
    """Of a merged model whose norms halve with every layer at width 1, and stay where it is narrow."""
    (norms,), (cosines,) = (evidence_figures(item, DOCUMENT) for item in ("Figure 20", "Figure 14"))
    assert [panel.title for panel in norms.panels] == ["mlp-digits", "vgg-digits", "resnet-digits"]
    assert all(panel.y.log for panel in norms.panels)
    (widest,) = (series for series in norms.panels[0].series if series.label == "width 1")
    assert len(widest.lines) == 3
    assert [mean.value for mean in widest.means] == pytest.approx([0.5**at for at in range(len(widest.means))])
    rows = [row for row in DOCUMENT.evidence.outputs if row.setting == "vgg-digits"]
    panel = cosines.panels[1]
    assert len(panel.x.ticks) == len(rows[0].layers)
    assert all(layer in str((panel.x, cosines.notes)) for layer in rows[0].layers)
    assert {line for series in panel.series for line in series.lines} == {
        tuple((float(at), value) for at, value in enumerate(row.endpoint_cosine)) for row in rows
    }


def test_cifar100_is_in_its_own_figure() -> None:
    families = tuple(replace(family, dataset="cifar100") for family in DOCUMENT.evidence.families)
    other = replace(DOCUMENT, evidence=replace(DOCUMENT.evidence, families=families))
    assert evidence_figures("Figure 1", other) == []
    assert len(evidence_figures("Figure 15", other)) == 2
    assert len(evidence_figures("Figure 19", other)) == 1  # which shows every dataset


def test_histograms_are_of_the_second_activation_and_of_every_one() -> None:
    (fifth,), (twenty_first,) = (evidence_figures(item, DOCUMENT) for item in ("Figure 5", "Figure 21"))
    assert fifth.panels[0].title == "mlp-digits, hidden.1.relu"
    assert len(fifth.panels) == 3
    assert len(twenty_first.panels) == 3 + 4 + 7
    row = DOCUMENT.evidence.histograms[0]
    counts = row.activations["hidden.1.relu"]
    (line,) = fifth.panels[0].series[0].lines
    assert line[0] == (1 / 50, counts[0] / sum(counts))
    assert line[-1] == (1.0, 1.0)


def test_training_has_a_diagram_for_each_family() -> None:
    figures = training_figures(DOCUMENT)
    assert [figure.name for figure in figures] == [
        "training-mlp-digits",
        "training-vgg-digits",
        "training-resnet-digits",
    ]
    assert [panel.title for panel in figures[1].panels] == ["strong", "weak", "zero"]


def test_undefined_losses_are_left_out_of_curves() -> None:
    facts: dict[str, Any] = {"status": "trained", "parameters": 1, "steps": 4, "decay_horizon": 1.0, "seconds": 1.0}
    model = Model("s", "strong", 1.0, seed=6, loss=(1.0, None, 0.0, 0.5), **facts)
    (figure,) = training_figures(document(evidence=evidence(models=(model,))))
    assert figure.panels[0].series[0].lines == (((1.0, 1.0), (4.0, 0.5)),)


def test_two_figures_of_an_item_have_names_of_their_own() -> None:
    names = [figure.name for item in ITEMS for figure in evidence_figures(item.name, DOCUMENT)]
    assert len(names) == len(set(names))
