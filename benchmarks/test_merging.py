"""Weight matching against the published algorithm, implemented plainly.

That ours ends at an objective at least as good is always required; the times only where ``LMC_BENCH_STRICT=1``.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from pairs import Pair, make_pair
from timing import STRICT, conclude, paired, sized
from torch import Tensor

from lmc.merging.weight_matching import MatchingResult, weight_matching

pytest.importorskip("lightning")

from peers import match_weights

ROUNDING = 1e-6
"""Share of the objective by which the peer's float32 gains may lead it elsewhere."""


def compare(benchmark: Any, pair: Pair, work: str, *, target: float, rounds: int, limit: float = math.inf) -> None:
    """Time both on ``pair``; ours must end as well, and within ``limit`` seconds where targets count.

    In fewer than three rounds nothing runs beforehand: then the peer takes minutes.
    """
    ours: list[MatchingResult] = []
    theirs: list[dict[str, Tensor]] = []

    def match_ours() -> None:
        ours[:] = [weight_matching(pair.spec, pair.a, pair.b)]

    def match_theirs() -> None:
        theirs[:] = [match_weights(pair.spec, pair.a, pair.b)]

    ratio = paired(benchmark, match_ours, match_theirs, rounds=rounds, warm=rounds > 2)
    found, plain = pair.objective(ours[0].permutations), pair.objective(theirs[0])
    assert found == pytest.approx(ours[0].objective, rel=1e-9)
    assert found >= plain - ROUNDING * abs(plain), f"{work}: ours ends at {found}, the published algorithm at {plain}"
    facts = {"objective": found, "peer_objective": plain, "sweeps": ours[0].sweeps}
    conclude(benchmark, ratio, work=work, peer="the published algorithm, plainly", target=target, **facts)
    taken = benchmark.extra_info["ours_seconds"]
    if math.isfinite(limit):
        benchmark.extra_info["measures"] = [{"measure": f"{work}, seconds", "value": taken, "limit": limit}]
    assert not STRICT or taken <= limit, f"{work}: {taken:.1f} s, not {limit:g} s"


@pytest.mark.parametrize("units", sized((256, 512, 1024, 2048), (16, 32)))
def test_mlp_layers(benchmark: Any, units: int) -> None:
    """Three hidden layers of ``units`` units, as wide as width 4 of the paper's."""
    pair = make_pair("mlp", units / 512, (1, 28, 28))
    work = f"weight matching, MLP of {units} units"
    rounds = {1024: 3, 2048: 2}.get(units, 5)
    compare(benchmark, pair, work, target=1.5, rounds=rounds, limit=12.0)


@pytest.mark.parametrize(
    ("arch", "width", "shape"),
    [
        ("mlp", sized(1 / 2, 1 / 32), (1, 28, 28)),
        ("vgg11", sized(1 / 4, 1 / 32), (3, 32, 32)),
        ("resnet20", sized(1.0, 1 / 4), (3, 32, 32)),
    ],
    ids=["mlp", "vgg11", "resnet20"],
)
@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_architectures(benchmark: Any, arch: str, width: float, shape: tuple[int, int, int], noise: float) -> None:
    """Weights at random with something in common; residual streams and convolutions included.

    What counts is the objective. The time is a record: networks this small take a fraction of a second.
    """
    pair = make_pair(arch, width, shape, seed=1, noise=noise)
    work = f"weight matching, {arch} of width {width:g}, noise {noise:g}"
    compare(benchmark, pair, work, target=0.0, rounds=5)
