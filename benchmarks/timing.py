"""Paired timing: ours and a peer's in turn, so that a slower moment of the machine slows both."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from typing import Any


def paired(benchmark: Any, ours: Callable[[], object], peer: Callable[[], object], *, rounds: int = 5) -> float:
    """Time ``ours`` under pytest-benchmark with a run of ``peer`` before every round.

    Args:
        benchmark: pytest-benchmark's fixture.
        ours: what is timed; runs once before, unmeasured.
        peer: what it is compared with, doing the same work.
        rounds: number of pairs.

    Returns:
        The median over the rounds of peer's seconds over ours; above 1 ours is faster. It is also in
        ``extra_info`` as ``ratio``, with the least and the largest, both medians and the peak memory.
    """
    peer_seconds: list[float] = []

    def run_peer() -> None:
        started = time.perf_counter()
        peer()
        peer_seconds.append(time.perf_counter() - started)

    ours()
    peer()
    benchmark.pedantic(ours, setup=run_peer, rounds=rounds)
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
