"""How it is drawn: scales, SVG of the report, files of matplotlib and their names."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import report_documents
from documents import claim, document, evidence, setting
from msgspec.structs import replace

from lmc.errors import SpecError, StoreError
from lmc.reporting import plots
from lmc.reporting.claim_figures import claim_figure
from lmc.reporting.figures import Axis, Figure, Mean, Panel, Series
from lmc.reporting.scales import Scale, x_scale, y_scale
from lmc.reporting.svg import panel_svg
from lmc.reporting.zones import Zone

DOCUMENT = report_documents.complete()
PANEL = Panel("t", Axis("x"), Axis("y"), (Series("s", ((0.0, 1.0),), (Mean(0.0, 1.0, 0.5, 1.5),)),), Zone(low=0.2))


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
        written = plots.write_figures(document(), tmp_path / folder, only="a")
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
    claims = tuple(claim(name, setting("mlp")) for name in dict.fromkeys(HOSTILE))
    trained = DOCUMENT.evidence.models
    models = tuple(replace(each, setting=name) for each, name in zip(trained, HOSTILE, strict=False))
    figures = [figure.name for figure in plots.all_figures(document(*claims, evidence=evidence(models=models)))]
    assert {"../escaped", "training-../escaped", "training-/etc/absolute"} <= set(figures)
    hostile = document(*claims[:3], evidence=evidence(models=models[:3]))  # enough, and quick to draw
    drawn = list(plots.all_figures(hostile))
    written = plots.write_figures(hostile, tmp_path / "a" / "out", ["svg"])
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
        plots.write_figures(document(), tmp_path, ["png"])
    with pytest.raises(SpecError, match=r"no figure's name contains 'nothing'"):
        plots.write_figures(document(), tmp_path, ["svg"], only="nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"choose another folder"):
        plots.write_figures(document(), tmp_path / "file", ["svg"], only="a")


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
    drawn = [
        next(each for each in DOCUMENT.claims if item in each.items)
        for item in ("Figure 4", "Figure 11", "Theorem 5.3", "Theorem 5.4")
    ]
    made = [claim_figure(each) for each in drawn]
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


def test_axes_without_panels_are_removed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = Figure("f", "t", "c", (PANEL,) * 4)
    (path,) = plots._write(figure, tmp_path / "f", ["svg"])
    assert path.stat().st_size > 1000
