"""How the claims fared from run to run: every results file of a folder, in the order they were started."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

from lmc.errors import SpecError, StoreError
from lmc.results.comparing import left_interval
from lmc.results.difference import Case
from lmc.results.document import Document, Found
from lmc.results.file import read_results
from lmc.results.selection import series
from lmc.results.wording import measured_in_words

Seen = list[tuple[int, Found]]
"""The number of each run that judged a case, and what it found."""

_SHORT = 10  # digits of a commit that are shown


@dataclass(frozen=True)
class Run:
    """One results file.

    Args:
        file: its name.
        document: its content.
    """

    file: str
    document: Document

    @property
    def series(self) -> str:
        """What its numbers must share with another run's to be compared, see `lmc.results.selection.series`."""
        return series(self.document)

    @property
    def commit(self) -> str:
        """The commit, shortened, with its mark where there were local changes."""
        commit, plus, dirty = self.document.commit.partition("+")
        return commit[:_SHORT] + plus + dirty


@dataclass(frozen=True)
class Turn:
    """A verdict that changed, or an effect that left its interval, from one run to the next that judged it.

    Args:
        what: ``"verdict"`` or ``"effect"``.
        claim: the claim's id.
        setting: the setting's name.
        before: the verdict, or the effect with its 95 % interval.
        after: the new one.
        old: the last run with the old one.
        new: the first with the new.
        reason: what the new run measured.
    """

    what: str
    claim: str
    setting: str
    before: str
    after: str
    old: Run
    new: Run
    reason: str


@dataclass(frozen=True)
class History:
    """Runs of one tier, in time, all of its verdicts or all of its pilots.

    Args:
        tier: of every run.
        runs: by start.
        skipped: what could not be read or is of other seeds, each with the reason.
    """

    tier: str
    runs: tuple[Run, ...]
    skipped: tuple[str, ...]

    def cases(self) -> dict[Case, Seen]:
        """By claim and setting: the number of each run that judged it, and what it found."""
        found: dict[Case, Seen] = {}
        for at, run in enumerate(self.runs):
            for claim, judged in run.document.judged():
                found.setdefault((claim.id, judged.name), []).append((at, (claim, judged)))
        return found

    def by_series(self, seen: Seen) -> dict[str, Seen]:
        """What was found of one case by what its numbers can be compared with, see `Run.series`."""
        found: dict[str, Seen] = {}
        for at, each in seen:
            found.setdefault(self.runs[at].series, []).append((at, each))
        return found

    def turns(self) -> list[Turn]:
        """Every change of a verdict, and every effect outside the interval before it, in one series; in time."""
        found = []
        for (claim, setting), seen in self.cases().items():
            for (old, was), (new, now) in chain.from_iterable(map(pairwise, self.by_series(seen).values())):
                (_, before), (_, after) = was, now
                rest = self.runs[old], self.runs[new], measured_in_words(after)
                if before.shown != after.shown:
                    found.append((new, Turn("verdict", claim, setting, before.shown, after.shown, *rest)))
                if any(left_interval(was, now)):
                    found.append((new, Turn("effect", claim, setting, _effect(was), _effect(now), *rest)))
        return [turn for _, turn in sorted(found, key=lambda each: each[0])]


def _effect(found: Found) -> str:
    claim, judged = found
    low, high = ("?" if end is None else f"{end:.4g}" for end in judged.interval or (None, None))
    return f"{judged.effect:.4g} [{low}, {high}] {claim.unit}"


def read_history(folder: Path, tier: str | None = None, *, pilot: bool = False) -> History:
    """Every results file in ``folder``.

    Args:
        folder: with results files; other folders in it are not searched.
        tier: the runs to take; ``None`` where all are of one tier.
        pilot: take the runs of pilot seeds, and leave out those of verdicts; else the reverse. Both are told in
            ``History.skipped``.

    Raises:
        StoreError: the folder cannot be read, or holds no results file (of that tier).
        SpecError: the runs are of several tiers and none was named.
    """
    runs, skipped = [], []
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".json" and path.is_file())
    except OSError as error:
        raise StoreError(f"cannot read the folder {folder}: {error.strerror}; name one with results files") from error
    others = "which --pilot leaves out" if pilot else "which are shown with --pilot"
    for path in files:
        try:
            run = Run(path.name, read_results(path))
        except StoreError as error:
            skipped.append(str(error))
            continue
        if run.document.selection.pilot == pilot:
            runs.append(run)
        else:
            skipped.append(f"{path} is a run of {'verdict' if pilot else 'pilot'} seeds, {others}")
    tiers = sorted({run.document.tier for run in runs})
    if tier is None and len(tiers) > 1:
        raise SpecError(f"{folder} holds runs of the tiers {', '.join(tiers)}, which do not compare; name one, --tier")
    chosen = tier or (tiers[0] if tiers else "")
    kept = [run for run in runs if run.document.tier == chosen]
    if not kept:
        asked = f" of tier {tier}; it has {', '.join(tiers) or 'none'}" if tier else "; make one with lmc run"
        unread = f" ({len(skipped)} left out, the first: {skipped[0]})" if skipped else ""
        raise StoreError(f"{folder} holds no results file{asked}{unread}")
    kept.sort(key=lambda run: (run.document.started, run.file))
    return History(chosen, tuple(kept), tuple(skipped))
