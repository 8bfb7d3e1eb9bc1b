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

DOCUMENT = report_documents.complete()
KINDS = {str: str, float: float, int: int, bool: lambda text: text == "True"}


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
        (
            claim["id"],
            setting["name"],
            *(value[name] for name in ("width", "pair", "part", "group", "value", "independent")),
        )
        for claim in DOCUMENT["claims"]
        for setting in claim["settings"]
        for value in setting["values"]
    ]
    names = ("claim", "setting", "width", "pair", "part", "group", "value", "independent")
    assert [tuple(row[name] for name in names) for row in tables["values"]] == wanted


def test_every_number_of_the_evidence_is_there(tables: dict[str, list[dict[str, Any]]]) -> None:
    evidence = DOCUMENT["evidence"]
    assert [row["loss"] for row in tables["training"]] == [
        loss for model in evidence["models"] for loss in model["loss"]
    ]
    assert [row["seconds"] for row in tables["models"]] == [model["seconds"] for model in evidence["models"]]
    for name in ("accuracy", "loss", "beta", "calibrated_loss"):
        along = [row[name] for row in tables["paths"] if row["point"] == "path"]
        assert along == [value for path in evidence["paths"] for value in path[name]]
        ensemble = [row[name] for row in tables["paths"] if row["point"] == "ensemble"]
        assert ensemble == [path["ensemble"][name] for path in evidence["paths"]]
    counts = [count for row in evidence["histograms"] for found in row["relus"].values() for count in found]
    assert [row["count"] for row in tables["histograms"]] == counts
    assert [row["loss"] for row in tables["random_steps"]] == [
        value for step in evidence["random_steps"] for value in step["loss"]
    ]
    recipes = sum(len(family["recipe"]) + 2 for family in evidence["families"])
    assert len(tables["families"]) == recipes


def test_verdicts_and_the_run(tables: dict[str, list[dict[str, Any]]]) -> None:
    cases = [(claim["id"], setting["effect"]) for claim in DOCUMENT["claims"] for setting in claim["settings"]]
    assert [(row["claim"], row["effect"]) for row in tables["verdicts"]] == cases
    run = {row["field"]: row["value"] for row in tables["run"]}
    assert run["commit"] == DOCUMENT["commit"]
    assert run["machine.processor"] == "P"
    assert run["made.models"] == "300"


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
        export(DOCUMENT, tmp_path / folder)
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
