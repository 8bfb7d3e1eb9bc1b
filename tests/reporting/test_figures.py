"""What is drawn: thresholds, and diagrams of claims and evidence."""

from __future__ import annotations

import math
from typing import Any

import pytest
import report_documents
from documents import claim, setting
from lmc.reporting.thresholds import Zone, needed_change, zone_of_effect, zone_of_values

from lmc.claims.equivalence import Near, Similar
from lmc.claims.expectations import Level, Ordered, Trend, Within
from lmc.claims.paper import CLAIMS
from lmc.claims.parts import Expectation
from lmc.claims.scaling import PowerLaw
from lmc.reporting.evidence_figures import evidence_figures, training_figures
from lmc.reporting.figures import Axis, Mean, Panel, Series, claim_figure, mean_at, width_name

DOCUMENT = report_documents.complete()
PANEL = Panel("t", Axis("x"), Axis("y"), (Series("s", ((0.0, 1.0),), (Mean(0.0, 1.0, 0.5, 1.5),)),), Zone(low=0.2))


@pytest.mark.parametrize("each", CLAIMS, ids=lambda each: each.id)
def test_every_threshold_of_the_paper_is_understood(each: Any) -> None:
    zone = zone_of_effect(each.expect.threshold)
    assert zone is not None
    assert zone.ends


@pytest.mark.parametrize(
    ("expect", "values", "effect"),
    [
        (Level(above=0.2), Zone(low=0.2), Zone(low=0.2)),
        (Level(below=-0.5, at="narrowest"), Zone(high=-0.5), Zone(high=-0.5)),
        (Near(-1.0, 0.25), Zone(-1.25, -0.75), Zone(-1.25, -0.75)),
        (Within(1.0, 1e-3), Zone(0.999, 1.001), Zone(-1e-3, 1e-3)),
        (Trend(True, 0.1, pooled=True), None, Zone(low=0.1)),
        (Trend(False, 0.1), None, Zone(high=-0.1)),
        (Trend(True, -0.03), None, Zone(low=-0.03)),
        (Trend(False, -0.05), None, Zone(high=0.05)),
        (Ordered(("a", "b"), 0.05), None, Zone(low=0.05)),
        (Similar("a", "b", 0.2), None, Zone(-0.2, 0.2)),
        (PowerLaw(0.25, 0.1), None, Zone(low=0.25)),
    ],
    ids=str,
)
def test_zone_is_what_the_expectation_asks(expect: Expectation, values: Zone | None, effect: Zone) -> None:
    assert zone_of_values(expect.threshold) == values
    assert zone_of_effect(expect.threshold) == effect


def test_needed_change() -> None:
    assert needed_change(Trend(True, 0.1).threshold) == 0.1
    assert needed_change(Trend(False, 0.1).threshold) == -0.1
    assert needed_change(Ordered(("a", "b"), 0.1).threshold) is None
    assert needed_change("") is None
    assert zone_of_effect("something else") is None


def test_widths_are_fractions() -> None:
    assert [width_name(width) for width in (1 / 16, 3 / 4, 1.5, 2)] == ["1/16", "3/4", "3/2", "2"]


def test_mean_of_three_pairs_has_the_interval_of_a_t_test() -> None:
    values = [{"width": 1.0, "pair": pair, "value": value} for pair, value in (("6-7", 1), ("8-9", 2), ("10-11", 3))]
    found = mean_at(0.0, values)
    assert found is not None
    assert found.value == 2
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3))
    assert mean_at(0.0, values[:2]) == Mean(0.0, 1.5, count=2)
    assert mean_at(0.0, [{"width": 1.0, "pair": "6", "value": None}]) is None


def test_every_claim_with_values_has_a_figure() -> None:
    for each in DOCUMENT["claims"]:
        measured = [one["name"] for one in each["settings"] if one["values"]]
        figure = claim_figure(each)
        assert (figure is not None) == bool(measured), each["id"]
        if figure:
            assert [panel.title for panel in figure.panels if panel.title != "Effect against threshold"] == measured


