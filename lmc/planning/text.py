"""A plan as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lmc.executing.costs import ASSUMED, shape_of
from lmc.planning.plan import Plan

if TYPE_CHECKING:
    from lmc.planning.floor import Floor


def lines(plan: Plan) -> Iterator[str]:
    """The plan, a line for every size of model and then the whole."""
    settings = plan.settings
    where = f"assumed GPUs ({ASSUMED})" if plan.assumed else f"{settings.device}, {settings.workers} workers"
    yield f"tier {settings.tier} on {where}"
    for row in plan.rows:
        labels = f"/{shape_of(row.spec)[1]}" if row.spec.classes else ""  # of the classes that are kept
        yield (
            f"  {row.spec.dataset + labels:<14} {row.spec.arch:<10} x{row.spec.width:<7g} "
            f"decay {row.spec.weight_decay:<7g} {row.models:>3} models of {row.parameters / 1e6:.2f} M, "
            f"{row.flops / 1e12:.3g} TFLOP and about {row.train_seconds:.1f} s each; "
            f"{row.measurements} measurements, {row.measure_seconds:.1f} s each"
        )
    models = sum(row.models for row in plan.rows)
    measurements = sum(row.measurements for row in plan.rows)
    flops = sum(row.models * row.flops for row in plan.rows)
    yield f"to train: {models} models, {flops / 1e12:.4g} TFLOP; {measurements} measurements"
    yield f"already stored: {plan.finished} measurements"
    disk = f"disk about {plan.disk_bytes / 2**20:.0f} MiB in {settings.store}"
    if plan.schedules:
        yield disk
    else:
        yield f"time about {_duration(plan.seconds)}, memory about {plan.memory_bytes / 2**30:.1f} GiB, {disk}"
    for each in plan.schedules:
        yield (
            f"on {each.devices} GPU{'s' if each.devices > 1 else ''}: {_duration(each.makespan)}, "
            f"utilisation {each.utilisation:.0%}, longest chain {_duration(each.critical_path)}"
        )


def floor_line(floor: Floor) -> str:
    """The floor under training as text."""
    return (
        f"training of the whole tier: {floor.models} models, {floor.flops / 1e12:.4g} TFLOP, about "
        f"{floor.training:.0f} s on one processor; products of the same shapes take {floor.seconds:.0f} s there, at "
        f"{floor.rate / 1e9:.3g} GFLOP/s: {floor.training / floor.seconds:.2f} times the floor"
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
