"""Every number of a results file as tidy tables, in CSV or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import asdict

from lmc.claims.asked import Asked
from lmc.errors import SpecError, StoreError
from lmc.results.document import Document, Explained
from lmc.results.recorded import Ensemble, Home
from lmc.results.scalars import Scalar
from lmc.results.wording import asked_in_words, measured_in_words, seeds_in_words

FORMATS = ("csv", "parquet")
"""What tables can be written as."""

Row = tuple[str | float | int | bool | None, ...]


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


def _verdicts(document: Document) -> Iterator[Row]:
    for claim, judged in document.judged():
        low, high = judged.interval or (None, None)
        yield (
            *(claim.id, claim.ref, judged.name, judged.verdict, judged.shown, claim.verdict, claim.unit),
            *(judged.effect, low, high, judged.p_value),
            *(
                asked_in_words(judged.asked),
                claim.why,
                measured_in_words(judged),
                *_explained(judged.explained),
                claim.statement,
            ),
            *(", ".join(claim.items), claim.history, judged.part, judged.mean_of, *_asked(judged.asked)),
            *(claim.role, claim.null, judged.p_contrary, judged.predicted),
        )


def _explained(found: Explained | None) -> tuple[str, str, str]:
    return (found.why, found.refuted_by, found.result) if found else ("", "", "")


def _asked(asked: Asked | None) -> Row:
    if asked is None:
        return (None,) * len(_ASKED)
    ends = (asked.low, asked.high, asked.target)
    return (asked.quantity, *ends, asked.at, ", ".join(asked.groups), asked.pooled, asked.slack, asked.alpha)


def _values(document: Document) -> Iterator[Row]:
    for claim, judged in document.judged():
        for each in judged.values:
            yield (
                *(claim.id, claim.ref, judged.name, judged.verdict, each.width, seeds_in_words(each.seeds)),
                *(each.part, each.group, each.value, each.independent, each.draw, each.error),
            )


def _home(row: Home) -> tuple[str, str, float]:
    return row.setting, row.role, row.width


def _paths(document: Document) -> Iterator[Row]:
    for path in document.evidence.paths:
        home = (*_home(path), seeds_in_words(path.seeds), path.alignment)
        for point in zip(path.lams, path.accuracy, path.loss, path.beta, path.calibrated_loss, strict=True):
            yield (*home, "path", *point)
        yield (*home, "ensemble", None, *_point(path.ensemble))


def _point(both: Ensemble) -> tuple[float | None, ...]:
    return both.accuracy, both.loss, both.beta, both.calibrated_loss


def _models(document: Document) -> Iterator[Row]:
    for model in document.evidence.models:
        facts = (model.status, model.parameters, model.steps, model.decay_horizon, model.seconds)
        yield (*_home(model), model.seed, *facts)


def _training(document: Document) -> Iterator[Row]:
    for model in document.evidence.models:
        for epoch, loss in enumerate(model.loss, start=1):
            yield (*_home(model), model.seed, epoch, loss)


def _outputs(document: Document) -> Iterator[Row]:
    for row in document.evidence.outputs:
        for by_layer in zip(row.layers, row.norm_merged, row.norm_endpoints, row.endpoint_cosine, strict=True):
            yield (*_home(row), seeds_in_words(row.seeds), *by_layer)


def _random_steps(document: Document) -> Iterator[Row]:
    for step in document.evidence.random_steps:
        for point in zip(step.alphas, step.accuracy, step.loss, strict=True):
            yield (*_home(step), seeds_in_words(step.seeds), *point)


def _histograms(document: Document) -> Iterator[Row]:
    for row in document.evidence.histograms:
        for activation, counts in row.activations.items():
            for at, count in enumerate(counts):
                yield (*_home(row), row.seed, activation, at, count)


def _families(document: Document) -> Iterator[Row]:
    for family in document.evidence.families:
        facts = {**family.recipe, "widths": _listed(family.widths), "seeds": _listed(family.seeds)}
        for name, value in facts.items():
            yield family.setting, family.role, name, _text(value)


def _listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _text(value: Scalar) -> str | None:
    return None if value is None else str(value)


def _one(value: Scalar | Sequence[str]) -> Scalar:
    return value if isinstance(value, str) or not isinstance(value, Sequence) else " ".join(value)


def _run(document: Document) -> Iterator[Row]:
    facts: dict[str, Scalar] = {
        "schema": document.schema,
        "tier": document.tier,
        "started": document.started,
        "seconds": document.seconds,
        "commit": document.commit,
        **{f"machine.{name}": value for name, value in document.machine.items()},
        **{f"versions.{name}": value for name, value in document.versions.items()},
        "made.models": document.made.models,
        "made.measurements": document.made.measurements,
        **{f"selection.{name}": _one(value) for name, value in asdict(document.selection).items()},
    }
    for name, value in facts.items():
        yield name, _text(value)


_AT = {"setting": str, "role": str, "width": float}
_ASKED = {
    **{"asked": str, "asked_low": float, "asked_high": float, "asked_target": float, "asked_at": str},
    **{"asked_groups": str, "asked_pooled": bool, "asked_slack": float, "asked_alpha": float},
}
_NUMBERS = dict.fromkeys(("accuracy", "loss", "beta", "calibrated_loss"), float)

TABLES: tuple[Table, ...] = (
    Table(
        "verdicts",
        {
            **dict.fromkeys(("claim", "ref", "setting", "verdict", "shown", "claim_verdict", "unit"), str),
            **dict.fromkeys(("effect", "low", "high", "p_value"), float),
            **dict.fromkeys(("threshold", "why", "reason", "explained", "refuted_by", "result", "statement"), str),
            **{"items": str, "history": str, "part": str, "mean_of": int},
            **_ASKED,
            **{"role": str, "null": str, "p_contrary": float, "predicted": float},
        },
        _verdicts,
    ),
    Table(
        "values",
        {
            **dict.fromkeys(("claim", "ref", "setting", "verdict"), str),
            **{"width": float, "pair": str, "part": str, "group": str, "value": float, "independent": bool},
            **{"draw": int, "error": float},
        },
        _values,
    ),
    Table("paths", {**_AT, "pair": str, "alignment": str, "point": str, "lam": float, **_NUMBERS}, _paths),
    Table(
        "outputs",
        {
            **{**_AT, "pair": str, "layer": str},
            **dict.fromkeys(("norm_merged", "norm_endpoints", "endpoint_cosine"), float),
        },
        _outputs,
    ),
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
    Table("histograms", {**_AT, "seed": int, "activation": str, "bin": int, "count": int}, _histograms),
    Table("families", dict.fromkeys(("setting", "role", "field", "value"), str), _families),
    Table("run", {"field": str, "value": str}, _run),
)
"""Every table there is; together they hold every number of a results file."""
