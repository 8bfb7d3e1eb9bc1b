"""How the barrier falls with width: a power law, fitted where the data support one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from lmc.claims.judgement import ALPHA, Judgement, conclude, judge_parts, too_few
from lmc.claims.statistics import Estimate, Observation, by_width, estimate, one_sided_p_value, slope
from lmc.claims.verdicts import INCONCLUSIVE


@dataclass(frozen=True)
class PowerLawFit:
    """barrier = scale · width^(-exponent), by least squares on logarithms.

    Args:
        exponent: with its standard error; ``mean`` is nan where nothing could be fitted.
        scale: the fitted barrier at width 1.
        misfit_p: of the F-test that the points scatter about the law by no more than their errors.
        problem: why the fit is not supported, else empty.
    """

    exponent: Estimate
    scale: float
    misfit_p: float
    problem: str = ""

    def width_at(self, tolerance: float) -> float:
        """The width at which the law reaches ``tolerance``; infinite where it does not fall."""
        if not self.exponent.mean > 0:
            return math.inf
        doublings = math.log2(self.scale / tolerance) / self.exponent.mean
        return 2.0**doublings if doublings < 1000 else math.inf


def fit_power_law(points: Mapping[float, Estimate]) -> PowerLawFit:
    """Fit a power law to independent estimates at increasing widths.

    The error of ln(barrier) is the barrier's error over the barrier (the delta method); the exponent's error
    follows from these. The fit is unsupported with fewer than three widths, where a mean is not positive or not
    significantly so (its logarithm is then mostly noise), or where the points do not lie on a power law.

    Args:
        points: an estimate of the barrier for each width.
    """
    nothing = Estimate(math.nan, math.nan, 1.0)
    if len(points) < 3:
        return PowerLawFit(nothing, math.nan, math.nan, f"{len(points)} widths are too few to see a law")
    for width, point in points.items():
        if one_sided_p_value(point, 0.0, above=True) > ALPHA:
            problem = f"the barrier at width {width:g} ({point.mean:.3g}) is not significantly above zero"
            return PowerLawFit(nothing, math.nan, math.nan, problem)
    logs = {
        width: Estimate(math.log2(point.mean), point.error / point.mean / math.log(2), point.freedom)
        for width, point in points.items()
    }
    falling = slope(logs)
    positions, heights = np.log2(list(logs)), np.array([each.mean for each in logs.values()])
    intercept = float(heights.mean() - falling.mean * positions.mean())
    residuals = heights - intercept - falling.mean * positions
    errors = np.array([max(each.error, 1e-12) for each in logs.values()])
    spread, freedom = np.square(residuals / errors).sum() / (len(points) - 2), [each.freedom for each in logs.values()]
    misfit_p = float(stats.f.sf(spread, len(points) - 2, np.mean(freedom)))  # the errors are estimates themselves
    problem = "" if misfit_p > ALPHA else f"the points do not lie on a power law (misfit p = {misfit_p:.2g})"
    return PowerLawFit(replace(falling, mean=-falling.mean), 2.0**intercept, misfit_p, problem)


@dataclass(frozen=True)
class PowerLaw:
    """The value falls as a power of the width, with an exponent above a bound.

    Args:
        exponent: the bound.
        tolerance: the value whose width is reported.
    """

    exponent: float
    tolerance: float

    @property
    def threshold(self) -> str:
        """The threshold as text."""
        return f"width^-a with a above {self.exponent:g}, p <= {ALPHA:g}"

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.judgement.Expectation`."""
        return judge_parts(self, observations)

    def judge_part(self, observations: Sequence[Observation]) -> Judgement:
        """The verdict on one part."""
        if few := too_few(observations):
            return few
        fit = fit_power_law({width: estimate(group) for width, group in by_width(observations).items()})
        if not math.isfinite(fit.exponent.mean):
            return Judgement(INCONCLUSIVE, f"no fit is supported: {fit.problem}")
        low, high = fit.exponent.interval()
        reason = (
            f"exponent {fit.exponent.mean:.3g} [{low:.3g}, {high:.3g}], "
            f"{self.tolerance:g} at width {fit.width_at(self.tolerance):.3g}"
        )
        p_value = one_sided_p_value(fit.exponent, self.exponent, above=True)
        if fit.problem:
            return Judgement(
                INCONCLUSIVE, f"{reason}, but {fit.problem}", fit.exponent.mean, p_value, interval=(low, high)
            )
        return conclude(fit.exponent.mean > self.exponent, p_value, f"{reason}, p = {p_value:.2g}", fit.exponent)
