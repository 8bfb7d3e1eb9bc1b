"""The Markdown summary of a run."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import documents
import pytest
from documents import BELOW, claim, setting

from lmc.reporting.markdown import summary
from lmc.results.comparing import difference_between
from lmc.results.document import Document, Judged
from lmc.results.file import read_results

BASELINE = Path(__file__).parents[2] / "benchmarks" / "baselines" / "quick-cpu.json"


def row(name: str = "s0", verdict: str = "holds", **changes: Any) -> Judged:
    return setting(name, BELOW, verdict=verdict, **({"reason": "0.1 at width 1"} | changes))


def document(*settings: Judged, **changes: Any) -> Document:
    facts = {"seconds": 12.3, "machine": {"processor": "P", "device": "cpu"}}
    return documents.document(claim("a", *settings), **(facts | changes))


def test_verdicts_are_counted_and_what_holds_takes_no_row() -> None:
    found = summary(document(row("s0"), row("s1")))
    assert found == (
        "## lmc: tier quick\n\n12 s on P (cpu), commit abc\n\n"
        "| verdict | claims and settings |\n|---|---|\n| holds | 2 |\n"
    )


@pytest.mark.parametrize("verdict", ["fails", "inconclusive", "invalid", "not-run"])
def test_what_does_not_hold_is_in_the_table(verdict: str) -> None:
    found = summary(document(row("s0"), row("s1", verdict, part="relu1")))
    _, _, table = found.partition("### Does not hold\n\n")
    assert f"| {verdict} | 1 |" in found
    asked = "below 0.2 at the widest width, p &lt;= 0.05"
    assert table.splitlines()[2:] == [f"| It falls. (Fig. 1; a) | s1 | {verdict} | relu1: 0.1 at width 1 | {asked} |"]
    assert "### Known gaps" not in found


def test_a_known_gap_is_listed_with_its_reason_and_not_among_the_failures() -> None:
    found = summary(document(row(verdict="fails", known_gap="Too little data.")))
    assert "| known gap | 1 |" in found
    assert "Does not hold" not in found
    assert found.endswith("### Known gaps\n\n- a on s0 fails. Too little data.\n")


def test_a_closed_gap_is_said() -> None:
    found = summary(document(row(known_gap="Too little data.")))
    assert "| holds | 1 |" in found
    assert "- a on s0 holds, so this gap is closed: remove it. Too little data." in found


@pytest.mark.parametrize("field", ["reason", "part", "name", "known_gap"])
def test_html_pipes_and_line_breaks_are_escaped(field: str) -> None:
    hostile = "<script>x</script> | a\\| & `b` *c*\n| d"
    found = summary(document(row(**{"verdict": "fails", field: hostile})))
    assert "<script>" not in found
    assert "&lt;script&gt;x&lt;/script&gt; &#124; a&#92;&#124; &amp; &#96;b&#96; &#42;c&#42; &#124; d" in found
    rows = [line for line in found.splitlines() if line.startswith("| It falls.")]
    assert [line.count("|") for line in rows] == ([] if field == "known_gap" else [6])
    assert not any("`" in line or "\\" in line for line in found.splitlines())


def test_the_machine_and_the_tier_are_escaped_too() -> None:
    found = summary(document(row(), tier="<b>", commit="<i>", machine={"gpu": "<u>"}))
    assert re.findall(r"<\w", found) == []
    assert "&lt;u&gt; (unknown device)" in found


def test_a_difference_is_shown_and_escaped() -> None:
    old, new = documents.document(), documents.edited(documents.on(0, 0, verdict="fails", reason="<i> | `x`\n"))
    found = summary(document(row()), difference_between(old, new))
    _, _, told = found.partition("### Worse than the baseline\n\n<pre>\n")
    assert "a on mlp: holds -&gt; fails; &lt;i&gt; &#124; &#96;x&#96; \n" in told
    assert told.endswith("1 of 1 changes count as worse\n</pre>\n")
    same = summary(document(row()), difference_between(old, old))
    assert "### Not worse than the baseline\n\n<pre>\nnothing differs in 4 pairs" in same


def test_the_committed_baseline() -> None:
    made = read_results(BASELINE)
    settings = [judged for _, judged in made.judged()]
    failing = [each for each in settings if each.verdict != "holds" and not each.known_gap]
    counts = Counter("known gap" if each.known_gap and each.verdict != "holds" else each.verdict for each in settings)
    found = summary(made)
    assert {f"| {kind} | {count} |" for kind, count in counts.items()} <= set(found.splitlines())
    cells = [line.count("|") for line in found.splitlines() if line.startswith("| ")]
    assert cells.count(6) == len(failing) + bool(failing)  # and the head
    assert found.count("\n- ") == sum(bool(each.known_gap) for each in settings)
