"""How the barrier falls with width: a power law, fitted where the data support one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lmc.claims.asked import Asked
from lmc.claims.parts import ALPHA, Conjunction, Judgement, OneSided, beyond, judge_tests, of_every_part, too_few
from lmc.claims.statistics import Estimate, Observation, by_width, estimate, one_sided_p_value


@dataclass(frozen=True)
class PowerLawFit:
    """barrier = scale · width^(-exponent), by weighted least squares.

    Args:
        exponent: with its standard error; ``mean`` is nan where nothing could be fitted.
        scale: the fitted barrier at width 1.
        misfit_p: of the F-test that the points scatter about the law by no more than their errors.
        problem: why nothing could be fitted, else empty.
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

    The barriers themselves are fitted, each weighted by its error, not their logarithms: a barrier near zero says
    much about the exponent, its logarithm next to nothing. Nothing is fitted to fewer than three widths, or where
    the narrowest barrier is not significantly above zero.

    Args:
        points: an estimate of the barrier for each width.
    """
    from scipy import stats
    from scipy.optimize import curve_fit

    nothing = PowerLawFit(Estimate(math.nan, math.nan, 1.0), math.nan, math.nan)
    if len(points) < 3:
        return replace(nothing, problem=f"{len(points)} widths are too few to see a law")
    if any(each.vague for each in points.values()):
        return replace(nothing, problem="the pairs of a width do not differ, which says nothing of their error")
    width, first = min(points.items())
    if one_sided_p_value(first, 0.0, above=True) > ALPHA:
        problem = f"the barrier at width {width:g} ({first.mean:.3g}) is not significantly above zero"
        return replace(nothing, problem=problem)
    positions, means = np.log2(list(points)), np.array([each.mean for each in points.values()])
    errors = np.maximum([each.total for each in points.values()], 1e-6 * abs(first.mean))

    def law(position: Any, scale: float, exponent: float) -> Any:
        return scale * np.exp2(-exponent * position)

    start = (first.mean * width, 1.0)
    try:
        (scale, exponent), covariance = curve_fit(law, positions, means, start, errors, absolute_sigma=True)
    except RuntimeError as error:
        return replace(nothing, problem=f"the fit does not converge ({error})")
    spread = np.square((means - law(positions, scale, exponent)) / errors).sum() / (len(points) - 2)
    freedom = float(np.mean([each.freedom for each in points.values()]))
    misfit_p = float(stats.f.sf(spread, len(points) - 2, freedom))  # the errors are estimates themselves
    return PowerLawFit(Estimate(float(exponent), math.sqrt(covariance[1][1]), freedom), float(scale), misfit_p)


@dataclass(frozen=True)
class PowerLaw:
    """The value falls as a power of the width, with an exponent above a bound.

    Points that significantly scatter about the law by more than their errors fail it.

    Args:
        exponent: the bound.
        tolerance: the value whose width is reported.
    """

    exponent: float
    tolerance: float

    @property
    def asked(self) -> Asked:
        """Of the exponent."""
        return Asked(quantity="exponent", low=self.exponent, alpha=ALPHA)

    def judge(self, observations: Sequence[Observation]) -> Judgement:
        """See `lmc.claims.parts.Expectation`."""
        return judge_tests(self, observations)

    def tests(self, observations: Sequence[Observation]) -> Conjunction:
        """See `lmc.claims.parts.Tested`."""
        return of_every_part(observations, self._of_part)

    def _of_part(self, observations: Sequence[Observation]) -> Conjunction:
        if few := too_few(observations):
            return Conjunction(missing=few)
        fit = fit_power_law({width: estimate(group) for width, group in by_width(observations).items()})
        if fit.problem:
            return Conjunction(missing=f"no fit is supported: {fit.problem}")

        def say() -> str:
            low, high = fit.exponent.interval()
            reached = f"{self.tolerance:g} at width {fit.width_at(self.tolerance):.3g}"
            return f"exponent {fit.exponent.mean:.3g} [{low:.3g}, {high:.3g}], {reached}"

        asked = beyond(fit.exponent, self.exponent, above=True, say=say)
        misfit = f"the points do not lie on a power law, misfit p = {fit.misfit_p:.2g}"
        lawful = OneSided(1.0, fit.misfit_p, asked.effect, asked.interval, lambda: f"{say()}; {misfit}")
        return Conjunction([asked], [lawful])
