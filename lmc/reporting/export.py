"""Every number of a results file as tidy tables, in CSV or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc.claims.verdicts import shown
from lmc.errors import SpecError, StoreError

FORMATS = ("csv", "parquet")
"""What tables can be written as."""

Row = tuple[str | float | int | bool | None, ...]
Document = Mapping[str, Any]

_POINT = ("accuracy", "loss", "beta", "calibrated_loss")
_MODEL = ("status", "parameters", "steps", "decay_horizon", "seconds")


@dataclass(frozen=True)
class Table:
    """A tidy table: one observation per row, one variable per column.

    Args:
        name: of the file, without its ending.
        columns: name to type (``str``, ``float``, ``int`` or ``bool``), in order; any value may be missing.
        rows: yields the rows of a document.
    """

    name: str
    columns: Mapping[str, type]
    rows: Callable[[Document], Iterator[Row]]


def export(document: Document, folder: Path, formats: Sequence[str] = ("csv",)) -> list[Path]:
    """Write every table in every format.

    Args:
        document: a results document, see `lmc.results.file.read_results`.
        folder: made where it is missing.
        formats: of `FORMATS`.

    Returns:
        The files.

    Raises:
        SpecError: a format is unknown or none is named, or Parquet is asked for without pyarrow.
        StoreError: the folder cannot be written.
    """
    if not formats:
        raise SpecError(f"no format is named; choose one of {', '.join(FORMATS)}")
    writers = {name: _writer(name) for name in dict.fromkeys(formats)}
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for table in TABLES:
            for name, write in writers.items():
                path = folder / f"{table.name}.{name}"
                write(table, document, path)
                written.append(path)
    except OSError as error:
        raise StoreError(f"cannot write tables to {folder}: {error.strerror}; choose another folder with -o") from error
    return written


def _writer(name: str) -> Callable[[Table, Document, Path], None]:
    if name == "csv":
        return _write_csv
    if name == "parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise SpecError("format 'parquet' needs pyarrow; pip install pyarrow, or choose csv") from error
        return _write_parquet
    raise SpecError(f"unknown format {name!r}; choose one of {', '.join(FORMATS)}")


def _write_csv(table: Table, document: Document, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(table.rows(document))


def _write_parquet(table: Table, document: Document, path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    types = {str: pyarrow.string(), float: pyarrow.float64(), int: pyarrow.int64(), bool: pyarrow.bool_()}
    rows = list(table.rows(document))
    columns = [pyarrow.array([row[at] for row in rows], types[kind]) for at, kind in enumerate(table.columns.values())]
    pyarrow.parquet.write_table(pyarrow.table(columns, names=list(table.columns)), path)


def _cases(document: Document) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for claim in document["claims"]:
        for setting in claim["settings"]:
            yield claim, setting


def _verdicts(document: Document) -> Iterator[Row]:
    for claim, setting in _cases(document):
        low, high = setting["interval"] or (None, None)
        numbers = (setting["effect"], low, high, setting["p_value"])
        said = (setting["threshold"], claim["why"], setting["reason"], setting["known_gap"], claim["statement"])
        names = (claim["id"], claim["ref"], setting["name"], setting["verdict"], shown(setting), claim["verdict"])
        yield (*names, claim["unit"], *numbers, *said)


def _values(document: Document) -> Iterator[Row]:
    for claim, setting in _cases(document):
        for each in setting["values"]:
            yield (
                *(claim["id"], claim["ref"], setting["name"], setting["verdict"], each["width"], each["pair"]),
                *(each["part"], each["group"], each["value"], each["independent"]),
            )


def _home(row: Mapping[str, Any]) -> tuple[str, str, float]:
    return row["setting"], row["role"], row["width"]


def _paths(document: Document) -> Iterator[Row]:
    for path in document["evidence"]["paths"]:
        home = (*_home(path), path["pair"], path["alignment"])
        for at, lam in enumerate(path["lams"]):
            yield (*home, "path", lam, *(path[name][at] for name in _POINT))
        yield (*home, "ensemble", None, *(path["ensemble"].get(name) for name in _POINT))


def _models(document: Document) -> Iterator[Row]:
    for model in document["evidence"]["models"]:
        yield (*_home(model), model["seed"], *(model[name] for name in _MODEL))


def _training(document: Document) -> Iterator[Row]:
    for model in document["evidence"]["models"]:
        for epoch, loss in enumerate(model["loss"], start=1):
            yield (*_home(model), model["seed"], epoch, loss)


def _random_steps(document: Document) -> Iterator[Row]:
    for step in document["evidence"]["random_steps"]:
        for alpha, accuracy, loss in zip(step["alphas"], step["accuracy"], step["loss"], strict=True):
            yield (*_home(step), step["pair"], alpha, accuracy, loss)


def _histograms(document: Document) -> Iterator[Row]:
    for row in document["evidence"]["histograms"]:
        for relu, counts in row["relus"].items():
            for at, count in enumerate(counts):
                yield (*_home(row), row["seed"], relu, at, count)


def _families(document: Document) -> Iterator[Row]:
    for family in document["evidence"]["families"]:
        facts = {**family["recipe"], "widths": _listed(family["widths"]), "seeds": _listed(family["seeds"])}
        for name, value in facts.items():
            yield family["setting"], family["role"], name, _text(value)


def _listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _run(document: Document) -> Iterator[Row]:
    for name in ("schema", "tier", "started", "seconds", "commit"):
        yield name, _text(document[name])
    for group in ("machine", "versions", "made"):
        for name, value in document[group].items():
            yield f"{group}.{name}", _text(value)


_AT = {"setting": str, "role": str, "width": float}
_NUMBERS = dict.fromkeys(_POINT, float)

TABLES: tuple[Table, ...] = (
    Table(
        "verdicts",
        {
            **dict.fromkeys(("claim", "ref", "setting", "verdict", "shown", "claim_verdict", "unit"), str),
            **dict.fromkeys(("effect", "low", "high", "p_value"), float),
            **dict.fromkeys(("threshold", "why", "reason", "known_gap", "statement"), str),
        },
        _verdicts,
    ),
    Table(
        "values",
        {
            **dict.fromkeys(("claim", "ref", "setting", "verdict"), str),
            **{"width": float, "pair": str, "part": str, "group": str, "value": float, "independent": bool},
        },
        _values,
    ),
    Table("paths", {**_AT, "pair": str, "alignment": str, "point": str, "lam": float, **_NUMBERS}, _paths),
    Table(
        "models",
        {
            **{**_AT, "seed": int, "status": str, "parameters": int, "steps": int},
            **{"decay_horizon": float, "seconds": float},
        },
        _models,
    ),
    Table("training", {**_AT, "seed": int, "epoch": int, "loss": float}, _training),
    Table(
        "random_steps",
        {**_AT, "pair": str, "alpha": float, "accuracy": float, "loss": float},
        _random_steps,
    ),
    Table("histograms", {**_AT, "seed": int, "relu": str, "bin": int, "count": int}, _histograms),
    Table("families", dict.fromkeys(("setting", "role", "field", "value"), str), _families),
    Table("run", {"field": str, "value": str}, _run),
)
"""Every table there is; together they hold every number of a results file."""
