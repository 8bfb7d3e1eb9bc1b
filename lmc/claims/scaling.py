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

_GRID = np.linspace(-4, 12, 129)
"""Exponents among which the best is looked for first."""

_STEPS, _HALVINGS = 12, 4


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
    nothing = PowerLawFit(Estimate(math.nan, math.nan, 1.0), math.nan, math.nan)
    if len(points) < 3:
        return replace(nothing, problem=f"{len(points)} widths are too few to see a law")
    if any(each.vague for each in points.values()):
        return replace(nothing, problem="the pairs of a width do not differ, which says nothing of their error")
    width, first = min(points.items())
    if one_sided_p_value(first, 0.0, above=True) > ALPHA:
        problem = f"the barrier at width {width:g} ({first.mean:.3g}) is not significantly above zero"
        return replace(nothing, problem=problem)
    return least_squares(points)


def least_squares(points: Mapping[float, Estimate]) -> PowerLawFit:
    """The weighted least-squares fit, whatever the points are; of arrays of replicates, too.

    For each exponent the best scale is linear least squares; the best exponent is looked for on a grid and
    then by Gauss-Newton steps.
    """
    from scipy import special

    shape = np.shape(next(iter(points.values())).mean)
    estimates = list(points.values())
    means = np.array([np.broadcast_to(each.mean, shape) for each in estimates], dtype=float)
    errors = np.array([np.broadcast_to(each.total, shape) for each in estimates], dtype=float)
    errors = np.maximum(errors, 1e-6 * np.abs(means[0]))
    positions = (np.log2(list(points)) - np.log2(min(points))).reshape(-1, *(1 for _ in shape))

    def scaled(exponent: Any) -> tuple[Any, Any]:
        """The law with the best scale, and that scale at the narrowest width; both over the errors."""
        law = np.exp2(-exponent * positions) / errors
        return law, (law * means / errors).sum(0) / np.square(law).sum(0)

    def misfit(exponent: Any) -> Any:
        law, scale = scaled(exponent)
        return np.square(means / errors - scale * law).sum(0)

    def direction(exponent: Any) -> tuple[Any, Any, Any]:
        """How the law changes with the exponent, the scale following; the residuals; and the scale."""
        law, scale = scaled(exponent)
        by_exponent = -math.log(2) * positions * scale * law
        across = by_exponent - law * (by_exponent * law).sum(0) / np.square(law).sum(0)
        return across, means / errors - scale * law, scale

    with np.errstate(all="ignore"):  # a step that leads too far is not taken
        exponent = _GRID[np.stack([misfit(each) for each in _GRID]).argmin(0)]
        for _ in range(_STEPS):
            across, residuals, _ = direction(exponent)
            step = (across * residuals).sum(0) / np.square(across).sum(0)
            for _ in range(_HALVINGS):
                step = np.where(misfit(exponent + step) <= misfit(exponent), step, step / 2)
            exponent = np.where(misfit(exponent + step) <= misfit(exponent), exponent + step, exponent)
    across, _, scale = direction(exponent)
    freedom = np.mean([np.broadcast_to(each.total_freedom, shape) for each in estimates], axis=0)
    spare = len(points) - 2
    misfit_p = special.fdtrc(spare, freedom, misfit(exponent) / spare)  # the errors are estimates themselves
    found = Estimate(exponent[()], (1 / np.sqrt(np.square(across).sum(0)))[()], freedom[()])
    return PowerLawFit(found, (scale * np.exp2(exponent * math.log2(min(points))))[()], misfit_p)


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
        return self.of_fit(fit)

    def of_fit(self, fit: PowerLawFit) -> Conjunction:
        """What is asked of a fit."""

        def say() -> str:
            low, high = fit.exponent.interval()
            reached = f"{self.tolerance:g} at width {fit.width_at(self.tolerance):.3g}"
            return f"exponent {fit.exponent.mean:.3g} [{low:.3g}, {high:.3g}], {reached}"

        def say_misfit() -> str:
            return f"{say()}; the points do not lie on a power law, misfit p = {fit.misfit_p:.2g}"

        asked = beyond(fit.exponent, self.exponent, above=True, say=say)
        lawful = OneSided(1.0, fit.misfit_p, asked.effect, asked.interval, say_misfit)
        return Conjunction([asked], [lawful])