def test_values_by_width_show_what_a_trend_must_reach() -> None:
    values = [
        {"width": width, "pair": pair, "value": 1 - width, "part": "", "group": "strong", "independent": True}
        for width in (0.25, 0.5, 1.0)
        for pair in ("6-7", "8-9", "10-11")
    ]
    figure = claim_figure(
        claim("a", setting("mlp", "falls by at least 0.3, p <= 0.05", values=values)) | {"statement": "s"}
    )
    assert figure is not None
    panel = figure.panels[0]
    assert [name for _, name in panel.x.ticks] == ["1/4", "1/2", "1"]
    assert panel.rule == (pytest.approx(0.45), "to be reached at the widest")
    assert "at 1/4 0.75" in panel.described()


def test_an_axis_is_of_layers_only_where_there_are_models() -> None:
    def label(parts: list[str], width: float) -> str:
        values = [
            {"width": width, "pair": pair, "value": 0.5, "part": part, "group": "strong", "independent": True}
            for pair in ("6-7", "8-9", "10-11")
            for part in parts
        ]
        figure = claim_figure(claim("a", setting("s", values=values)) | {"statement": "s"})
        assert figure is not None
        return figure.panels[0].x.label

    assert label(["leak", "overlap", "bias"], 0.0) == "part"
    assert label(["slope"], 0.0) == "part"
    assert label(["2 models", "4 models"], 1.0) == "part"
    assert label(["hidden.0.relu", "head"], 1.0) == "layer"


def test_layers_with_long_names_are_numbered_and_listed() -> None:
    values = [
        {"width": 1.0, "pair": pair, "value": 0.5, "part": part, "group": "strong", "independent": True}
        for pair in ("6-7", "8-9", "10-11")
        for part in ("stages.0.0.relu1", "stages.0.0.relu2", "stages.1.0.relu1")
    ]
    figure = claim_figure(claim("a", setting("resnet", values=values)) | {"statement": "s"})
    assert figure is not None
    assert [name for _, name in figure.panels[0].x.ticks] == ["1", "2", "3"]
    assert "resnet, layers: 1: stages.0.0.relu1; 2: stages.0.0.relu2; 3: stages.1.0.relu1." in figure.notes


def test_undefined_values_are_left_out() -> None:
    values = [{"width": 1.0, "pair": "6-7", "value": None, "part": "", "group": "strong", "independent": True}]
    assert claim_figure(claim("a", setting("mlp", values=values, effect=None)) | {"statement": "s"}) is None


@pytest.mark.parametrize(
    "item",
    ["Figure 1", "Figure 2", "Figure 5", "Figure 12", "Figure 14", "Figure 16", "Figure 20", "Figure 21", "Figure 25"],
)
def test_evidence_has_figures(item: str) -> None:
    figures = evidence_figures(item, DOCUMENT)
    assert figures
    assert all(panel.series for figure in figures for panel in figure.panels)


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


def test_figure_19_has_every_architecture() -> None:
    (figure,) = evidence_figures("Figure 19", DOCUMENT)
    assert [panel.title for panel in figure.panels] == ["mlp-digits", "vgg-digits", "resnet-digits"]
    assert {panel.y.label for panel in figure.panels} == {"β"}
    mine = [
        path for path in DOCUMENT["evidence"]["paths"] if path["setting"] == "vgg-digits" and path["role"] == "strong"
    ]
    widest = max(path["width"] for path in mine)
    betas = [
        path["beta"][path["lams"].index(0.5)]
        for path in mine
        if path["width"] == widest and path["alignment"] == "none"
    ]
    assert figure.panels[1].series[0].means[-1].value == pytest.approx(sum(betas) / 15)


