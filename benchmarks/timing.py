"""Paired timing: ours and a peer's in turn, so that a slower moment of the machine slows both.

``LMC_BENCH_STRICT=1`` makes a missed target fail; ``LMC_BENCH_SMOKE=1`` replaces the sizes of what it can by tiny
ones, to see that a benchmark runs at all. ``LMC_BENCH_THREADS`` is how many threads a training gets, 2 by default.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
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


def forget_peak_memory() -> bool:
    """Let the high-water mark of this process's memory start anew; whether it did, which needs Linux."""
    try:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    except OSError:
        return False
    return True


def peak_memory_mib() -> float:
    """The most memory this process had resident since `forget_peak_memory`."""
    (line,) = [line for line in Path("/proc/self/status").read_text("utf-8").splitlines() if "VmHWM" in line]
    return int(line.split()[1]) / 1024


def paired(
    benchmark: Any,
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    rounds: int = 5,
    warm: bool = True,
    here: bool = True,
) -> float:
    """Time ``ours`` under pytest-benchmark with a run of ``peer`` before every round.

    Args:
        benchmark: pytest-benchmark's fixture.
        ours: what is timed.
        peer: what it is compared with, doing the same work.
        rounds: number of pairs.
        warm: whether both run once before, unmeasured; not so where each run is a process of its own.
        here: whether ours works in this process; the memory of others is not measured.

    Returns:
        The median over the rounds of peer's seconds over ours; above 1 ours is faster. It is also in
        ``extra_info`` as ``ratio``, with the least and the largest, both medians and, where it can be told, the
        peak memory of this process in the last round of ours, with all that it holds anyway.
    """
    peer_seconds: list[float] = []
    known: list[bool] = []

    def before_ours() -> None:
        peer_seconds.append(seconds(peer))
        known[:] = [forget_peak_memory()]

    if warm:
        ours()
        peer()
    benchmark.pedantic(ours, setup=before_ours, rounds=rounds)
    peak = {"peak_memory_mib": peak_memory_mib()} if here and known[0] else {}
    our_seconds = benchmark.stats.stats.data
    ratios = [theirs / mine for theirs, mine in zip(peer_seconds, our_seconds, strict=True)]
    benchmark.extra_info |= {
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_largest": max(ratios),
        "ours_seconds": statistics.median(our_seconds),
        "peer_seconds": statistics.median(peer_seconds),
        **peak,
    }
    return statistics.median(ratios)


def conclude(benchmark: Any, ratio: float, *, work: str, peer: str, target: float, **facts: Any) -> None:
    """Note what was compared; hold ours to the ratio ``target`` where that is asked for."""
    benchmark.extra_info |= {"work": work, "peer": peer, "target": target, **facts}
    assert not STRICT or ratio >= target, f"{work}: {ratio:.2f} times as fast as {peer}, not {target:g} times"
