"""From models of several widths, the width from which on independently trained twins could be averaged.

Each model is merged with random permutations of itself (`lmc.diagnosing.forecasting`); the barrier is followed over
width. Where it passes the tolerance between two widths, it is taken to be linear in the logarithm of the width there;
where it is above at all of them, a power of the width is fitted and continued, at most `FARTHEST` times as wide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lmc.diagnosing.forecasting import Forecast, forecast
from lmc.diagnosing.options import Options
from lmc.diagnosing.standard import LOSS_BARRIER, LOSS_SHARE
from lmc.errors import MergeError, SpecError

FARTHEST = 16.0
"""How many times as wide as the widest model a power law is continued to; what happens there nobody has seen."""

RESAMPLED = 2000
"""Times that models and their draws are drawn anew for an interval."""

Drawn = Sequence[Sequence[float]]
"""Of every model of one width, the barriers with permutations of itself."""


@dataclass(frozen=True)
class WidthForecast:
    """The width from which on the barrier lies below a tolerance.

    Args:
        widths: of the models, in their order.
        forecasts: of each.
        quantity: ``"calibrated loss barrier"``, or ``"loss barrier"`` where outputs are no logits.
        tolerance: in the unit of the loss.
        width: where the barrier falls below it.
        low: lower end of its 95 % interval over permutations, and over models where there are several of one width.
        high: the upper one; infinite where a barrier that does not fall, or not that far, is within the interval.
        seen: whether the width lies between two that were measured; else the barrier was continued.
    """

    widths: tuple[float, ...]
    forecasts: tuple[Forecast, ...]
    quantity: str
    tolerance: float
    width: float
    low: float
    high: float
    seen: bool

    def to_json(self) -> dict[str, Any]:
        """Everything but a reader's functions, JSON-ready; an infinite end is ``None``."""
        found = asdict(self) | {"forecasts": [each.to_json() for each in self.forecasts]}
        return found | {"high": self.high if math.isfinite(self.high) else None}


def forecast_width(
    models: Sequence[nn.Module],
    widths: Sequence[float],
    data: Any,
    tolerance: float | None = None,
    draws: int = 20,
    seed: int = 0,
    **options: Unpack[Options],
) -> WidthForecast:
    """Follow the barrier with permutations of oneself over width, down to a tolerance.

    Args:
        models: of one recipe but for their width; several may be of one width.
        widths: of each, in any unit: channels, or times of a base.
        data: held-out inputs with labels, as for `lmc.diagnosing.diagnose.diagnose`.
        tolerance: largest barrier at λ = ½ that still counts as none; ``None`` takes what ``diagnose`` does, 0.1 nats
            or a tenth of the models' loss where that is more.
        draws: number of permutations of each model, at least 2.
        seed: of the first; the others' follow.
        **options: as for `lmc.diagnosing.forecasting.forecast`.

    Raises:
        SpecError: widths do not fit the models, all are one, or the tolerance is not positive.
        DataError: the data does not fit a model.
        MergeError: the barrier does not fall with width, lies below the tolerance at every width, or would not reach
            it within `FARTHEST` times the widest; or see `lmc.diagnosing.forecasting.forecast`.
    """
    sizes = _checked(models, widths, tolerance)
    found = [forecast(model, data, draws, seed, **options) for model in models]
    calibrated = all(each.calibrated_loss is not None for each in found)
    values = [each.calibrated_loss.values if each.calibrated_loss else each.loss.values for each in found]
    if not calibrated:
        values = [each.loss.values for each in found]
    if tolerance is None:
        own = [(each.model.calibrated_loss if calibrated else each.model.loss) or 0.0 for each in found]
        least = LOSS_BARRIER if found[0].task.loss_unit else 0.0
        tolerance = max(least, LOSS_SHARE * abs(sum(own)) / len(own))
    by_width = {size: [one for one, width in zip(values, sizes, strict=True) if width == size] for size in set(sizes)}
    width, low, high = crossing_width(by_width, tolerance, seed)
    return WidthForecast(
        tuple(sizes),
        tuple(found),
        "calibrated loss barrier" if calibrated else "loss barrier",
        tolerance,
        width,
        low,
        high,
        width <= max(sizes),
    )


