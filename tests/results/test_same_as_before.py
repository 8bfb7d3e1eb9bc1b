"""Results files that kept sentences, migrated, say what they said before, number by number.

The files in ``schema-2`` are those of ``benchmarks/baselines`` at commit 7f3bbb3, the last whose results files kept
sentences and pairs as text. ``before.json.xz`` was made of them there: of every claim and setting what it found, with
the count, the sum and the SHA-256 of its values; the SHA-256 of each kind of evidence; every text of the tables,
definitions and diagrams' descriptions of the report (`page_texts.texts`); and the lines of two differences. Numbers are
hashed as the JSON of floats. Models merged as they are were called ``none`` there, and are called ``unpermuted`` now.
"""

from __future__ import annotations

import functools
import hashlib
import json
import lzma
import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from page_texts import texts

from lmc.results.comparing import difference_between
from lmc.results.document import Document, Value
from lmc.results.file import read_results
from lmc.results.scalars import Seeds
from lmc.results.wording import asked_in_words, measured_in_words

FILES = Path(__file__).with_name("schema-2")
BEFORE = json.loads(lzma.decompress(Path(__file__).with_name("before.json.xz").read_bytes()))
NAMES = list(BEFORE["files"])

each_file = pytest.mark.parametrize("name", NAMES)


@functools.cache
def now(name: str) -> Document:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "old.json")
        path.write_bytes(lzma.decompress((FILES / f"{name}.json.xz").read_bytes()))
        return read_results(path)


def digest(rows: object) -> str:
    return hashlib.sha256(json.dumps(floats(rows), ensure_ascii=False).encode()).hexdigest()


def floats(found: Any) -> Any:
    """``found`` with every whole number as a float."""
    if isinstance(found, dict):
        return {name: floats(each) for name, each in found.items()}
    if isinstance(found, list | tuple):
        return [floats(each) for each in found]
    return float(found) if isinstance(found, int) and not isinstance(found, bool) else found


def pair(seeds: Seeds) -> str:
    return "-".join(map(str, seeds or (0, 0)))


def as_before(found: Any) -> Any:
    """Texts, and lists of them, with the group and alignment called as it was before."""
    if isinstance(found, list | tuple):
        return [as_before(each) for each in found]
    return found.replace("unpermuted", "none") if isinstance(found, str) else found


def value(found: Value) -> list[object]:
    return [found.width, pair(found.seeds), found.value, found.part, as_before(found.group), found.independent]


@each_file
def test_every_verdict_and_the_numbers_behind_it(name: str) -> None:
    found = []
    for claim, judged in now(name).judged():
        values = list(map(value, judged.values))
        total = sum(each.value or 0.0 for each in judged.values)
        gap = judged.explained.why if judged.explained else ""
        what = [claim.id, judged.name, judged.verdict, gap, judged.effect, judged.interval, judged.p_value]
        said = [asked_in_words(judged.asked), measured_in_words(judged)]
        found.append([*what, *said, len(values), total, digest(values)])
    assert as_before(found) == BEFORE["files"][name]["judged"]


@each_file
def test_every_claim_and_what_is_said_of_the_run(name: str) -> None:
    document, before = now(name), BEFORE["files"][name]
    for claim, (*said, verdict, unit, why) in zip(document.claims, before["claims"], strict=True):
        assert [claim.id, claim.ref, claim.statement, claim.unit, claim.why] == [*said, unit, why]
        explained = [each for each in claim.settings if each.explained]  # counted as failures now
        assert claim.verdict == verdict or any(each.verdict == claim.verdict for each in explained)
    run = msgspec.json.decode(msgspec.json.encode(document))
    for field, expected in before["run"].items():
        found = run[field]
        assert {**found, **expected} == found if isinstance(found, dict) else found == expected, field


@each_file
def test_every_number_of_the_evidence(name: str) -> None:
    evidence = msgspec.to_builtins(now(name).evidence)
    for kind, expected in BEFORE["files"][name]["evidence"].items():
        rows = []
        for row in evidence[kind]:
            if kind == "families":
                assert (row["dataset"], row["arch"]) == (row["recipe"]["dataset"], row["recipe"]["arch"])
                row = {field: row[field] for field in ("setting", "role", "recipe", "widths", "seeds")}
            elif "seeds" in row:
                row["seeds"] = pair(row["seeds"])
            if kind == "paths":
                row["alignment"] = as_before(row["alignment"])
            rows.append(list(row.values()))
        assert [len(rows), digest(rows)] == expected, kind


@each_file
def test_every_text_of_the_report(name: str) -> None:
    """What is said besides (roles, nulls, explanations) stands between; failures with a reason were known gaps.

    Left out is what depends on today's statistics and bounds: intervals, which are computed when a mean is drawn, and
    lines at bounds of accuracies and losses, which are asked for in other units now.
    """
    from lmc.reporting.report import report

    before, table, after = re.split(r"(<table id=\"verdict-table\".*?</table>)", report(now(name)), flags=re.DOTALL)
    said = iter(as_before(texts(table + before + after)))  # the table came first then
    missing = [text for text in BEFORE["files"][name]["report"] if not any(_is(text, each) for each in said)]
    assert missing == []


def _is(before: str, after: str) -> bool:
    of_today = r" \(95 % interval [^)]*\)| to be (?:above|below) at the widest: [0-9.]+\d\."
    before, after = (re.sub(of_today, "", each) for each in (before, after))
    told, _, gap = before.partition(" Known gap: ")
    head, _, explained = after.partition(" Explained: ")
    return head == told.replace("≠ known gap", "≠ fails, explained") and explained.endswith(gap)


@pytest.mark.parametrize("names", BEFORE["diffs"])
def test_every_line_of_a_difference(names: str) -> None:
    """But for what counts, which was decided without regard to chance, the sentence at the head, and the order.

    What other models explain is told apart today.
    """
    old, new = names.split()
    lines = as_before(difference_between(now(old), now(new)).lines()[1:])
    before, found = (
        sorted(_uncounted(line) for line in each[:-1] if not line.endswith(":"))
        for each in (BEFORE["diffs"][names], lines)
    )
    assert found == before


def _uncounted(line: str) -> str:
    return line.partition(" (not counted: ")[0].partition("; in ")[0].partition("; verdicts")[0]
