"""Figures from a run's evidence: along the path between two models, by width, random steps, histograms, training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from lmc.reporting.figures import Axis, Figure, Mean, Panel, Point, Series, categories, finite, mean_at, width_name
from lmc.reporting.thresholds import needed_change, zone_of_values

Rows = list[Mapping[str, Any]]
Rule = tuple[float, str]

_NAMES = {"accuracy": "accuracy", "loss": "loss (nats)", "calibrated_loss": "calibrated loss (nats)", "beta": "β"}
_SHARES = tuple((float(at) / 4, name) for at, name in enumerate(("0", "¼", "½", "¾", "1")))
_BINS_CAPTION = (
    "Share of a ReLU's channels whose input has at most this root second moment, as a share of the layer's largest, of "
    "one model per width: the histogram of the paper, summed from the left; the higher, the more channels are silent."
)


def evidence_figures(item: str, document: Mapping[str, Any]) -> list[Figure]:
    """The figures that a run's evidence holds for an item of the paper, besides those of its claims.

    Args:
        item: its name, as in `lmc.claims.paper.ITEMS`.
        document: a results document.
    """
    make = _OF_ITEM.get(item)
    return [] if make is None else [figure for figure in make(document) if figure.panels]


def training_figures(document: Mapping[str, Any]) -> list[Figure]:
    """Training loss by epoch, a figure for each setting and a diagram for each of its families."""
    models: Rows = document["evidence"]["models"]
    figures = []
    for setting, of_setting in _grouped(models, "setting"):
        panels = []
        for role, rows in _grouped(of_setting, "role"):
            series = tuple(_curves(rows, "seed", lambda row: _epochs(row["loss"])))
            if any(each.lines for each in series):
                panels.append(Panel(role, Axis("epoch"), Axis("training loss (nats)", log=True), series))
        caption = "Thin lines are single models, thick ones their mean; colours are widths."
        if panels:
            figures.append(Figure(f"training-{setting}", f"Training of {setting}", caption, tuple(panels)))
    return figures


def _epochs(losses: Sequence[float | None]) -> list[Point]:
    return [(float(at), loss) for at, loss in enumerate(losses, start=1) if loss is not None and loss > 0]


def _grouped(rows: Iterable[Mapping[str, Any]], name: str) -> list[tuple[Any, Rows]]:
    found: dict[Any, Rows] = {}
    for row in rows:
        found.setdefault(row[name], []).append(row)
    return list(found.items())


def _curves(rows: Rows, unit: str, points: Callable[[Mapping[str, Any]], list[Point]]) -> Iterator[Series]:
    """A series for each width: a thin line for each of its rows, and their mean."""
    for width, of_width in sorted(_grouped(rows, "width")):
        lines = [each for row in of_width if (each := points(row))]
        at: dict[float, list[float]] = {}
        for x, y in (point for line in lines for point in line):
            at.setdefault(x, []).append(y)
        means = tuple(Mean(x, sum(ys) / len(ys), count=len(ys)) for x, ys in sorted(at.items()))
        yield Series(f"width {width_name(width)}", means=means, lines=tuple(map(tuple, lines)), marked=False)


def _paths(document: Mapping[str, Any], *, role: str = "strong", alignment: str = "none", cifar100: bool) -> Rows:
    """Paths of a family; CIFAR-100, which has a figure of its own, or all else."""
    on = {each["setting"]: each["recipe"]["dataset"] for each in document["evidence"]["families"]}
    return [
        path
        for path in document["evidence"]["paths"]
        if path["role"] == role
        and path["alignment"] == alignment
        and (on.get(path["setting"]) == "cifar100") == cifar100
        and len(set(path["pair"].split("-"))) > 1
    ]


def _by_width(
    name: str, title: str, rows: Rows, quantities: Sequence[str], rules: Mapping[tuple[str, str], Rule] | None = None
) -> Figure:
    """All pairs by width beside endpoints and ensemble; ``rules`` by setting and quantity."""
    panels = []
    for setting, of_setting in _grouped(rows, "setting"):
        widths = sorted({row["width"] for row in of_setting})
        axis = Axis("width", tuple((math.log2(width), width_name(width)) for width in widths))
        for quantity in quantities:
            series = tuple(_with_references(of_setting, quantity))
            rule = (rules or {}).get((setting, quantity))
            panels.append(Panel(setting, axis, Axis(_NAMES[quantity]), series, rule=rule))
    return Figure(
        f"{name}-by-width",
        f"{title}, by width",
        "Merged at λ = ½, beside the endpoints' mean and the ensemble of their logits; points are all pairs, "
        "independent or not, marks their mean with its 95 % interval."
        + (" A dashed line is what the claim beside it asks of the mean at the widest." if rules else ""),
        tuple(panels),
    )


def _path_figures(
    name: str, title: str, rows: Rows, quantities: Sequence[str], rules: Mapping[tuple[str, str], Rule] | None = None
) -> list[Figure]:
    """By width, then along λ by width for the pairs that are measured at more than ends and middle."""
    along = []
    for setting, of_setting in _grouped([row for row in rows if len(row["lams"]) > 3], "setting"):
        for quantity in quantities:
            lines = tuple(_curves(of_setting, "pair", lambda row, q=quantity: _pairs(row["lams"], row[q])))  # type: ignore[misc]
            along.append(Panel(setting, Axis("λ", _SHARES), Axis(_NAMES[quantity]), lines))
    return [
        _by_width(name, title, rows, quantities, rules),
        Figure(
            f"{name}-along-path",
            f"{title}, along the path",
            "λ weights the first model of a pair. Thin lines are independent pairs, thick ones their mean; colours "
            "are widths.",
            tuple(along),
        ),
    ]


def _pairs(xs: Sequence[float], ys: Sequence[float | None]) -> list[Point]:
    return [(x, y) for x, y in zip(xs, ys, strict=False) if y is not None and math.isfinite(y)]


def _with_references(rows: Rows, quantity: str) -> Iterator[Series]:
    def merged(row: Mapping[str, Any]) -> float | None:
        return dict(zip(row["lams"], row[quantity], strict=False)).get(0.5)

    def endpoints(row: Mapping[str, Any]) -> float | None:
        ends = finite([row[quantity][0], row[quantity][-1]])
        return sum(ends) / 2 if len(ends) == 2 else None

    def ensemble(row: Mapping[str, Any]) -> float | None:
        found: float | None = row["ensemble"].get(quantity)
        return found

    for label, number in (("merged", merged), ("endpoints", endpoints), ("ensemble", ensemble)):
        values = [{"width": row["width"], "pair": row["pair"], "value": number(row)} for row in rows]
        points = tuple((math.log2(each["width"]), each["value"]) for each in values if finite([each["value"]]))
        means = [mean_at(math.log2(width), of_width) for width, of_width in sorted(_grouped(values, "width"))]
        yield Series(label, points, tuple(mean for mean in means if mean is not None))


def _rules(document: Mapping[str, Any], rows: Rows, limits: Mapping[str, str]) -> dict[tuple[str, str], Rule]:
    """What claims ask of merged models at the widest, by setting and quantity.

    Args:
        document: a results document.
        rows: the paths that are drawn.
        limits: by quantity the claim about it: of its values, which are barriers (the bound is then as far from the
            endpoints' mean at the widest), or of the change of its mean with width.
    """
    claims = {claim["id"]: claim for claim in document["claims"]}
    found = {}
    for quantity, name in limits.items():
        for judged in claims[name]["settings"] if name in claims else []:
            mine = [row for row in rows if row["setting"] == judged["name"]]
            if (rule := _rule(str(judged["threshold"]), quantity, mine)) is not None:
                found[judged["name"], quantity] = rule
    return found


def _rule(threshold: str, quantity: str, rows: Rows) -> Rule | None:
    if not rows:
        return None
    merged, ends, _ = _with_references(rows, quantity)
    change, zone = needed_change(threshold), zone_of_values(threshold)
    if change is not None and merged.means:
        return merged.means[0].value + change, "to be reached at the widest"
    if zone is None or len(zone.ends) != 1 or not ends.means or " at the widest" not in threshold:
        return None
    barrier = -zone.ends[0] if quantity == "accuracy" else zone.ends[0]  # an accuracy's barrier points down
    side = "above" if (zone.low > -math.inf) == (quantity != "accuracy") else "below"
    return ends.means[-1].value + barrier, f"to be {side} at the widest"


def _figure_1(document: Mapping[str, Any]) -> list[Figure]:
    rows = _paths(document, cifar100=False)
    rules = _rules(document, rows, {"accuracy": "fig1-accuracy-reaches-endpoints"})
    return _path_figures("figure-1", "Accuracy of merged models", rows, ["accuracy"], rules)


def _figure_2(document: Mapping[str, Any]) -> list[Figure]:
    rows = _paths(document, cifar100=False)
    limits = {
        "loss": "fig2a-uncalibrated-loss-stays-above",
        "calibrated_loss": "fig2b-calibrated-barrier-approaches-zero",
    }
    rules = _rules(document, rows, limits)
    return _path_figures("figure-2", "Loss and calibrated loss", rows, ["loss", "calibrated_loss"], rules)


def _figure_15(document: Mapping[str, Any]) -> list[Figure]:
    return _path_figures("figure-15", "CIFAR-100", _paths(document, cifar100=True), list(_NAMES)[:3])


def _figure_16(document: Mapping[str, Any]) -> list[Figure]:
    rows = [path for other in (False, True) for path in _paths(document, alignment="matching", cifar100=other)]
    rules = _rules(document, rows, {"accuracy": "fig16-matched-models-reach-endpoints"})
    return _path_figures("figure-16", "Accuracy after weight matching", rows, ["accuracy", "calibrated_loss"], rules)


def _figure_19(document: Mapping[str, Any]) -> list[Figure]:
    rows = [path for other in (False, True) for path in _paths(document, cifar100=other)]
    rules = _rules(document, rows, {"beta": "fig19-inverse-temperature-rises-with-width"})
    return [_by_width("figure-19", "Inverse temperature (the paper shows 1/β)", rows, ["beta"], rules)]


def _outputs(
    name: str,
    title: str,
    caption: str,
    document: Mapping[str, Any],
    axis: Axis,
    by_layer: Callable[[Mapping[str, Any]], Sequence[float | None]],
) -> list[Figure]:
    """By layer, what ``by_layer`` gives for one pair; colours are widths."""
    panels: list[Panel] = []
    notes: list[str] = []
    for setting, rows in _grouped(document["evidence"].get("outputs", []), "setting"):
        layers = rows[0]["layers"]

        def points(row: Mapping[str, Any]) -> list[Point]:
            return _pairs(range(len(row["layers"])), by_layer(row))

        series = tuple(_curves([row for row in rows if row["layers"] == layers], "pair", points))
        panels.append(Panel(setting, categories("layer", layers, setting, notes), axis, series))
    told = f"{caption} Thin lines are independent pairs; colours are widths."
    return [Figure(name, title, told, tuple(panels), tuple(notes))]


def _figure_14(document: Mapping[str, Any]) -> list[Figure]:
    def cosine(row: Mapping[str, Any]) -> list[float | None]:
        return list(row["endpoint_cosine"])

    caption = "Cosine of two trained models' outputs for the same input."
    return _outputs("figure-14-by-layer", "Activations of two models", caption, document, Axis("cosine"), cosine)


def _figure_20(document: Mapping[str, Any]) -> list[Figure]:
    def ratio(row: Mapping[str, Any]) -> list[float | None]:
        norms = zip(row["norm_merged"], row["norm_endpoints"], strict=True)
        return [merged / ends if merged and ends else None for merged, ends in norms]

    caption = "Norm of the merged model's output over the endpoints' mean; LEWC halves it with every layer."
    axis = Axis("merged / endpoints", log=True)
    return _outputs("figure-20-by-layer", "Activation norms by depth", caption, document, axis, ratio)


def _figure_25(document: Mapping[str, Any]) -> list[Figure]:
    rows = _paths(document, role="sophia", cifar100=False)
    return _path_figures("figure-25", "Accuracy and loss with Sophia", rows, ["accuracy", "loss", "calibrated_loss"])


def _figure_12(document: Mapping[str, Any]) -> list[Figure]:
    panels = [
        Panel(
            setting,
            Axis("share of the step, α", _SHARES),
            Axis(_NAMES[quantity]),
            tuple(_curves(rows, "pair", lambda row, q=quantity: _pairs(row["alphas"], row[q]))),  # type: ignore[misc]
        )
        for setting, rows in _grouped(document["evidence"]["random_steps"], "setting")
        for quantity in ("accuracy", "loss")
    ]
    caption = "A step as long as the distance between two models. Thin lines are single models; colours are widths."
    return [Figure("figure-12-random-step", "Along a random direction", caption, tuple(panels))]


def _histograms(name: str, title: str, document: Mapping[str, Any], *, only_second: bool) -> list[Figure]:
    panels = []
    rows = [row for row in document["evidence"]["histograms"] if row["role"] == "strong"]
    for setting, of_setting in _grouped(rows, "setting"):
        relus = list(dict.fromkeys(relu for row in of_setting for relu in row["relus"]))
        for relu in relus[1:2] or relus if only_second else relus:
            series = tuple(_curves([row for row in of_setting if relu in row["relus"]], "seed", _bins_of(relu)))
            panels.append(
                Panel(
                    f"{setting}, {relu}",
                    Axis("root second moment / largest", _SHARES),
                    Axis("share of channels"),
                    series,
                )
            )
    return [Figure(name, title, _BINS_CAPTION, tuple(panels))]


def _bins_of(relu: str) -> Callable[[Mapping[str, Any]], list[Point]]:
    def points(row: Mapping[str, Any]) -> list[Point]:
        counts = row["relus"][relu]
        total = sum(counts) or 1
        summed = accumulate(counts)
        return [(at / len(counts), count / total) for at, count in enumerate(summed, start=1)]

    return points


def _figure_5(document: Mapping[str, Any]) -> list[Figure]:
    title = "Second moments of pre-activations, second ReLU"
    return _histograms("figure-5-histogram", title, document, only_second=True)


def _figure_21(document: Mapping[str, Any]) -> list[Figure]:
    title = "Second moments of pre-activations, every ReLU"
    return _histograms("figure-21-histogram", title, document, only_second=False)


_OF_ITEM: dict[str, Callable[[Mapping[str, Any]], list[Figure]]] = {
    "Figure 1": _figure_1,
    "Figure 2": _figure_2,
    "Figure 5": _figure_5,
    "Figure 12": _figure_12,
    "Figure 14": _figure_14,
    "Figure 15": _figure_15,
    "Figure 16": _figure_16,
    "Figure 19": _figure_19,
    "Figure 20": _figure_20,
    "Figure 21": _figure_21,
    "Figure 25": _figure_25,
}
