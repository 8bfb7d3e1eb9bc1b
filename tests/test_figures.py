"""What is drawn: thresholds, diagrams of claims and evidence, their scales, and their SVG."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import report_documents
from documents import claim, setting

from lmc.claims.equivalence import Near, Similar
from lmc.claims.expectations import Level, Ordered, Trend, Within
from lmc.claims.judgement import Expectation
from lmc.claims.paper import CLAIMS
from lmc.claims.scaling import PowerLaw
from lmc.errors import SpecError, StoreError
from lmc.reporting import plots
from lmc.reporting.evidence_figures import evidence_figures, training_figures
from lmc.reporting.figures import Axis, Figure, Mean, Panel, Series, claim_figure, mean_at, width_name
from lmc.reporting.scales import Scale, x_scale, y_scale
from lmc.reporting.svg import panel_svg
from lmc.reporting.thresholds import Zone, needed_change, zone_of_effect, zone_of_values

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


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3e-13, 5e-13), (0.93, 0.97), (-1e5, 3e6), (1e-3, 2e-3)])
def test_ticks_are_few_distinct_and_inside(low: float, high: float) -> None:
    ticks = Scale(low, high).ticks()
    assert 3 <= len(ticks) <= 7
    assert all(low <= value <= high for value, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)


@pytest.mark.parametrize(("low", "high"), [(0.01, 10), (0.2, 0.9), (1e-9, 1), (0.5, 0.52)])
def test_logarithmic_ticks(low: float, high: float) -> None:
    scale = Scale(low, high, log=True)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 12
    assert scale.share(low) == 0
    assert scale.share(math.sqrt(low * high)) == pytest.approx(0.5)


def test_one_huge_interval_does_not_flatten_the_rest() -> None:
    series = Series("", ((0.0, 0.0), (1.0, 1.0)), (Mean(0.0, 0.0, -1e6, 1e6), Mean(1.0, 1.0)))
    scale = y_scale(Panel("t", Axis("x"), Axis("y"), (series,)))
    assert scale.high < 3
    assert scale.low > -2


def test_scales_of_nothing_and_of_one_number() -> None:
    empty = Panel("t", Axis("x"), Axis("y"), ())
    same = Panel("t", Axis("x"), Axis("y"), (Series("", ((1.0, 0.0),)),))
    for panel in (empty, same):
        assert x_scale(panel).low < x_scale(panel).high
        assert y_scale(panel).low < y_scale(panel).high
        assert panel_svg(panel, "n")


def test_svg_is_well_formed_and_has_words() -> None:
    panel = Panel('<b> & "t"', Axis("<x>"), Axis("&"), PANEL.series, PANEL.zone, None, (0.4, "<rule>"))
    root = ElementTree.fromstring(panel_svg(panel, "name"))
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "name-t name-d"
    assert root.findtext("title") == panel.title
    assert "at 0 1 (95 % interval 0.5 to 1.5)" in (root.findtext("desc") or "")


def test_every_panel_of_a_whole_run_is_well_formed() -> None:
    for figure in plots.all_figures(DOCUMENT):
        for panel in figure.panels:
            text = panel_svg(panel, "n")
            ElementTree.fromstring(text)
            assert "nan" not in text.replace("Nan", "")


def test_matplotlib_writes_the_same_bytes_twice(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for folder in ("one", "two"):
        written = plots.write_figures(DOCUMENT, tmp_path / folder, only="fig2b-calibrated-barrier-falls")
        assert [path.suffix for path in written] == [".svg", ".pdf"]
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_figure_names_are_files_and_unique() -> None:
    names = [figure.name for figure in plots.all_figures(DOCUMENT)]
    assert len(set(names)) == len(names)
    assert all(Path(name).name == name for name in names)


HOSTILE = ["../escaped", "/etc/absolute", "..", ".hidden", "a/b", "a-b", "A-B", "a\\b", "", "\0", "x" * 500, "x" * 500]


def test_hostile_names_stay_in_the_folder_and_apart(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    document = report_documents.complete()
    document["claims"] = [{**document["claims"][at], "id": name} for at, name in enumerate(dict.fromkeys(HOSTILE))]
    for name, model in zip(HOSTILE, document["evidence"]["models"], strict=False):
        model["setting"] = name
    figures = [figure.name for figure in plots.all_figures(document)]
    assert {"../escaped", "training-../escaped", "training-/etc/absolute"} <= set(figures)
    models = document["evidence"]["models"][:3]  # enough, and quick to draw
    document["evidence"] = {name: [] for name in document["evidence"]} | {"models": models}
    document["claims"] = document["claims"][:3]
    drawn = list(plots.all_figures(document))
    written = plots.write_figures(document, tmp_path / "a" / "out", ["svg"])
    assert len(written) == len(drawn) == len({str(path).lower() for path in written})
    assert sorted(written) == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert {path.parent for path in written} == {tmp_path / "a" / "out"}


def test_file_names_are_safe_and_unique_whatever_a_figure_is_called() -> None:
    names = plots.file_names([Figure(name, "t", "c", (PANEL,)) for name in HOSTILE])
    assert names[:7] == ["escaped", "etc-absolute", "figure", "hidden", "a-b", "a-b-2", "A-B-3"]
    assert len({name.lower() for name in names}) == len(HOSTILE)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,130}", name) for name in names)


@pytest.mark.filterwarnings("ignore:Glyph")  # DejaVu Sans cannot draw everything
@pytest.mark.parametrize("name", ["$\\foo{$", "$x$", "a_b^c", "\\", "%", "{", "\n", "文"])
def test_names_are_drawn_as_they_are(name: str, tmp_path: Path) -> None:
    """Also where matplotlib would read them as formulas, and also on the logarithmic axis."""
    pytest.importorskip("matplotlib")
    axis = Axis(name, ((0.0, name), (1.0, "b")))
    series = (Series(name, ((0.0, 0.5),), (Mean(0.0, 0.1), Mean(1.0, 20.0))), Series("$b$", ((1.0, 2.0),)))
    panels = tuple(Panel(name, axis, Axis(name, log=log), series, None, None, (1.0, name)) for log in (False, True))
    written = plots._write(Figure("f", name, name, panels), tmp_path / "f", plots.FORMATS)
    text = written[0].read_text()
    ElementTree.fromstring(text)
    if name.isprintable():
        assert text.count(f"<!-- {name} -->") == 12  # in both panels: title, axes, tick, series, rule
    for value in ("0.1", "1", "10"):
        assert f"<!-- {value} -->" in text


def test_figures_refuse_what_they_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"unknown format png; choose of svg, pdf"):
        plots.write_figures(DOCUMENT, tmp_path, ["png"])
    with pytest.raises(SpecError, match=r"no figure's name contains 'nothing'"):
        plots.write_figures(DOCUMENT, tmp_path, ["svg"], only="nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"choose another folder"):
        plots.write_figures(DOCUMENT, tmp_path / "file", ["svg"], only="fig2b")


def texts_of(canvas: Any) -> list[tuple[str, Any]]:
    """Every text around the diagrams with its box, in pixels."""
    canvas.draw_without_rendering()
    found = []
    for axes in canvas.axes:
        for axis, (low, high) in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim()))):
            inside = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
            found += [label for at, label in inside if low <= at <= high]
        found += [axes.title, axes.xaxis.label, axes.yaxis.label]
    return [(text.get_text(), text.get_window_extent()) for text in found if text.get_text()]


def crowded() -> list[Figure]:
    """Every figure with as many names under an axis as the largest nets have, and with long ones."""
    long = ("calibrated_loss_barrier_midpoint", "accuracy_barrier_midpoint", "loss_barrier_midpoint")
    layers = [[f"stages.{at}.conv1" for at in range(4)], [str(at) for at in range(19)], [str(at) for at in range(60)]]
    series = (Series("", means=(Mean(0.0, 0.1), Mean(1.0, 0.2))),)
    panels = [
        Panel("t", Axis("layer", tuple((float(at), name) for at, name in enumerate(names))), Axis("y"), series)
        for names in (long, *layers)
    ]
    made = [claim_figure(each) for each in DOCUMENT["claims"] if each["id"].startswith(("fig11a", "fig4-", "thm"))]
    return [Figure("f", "t", "c", tuple(panels)), *(each for each in made if each)]


@pytest.mark.parametrize("figure", crowded(), ids=lambda figure: figure.name)
def test_no_text_overlaps_another_or_leaves_the_figure(figure: Figure) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    with rc_context(plots.STYLE):
        canvas = Canvas(layout="constrained")
        FigureCanvasAgg(canvas)
        plots.draw(figure, canvas)
        found = texts_of(canvas)
    for axes, panel in zip(canvas.axes, figure.panels, strict=True):
        assert len(axes.get_xticks()) >= min(2, len(panel.x.ticks))
    touching = [(a, b) for at, (a, one) in enumerate(found) for b, other in found[at + 1 :] if one.overlaps(other)]
    assert touching == []
    assert [text for text, box in found if box.x0 < 0 or box.y0 < 0 or box.x1 > canvas.bbox.width] == []


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


def test_axes_without_panels_are_removed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = Figure("f", "t", "c", (PANEL,) * 4)
    (path,) = plots._write(figure, tmp_path / "f", ["svg"])
    assert path.stat().st_size > 1000
