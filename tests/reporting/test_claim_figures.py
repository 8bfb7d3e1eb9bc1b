"""The figure of a claim: its values on the axis that tells them apart, and what is asked of them."""

from __future__ import annotations

import math

import pytest
import report_documents
from documents import BELOW, EXACT, PAIRS, RISES, claim, setting, value

from lmc.claims.asked import Asked
from lmc.claims.statistics import design_factor
from lmc.reporting.claim_figures import claim_figure
from lmc.reporting.figures import Mean, Panel, mean_at, width_name
from lmc.results.document import Value

WIDTHS = (0.25, 0.5, 1.0)
FALLS = Asked(quantity="change", high=-0.3, alpha=0.05)


def by_width(part: str = "", group: str = "strong") -> tuple[Value, ...]:
    return tuple(
        value(1 - width, width=width, seeds=seeds, part=part, group=group) for width in WIDTHS for seeds in PAIRS
    )


def panel_of(values: tuple[Value, ...], asked: Asked | None = BELOW) -> Panel:
    figure = claim_figure(claim("a", setting("mlp", asked, values=values)))
    assert figure is not None
    return figure.panels[0]


def test_widths_are_fractions() -> None:
    assert [width_name(width) for width in (1 / 16, 3 / 4, 1.5, 2)] == ["1/16", "3/4", "3/2", "2"]


def test_mean_of_three_pairs_has_the_interval_that_its_verdict_rests_on() -> None:
    values = [value(float(at), seeds=seeds) for at, seeds in enumerate(PAIRS, start=1)]
    found = mean_at(0.0, values)
    assert found is not None
    assert found.value == 2
    assert found.low == pytest.approx(2 - design_factor(3, shared=False) * 4.302653 / math.sqrt(3))
    assert mean_at(0.0, values[:2]) == Mean(0.0, 1.5, count=2)
    assert mean_at(0.0, [value(None, seeds=(6,))]) is None


def test_every_claim_with_values_has_a_figure() -> None:
    for each in report_documents.complete().claims:
        measured = [one.name for one in each.settings if one.values]
        figure = claim_figure(each)
        assert (figure is not None) == bool(measured), each.id
        if figure:
            assert [panel.title for panel in figure.panels if panel.title != "Effect against threshold"] == measured


def test_values_by_width_show_what_a_trend_must_reach() -> None:
    panel = panel_of(by_width(), FALLS)
    assert [name for _, name in panel.x.ticks] == ["1/4", "1/2", "1"]
    assert panel.rule is not None
    assert panel.rule[0] == pytest.approx(0.45)
    assert panel.rule[1] == "to be reached at the widest"
    assert "at 1/4 0.75" in panel.described()
    assert panel_of(by_width(), BELOW).rule is None
    assert panel_of((*by_width(), *by_width(group="weak")), FALLS).rule is None  # of two means none must reach it
    assert panel_of((*by_width("relu1"), *by_width("relu2")), FALLS).rule is None  # the axis is of layers


@pytest.mark.parametrize(
    ("asked", "column"),
    [
        (BELOW, 0.0),
        (Asked(quantity="value", low=0.5, at="narrowest", alpha=0.05), -2.0),
        (EXACT, None),
    ],
    ids=["widest", "narrowest", "every"],
)
def test_the_zone_is_where_it_is_asked(asked: Asked, column: float | None) -> None:
    panel = panel_of(by_width(), asked)
    assert panel.zone is not None
    assert panel.column == column


@pytest.mark.parametrize(("asked", "said"), [(BELOW, True), (EXACT, False), (FALLS, False)], ids=str)
def test_where_layers_are_shown_it_is_said_that_one_width_is_asked(asked: Asked, said: bool) -> None:
    values = (*by_width("relu1"), *by_width("relu2"))
    figure = claim_figure(claim("a", setting("mlp", asked, values=values)))
    assert figure is not None
    assert figure.panels[0].column is None
    assert ("The threshold is asked at one width only, see the table." in figure.notes) == said


def test_groups_and_widths_that_the_axis_does_not_tell_apart_are_told_in_the_legend() -> None:
    values = (*by_width(), *by_width(group="weak"))
    assert [series.label for series in panel_of(values).series] == ["strong", "weak"]
    at_one = tuple(each for each in values if each.width == 1.0)
    panel = panel_of(at_one)
    assert [series.label for series in panel.series] == [""]
    assert (panel.x.label, [name for _, name in panel.x.ticks]) == ("at width 1", ["strong", "weak"])
    assert not panel.series[0].joined
    layers = panel_of((*by_width("a"), *by_width("b"), *by_width("b", "weak")))
    assert [series.label for series in layers.series][:2] == ["strong, width 1/4", "strong, width 1/2"]
    assert [series.label for series in layers.series][-1] == "weak, width 1"


def test_an_axis_is_of_layers_only_where_there_are_models() -> None:
    def label(parts: list[str], width: float) -> str:
        values = tuple(value(0.5, width=width, seeds=seeds, part=part) for seeds in PAIRS for part in parts)
        return panel_of(values).x.label

    assert label(["leak", "overlap", "bias"], 0.0) == "part"
    assert label(["slope"], 0.0) == "part"
    assert label(["2 models", "4 models"], 1.0) == "part"
    assert label(["hidden.0.relu", "head"], 1.0) == "layer"


def test_layers_with_long_names_are_numbered_and_listed() -> None:
    parts = ("stages.0.0.relu1", "stages.0.0.relu2", "stages.1.0.relu1")
    values = tuple(value(0.5, seeds=seeds, part=part) for seeds in PAIRS for part in parts)
    figure = claim_figure(claim("a", setting("resnet", values=values)))
    assert figure is not None
    assert [name for _, name in figure.panels[0].x.ticks] == ["1", "2", "3"]
    assert "resnet, layers: 1: stages.0.0.relu1; 2: stages.0.0.relu2; 3: stages.1.0.relu1." in figure.notes


def test_undefined_values_are_left_out() -> None:
    assert claim_figure(claim("a", setting("mlp", values=(value(None),), effect=None))) is None


def test_effects_stand_against_what_is_asked() -> None:
    invalid = setting("vgg", None, verdict="invalid", effect=None, interval=None, values=())
    figure = claim_figure(claim("a", invalid, setting("mlp", RISES)))
    assert figure is not None
    effects = figure.panels[-1]
    assert effects.title == "Effect against threshold"
    assert [name for _, name in effects.x.ticks] == ["mlp"]
    assert effects.series[0].means == (Mean(0.0, 0.1, 0.05, 0.15),)
    assert effects.zone is not None
    assert effects.zone.ends == [0.1]
