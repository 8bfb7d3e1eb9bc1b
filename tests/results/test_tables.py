"""The compact form of a results file: nothing is lost in it, the report is the same, and damage is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import report_documents
from documents import claim, document, setting, value

from lmc.errors import StoreError
from lmc.reporting.report import report
from lmc.results.document import SCHEMA, Document
from lmc.results.file import read_results, write_results
from lmc.results.rounding import rounded, six_digits
from lmc.results.tables import compact

PAIRS = ((6, 7), (6, 8), (7, 8))
VALUES = [
    value(number, width, seeds, independent=at == 0, **more)
    for width in (0.125, 1.0)
    for at, seeds in enumerate(PAIRS)
    for number, more in ((0.25, {"part": "a"}), (None, {"part": "b"}), (-0.0, {"part": "b", "draw": 2, "error": 0.5}))
]
COMPLETE = report_documents.few("fig3-lewc-rises-with-width", "fig2b-calibrated-barrier-falls-with-width")


def plain(made: Document, path: Path, **changes: Any) -> Path:
    """A file with a line for every row, as files were."""
    path.write_bytes(msgspec.json.encode(msgspec.to_builtins(made) | changes))
    return path


def test_what_repeats_stands_once() -> None:
    made = compact(document(claim("a", setting("mlp", values=tuple(VALUES)))))
    table = made["claims"][0]["settings"][0]["values"]
    assert table["rows"] == 18
    assert table["columns"] == {
        "width": {"of": [0.125, 1.0], "at": [0] * 9 + [1] * 9},
        "seeds": {"of": [(6, 7), (6, 8), (7, 8)], "at": [0, 0, 0, 1, 1, 1, 2, 2, 2] * 2},
        "value": {"of": [0.25, None, -0.0], "at": [0, 1, 2] * 6},
        "part": {"of": ["a", "b"], "at": [0, 1, 1] * 6},
        "group": {"of": ["strong"]},
        "independent": {"of": [True, False], "at": [0, 0, 0, 1, 1, 1, 1, 1, 1] * 2},
        "draw": [0, 0, 2] * 6,
        "error": {"of": [0.0, 0.5], "at": [0, 0, 1] * 6},
    }
    assert made["evidence"]["paths"] == []


def test_nothing_is_lost(tmp_path: Path) -> None:
    made = document(claim("a", setting("mlp", values=tuple(VALUES)), setting("vgg", values=())))
    for each in (made, read_results(plain(COMPLETE, tmp_path / "complete.json"))):
        write_results(each, tmp_path / "new.json")
        assert repr(read_results(tmp_path / "new.json")) == repr(each)  # -0.0 equals 0.0 but is not the same
        assert repr(read_results(plain(each, tmp_path / "plain.json"))) == repr(each)


def test_the_report_of_a_compact_file_is_that_of_a_full_one(tmp_path: Path) -> None:
    """Texts up to the fourth digit that is shown of a mean, lines up to a tenth of a pixel."""
    full = read_results(plain(COMPLETE, tmp_path / "full.json", schema="lmc-results/4"))
    write_results(rounded(full), tmp_path / "new.json")
    assert (tmp_path / "new.json").stat().st_size < 0.4 * (tmp_path / "full.json").stat().st_size
    pages = report(full), report(read_results(tmp_path / "new.json"))
    number = re.compile(r"\d+(?:\.\d+)?")
    drawn = re.compile(r'<path class="cloud"[^>]*>')  # dots at the same tenth of a pixel are one
    texts = [number.split(drawn.sub("", page)) for page in pages]
    assert texts[0] == texts[1]
    numbers = [[float(each) for each in number.findall(drawn.sub("", page))] for page in pages]
    np.testing.assert_allclose(numbers[1], numbers[0], rtol=1e-3, atol=0.11)


def test_verdicts_effects_and_intervals_keep_every_digit() -> None:
    precise = setting("mlp", effect=1 / 3, interval=(1 / 7, 2 / 3), p_value=1 / 30, values=(value(1 / 3, error=1 / 7),))
    (judged,) = rounded(document(claim("a", precise))).claims[0].settings
    assert (judged.effect, judged.interval, judged.p_value) == (1 / 3, (1 / 7, 2 / 3), 1 / 30)
    assert (judged.values[0].value, judged.values[0].error) == (0.333333, 0.142857)
    assert six_digits({"a": [123456.7, 1.0000004e-9, 3, "x", None, True]}) == {
        "a": [123457.0, 1e-9, 3, "x", None, True]
    }


def test_a_file_of_the_schema_before_is_read_with_every_digit(tmp_path: Path) -> None:
    made = document(claim("a", setting("mlp", values=(value(1 / 3),))))
    found = read_results(plain(made, tmp_path / "old.json", schema="lmc-results/4"))
    assert (found.schema, found.claims[0].settings[0].values[0].value) == (SCHEMA, 1 / 3)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda table: table["columns"]["part"]["at"].append(0), "a column has 19 of 18 rows"),
        (lambda table: table["columns"]["part"]["at"].__setitem__(3, 2), "a row has value 2 of a column of 2 values"),
        (lambda table: table.update(rows=17), "a column has 18 of 17 rows"),
        (lambda table: table["columns"]["part"]["at"].__setitem__(0, -1), "Expected `int` >= 0"),
        (lambda table: table["columns"].update(part=3), "Expected"),
        (lambda table: table.pop("rows"), "missing required field `rows`"),
        (lambda table: table["columns"]["value"]["of"].__setitem__(0, "x"), "values[0].value"),
        (lambda table: table["columns"].pop("width"), "missing required field `width`"),
    ],
)
def test_damaged_tables_are_refused(damage: Any, said: str, tmp_path: Path) -> None:
    made = compact(document(claim("a", setting("mlp", values=tuple(VALUES)))))
    damage(made["claims"][0]["settings"][0]["values"])
    path = tmp_path / "r.json"
    path.write_text(json.dumps(made), "utf-8")
    with pytest.raises(StoreError, match=re.escape(said)) as refused:
        read_results(path)
    assert "claims[0].settings[0]" in str(refused.value)
