"""The theorems' numbers: computed on the spot from fixed seeds, nothing is trained."""

from __future__ import annotations

import numpy as np

from lmc import theory


def theorem_5_3_errors() -> list[tuple[str, float]]:
    """LEWC error of random nets that meet both conditions, for several depths and numbers of models."""
    rng = np.random.default_rng(53)
    found = []
    for count in (2, 3, 5):
        for depth in (1, 2, 4, 8):
            nets = theory.orthogonal_nets(rng, models=count, layers=depth, units=12, inputs=9, classes=5)
            weights = rng.dirichlet(np.ones(count)).tolist()
            error = theory.lewc_error(nets, weights, rng.standard_normal((20, 9)))
            found.append((f"{count} models, {depth} layers", error))
    return found


def theorem_5_3_slopes() -> list[tuple[str, float]]:
    """d log(LEWC error) / d log(violation) when one premise of Theorem 5.3 is violated a little."""
    found = []
    sizes = np.array([1e-5, 1e-4, 1e-3, 1e-2])
    for name in ("leak", "overlap", "bias"):
        errors = []
        for size in sizes:
            rng = np.random.default_rng(53)
            violation = {name: float(size)}
            nets = theory.orthogonal_nets(rng, models=2, layers=4, units=16, inputs=9, classes=5, **violation)
            errors.append(theory.lewc_error(nets, (0.5, 0.5), rng.standard_normal((200, 9))))
        slope = float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])
        found.append((name, slope))
    return found


def theorem_5_4_limit() -> list[tuple[str, float]]:
    """Mean cosine of high-dimensional Gaussian vectors at λ = ½."""
    rng = np.random.default_rng(54)
    return [("d = 20000", float(theory.sampled_additivity(rng, 20_000, 100).mean()))]


def theorem_5_4_rate() -> list[tuple[str, float]]:
    """d log(deviation) / d log(dimension) of the cosine's root-mean-square deviation from the limit."""
    rng = np.random.default_rng(54)
    dimensions = np.array([64, 256, 1024, 4096])
    spread = [
        float(np.sqrt(np.mean((theory.sampled_additivity(rng, int(d), 600) - theory.GAUSSIAN_NULL) ** 2)))
        for d in dimensions
    ]
    return [("slope", float(np.polyfit(np.log(dimensions), np.log(spread), 1)[0]))]


def theorem_5_4_lambdas() -> list[tuple[str, float]]:
    """Sampled mean cosine less c(λ), for several λ."""
    rng = np.random.default_rng(54)
    return [
        (
            f"λ = {lam:g}",
            float(theory.sampled_additivity(rng, 10_000, 100, lam).mean()) - theory.additivity_limit(lam),
        )
        for lam in (0.1, 0.2, 0.3, 0.4, 0.5)
    ]