@pytest.mark.parametrize(
    ("item", "at", "claim_id", "threshold", "bound", "said"),
    [
        ("Figure 1", 0, "fig1-accuracy-reaches-endpoints", "below 0.07 at the widest width", -0.07, "above"),
        ("Figure 2", 0, "fig2a-uncalibrated-loss-stays-above", "above 0.2 at the widest width", 0.2, "above"),
        ("Figure 2", 1, "fig2b-calibrated-barrier-approaches-zero", "below 0.3 at the widest width", 0.3, "below"),
        ("Figure 16", 0, "fig16-matched-models-reach-endpoints", "below 0.03 at the widest width", -0.03, "above"),
    ],
)
def test_what_a_claim_asks_is_drawn_beside_all_pairs(
    item: str, at: int, claim_id: str, threshold: str, bound: float, said: str
) -> None:
    judged = claim(claim_id, setting("mlp-digits", threshold))
    panel = evidence_figures(item, DOCUMENT | {"claims": [judged]})[0].panels[at]
    assert panel.rule == (pytest.approx(panel.series[1].means[-1].value + bound), f"to be {said} at the widest")
    for none in ([], [claim(claim_id, setting("vgg-digits", threshold))], [claim(claim_id, setting("mlp-digits", ""))]):
        assert evidence_figures(item, DOCUMENT | {"claims": none})[0].panels[at].rule is None


def test_figure_19_shows_how_far_beta_must_rise() -> None:
    judged = claim(
        "fig19-inverse-temperature-rises-with-width", setting("mlp-digits", "rises by at least 1, p <= 0.05")
    )
    panel = evidence_figures("Figure 19", DOCUMENT | {"claims": [judged]})[0].panels[0]
    assert panel.rule == (pytest.approx(panel.series[0].means[0].value + 1), "to be reached at the widest")


def test_norms_and_cosines_by_layer() -> None:
    """Of a merged model whose norms halve with every layer at width 1, and stay where it is narrow."""
    (norms,), (cosines,) = (evidence_figures(item, DOCUMENT) for item in ("Figure 20", "Figure 14"))
    assert [panel.title for panel in norms.panels] == ["mlp-digits", "vgg-digits", "resnet-digits"]
    assert all(panel.y.log for panel in norms.panels)
    (widest,) = (series for series in norms.panels[0].series if series.label == "width 1")
    assert len(widest.lines) == 3
    assert [mean.value for mean in widest.means] == pytest.approx([0.5**at for at in range(len(widest.means))])
    rows = [row for row in DOCUMENT["evidence"]["outputs"] if row["setting"] == "vgg-digits"]
    panel = cosines.panels[1]
    assert len(panel.x.ticks) == len(rows[0]["layers"])
    assert all(layer in str((panel.x, cosines.notes)) for layer in rows[0]["layers"])
    assert {line for series in panel.series for line in series.lines} == {
        tuple((float(at), value) for at, value in enumerate(row["endpoint_cosine"])) for row in rows
    }
    without = {**DOCUMENT, "evidence": {**DOCUMENT["evidence"], "outputs": []}}
    assert evidence_figures("Figure 20", without) == []


def test_cifar100_is_in_its_own_figure() -> None:
    assert evidence_figures("Figure 15", DOCUMENT) == []
    other = report_documents.complete()
    for family in other["evidence"]["families"]:
        family["recipe"]["dataset"] = "cifar100"
    assert evidence_figures("Figure 1", other) == []
    assert len(evidence_figures("Figure 15", other)) == 2


def test_training_has_a_diagram_for_each_family() -> None:
    figures = training_figures(DOCUMENT)
    assert [figure.name for figure in figures] == [
        "training-mlp-digits",
        "training-vgg-digits",
        "training-resnet-digits",
    ]
    assert [panel.title for panel in figures[1].panels] == ["strong", "weak", "zero"]


def test_undefined_losses_are_left_out_of_curves() -> None:
    model = {"setting": "s", "role": "strong", "width": 1.0, "seed": 6, "loss": [1.0, None, 0.0, 0.5]}
    (figure,) = training_figures({"evidence": {"models": [model]}})
    assert figure.panels[0].series[0].lines == (((1.0, 1.0), (4.0, 0.5)),)
