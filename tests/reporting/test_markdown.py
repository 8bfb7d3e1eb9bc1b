"""The Markdown summary of a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import documents
import pytest
from documents import BELOW, claim, setting
from msgspec.structs import replace

from lmc.reporting.markdown import summary
from lmc.results.comparing import difference_between
from lmc.results.deciding import Decision, counted
from lmc.results.document import Document, Explained, Judged
from lmc.results.file import read_results

SAID = {"fails": "1 fail", "inconclusive": "1 inconclusive, 0 fail", "invalid": "0 fail, 1 invalid"}
BASELINE = Path(__file__).parents[2] / "benchmarks" / "baselines" / "quick-cpu.json"


def row(name: str = "s0", verdict: str = "holds", **changes: Any) -> Judged:
    return setting(name, BELOW, verdict=verdict, **({"reason": "0.1 at width 1"} | changes))


def document(*settings: Judged, **changes: Any) -> Document:
    facts = {"seconds": 12.3, "machine": {"processor": "P", "device": "cpu"}}
    return documents.document(claim("a", *settings), **(facts | changes))


def test_verdicts_are_counted_and_what_holds_takes_no_row() -> None:
    found = summary(document(row("s0"), row("s1")))
    assert found == ("## lmc: tier quick\n\n12 s on P (cpu), commit abc\n\n- claims: 2 hold, 0 fail\n- not red\n")


@pytest.mark.parametrize("verdict", ["fails", "inconclusive", "invalid"])
def test_what_does_not_hold_is_in_the_table(verdict: str) -> None:
    found = summary(document(row("s0"), row("s1", verdict, part="relu1")))
    _, _, table = found.partition("### Does not hold\n\n")
    asked = "below 0.2 at the widest width, p &lt;= 0.05"
    assert table.splitlines()[2:] == [f"| It falls. (Fig. 1; a) | s1 | {verdict} | relu1: 0.1 at width 1 | {asked} |"]
    assert "### Explained" not in found
    assert f"- claims: 1 hold, {SAID[verdict]}\n" in found


def test_what_was_not_run_takes_no_row() -> None:
    found = summary(document(row("s0"), row("s1", "not-run")))
    assert "- claims: 1 hold, 0 fail, 1 not run\n" in found
    assert "Does not hold" not in found


def test_an_explained_failure_is_counted_and_listed_with_what_would_refute_it() -> None:
    reason = Explained("Too little data.", "More data.", "")
    found = summary(document(row(verdict="fails", explained=reason)))
    assert "- claims: 0 hold, 1 fail (1 explained)\n" in found
    assert "Does not hold" not in found
    end = "- a on s0 fails: Too little data. Would be refuted by: More data. Not run.\n"
    assert found.endswith(f"### Explained\n\n{end}")
    run = summary(document(row(verdict="fails", explained=replace(reason, result="As before."))))
    assert run.endswith("Would be refuted by: More data. As before.\n")


@pytest.mark.parametrize("verdict", ["holds", "inconclusive"])
def test_an_explained_failure_that_does_not_fail_keeps_its_verdict_and_is_remarked(verdict: str) -> None:
    found = summary(document(row(verdict=verdict, explained=Explained("Too little data."))))
    assert f"- a on s0 {verdict} this time, though a failure is explained: Too little data." in found
    assert "0 fail" in found


def test_a_failure_not_beyond_chance_is_said_and_listed() -> None:
    found = summary(document(row(verdict="fails", by_chance=True)))
    assert "- claims: 0 hold, 1 fail (1 not beyond chance)\n- not red\n" in found
    assert "| s0 | fails, not beyond chance |" in found


@pytest.mark.parametrize("field", ["reason", "part", "name", "explained"])
def test_html_pipes_and_line_breaks_are_escaped(field: str) -> None:
    hostile = "<script>x</script> | a\\| & `b` *c*\n| d"
    value: Any = Explained(hostile) if field == "explained" else hostile
    found = summary(document(row(**{"verdict": "fails", field: value})))
    assert "<script>" not in found
    assert "&lt;script&gt;x&lt;/script&gt; &#124; a&#92;&#124; &amp; &#96;b&#96; &#42;c&#42; &#124; d" in found
    rows = [line for line in found.splitlines() if line.startswith("| It falls.")]
    assert [line.count("|") for line in rows] == ([] if field == "explained" else [6])
    assert not any("`" in line or "\\" in line for line in found.splitlines())


def test_the_machine_and_the_tier_are_escaped_too() -> None:
    found = summary(document(row(), tier="<b>", commit="<i>", machine={"gpu": "<u>"}))
    assert re.findall(r"<\w", found) == []
    assert "&lt;u&gt; (unknown device)" in found


def test_a_difference_is_shown_and_escaped() -> None:
    failing = documents.on(0, 0, verdict="fails", effect=None, interval=None, reason="<i> | `x`\n")
    old, new = documents.document(), documents.edited(failing)
    found = summary(document(row()), difference_between(old, new))
    _, _, told = found.partition("### Worse than the baseline\n\n<pre>\n")
    assert "a on mlp: holds -&gt; fails; &lt;i&gt; &#124; &#96;x&#96; \n" in told
    assert told.endswith("1 of 1 changes count as worse\n</pre>\n")
    same = summary(document(row()), difference_between(old, old))
    assert "### Not worse than the baseline\n\n<pre>\nnothing differs in 4 pairs" in same


def test_the_committed_baseline() -> None:
    made = read_results(BASELINE)
    settings = [judged for _, judged in made.judged()]
    failing = [  # an explanation is of a failure: an inconclusive case keeps its row
        each
        for each in settings
        if each.verdict not in ("holds", "not-run") and not (each.verdict == "fails" and each.explained)
    ]
    found = summary(made)
    assert f"- {'; '.join(counted(made))}\n" in found
    cells = [line.count("|") for line in found.splitlines() if line.startswith("| ")]
    assert cells.count(6) == len(failing) + bool(failing)  # and the head
    lines = len(Decision(made).lines())
    assert found.count("\n- ") == sum(bool(each.explained) for each in settings) + lines
