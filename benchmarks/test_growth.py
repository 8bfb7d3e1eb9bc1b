"""How cost grows: the exponent of time by size, fitted over sizes that double.

No peer is needed: a time per size on one machine says whether something costs more than its arithmetic must.
Each row holds ``exponent`` and ``expected``; that an exponent is at most `SLACK` above the expected one is
asserted only where ``LMC_BENCH_STRICT=1``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from pairs import make_pair
from timing import STRICT, THREADS, seconds, sized
from torch.nn import functional as F

from lmc.data import Dataset, Normaliser
from lmc.executing.process import prepare_arithmetic
from lmc.measuring.inputs import HeldInputs
from lmc.measuring.paths import interpolation_path
from lmc.merging import fit_inverse_temperature
from lmc.merging.weight_matching import weight_matching
from lmc.nets import build
from lmc.specs import RunSpec
from lmc.training.engine import train, train_stack

SLACK = 0.35
"""How far above the expected exponent one may be: caches are left behind on the way, and times vary."""
ROUNDS = sized(5, 1)

MLP = RunSpec(dataset="mnist-like", arch="mlp", width=1, optimizer="adam", lr=1e-3, batch_size=sized(512, 16))


@pytest.fixture(autouse=True)
def _arithmetic() -> None:
    prepare_arithmetic(THREADS)


def grow(
    benchmark: Any,
    work: str,
    by: str,
    sizes: Sequence[int],
    time_of: Callable[[int], float],
    *,
    expected: float,
    rounds: int = ROUNDS,
) -> None:
    """Fit the exponent of ``time_of`` a size and put it into the benchmark's file.

    Args:
        benchmark: pytest-benchmark's fixture; it times the largest size, once.
        work: what is done.
        by: what the sizes count.
        sizes: at least four.
        time_of: the seconds that one size takes.
        expected: the exponent that the arithmetic allows.
        rounds: of all sizes in turn; the least time of each counts, which a busy moment disturbs least.
    """
    assert len(sizes) >= 4
    times: dict[int, list[float]] = {size: [] for size in sizes}
    time_of(sizes[0])  # what is set up once is no growth
    for _ in range(rounds):
        for size in sizes:
            times[size].append(time_of(size))
    benchmark.pedantic(time_of, args=(sizes[-1],), rounds=1)
    least = [min(each) for each in times.values()]
    exponent = fitted_exponent(sizes, least)
    benchmark.extra_info |= {
        "work": work,
        "by": by,
        "sizes": list(sizes),
        "seconds": least,
        "exponent": exponent,
        "expected": expected,
    }
    assert math.isfinite(exponent)
    assert not STRICT or exponent <= expected + SLACK, f"{work}: grows as {by}^{exponent:.2f}, not {by}^{expected:g}"


def fitted_exponent(sizes: Sequence[int], times: Sequence[float]) -> float:
    """k of time = c · size^k, by least squares on the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def test_fitted_exponent() -> None:
    assert fitted_exponent([1, 2, 4, 8], [3.0, 12.0, 48.0, 192.0]) == pytest.approx(2)


def test_training_by_width(benchmark: Any, mnist_like: Dataset) -> None:
    """One step costs the square of the units, and the first layer only their number."""
    recipe = dataclasses.replace(MLP, train_size=3 * MLP.batch_size)

    def step(units: int) -> float:
        log = train(dataclasses.replace(recipe, width=units / 512), mnist_like).log
        return float(log["seconds"]) / int(log["steps"])

    grow(
        benchmark,
        "a training step of an MLP",
        "units",
        sized((512, 1024, 2048, 4096), (8, 16, 32, 64)),
        step,
        expected=2,
    )


def test_training_by_models(benchmark: Any, mnist_like: Dataset) -> None:
    """Side by side the models share everything but their products, so their number costs less than itself."""
    recipe = dataclasses.replace(MLP, width=1 / 16, batch_size=50, train_size=sized(3000, 100))

    def step(models: int) -> float:
        log = train_stack([recipe.with_seed(seed) for seed in range(models)], mnist_like)[0].log
        return models * float(log["seconds"]) / int(log["steps"])  # the log shares the time among the models

    grow(benchmark, "a training step of a stack of MLPs of 32 units", "models", (1, 2, 4, 8, 16), step, expected=1)


def test_path_by_points(benchmark: Any) -> None:
    """The endpoints' first layer is shared, so each further point costs less than the first."""
    shape, images, width = (1, 28, 28), sized(10_000, 50), sized(1.0, 1 / 64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        a, b, merged = (build("mlp", width, shape, 10).eval() for _ in range(3))
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, *shape), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (images,), generator=generator)
    inputs, states = HeldInputs(pixels, labels, pixels[:200], Normaliser.fit(pixels)), (a.state_dict(), b.state_dict())

    def path(points: int) -> float:
        lams = torch.linspace(0, 1, points, dtype=torch.float64).tolist()
        return seconds(lambda: interpolation_path(merged, *states, lams, inputs))

    work = f"a path of an MLP of {round(512 * width)} units on {images:,} images"
    grow(benchmark, work, "points", (5, 10, 20, 40), path, expected=1)


def test_calibration_by_classes(benchmark: Any) -> None:
    """Every class is one more exponential per image."""
    images = sized(2000, 50)

    def calibrate(classes: int) -> float:
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(0, classes, (images,), generator=generator)
        noise = torch.randn(11, images, classes, generator=generator)
        logits = (noise + 2 * F.one_hot(labels, classes)).double()
        return seconds(lambda: fit_inverse_temperature(logits, labels, smoothing=1 / (images + 2)))

    work = f"β of 11 points, {images:,} images"
    grow(benchmark, work, "classes", (10, 20, 50, 100, 200), calibrate, expected=1)


def test_weight_matching_by_units(benchmark: Any) -> None:
    """An assignment costs the cube of the channels at worst, and so do the gains that it reads."""

    def match(units: int) -> float:
        pair, found = make_pair("mlp", units / 512, (1, 28, 28)), []
        taken = seconds(lambda: found.append(weight_matching(pair.spec, pair.a, pair.b, max_sweeps=3)))
        return taken / found[0].sweeps

    grow(
        benchmark,
        "a sweep of weight matching of an MLP",
        "units",
        sized((128, 256, 512, 1024), (8, 16, 32, 64)),
        match,
        expected=3,
        rounds=sized(3, 1),
    )
