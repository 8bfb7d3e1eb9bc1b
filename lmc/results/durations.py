"""How long two runs took: as a whole, and for the training of each recipe."""

from __future__ import annotations

from statistics import median

from lmc.results.difference import BETTER, WORSE, Change
from lmc.results.document import Document

HARDWARE = ("processor", "cores", "workers", "device", "gpu")
"""Facts of a machine that run time depends on."""
TRAINING_TOLERANCE = 1.0
"""Share by which a recipe's training may grow or shrink unreported, to twice as long or to half. Four times what a
whole run may, as other processes disturb seconds more than minutes."""
LEAST_TRAINING = 1.0
"""Seconds that a recipe's models must have trained for together; the start of a process is noise of that order."""

_TOLD = "a run's own time is told, not judged"


def time_change(old: Document, new: Document, tolerance: float, *, same_claims: bool, counts: bool) -> list[Change]:
    """The run's duration, where it differs by more than a share of ``tolerance``.

    Args:
        old: a run.
        new: another.
        tolerance: the share.
        same_claims: whether both judged the same claims on the same settings.
        counts: whether a longer one is worse; else it is only told.
    """
    was, now = old.seconds, new.seconds
    slower = now > was * (1 + tolerance)
    if not slower and not was > now * (1 + tolerance):
        return []
    uncounted = ""
    if old.tier != new.tier:
        uncounted = "another tier"
    elif not _same_hardware(old, new):
        uncounted = "another machine"
    elif not same_claims:
        uncounted = "other claims"
    elif old.made != new.made:
        uncounted = "more or less was already stored"
    elif not counts:
        uncounted = _TOLD
    detail = f"{now / was:.2f} times" if was else ""
    return [Change("seconds", "", "", was, now, WORSE if slower else BETTER, detail, uncounted)]


def training_changes(old: Document, new: Document, *, counts: bool) -> list[Change]:
    """Recipes whose models train faster or slower, where both runs trained on one machine."""
    if not old.made.models or not new.made.models or not _same_hardware(old, new):
        return []
    was, now = _training(old), _training(new)
    changes = []
    for recipe in (each for each in was if each in now):
        shared = [(was[recipe][model], now[recipe][model]) for model in was[recipe] if model in now[recipe]]
        before, after = (sum(seconds) for seconds in zip(*shared, strict=True)) if shared else (0.0, 0.0)
        if min(before, after) < LEAST_TRAINING:
            continue
        ratio = median(new_seconds / max(old_seconds, 1e-9) for old_seconds, new_seconds in shared)
        if ratio <= 1 + TRAINING_TOLERANCE and ratio * (1 + TRAINING_TOLERANCE) >= 1:
            continue
        detail = f"training of {recipe[1]}, {len(shared)} models, {ratio:.2f} times in the median"
        direction = WORSE if ratio > 1 else BETTER
        changes.append(Change("training", "", recipe[0], before, after, direction, detail, "" if counts else _TOLD))
    return changes


def _same_hardware(old: Document, new: Document) -> bool:
    return all(old.machine.get(name) == new.machine.get(name) for name in HARDWARE)


def _training(document: Document) -> dict[tuple[str, str], dict[tuple[float, int], float]]:
    """Seconds by setting and role, then by width and seed; of models whose training is complete in one log."""
    found: dict[tuple[str, str], dict[tuple[float, int], float]] = {}
    for model in document.evidence.models:
        if model.seconds:
            found.setdefault((model.setting, model.role), {})[model.width, model.seed] = model.seconds
    return found