def crossing_width(by_width: Mapping[float, Drawn], tolerance: float, seed: int = 0) -> tuple[float, float, float]:
    """Where mean barriers fall below a tolerance, and a 95 % interval by resampling models and their draws.

    Args:
        by_width: barriers, per width of every model.
        tolerance: positive.
        seed: of the resampling.

    Raises:
        MergeError: they do not fall so, with the numbers.
    """
    widths = sorted(by_width)
    means = [_mean(by_width[width]) for width in widths]
    seen = ", ".join(f"{mean:.3f} at width {width:g}" for width, mean in zip(widths, means, strict=True))
    if all(mean < tolerance for mean in means):
        raise MergeError(
            f"the barrier is below {tolerance:.3g} at every width already ({seen}); where it falls below can only be "
            "told with a narrower model"
        )
    if means[-1] >= means[0]:
        raise MergeError(
            f"the barrier does not fall with width ({seen}), so that no width can be named; pass wider models, or ones "
            "trained with more weight decay"
        )
    found = _crossing(widths, means, tolerance)
    if not math.isfinite(found):
        raise MergeError(
            f"the barrier falls too slowly ({seen}): it would not be below {tolerance:.3g} within {FARTHEST:g} times "
            "the widest, and further it cannot be foreseen; pass a wider model"
        )
    generator = np.random.default_rng(seed)
    drawn = np.stack([_resampled(by_width[width], generator) for width in widths], axis=1)
    again = [_crossing(widths, each, tolerance) for each in drawn.tolist()]
    low, high = np.quantile(again, (0.025, 0.975), method="inverted_cdf")  # takes infinite ends as they are
    return found, float(low), float(high)


def _checked(models: Sequence[nn.Module], widths: Sequence[float], tolerance: float | None) -> list[float]:
    sizes = [float(width) for width in widths]
    if len(sizes) != len(models):
        raise SpecError(f"{len(sizes)} widths for {len(models)} models; give one each")
    if not all(math.isfinite(size) and size > 0 for size in sizes):
        raise SpecError(f"the widths are {', '.join(f'{size:g}' for size in sizes)}; they must be positive numbers")
    if len(set(sizes)) < 2:
        raise SpecError(f"all models are of width {sizes[0]:g}; pass models of two widths or more")
    if tolerance is not None and not 0 < tolerance < math.inf:
        raise SpecError(f"the tolerance is {tolerance!r}; it must be a positive number, such as 0.1")
    return sizes


def _crossing(widths: Sequence[float], means: Sequence[float], tolerance: float) -> float:
    """The widest place where the means pass the tolerance; infinite where they do not within `FARTHEST` widths."""
    if means[-1] < tolerance:
        sides = list(pairwise(zip(map(math.log, widths), means, strict=True)))
        for (one, above), (two, below) in reversed(sides):
            if above >= tolerance > below:
                return math.exp(one + (two - one) * (above - tolerance) / (above - below))
        return widths[0]  # below at all of them
    if min(means) <= 0:
        return math.inf
    x, y = np.log(widths), np.log(means)
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    if slope >= 0:
        return math.inf
    # through the widest model, which says most of what comes behind it
    logarithm = float(x[-1]) + math.log(tolerance / means[-1]) / slope
    return math.exp(logarithm) if logarithm <= float(x[-1]) + math.log(FARTHEST) else math.inf


def _mean(drawn: Drawn) -> float:
    return float(np.mean([np.mean(each) for each in drawn]))


def _resampled(drawn: Drawn, generator: np.random.Generator) -> NDArray[np.float64]:
    """Means of models and draws that are drawn anew, (RESAMPLED,)."""
    count, rows = len(drawn), np.arange(RESAMPLED)
    total = np.zeros(RESAMPLED)
    for _ in range(count):
        means = [generator.choice(np.asarray(each), (RESAMPLED, len(each))).mean(axis=1) for each in drawn]
        total += np.stack(means)[generator.integers(count, size=RESAMPLED), rows]
    return total / count
