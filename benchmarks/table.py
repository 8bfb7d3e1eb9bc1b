"""Markdown tables of a file of benchmarks, raw or trimmed by ``gate.py --trim``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench_files import read_document


def speed_table(path: Path, of: str = "") -> str:
    """What was timed against a peer: how many times as fast ours is, with the spread, and whether that was the aim.

    Beside it stand the same against a textbook loop, the peak memory of the process, and a note, where there are any.

    Args:
        path: the file.
        of: only the benchmarks with this in their names.

    Raises:
        GateError: it is unreadable.
    """
    rows = []
    for facts in _facts(path, "ratio", of):
        spread = f"{facts['ratio']:.3g} ({facts['ratio_least']:.3g}–{facts['ratio_largest']:.3g})"
        target = facts.get("target")
        aim = [f"{target:.3g}", _met(facts["ratio"] >= target)] if target else ["none", ""]  # 0 is a record only
        textbook, peak = facts.get("textbook_ratio"), facts.get("peak_memory_mib")
        more = [f"{textbook:.3g}" if textbook else "", f"{peak:,.0f}" if peak else "", _note(facts)]
        rows.append([facts.get("work", ""), facts.get("peer", ""), spread, *aim, *more])
    head = ["work", "peer", "times as fast (least–largest)", "target", ""]
    return _markdown([*head, "against a textbook loop", "peak memory, MiB", "note"], rows)


def _note(facts: dict[str, Any]) -> str:
    """What else a row measured, in words."""
    if "unflushed_time_ratio" in facts:
        return f"{facts['unflushed_time_ratio']:.3g} times the time where denormals are kept"
    if "plain_ratio" in facts:
        return f"{facts['plain_ratio']:.3g} against torch.save alone, which a crash may leave empty"
    if "peak_gpu_memory_mib" in facts:
        return (
            f"{facts['images_per_second']:,.0f} images/s, {facts['peak_gpu_memory_mib']:,.0f} MiB of the GPU's memory"
        )
    if "matmul_tflops" in facts:
        return f"the products ran at {facts['matmul_tflops']:.3g} TFLOP/s"
    return ""


def growth_table(path: Path) -> str:
    """How cost grows with size: the fitted exponent beside the one that the arithmetic allows.

    Args:
        path: the file.

    Raises:
        GateError: it is unreadable.
    """
    rows = []
    for facts in _facts(path, "exponent"):
        sizes = f"{facts['by']}, {facts['sizes'][0]} to {facts['sizes'][-1]}"
        exponents = [f"{facts['exponent']:.2f}", f"{facts['expected']:g}"]
        rows.append([facts["work"], sizes, *exponents, f"{facts['seconds'][-1]:.3g}"])
    return _markdown(["work", "by", "exponent", "at most about", "seconds at the largest"], rows)


def runs_table(path: Path) -> str:
    """Whole commands: their seconds and the memory of all their processes, beside the aims.

    Args:
        path: the file.

    Raises:
        GateError: it is unreadable.
    """
    rows = []
    for facts in _facts(path, "target_seconds"):
        taken, aim = facts["run_seconds"], facts["target_seconds"]
        peak, most = facts.get("peak_pss_mib"), facts.get("target_mib")
        memory = [
            f"{peak:,.0f}" if peak else "",
            *([f"{most:,.0f}", _met(peak <= most)] if peak and most else ["", ""]),
        ]
        rows.append([facts["work"], f"{taken:.3g}", f"{aim:g}", _met(taken <= aim), *memory])
    return _markdown(["command", "seconds", "target", "", "peak memory, MiB", "target", ""], rows)


def measures_table(path: Path, of: str = "") -> str:
    """What is held to a limit rather than to a peer.

    Args:
        path: the file.
        of: only the benchmarks with this in their names.

    Raises:
        GateError: it is unreadable.
    """
    rows = []
    for facts in _facts(path, "measures", of):
        for each in facts["measures"]:
            met = _met(each["value"] <= each["limit"])
            rows.append([each["measure"], f"{each['value']:.3g}", f"{each['limit']:.3g}", met])
    return _markdown(["work", "measured", "at most", ""], rows)


def unmeasured_table(targets: Iterable[tuple[str, str]]) -> str:
    """What is wanted of works that were never timed.

    Args:
        targets: each work, and what is wanted of it in words.
    """
    return _markdown(["work", "target", ""], [[work, wanted, "not yet measured"] for work, wanted in targets])


def _facts(path: Path, having: str, of: str = "") -> list[dict[str, Any]]:
    rows = read_document(path)["benchmarks"]
    return [row["extra_info"] for row in rows if having in row["extra_info"] and of in row["fullname"]]


def _met(met: bool) -> str:
    return "met" if met else "not met"


def _markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in lines)
