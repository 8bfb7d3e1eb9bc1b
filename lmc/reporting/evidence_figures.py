"""Figures from a run's evidence: layers' outputs, random steps, histograms, training, and what lies between models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

from lmc.reporting.curves import SHARES, by_setting, curves, defined, grouped
from lmc.reporting.figures import Axis, Figure, Panel, Point, categories
from lmc.reporting.path_figures import PATH_ITEMS
from lmc.results.document import Document
from lmc.results.recorded import Histogram, Outputs

_BINS_CAPTION = (
    "Share of an activation's channels whose input has at most this root second moment, as a share of the largest, of "
    "one model per width: the histogram of the paper, summed from the left; the higher, the more channels are silent."
)


def evidence_figures(item: str, document: Document) -> list[Figure]:
    """The figures that a run's evidence holds for an item of the paper, besides those of its claims.

    Args:
        item: its name, as in `lmc.claims.paper.ITEMS`.
        document: a results document.
    """
    drawn = PATH_ITEMS[item].figures(document) if item in PATH_ITEMS else []
    drawn += [OTHER_ITEMS[item](document)] if item in OTHER_ITEMS else []
    return [figure for figure in drawn if figure.panels]


def training_figures(document: Document) -> list[Figure]:
    """Training loss by epoch, a figure for each setting and a diagram for each of its families."""
    figures = []
    for setting, of_setting in by_setting(document.evidence.models):
        panels = []
        for role, models in grouped(of_setting, lambda model: model.role):
            series = tuple(curves(models, lambda model: _epochs(model.loss)))
            if any(each.lines for each in series):
                panels.append(Panel(role, Axis("epoch"), Axis("training loss (nats)", log=True), series))
        caption = "Thin lines are single models, thick ones their mean; colours are widths."
        if panels:
            figures.append(Figure(f"training-{setting}", f"Training of {setting}", caption, tuple(panels)))
    return figures


def _epochs(losses: Sequence[float | None]) -> list[Point]:
    return [(float(at), loss) for at, loss in enumerate(losses, start=1) if loss is not None and loss > 0]


def _outputs(
    document: Document, figure: Figure, axis: Axis, by_layer: Callable[[Outputs], Sequence[float | None]]
) -> Figure:
    """``figure`` with, by layer, what ``by_layer`` gives for one pair; colours are widths."""
    panels: list[Panel] = []
    notes: list[str] = []
    for setting, rows in by_setting(document.evidence.outputs):
        layers = rows[0].layers
        alike = [row for row in rows if row.layers == layers]
        series = tuple(curves(alike, lambda row: defined(range(len(row.layers)), by_layer(row))))
        panels.append(Panel(setting, categories("layer", layers, setting, notes), axis, series))
    told = f"{figure.caption} Thin lines are independent pairs; colours are widths."
    return Figure(figure.name, figure.title, told, tuple(panels), tuple(notes))


def _figure_14(document: Document) -> Figure:
    caption = "Cosine of two trained models' outputs for the same input."
    figure = Figure("figure-14-by-layer", "Activations of two models", caption, ())
    return _outputs(document, figure, Axis("cosine"), lambda row: row.endpoint_cosine)


def _figure_20(document: Document) -> Figure:
    def ratio(row: Outputs) -> list[float | None]:
        norms = zip(row.norm_merged, row.norm_endpoints, strict=True)
        return [merged / ends if merged and ends else None for merged, ends in norms]

    caption = "Norm of the merged model's output over the endpoints' mean; LEWC halves it with every layer."
    figure = Figure("figure-20-by-layer", "Activation norms by depth", caption, ())
    return _outputs(document, figure, Axis("merged / endpoints", log=True), ratio)


def _figure_12(document: Document) -> Figure:
    panels = []
    for setting, rows in by_setting(document.evidence.random_steps):
        accuracy = tuple(curves(rows, lambda row: defined(row.alphas, row.accuracy)))
        loss = tuple(curves(rows, lambda row: defined(row.alphas, row.loss)))
        for label, series in (("accuracy", accuracy), ("loss (nats)", loss)):
            panels.append(Panel(setting, Axis("share of the step, α", SHARES), Axis(label), series))
    caption = "A step as long as the distance between two models. Thin lines are single models; colours are widths."
    return Figure("figure-12-random-step", "Along a random direction", caption, tuple(panels))


def _histograms(document: Document, name: str, title: str, chosen: slice) -> Figure:
    """A diagram for each of the activations ``chosen`` of a net's, or for all where it has none of those."""
    panels = []
    for setting, rows in by_setting(row for row in document.evidence.histograms if row.role == "strong"):
        activations = list(dict.fromkeys(activation for row in rows for activation in row.activations))
        for activation in activations[chosen] or activations:
            having = [row for row in rows if activation in row.activations]
            series = tuple(curves(having, _bins_of(activation)))
            x, y = Axis("root second moment / largest", SHARES), Axis("share of channels")
            panels.append(Panel(f"{setting}, {activation}", x, y, series))
    return Figure(name, title, _BINS_CAPTION, tuple(panels))


def _bins_of(activation: str) -> Callable[[Histogram], list[Point]]:
    def points(row: Histogram) -> list[Point]:
        counts = row.activations[activation]
        total = sum(counts) or 1
        summed = accumulate(counts)
        return [(at / len(counts), count / total) for at, count in enumerate(summed, start=1)]

    return points


def _figure_5(document: Document) -> Figure:
    return _histograms(
        document, "figure-5-histogram", "Second moments of pre-activations, second activation", slice(1, 2)
    )


def _figure_21(document: Document) -> Figure:
    return _histograms(
        document, "figure-21-histogram", "Second moments of pre-activations, every activation", slice(None)
    )


OTHER_ITEMS: dict[str, Callable[[Document], Figure]] = {
    "Figure 5": _figure_5,
    "Figure 12": _figure_12,
    "Figure 14": _figure_14,
    "Figure 20": _figure_20,
    "Figure 21": _figure_21,
}
"""By the name of an item of the paper, what is drawn for it besides paths."""
