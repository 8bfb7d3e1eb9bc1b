"""The tables of a results file: tidy, whole, and the same in both formats."""

from __future__ import annotations

import builtins
import csv
from pathlib import Path
from typing import Any

import pytest
import report_documents

from lmc.errors import SpecError, StoreError
from lmc.reporting.export import TABLES, export
from lmc.results.wording import asked_in_words, measured_in_words

DOCUMENT = report_documents.complete()
KINDS: dict[type, Any] = {str: str, float: float, int: int, bool: lambda text: text == "True"}


def parsed(path: Path, kinds: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a CSV file with their types back; nothing is ``None``."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {
                name: None if text == "" and kinds[name] is not str else KINDS[kinds[name]](text)
                for name, text in row.items()
            }
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("tables")
    export(DOCUMENT, folder)
    return {table.name: parsed(folder / f"{table.name}.csv", dict(table.columns)) for table in TABLES}


def test_every_value_is_there(tables: dict[str, list[dict[str, Any]]]) -> None:
    wanted = [
        (claim.id, judged.name, each.width, "-".join(map(str, each.seeds)), each.part, each.group, each.value)
        for claim, judged in DOCUMENT.judged()
        for each in judged.values
    ]
    names = ("claim", "setting", "width", "pair", "part", "group", "value")
    assert [tuple(row[name] for name in names) for row in tables["values"]] == wanted
    independent = [each.independent for _, judged in DOCUMENT.judged() for each in judged.values]
    assert [row["independent"] for row in tables["values"]] == independent
    assert "" in {row["pair"] for row in tables["values"]}  # of what rests on no model


def test_every_number_of_the_evidence_is_there(tables: dict[str, list[dict[str, Any]]]) -> None:
    evidence = DOCUMENT.evidence
    assert [row["loss"] for row in tables["training"]] == [loss for model in evidence.models for loss in model.loss]
    assert [row["seconds"] for row in tables["models"]] == [model.seconds for model in evidence.models]
    for name in ("accuracy", "loss", "beta", "calibrated_loss"):
        along = [row[name] for row in tables["paths"] if row["point"] == "path"]
        assert along == [value for path in evidence.paths for value in getattr(path, name)]
        ensemble = [row[name] for row in tables["paths"] if row["point"] == "ensemble"]
        assert ensemble == [getattr(path.ensemble, name) for path in evidence.paths]
    assert {row["alignment"] for row in tables["paths"]} == {"unpermuted", "matching"}
    assert "6-7" in {row["pair"] for row in tables["paths"]}
    counts = [count for row in evidence.histograms for found in row.activations.values() for count in found]
    assert [row["count"] for row in tables["histograms"]] == counts
    assert [row["loss"] for row in tables["random_steps"]] == [
        value for step in evidence.random_steps for value in step.loss
    ]
    for name in ("norm_merged", "norm_endpoints", "endpoint_cosine"):
        by_layer = [value for row in evidence.outputs for value in getattr(row, name)]
        assert by_layer
        assert [row[name] for row in tables["outputs"]] == by_layer
    assert {table.name for table in TABLES} > {*evidence.__struct_fields__}
    recipes = sum(len(family.recipe) + 2 for family in evidence.families)
    assert len(tables["families"]) == recipes


def test_verdicts_and_the_run(tables: dict[str, list[dict[str, Any]]]) -> None:
    cases = [
        (claim.id, judged.effect, asked_in_words(judged.asked), measured_in_words(judged))
        for claim, judged in DOCUMENT.judged()
    ]
    names = ("claim", "effect", "threshold", "reason")
    assert [tuple(row[name] for name in names) for row in tables["verdicts"]] == cases
    run = {row["field"]: row["value"] for row in tables["run"]}
    assert run["commit"] == DOCUMENT.commit
    assert run["machine.processor"] == "P"
    assert run["made.models"] == "300"
    assert run["selection.pilot"] == "False"


def test_what_was_asked_and_what_decided_are_data(tables: dict[str, list[dict[str, Any]]]) -> None:
    rows = list(zip(tables["verdicts"], DOCUMENT.judged(), strict=True))
    assert [(row["part"], row["mean_of"]) for row, _ in rows] == [
        (judged.part, judged.mean_of) for _, (_, judged) in rows
    ]
    assert [row["items"] for row, _ in rows] == [", ".join(claim.items) for _, (claim, _) in rows]
    for name in ("low", "high", "target", "pooled", "slack", "alpha"):
        expected = [judged.asked and getattr(judged.asked, name) for _, (_, judged) in rows]
        assert [row[f"asked_{name}"] for row, _ in rows] == expected, name
        assert len(set(expected)) > 1, name
    told = [(row["asked"], row["asked_at"], row["asked_groups"]) for row, (_, judged) in rows if judged.asked]
    asked = [judged.asked for _, (_, judged) in rows if judged.asked]
    assert told == [(each.quantity, each.at, ", ".join(each.groups)) for each in asked]


def test_parquet_says_the_same(tmp_path: Path, tables: dict[str, list[dict[str, Any]]]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    written = export(DOCUMENT, tmp_path, ["csv", "parquet", "csv"])
    assert len(written) == 2 * len(TABLES)
    for table in TABLES:
        rows = parquet.read_table(tmp_path / f"{table.name}.parquet").to_pylist()
        assert [
            {name: "" if each is None and table.columns[name] is str else each for name, each in row.items()}
            for row in rows
        ] == tables[table.name]


def test_two_exports_are_identical(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        export(report_documents.few("fig3-lewc-rises-with-width"), tmp_path / folder)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_run_of_nothing_gives_empty_tables(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    export(report_documents.nothing_run(), tmp_path, ["csv", "parquet"])
    assert (tmp_path / "values.csv").read_text().count("\n") == 1


def test_parquet_without_pyarrow_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SpecError, match=r"'parquet' needs pyarrow; pip install pyarrow, or choose csv"):
        export(DOCUMENT, tmp_path / "never", ["csv", "parquet"])
    assert not (tmp_path / "never").exists()


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no format is named; choose one of csv, parquet"):
        export(DOCUMENT, tmp_path / "never", [])
    assert not (tmp_path / "never").exists()
    with pytest.raises(SpecError, match=r"unknown format 'xlsx'; choose one of csv, parquet"):
        export(DOCUMENT, tmp_path, ["xlsx"])
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write tables to .*; choose another folder with -o"):
        export(DOCUMENT, tmp_path / "file")
