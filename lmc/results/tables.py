"""Rows of a results file as columns in which what repeats stands once: a fifth of the size, and not a number less.

Almost all that a results file holds are rows of a few kinds, `lmc.results.document.Value` above all, whose widths,
seeds and parts repeat from row to row. A reader takes either form, see `expanded`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from lmc.results.document import Document
from lmc.results.scalars import Count


class _Repeated(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A column of few different values: each of them once, and for every row which of them it has.

    Args:
        of: the different values.
        at: the place in ``of`` of every row's; empty where there is one for all.
    """

    of: list[Any]
    at: list[Count] = []


class _Table(Struct, forbid_unknown_fields=True):
    """Rows of one kind.

    Args:
        rows: how many.
        columns: by the name of the field; fields that all rows leave at their default are left out.
    """

    rows: Count
    columns: dict[str, list[Any] | _Repeated]


def compact(document: Document) -> dict[str, Any]:
    """What a results file holds of ``document``: its rows as tables."""
    found: dict[str, Any] = msgspec.to_builtins(document)
    for made, claim in zip(found["claims"], document.claims, strict=True):
        for each, judged in zip(made["settings"], claim.settings, strict=True):
            each["values"] = _table(judged.values)
    for name in found["evidence"]:
        found["evidence"][name] = _table(getattr(document.evidence, name))
    return found


def expanded(found: dict[str, Any]) -> dict[str, Any]:
    """``found`` with rows in place of tables; what is neither stays as it is, for whoever checks it to refuse.

    Args:
        found: the content of a results file, as JSON gives it; it is changed.

    Raises:
        ValueError: a table is no table, or its columns are not equally long.
    """
    for index, claim in enumerate(_listed(found, "claims")):
        for at, judged in enumerate(_listed(claim, "settings")):
            _expand(judged, "values", f"$.claims[{index}].settings[{at}]")
    evidence = found.get("evidence")
    for name in evidence if isinstance(evidence, dict) else ():
        _expand(evidence, name, "$.evidence")
    return found


def _table(rows: Sequence[Struct]) -> Any:
    if not rows:
        return []
    columns = {}
    for field in msgspec.structs.fields(type(rows[0])):
        values = [msgspec.to_builtins(getattr(row, field.name)) for row in rows]
        column = _column(values)
        if not (isinstance(column, _Repeated) and column.of == [field.default]):
            columns[field.name] = column
    return msgspec.to_builtins(_Table(len(rows), columns))


def _column(values: list[Any]) -> list[Any] | _Repeated:
    """``values`` as they are, or what repeats among them once, whichever is shorter."""
    texts = [msgspec.json.encode(value) for value in values]  # tells 0 from -0 and from false
    of = dict(zip(texts, values, strict=True))
    places = {text: place for place, text in enumerate(of)}
    repeated = _Repeated([*of.values()], [places[text] for text in texts] if len(of) > 1 else [])
    return repeated if len(msgspec.json.encode(repeated)) < len(msgspec.json.encode(values)) else values


def _listed(holder: Any, name: str) -> list[Any]:
    found = holder.get(name) if isinstance(holder, dict) else None
    return found if isinstance(found, list) else []


def _expand(holder: Any, name: str, place: str) -> None:
    if not isinstance(holder, dict) or not isinstance(holder.get(name), dict):
        return
    try:
        table = msgspec.convert(holder[name], _Table)
        columns = {each: _values(column, table.rows) for each, column in table.columns.items()}
    except ValueError as error:
        raise ValueError(f"{error}, in the table `{place}.{name}`") from error
    holder[name] = [{each: column[row] for each, column in columns.items()} for row in range(table.rows)]


def _values(column: list[Any] | _Repeated, rows: int) -> list[Any]:
    if isinstance(column, _Repeated):
        at = column.at or [0] * rows
        if any(place >= len(column.of) for place in at):
            raise ValueError(f"a row has value {max(at)} of a column of {len(column.of)} values")
        column = [column.of[place] for place in at]
    if len(column) != rows:
        raise ValueError(f"a column has {len(column)} of {rows} rows")
    return column
