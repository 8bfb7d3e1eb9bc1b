"""Figures of what lies between two models: by width at the middle, and along the path."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lmc.claims.asked import Asked
from lmc.reporting.curves import SHARES, by_setting, by_width, curves, defined
from lmc.reporting.figures import Axis, Figure, Panel, Point, Series, finite, mean_at, width_name
from lmc.reporting.zones import needed_change, zone_of_values
from lmc.results.document import Document, Value
from lmc.results.recorded import Ensemble, Path

Rule = tuple[float, str]


@dataclass(frozen=True)
class Quantity:
    """What is measured between two models.

    Args:
        label: of an axis.
        along: its values along a path.
        ensemble: that of the two models' mean logits.
        barrier: 1 where a barrier raises it, -1 where it lowers it.
    """

    label: str
    along: Callable[[Path], Sequence[float | None]]
    ensemble: Callable[[Ensemble], float | None]
    barrier: int = 1

    def points(self, path: Path) -> list[Point]:
        """Its values by λ."""
        return defined(path.lams, self.along(path))


ACCURACY = Quantity("accuracy", lambda path: path.accuracy, lambda both: both.accuracy, barrier=-1)
LOSS = Quantity("loss (nats)", lambda path: path.loss, lambda both: both.loss)
CALIBRATED = Quantity("calibrated loss (nats)", lambda path: path.calibrated_loss, lambda both: both.calibrated_loss)
BETA = Quantity("β", lambda path: path.beta, lambda both: both.beta)


def _is_any(dataset: str) -> bool:
    return True


def _is_cifar100(dataset: str) -> bool:
    return dataset == "cifar100"


def _is_another(dataset: str) -> bool:
    return not _is_cifar100(dataset)  # which has a figure of its own


@dataclass(frozen=True)
class PathFigures:
    """Which paths an item of the paper shows.

    Args:
        name: of its figures begins with it.
        title: of its figures begins with it.
        quantities: a diagram for each on every setting.
        limits: by the id of a claim, the quantity it is about, in its unit. The claim is about the quantity's barrier
            (its bound is then as far from the endpoints' mean at the widest), or about the change of the quantity's
            mean with width.
        role: of the models in their setting.
        alignment: of the paths.
        on: whether a dataset is shown, by its name.
        along: whether the paths are shown, besides their middle.
    """

    name: str
    title: str
    quantities: tuple[Quantity, ...]
    limits: Mapping[str, Quantity] = field(default_factory=dict)
    role: str = "strong"
    alignment: str = "unpermuted"
    on: Callable[[str], bool] = _is_any
    along: bool = True

    def figures(self, document: Document) -> list[Figure]:
        """By width, then along λ by width for the pairs that are measured at more than ends and middle."""
        dataset = {family.setting: family.dataset for family in document.evidence.families}
        paths = [
            path
            for path in document.evidence.paths
            if path.role == self.role
            and path.alignment == self.alignment
            and self.on(dataset.get(path.setting, ""))
            and len(set(path.seeds)) > 1
        ]
        return [self._by_width(document, paths), *([self._along(paths)] if self.along else [])]

    def _by_width(self, document: Document, paths: Sequence[Path]) -> Figure:
        """All pairs by width beside endpoints and ensemble."""
        panels, ruled = [], False
        for setting, mine in by_setting(paths):
            widths = sorted({path.width for path in mine})
            axis = Axis("width", tuple((math.log2(width), width_name(width)) for width in widths))
            for quantity in self.quantities:
                series = tuple(_with_references(mine, quantity))
                rule = _rule(self._asked(document, setting, quantity), quantity, series)
                ruled = ruled or rule is not None
                panels.append(Panel(setting, axis, Axis(quantity.label), series, rule=rule))
        return Figure(
            f"{self.name}-by-width",
            f"{self.title}, by width",
            "Merged at λ = ½, beside the endpoints' mean and the ensemble of their logits; points are all pairs, "
            "independent or not, marks their mean with its 95 % interval."
            + (" A dashed line is what the claim beside it asks of the mean at the widest." if ruled else ""),
            tuple(panels),
        )

    def _asked(self, document: Document, setting: str, quantity: Quantity) -> Asked | None:
        """What a claim asks of the quantity there; nothing where none does."""
        return next(
            (
                judged.asked
                for claim, judged in document.judged()
                if judged.name == setting and self.limits.get(claim.id) is quantity
            ),
            None,
        )

    def _along(self, paths: Sequence[Path]) -> Figure:
        panels = []
        for setting, mine in by_setting(path for path in paths if len(path.lams) > 3):
            for quantity in self.quantities:
                series = tuple(curves(mine, quantity.points))
                panels.append(Panel(setting, Axis("λ", SHARES), Axis(quantity.label), series))
        return Figure(
            f"{self.name}-along-path",
            f"{self.title}, along the path",
            "λ weights the first model of a pair. Thin lines are independent pairs, thick ones their mean; colours "
            "are widths.",
            tuple(panels),
        )


def _with_references(paths: Sequence[Path], quantity: Quantity) -> Iterator[Series]:
    def merged(path: Path) -> float | None:
        return dict(zip(path.lams, quantity.along(path), strict=False)).get(0.5)

    def endpoints(path: Path) -> float | None:
        along = quantity.along(path)
        ends = finite([along[0], along[-1]])
        return sum(ends) / 2 if len(ends) == 2 else None

    def ensemble(path: Path) -> float | None:
        return quantity.ensemble(path.ensemble)

    for label, number in (("merged", merged), ("endpoints", endpoints), ("ensemble", ensemble)):
        values = [Value(path.width, path.seeds, number(path)) for path in paths]
        points = defined((math.log2(each.width) for each in values), [each.value for each in values])
        means = [mean_at(math.log2(width), of_width) for width, of_width in by_width(values)]
        yield Series(label, tuple(points), tuple(mean for mean in means if mean is not None))


def _rule(asked: Asked | None, quantity: Quantity, drawn: Sequence[Series]) -> Rule | None:
    """What is asked of the merged models at the widest: how far from the narrowest, or from the endpoints."""
    merged, endpoints, _ = drawn
    change, zone = needed_change(asked), zone_of_values(asked)
    if change is not None and merged.means:
        return merged.means[0].value + change, "to be reached at the widest"
    if asked is None or asked.at != "widest" or zone is None or len(zone.ends) != 1 or not endpoints.means:
        return None
    side = "above" if asked.direction == quantity.barrier else "below"
    return endpoints.means[-1].value + quantity.barrier * zone.ends[0], f"to be {side} at the widest"


PATH_ITEMS: dict[str, PathFigures] = {
    "Figure 1": PathFigures(
        "figure-1",
        "Accuracy of merged models",
        (ACCURACY,),
        on=_is_another,
    ),
    "Figure 2": PathFigures(
        "figure-2",
        "Loss and calibrated loss",
        (LOSS, CALIBRATED),
        {"fig2a-uncalibrated-loss-stays-above": LOSS},  # in results of before only
        on=_is_another,
    ),
    "Figure 15": PathFigures("figure-15", "CIFAR-100", (ACCURACY, LOSS, CALIBRATED), on=_is_cifar100),
    "Figure 16": PathFigures(
        "figure-16",
        "Accuracy after weight matching",
        (ACCURACY, CALIBRATED),
        {"fig16-matched-models-reach-endpoints": ACCURACY},
        alignment="matching",
    ),
    "Figure 19": PathFigures(
        "figure-19",
        "Inverse temperature (the paper shows 1/β)",
        (BETA,),
        {"fig19-inverse-temperature-rises-with-width": BETA},
        along=False,
    ),
    "Figure 25": PathFigures(
        "figure-25", "Accuracy and loss with Sophia", (ACCURACY, LOSS, CALIBRATED), role="sophia", on=_is_another
    ),
}
"""By the name of an item of the paper."""
