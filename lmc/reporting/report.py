"""The report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmc.errors import StoreError
from lmc.reporting.answer import key_figures, matrix
from lmc.reporting.beside import beside
from lmc.reporting.curves import grouped
from lmc.reporting.evidence_figures import training_figures
from lmc.reporting.figures import width_name
from lmc.reporting.marks import MARKS
from lmc.reporting.sections import sections
from lmc.reporting.svg import key_svg, panel_svg
from lmc.results.deciding import Decision
from lmc.results.document import Document
from lmc.results.recorded import Model
from lmc.results.scalars import Scalar
from lmc.results.selection import command, described
from lmc.results.wording import asked_in_words, measured_in_words, remark_in_words

if TYPE_CHECKING:
    from jinja2 import Environment


def report(document: Document, other: Document | None = None) -> str:
    """The report as one HTML page, the same to the last byte for the same document.

    Args:
        document: a results document, see `lmc.results.file.read_results`.
        other: that of a run to show beside it, such as one of the same tier on another machine.

    Raises:
        StoreError: the two have no claim and setting in common.

    Returns:
        HTML with style, script and figures in it, which asks nothing of a network.
    """
    rows = list(document.judged())
    kinds = kinds_of(document)
    counts = Counter(judged.shown for _, judged in rows)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            run=document,
            beside=beside(document, other) if other else None,
            rows=rows,
            kinds=kinds,
            decision=Decision(document),
            counts={verdict: counts[verdict] for verdict in MARKS if counts[verdict]},
            settings=sorted({judged.name for _, judged in rows}),
            all_kinds=sorted({kinds[judged.name] for _, judged in rows}),
            matrix=matrix(document),
            key_figures=key_figures(document),
            sections=sections(document),
            training=training_figures(document),
            trained=_trained(document),
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
        panel_svg=lambda panel, name: Markup(panel_svg(panel, name)),
        key_svg=lambda at: Markup(key_svg(at)),
        command=command,
        described=described,
        asked_in_words=asked_in_words,
        measured_in_words=measured_in_words,
        remark_in_words=remark_in_words,
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


def kinds_of(document: Document) -> dict[str, str]:
    """The kind of network of each setting; where nothing is trained for it, its name."""
    return {judged.name: judged.kind or judged.name for _, judged in document.judged()}


@dataclass(frozen=True)
class Trained:
    """Models of one setting, role and width.

    Args:
        models: at least one, from different seeds.
    """

    models: tuple[Model, ...]

    @property
    def first(self) -> Model:
        """One of them, for what they share."""
        return self.models[0]

    @property
    def seconds(self) -> float:
        """How long they trained together."""
        return sum(model.seconds for model in self.models)

    @property
    def last_loss(self) -> float | None:
        """The mean of their last epoch's training loss; ``None`` where it is undefined."""
        found = [loss for model in self.models for loss in model.loss[-1:] if loss is not None]
        return sum(found) / len(found) if found else None


def _trained(document: Document) -> list[Trained]:
    models = grouped(document.evidence.models, lambda model: (model.setting, model.role, model.width))
    return [Trained(tuple(mine)) for _, mine in models]


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


def plain(value: Scalar) -> str:
    """A field of a recipe for readers who are not programmers."""
    if value is None:
        return "–"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def spans(seeds: Sequence[int]) -> str:
    """Whole numbers, runs of them shortened: ``6–11, 20``."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], seed]
        else:
            runs.append([seed])
    return ", ".join("–".join(map(str, run)) for run in runs)
