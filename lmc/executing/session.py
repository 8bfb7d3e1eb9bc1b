"""One run from selected cases to verdicts: what is missing is made, then every case is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lmc.claims.cases import Case, CaseResult, cases, judge, needed
from lmc.claims.claim import Claim
from lmc.claims.own import all_claims
from lmc.errors import LmcError, SpecError
from lmc.executing.devices import device_memories, fast_bf16
from lmc.executing.falling import Falling
from lmc.executing.jobs import Job, missing_jobs, wait_for_others
from lmc.executing.local import LocalExecutor
from lmc.executing.making import Workplace
from lmc.executing.progress import Progress, showing_progress
from lmc.executing.settings import Settings
from lmc.executing.supervising import Executor
from lmc.store.leases import Leases
from lmc.store.store import Store
from lmc.tiers import load_tier, restricted, with_pilot_seeds, with_precision

_FRUITLESS = 3


def selected_cases(settings: Settings, *, pilot: bool = False) -> list[Case]:
    """The claims and settings of models that ``settings`` ask for; what they leave out of the tier is not run.

    Args:
        settings: tier, claims, architecture, dataset, widths and precision.
        pilot: on the seeds that thresholds are chosen on.

    Raises:
        SpecError: nothing is left of the tier or of the claims, or somebody else's are not sound.
    """
    whole = tier = load_tier(settings.tier)
    known = all_claims(settings.extra_claims)
    asked_for: dict[str, Any] = {
        "setting": settings.setting,
        "role": settings.role,
        "arch": settings.arch,
        "dataset": settings.dataset,
        "max_width": settings.max_width,
    }
    given = {name: value for name, value in asked_for.items() if value}
    limits = " ".join(
        f"--{name.replace('_', '-')} {','.join(value) if isinstance(value, tuple) else value}"
        for name, value in given.items()
    )
    if limits:
        tier = restricted(tier, **given)
    kept = {each.name for each in tier.settings}
    left_out = [each for each in whole.settings if each.name not in kept]
    precision = settings.precision
    if precision is None and tier.mixed_precision and fast_bf16(settings.device):
        precision = "bf16"
    if precision:
        tier = with_precision(tier, precision)
    asked = settings.claims
    claims = [each for each in known if not asked or any(_named(each, part) for part in asked)]
    if not claims:
        raise SpecError(f"no claim's id contains {' or '.join(asked)}; see lmc claims")
    return cases(claims, with_pilot_seeds(tier) if pilot else tier, left_out, f"left out by {limits}")


def _named(claim: Claim, part: str) -> bool:
    return claim.core if part == "core" else part in claim.id


@dataclass(frozen=True)
class Made:
    """What a run's verdicts rest on.

    Args:
        records: measured records by measurement key.
        logs: training logs by spec key; a model whose log is lost has none.
        results: the verdicts that fell while it was made, by claim and case.
        counts: how many ``models`` were trained now and how many ``measurements`` made, by this run or by
            others that shared its store meanwhile.
    """

    records: dict[str, dict[str, Any]]
    logs: dict[str, dict[str, Any]]
    results: dict[tuple[str, str], CaseResult]
    counts: dict[str, int]


def _executor(settings: Settings) -> Executor:
    if settings.executor == "ray":
        from lmc.executing.ray_executor import RayExecutor

        return RayExecutor(settings.ray_address, settings.workers)
    return LocalExecutor(settings.workers, device_memories(settings.device))


def make_missing(selected: Sequence[Case], settings: Settings, executor: Executor | None = None) -> Made:
    """Train and measure what the store lacks for ``selected``.

    What another run is making is left to it; once all else is made, it is waited for.

    Raises:
        LmcError: something cannot be made; what is finished stays in the store.
    """
    store = Store(settings.store)
    measurements = needed(selected)
    found = missing = missing_jobs(measurements, store, settings.device, modules=settings.modules)
    falling = Falling(selected, (each.key for each in missing.measurements), store)
    leases, fruitless = Leases(store.root), 0
    workplace = Workplace(settings.store, settings.data, settings.device, settings.modules)
    while missing.jobs:
        wait_for_others(missing.jobs, leases)
        with showing_progress(missing.jobs) as progress:

            def done(job: Job, progress: Progress = progress) -> None:
                progress.done(job)
                falling.made(job.makes, progress.say)

            chosen = executor or _executor(settings)
            chosen.run(missing.jobs, workplace, done, progress.began)
        left = missing_jobs(missing.measurements, store, settings.device, modules=settings.modules)
        fruitless = fruitless + 1 if left.pieces == missing.pieces else 0
        if fruitless == _FRUITLESS:
            what = left.jobs[0].describe()
            raise LmcError(f"{what} does not stay in {store.root}; check its disk, and its leases folder")
        missing = left
    leases.others()  # removes those of the dead, also where nothing was missing
    records = {}
    for measurement in measurements:
        record = falling.records.get(measurement.key) or store.read("measurements", measurement.key)
        if record is None:
            raise LmcError(f"{measurement.describe()} is gone from {store.root}; run again")
        records[measurement.key] = record
    keys = {spec.key for measurement in measurements for spec in measurement.specs}
    logs = {key: log for key in keys if (log := store.read("models", key)) is not None}
    counts = {"models": found.models, "measurements": len(found.measurements)}
    return Made(records, logs, falling.results, counts)


def judged(selected: Sequence[Case], made: Made) -> list[CaseResult]:
    """The verdict on every case; those that fell while it was made are not asked for again."""
    return [made.results.get((case.claim.id, case.name)) or judge(case, made.records) for case in selected]
