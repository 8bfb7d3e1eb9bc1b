"""How the claims fared from run to run: every results file of a folder, in the order they were started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lmc.claims.verdicts import shown
from lmc.errors import SpecError, StoreError
from lmc.reporting.figures import Axis, Figure, Mean, Panel, Series, finite
from lmc.reporting.results import read_results
from lmc.reporting.thresholds import zone_of_effect

_SHORT = 10  # digits of a commit that are shown


@dataclass(frozen=True)
class Run:
    """One results file.

    Args:
        file: its name.
        document: its content.
    """

    file: str
    document: Mapping[str, Any]

    @property
    def commit(self) -> str:
        """The commit, shortened, with its mark where there were local changes."""
        commit, plus, dirty = str(self.document["commit"]).partition("+")
        return commit[:_SHORT] + plus + dirty


@dataclass(frozen=True)
class Turn:
    """A verdict that changed from one run to the next that judged it.

    Args:
        claim: the claim's id.
        setting: the setting's name.
        before: the verdict.
        after: the new one.
        old: the last run with the old verdict.
        new: the first with the new.
        reason: what the new run measured.
    """

    claim: str
    setting: str
    before: str
    after: str
    old: Run
    new: Run
    reason: str


@dataclass(frozen=True)
class History:
    """Runs of one tier, in time.

    Args:
        tier: of every run.
        runs: by start.
        skipped: what could not be read, each with the reason.
    """

    tier: str
    runs: tuple[Run, ...]
    skipped: tuple[str, ...]

    def cases(self) -> dict[tuple[str, str], list[tuple[int, Mapping[str, Any]]]]:
        """By claim and setting: the number of each run that judged it, and what it found."""
        found: dict[tuple[str, str], list[tuple[int, Mapping[str, Any]]]] = {}
        for at, run in enumerate(self.runs):
            for claim in run.document["claims"]:
                for setting in claim["settings"]:
                    found.setdefault((claim["id"], setting["name"]), []).append((at, setting))
        return found

    def turns(self) -> list[Turn]:
        """Every change of a verdict, in time."""
        found = []
        for (claim, setting), seen in self.cases().items():
            for (old, was), (new, now) in pairwise(seen):
                if shown(was) != shown(now):
                    runs = self.runs[old], self.runs[new]
                    found.append((new, Turn(claim, setting, shown(was), shown(now), *runs, now["reason"])))
        return [turn for _, turn in sorted(found, key=lambda each: each[0])]


def read_history(folder: Path, tier: str | None = None) -> History:
    """Every results file in ``folder``.

    Args:
        folder: with results files; other folders in it are not searched.
        tier: the runs to take; ``None`` where all are of one tier.

    Raises:
        StoreError: the folder cannot be read, or holds no results file (of that tier).
        SpecError: the runs are of several tiers and none was named.
    """
    runs, skipped = [], []
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".json" and path.is_file())
    except OSError as error:
        raise StoreError(f"cannot read the folder {folder}: {error.strerror}; name one with results files") from error
    for path in files:
        try:
            runs.append(Run(path.name, read_results(path)))
        except StoreError as error:
            skipped.append(str(error))
    tiers = sorted({str(run.document["tier"]) for run in runs})
    if tier is None and len(tiers) > 1:
        raise SpecError(f"{folder} holds runs of the tiers {', '.join(tiers)}, which do not compare; name one, --tier")
    chosen = tier or (tiers[0] if tiers else "")
    kept = [run for run in runs if run.document["tier"] == chosen]
    if not kept:
        asked = f" of tier {tier}; it has {', '.join(tiers) or 'none'}" if tier else "; make one with lmc run"
        unread = f" ({len(skipped)} unreadable, the first: {skipped[0]})" if skipped else ""
        raise StoreError(f"{folder} holds no results file{asked}{unread}")
    kept.sort(key=lambda run: (str(run.document["started"]), run.file))
    return History(chosen, tuple(kept), tuple(skipped))


def history_page(history: History) -> str:
    """The history as one HTML page: what changed, and every claim's effect from run to run."""
    from lmc.reporting.report import environment

    cases = history.cases()
    said = {claim["id"]: claim for run in history.runs for claim in run.document["claims"]}
    order = list(dict.fromkeys(claim for claim, _ in cases))
    page = environment().get_template("history.html.j2")
    return page.render(
        history=history,
        turns=history.turns(),
        claims=[
            (said[name], {setting: seen for (claim, setting), seen in cases.items() if claim == name}) for name in order
        ],
        figures={name: figure for name in order if (figure := effect_figure(history, said[name])) is not None},
    )


def effect_figure(history: History, claim: Mapping[str, Any]) -> Figure | None:
    """A claim's effect from run to run, a diagram for each setting; ``None`` where no run has one."""
    ticks = tuple((float(at), str(at + 1)) for at in range(len(history.runs)))
    panels = []
    for (name, setting), seen in history.cases().items():
        if name != claim["id"]:
            continue
        means = tuple(
            Mean(float(at), each["effect"], *(each["interval"] or (None, None)))
            for at, each in seen
            if finite([each["effect"]])
        )
        if means:
            threshold = next((str(each["threshold"]) for _, each in reversed(seen) if each["threshold"]), "")
            axes = Axis("run", ticks), Axis(f"effect ({claim['unit']})")
            panels.append(Panel(setting, *axes, (Series("", means=means),), zone_of_effect(threshold)))
    caption = "Effect with its 95 % interval by run; the shaded zone satisfies the threshold."
    return Figure(str(claim["id"]), str(claim["statement"]), caption, tuple(panels)) if panels else None
