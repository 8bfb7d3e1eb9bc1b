"""A diagnosis as text for a terminal: the verdict first, then the numbers behind it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmc.diagnosing.diagnosis import Diagnosis

WIDTH = 110
SHOWN = 24
"""Layers printed, at most; the first and the last half of them. All are in the JSON."""

BARRIERS = ("loss", "calibrated_loss", "metric")

Cells = Sequence[str]


def lines(found: Diagnosis) -> list[str]:
    """Verdict, reasons, ways to merge, paths, layers, notes."""
    text = [*_wrapped(found.conclusion.sentence), *(line for each in found.conclusion.reasons for line in _item(each))]
    if found.beta is not None and found.merged is not None:
        where = "folded into the last layer of" if found.beta_folded else "NOT part of"
        text += _item(f"β is {where} the merged weights.")
    return [
        *text,
        "",
        f"{found.architecture}, {found.inputs} inputs" + (f", {found.classes} classes" if found.classes else ""),
        *_merge_table(found),
        *_path_table(found),
        *_barrier_table(found),
        *_pair_table(found),
        *_layer_table(found),
        *([""] if found.notes else []),
        *(line for each in found.notes for line in _item(each)),
    ]


def _merge_table(found: Diagnosis) -> list[str]:
    told = found.task.told
    rows = [("", found.task.metric_name, "loss", "β", "calibrated loss")]
    named = [(f"model {index}", model) for index, model in enumerate(found.models, start=1)]
    named += [(f"model {index}, BN reset", model) for index, model in enumerate(found.reset_models, start=1)]
    named += [(f"ensemble (mean of {'logits' if found.task.has_beta else 'outputs'})", found.ensemble)]
    named += [(f"merged: {each.name}", each.merged) for each in found.candidates]
    rows += [
        (
            name,
            told(each.metric),
            f"{each.loss:.3f}",
            "-" if each.beta is None else f"{each.beta:.3g}",
            _number(each.calibrated_loss),
        )
        for name, each in named
    ]
    return _table(rows)


def _path_table(found: Diagnosis) -> list[str]:
    """The metric along each path, and its standard error where a part of the inputs was taken."""
    if not found.paths:
        return []
    lams = max((path.lams for path in found.paths.values()), key=len)
    rows = [(f"{found.task.metric_name} at λ =", *(f"{lam:g}" for lam in lams))]
    told, text = found.task.told, [""]
    parted = False
    for name, path in found.paths.items():
        known = dict(zip(path.lams, path.points, strict=True))
        rows.append((name, *(told(known[lam].metric) if lam in known else "" for lam in lams)))
        if path.inputs < found.inputs:
            parted = True
            errors = dict(zip(path.lams, path.errors["metric"], strict=True))
            rows.append(("  ± of its excess", *(told(errors[lam]) if lam in errors else "" for lam in lams)))
    text += _table(rows)
    if parted:
        (count,) = {path.inputs for path in found.paths.values()}
        text += _wrapped(
            f"Between 0, ½ and 1 on {count} inputs: the line between the ends plus the mean of paired differences to "
            "it, example by example; ± is its standard error."
        )
    return text


def _barrier_table(found: Diagnosis) -> list[str]:
    """Def. 2.1 at the midpoint and at the maximum over λ."""
    if not found.paths:
        return []
    name = found.task.metric_name
    rows: list[Cells] = [("barrier", "loss at ½", "maximum", "calibrated at ½", "maximum", f"{name} at ½", "maximum")]
    for kind, path in found.paths.items():
        excess = [path.barriers[f"{each}_barrier_{at}"] for each in BARRIERS for at in ("midpoint", "maximum")]
        share = found.task.share
        rows.append((kind, *map(_signed, excess[:4]), *(_signed(each, points=share) for each in excess[4:])))
    return ["", *_table(rows)]


def _signed(value: float | None, *, points: bool = False) -> str:
    if value is None:
        return "-"
    shown = round(100 * value, 1) if points else round(value, 3)
    return f"{shown + 0.0:+.1f} points" if points else f"{shown + 0.0:+.3f}"  # no negative zero


def _pair_table(found: Diagnosis) -> list[str]:
    if not found.pairs:
        return []
    share = found.task.share
    rows = [("mean of two", f"{found.task.metric_name} lost", "loss added", "calibrated")]
    rows += [
        (name, _signed(each["metric"], points=share), _signed(each["loss"]), _signed(each["calibrated_loss"]))
        for name, each in found.pairs.items()
    ]
    return ["", *_table(rows)]


def _layer_table(found: Diagnosis) -> list[str]:
    text: list[str] = []
    for which, records in found.layers.items():
        outputs, activations, weights = (records[group] for group in ("outputs", "activations", "weights"))
        rows: list[Cells] = [("output", "LEWC", "norm/LLFC", "a, b alike", "additivity", "active", "overlap")]
        rows += [
            (
                name,
                _number(each["lewc_cosine"]),
                _number(each["llfc_norm_ratio"]),
                _number(each["endpoint_cosine"]),
                *(_number(activations.get(name, {}).get(key)) for key in ("additivity_cosine", "active_share")),
                _number(activations.get(name, {}).get("overlap_ratio")),
            )
            for name, each in outputs.items()
        ]
        text += ["", f"layers at equal weights, {which}", *_table(_shortened(rows))]
        if weights:
            rows = [("weight", "orthogonality", "recovery", "commutes", "stable ranks", "effective ranks")]
            rows += [_weight_row(name, each, found.ranks.get(name, {})) for name, each in weights.items()]
            text += ["", *_table(_shortened(rows))]
    if len(found.models) > 2 and found.ranks:  # the rest of that table is defined for two models
        rows = [("weight", "stable ranks", "effective ranks")]
        rows += [(name, *_spans(ranks)) for name, ranks in found.ranks.items()]
        text += ["", *_table(_shortened(rows))]
    return text


def _weight_row(name: str, record: Mapping[str, Any], ranks: Mapping[str, Sequence[float]]) -> Cells:
    keys = ("orthogonality_ratio", "recovery_cosine", "relative_commutativity")
    return (name, *(_number(record.get(key)) for key in keys), *_spans(ranks))


def _spans(ranks: Mapping[str, Sequence[float]]) -> Cells:
    """The ranks of a weight in every model."""
    kinds = ("stable_rank", "effective_rank")
    return [", ".join(f"{value:.1f}" for value in ranks.get(kind, ())) for kind in kinds]


def _shortened(rows: Sequence[Cells]) -> Sequence[Cells]:
    head, body = rows[:1], rows[1:]
    if len(body) <= SHOWN:
        return rows
    half = SHOWN // 2
    hidden = ("...", *("" for _ in head[0][1:]))
    return [*head, *body[:half], hidden, *body[-half:]]


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(rows: Sequence[Cells]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _item(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="- ", subsequent_indent="  ")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH)
