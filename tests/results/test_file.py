"""The results file: what is written is read again, and what cannot be is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from documents import evidence
from msgspec.structs import replace
from tiny_claim import CLAIM

from lmc.claims.cases import Case, judge
from lmc.claims.expectations import Within
from lmc.claims.studies import computed
from lmc.claims.verdicts import HOLDS
from lmc.errors import StoreError
from lmc.results.building import build_document
from lmc.results.document import Document, MadeCounts, Selection, Value
from lmc.results.file import read_results, write_results


def small(measured: float = 0.5) -> Document:
    claim = dataclasses.replace(
        CLAIM,
        kinds=(),
        study=computed(lambda: [("x", measured)]),
        expect=Within(0.0, 1.0),
        items=("Figure 1",),
        history="It was tiny before.",
    )
    result = judge(Case(claim, None), {})
    return build_document(
        [result],
        tier="tiny",
        machine={"cores": 2},
        versions={},
        commit="c",
        started="now",
        seconds=1.0,
        made=MadeCounts(models=3),
        selection=Selection(claims=("tiny",)),
        evidence=evidence(),
    )


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.json"
    write_results(small(), path)
    found = read_results(path)
    assert found == small()
    assert (found.made.models, found.selection.claims) == (3, ("tiny",))
    (claim,) = found.claims
    assert (claim.verdict, claim.items, claim.history) == (HOLDS, ("Figure 1",), "It was tiny before.")
    (judged,) = claim.settings
    assert (judged.part, judged.mean_of, judged.asked) == ("x", 0, Within(0.0, 1.0).asked)
    assert judged.values == (Value(width=0.0, seeds=(), value=0.5, part="x", group="strong"),)
    assert [path.name for path in path.parent.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read"),
        ('{"schema": "other/1"}', "has schema 'other/1'"),
        ("[]", "has schema None"),
        ('{"schema": NaN}', "holds NaN"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text, "utf-8")
    with pytest.raises(StoreError, match=message):
        read_results(path)


def test_unwritable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="choose another file with --lmc-results"):
        write_results(small(), tmp_path / "file" / "results.json")


def test_results_are_json_without_nan(tmp_path: Path) -> None:
    document = small()
    with pytest.raises(StoreError, match=r"not written: .*\$.seconds"):
        write_results(replace(document, seconds=float("nan")), tmp_path / "results.json")
    judged = replace(document.claims[0].settings[0], p_value=float("nan"))  # a number that may be missing
    claims = (replace(document.claims[0], settings=(judged,)),)
    with pytest.raises(StoreError, match=r"not written: .*p_value"):
        write_results(replace(document, claims=claims), tmp_path / "results.json")
    assert not [*tmp_path.iterdir()]


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    """Somebody else's study may give what ``np.mean`` gives."""
    write_results(small(np.float64(0.5)), tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == small()
