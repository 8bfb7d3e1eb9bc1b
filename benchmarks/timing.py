"""Paired timing: ours and a peer's in turn, so that a slower moment of the machine slows both.

``LMC_BENCH_STRICT=1`` makes a missed target fail; ``LMC_BENCH_SMOKE=1`` replaces the sizes of what it can by tiny
ones, to see that a benchmark runs at all. ``LMC_BENCH_THREADS`` is how many threads a training gets, 2 by default.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any, TypeVar

STRICT = os.environ.get("LMC_BENCH_STRICT") == "1"
SMOKE = os.environ.get("LMC_BENCH_SMOKE") == "1"
THREADS = int(os.environ.get("LMC_BENCH_THREADS", "2"))

T = TypeVar("T")


def sized(full: T, tiny: T) -> T:
    """``full``, or ``tiny`` in a smoke run."""
    return tiny if SMOKE else full


def seconds(run: Callable[[], object]) -> float:
    """How long ``run`` takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def paired(
    benchmark: Any, ours: Callable[[], object], peer: Callable[[], object], *, rounds: int = 5, warm: bool = True
) -> float:
    """Time ``ours`` under pytest-benchmark with a run of ``peer`` before every round.

    Args:
        benchmark: pytest-benchmark's fixture.
        ours: what is timed.
        peer: what it is compared with, doing the same work.
        rounds: number of pairs.
        warm: whether both run once before, unmeasured; not so where each run is a process of its own.

    Returns:
        The median over the rounds of peer's seconds over ours; above 1 ours is faster. It is also in
        ``extra_info`` as ``ratio``, with the least and the largest, both medians and the peak memory.
    """
    peer_seconds: list[float] = []
    if warm:
        ours()
        peer()
    benchmark.pedantic(ours, setup=lambda: peer_seconds.append(seconds(peer)), rounds=rounds)
    our_seconds = benchmark.stats.stats.data
    ratios = [theirs / mine for theirs, mine in zip(peer_seconds, our_seconds, strict=True)]
    benchmark.extra_info |= {
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_largest": max(ratios),
        "ours_seconds": statistics.median(our_seconds),
        "peer_seconds": statistics.median(peer_seconds),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    return statistics.median(ratios)


def conclude(benchmark: Any, ratio: float, *, work: str, peer: str, target: float, **facts: Any) -> None:
    """Note what was compared; hold ours to the ratio ``target`` where that is asked for."""
    benchmark.extra_info |= {"work": work, "peer": peer, "target": target, **facts}
    assert not STRICT or ratio >= target, f"{work}: {ratio:.2f} times as fast as {peer}, not {target:g} times"
