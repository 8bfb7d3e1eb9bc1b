"""The page that shows how the claims fared from run to run."""

from __future__ import annotations

from typing import Any

from documents import RISES, document, edited, on, without
from msgspec.structs import replace
from pages import Page

from lmc.reporting.history_page import effect_figure, history_page
from lmc.results.document import Document, Selection
from lmc.results.history import History, Run

FAILS = on(0, 0, verdict="fails", effect=0.5, reason="<i>0.5</i>")


def history(*runs: Document) -> History:
    started = (f"2026-01-{at:02}T00:00:00+00:00" for at in range(1, 32))
    commits = (name * 40 for name in "abcdef")
    return History(
        "quick",
        tuple(
            Run(f"{at}.json", replace(run, started=when, commit=commit + run.commit))
            for at, (run, when, commit) in enumerate(zip(runs, started, commits, strict=False))
        ),
        ("gone.json is no results file",),
    )


def run(*edits: Any, **changes: Any) -> Document:
    return replace(edited(*edits), **({"commit": ""} | changes))


def test_the_page_is_well_formed_and_the_same_twice() -> None:
    made = history(run(), run(), run(FAILS, commit="+dirty"))
    text = history_page(made)
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert set(page.targets) <= set(page.ids)
    assert "&lt;i&gt;0.5&lt;/i&gt;" in text
    assert "bbbbbbbbbb</code> and <code>cccccccccc+dirty" in text
    assert "http" not in text.replace("http-equiv", "")
    assert "gone.json is no results file" in text
    assert history_page(made) == text


def test_it_is_said_where_nothing_changed() -> None:
    assert "Nothing changed." in history_page(history(run(), run()))
    assert "Nothing changed." not in history_page(history(run(), run(FAILS)))


def test_effects_are_drawn_by_run_against_what_was_asked_last() -> None:
    made = history(run(), run(without(0)), run(on(0, 0, effect=0.2, asked=RISES)), run(on(0, 0, effect=None)))
    figure = effect_figure(made, document().claims[0])
    assert figure is not None
    assert [panel.title for panel in figure.panels] == ["mlp", "vgg"]
    mlp = figure.panels[0]
    assert [(mean.x, mean.value) for mean in mlp.series[0].means] == [(0.0, 0.1), (2.0, 0.2)]
    assert mlp.zone is not None
    assert mlp.zone.ends == [0.2]  # of the last run
    assert [name for _, name in mlp.x.ticks] == ["1", "2", "3", "4"]
    assert effect_figure(history(run(on(2, 0, effect=None))), document().claims[2]) is None


def test_runs_of_other_widths_have_a_line_of_their_own() -> None:
    narrow, some = Selection(max_width=0.25), Selection(claims=("a",))
    made = history(run(), run(FAILS, selection=narrow), run(), run(selection=some))
    figure = effect_figure(made, document().claims[0])
    assert figure is not None
    drawn = {series.label: [mean.x for mean in series.means] for series in figure.panels[0].series}
    assert drawn == {"as the tier has it": [0.0, 2.0, 3.0], "max width 0.25": [1.0]}
    text = history_page(made)
    assert "<td>max width 0.25</td>" in text
    assert "<td>claims a</td>" in text
