"""The report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE, INVALID, KNOWN_GAP, NOT_RUN, shown
from lmc.errors import StoreError
from lmc.reporting.evidence_figures import training_figures
from lmc.reporting.figures import width_name
from lmc.reporting.sections import sections
from lmc.reporting.svg import key_svg, panel_svg
from lmc.results.selection import command, described

if TYPE_CHECKING:
    from jinja2 import Environment

MARKS = {HOLDS: "✓", FAILS: "✗", INCONCLUSIVE: "?", INVALID: "!", NOT_RUN: "–", KNOWN_GAP: "≠"}
"""A sign for each verdict, so that none is told by colour alone."""


def report(document: Mapping[str, Any]) -> str:
    """The report as one HTML page, the same to the last byte for the same document.

    Args:
        document: a results document, see `lmc.results.file.read_results`.

    Returns:
        HTML with style, script and figures in it, which asks nothing of a network.
    """
    rows = [(claim, setting) for claim in document["claims"] for setting in claim["settings"]]
    kinds = kinds_of(document)
    counts = Counter(shown(setting) for _, setting in rows)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            run=document,
            rows=rows,
            kinds=kinds,
            counts={verdict: counts[verdict] for verdict in MARKS if counts[verdict]},
            settings=sorted({setting["name"] for _, setting in rows}),
            all_kinds=sorted({kinds[setting["name"]] for _, setting in rows}),
            sections=sections(document),
            training=training_figures(document),
            families=document["evidence"]["families"],
            models=_model_counts(document),
        )
    )


def environment() -> Environment:
    """The templates, escaping everything, with what they need to draw."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=PackageLoader("lmc.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        marks=MARKS,
        shown=shown,
        panel_svg=lambda panel, name: Markup(panel_svg(panel, name)),
        key_svg=lambda at: Markup(key_svg(at)),
        command=command,
        described=described,
        has_data=has_data,
    )
    made.filters.update(anchor=anchor, number=number, width=width_name, duration=duration, spans=spans, plain=plain)
    return made


def write_page(page: str, path: Path) -> None:
    """Write a page.

    Raises:
        StoreError: it cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, "utf-8", newline="\n")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; choose another file with -o") from error


def has_data(setting: Mapping[str, Any]) -> bool:
    """Whether there are numbers behind a verdict."""
    return bool(setting["values"])


def kinds_of(document: Mapping[str, Any]) -> dict[str, str]:
    """The kind of network of each setting, ``theory`` where there is none."""
    archs = {each["setting"]: str(each["recipe"]["arch"]) for each in reversed(document["evidence"]["families"])}
    names = {setting["name"] for claim in document["claims"] for setting in claim["settings"]}
    return {name: _kind(archs.get(name, name)) for name in sorted(names)}


def _kind(name: str) -> str:
    return next((kind for kind in ("mlp", "vgg", "resnet") if name.startswith(kind)), name)


def _model_counts(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Models by setting, role and width: how many, how large, how long they trained."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for model in document["evidence"]["models"]:
        key = (model["setting"], model["role"], model["width"])
        row = found.setdefault(key, {**model, "count": 0, "total": 0.0, "last": []})
        row["count"] += 1
        row["total"] += model["seconds"] or 0.0
        row["last"] += [model["loss"][-1]] if model["loss"] and model["loss"][-1] is not None else []
    return list(found.values())


def anchor(text: str) -> str:
    """``text`` as the id of an element: letters, digits and dashes."""
    return "".join(each if each.isalnum() and each.isascii() else "-" for each in text.lower())


def number(value: float | None) -> str:
    """Four digits, or a dash where there is no number."""
    return "–" if value is None else f"{value:.4g}".replace("-", "−")


def duration(seconds: float | None) -> str:
    """Seconds as hours, minutes and seconds."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        " ".join(f"{value} {unit}" for value, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if value)
        or f"{seconds:.3g} s"
    )


def plain(value: Any) -> str:
    """A field of a recipe for readers who are not programmers."""
    if value is None:
        return "–"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def spans(seeds: Sequence[int]) -> str:
    """Whole numbers, runs of them shortened: ``6–11, 20``."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], seed]
        else:
            runs.append([seed])
    return ", ".join("–".join(map(str, run)) for run in runs)
