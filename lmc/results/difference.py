"""What a comparison of two runs found, as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

WORSE, BETTER, MOVED = "worse", "better", "moved"

THRESHOLD = "threshold of"
"""How the name of a `Limit` begins that says a case is asked something else; its `place` follows."""

_NAMED = 3  # of a list of claims

Case = tuple[str, str]
"""A claim's id and a setting's name."""


@dataclass(frozen=True)
class Change:
    """One thing that differs between two runs.

    Args:
        what: ``"verdict"``, ``"effect"``, ``"seconds"`` of the run, or ``"training"`` of a recipe.
        claim: the claim's id, empty for times.
        setting: the setting's name, empty for run time.
        old: a verdict, an effect in the claim's unit, or seconds.
        new: the same, of the new run.
        direction: ``"worse"``, ``"better"``, or ``"moved"`` where neither can be said.
        detail: what else a reader needs.
        uncounted: why the change does not count as worse, else empty.
        by_models: whether other models explain it: they were asked the same, and their effects agree within the errors
            of both runs.
    """

    what: str
    claim: str
    setting: str
    old: str | float
    new: str | float
    direction: str
    detail: str = ""
    uncounted: str = ""
    by_models: bool = False

    @property
    def worse(self) -> bool:
        """Whether it counts."""
        return self.direction == WORSE and not self.uncounted

    def line(self) -> str:
        """The change as text."""
        old, new = (each if isinstance(each, str) else f"{each:.4g}" for each in (self.old, self.new))
        where = f"{self.claim} on {self.setting}: " if self.claim else self.setting and f"{self.setting}: "
        note = f" (not counted: {self.uncounted})" if self.uncounted else ""
        return f"{self.direction:<6}  {where}{old} -> {new}{self.detail and f'; {self.detail}'}{note}"


@dataclass(frozen=True)
class Limit:
    """Something that limits what a comparison says.

    Args:
        what: what differs.
        old: its value in the old run.
        new: its value in the new run.
        so: what can be compared nevertheless.
    """

    what: str
    old: str
    new: str
    so: str


@dataclass(frozen=True)
class Difference:
    """The outcome of `lmc.results.comparing.difference_between`.

    Args:
        old: one line about the old run.
        new: one line about the new run.
        compared: how many pairs of claim and setting both runs judge.
        changes: verdicts, effects, run time, training, in this order; each in paper order.
        only_old: (claim, setting) only in the old run; an empty setting stands for the whole claim.
        only_new: the same of the new run.
        limits: what limits the comparison.
        other_models: why the models of the two runs are not the same ones: facts of the machine, versions, seeds; empty
            where they are.
    """

    old: str
    new: str
    compared: int
    changes: tuple[Change, ...]
    only_old: tuple[Case, ...]
    only_new: tuple[Case, ...]
    limits: tuple[Limit, ...]
    other_models: tuple[str, ...] = ()

    @property
    def worse(self) -> bool:
        """Whether anything that counts got worse."""
        return any(change.worse for change in self.changes)

    def head(self) -> str:
        """One sentence: whether the models are the same, and how many verdicts changed, and why they may have."""
        changed = [change for change in self.changes if change.what == "verdict"]
        asked = {limit.what for limit in self.limits}
        otherwise = sum(f"{THRESHOLD} {place(each.claim, each.setting)}" in asked for each in changed)
        if self.other_models:
            models = f"other models ({', '.join(self.other_models)} differ), so numbers move as between seeds"
        else:
            models = "the same models, so what moved comes of the code or of what is asked"
        counts = f"{len(changed)} of {self.compared} verdicts changed"
        explained = sum(each.by_models for each in changed)
        counts += f", {explained} within the errors of both" if self.other_models and changed else ""
        where = f", {otherwise} where something else is asked" if otherwise else ""
        return f"{models}; {counts}{where}, {sum(each.worse for each in changed)} count as worse"

    def lines(self) -> list[str]:
        """The difference as text."""
        sections = {
            "limits:": [f"{each.what}: {each.old} -> {each.new}; {each.so}" for each in self.limits],
            "verdicts:": self._lines_of("verdict"),
            "effects outside the old run's 95 % interval:": self._lines_of("effect"),
            "verdicts that other models explain, within the errors of both runs:": self._lines_of(
                "verdict", by_models=True
            ),
            "effects that other models explain, within the errors of both runs:": self._lines_of(
                "effect", by_models=True
            ),
            "seconds:": self._lines_of("seconds"),
            "seconds of training:": self._lines_of("training"),
            "only in the old run:": _listed(self.only_old),
            "only in the new run:": _listed(self.only_new),
        }
        if not any(sections.values()):
            return [f"nothing differs in {self.compared} pairs of claim and setting"]
        lines = [
            self.head(),
            f"old: {self.old}",
            f"new: {self.new}",
            f"compared: {self.compared} pairs of claim and setting",
        ]
        for title, found in sections.items():
            lines += [title, *(f"  {line}" for line in found)] if found else []
        counted = sum(change.worse for change in self.changes)
        return [*lines, f"{counted} of {len(self.changes)} changes count as worse"]

    def _lines_of(self, what: str, *, by_models: bool = False) -> list[str]:
        return [change.line() for change in self.changes if change.what == what and change.by_models == by_models]

    def to_json(self) -> dict[str, Any]:
        """The difference, JSON-ready."""
        return {
            "worse": self.worse,
            "old": self.old,
            "new": self.new,
            "compared": self.compared,
            "changes": [{**asdict(change), "counted": change.worse} for change in self.changes],
            "only_old": [{"claim": claim, "setting": setting or None} for claim, setting in self.only_old],
            "only_new": [{"claim": claim, "setting": setting or None} for claim, setting in self.only_new],
            "other_models": list(self.other_models),
            "limits": [asdict(limit) for limit in self.limits],
        }


def _listed(cases: tuple[Case, ...]) -> list[str]:
    """Claims by setting, a line for each, with a few names of many."""
    by_setting: dict[str, list[str]] = {}
    for claim, setting in cases:
        by_setting.setdefault(setting, []).append(claim)
    return [
        f"{f'on {setting}' if setting else 'on every setting'}: {len(claims)} claim(s), {_few(claims)}"
        for setting, claims in by_setting.items()
    ]


def _few(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more (--json lists all)" if more > 0 else "")


def place(claim: str, setting: str) -> str:
    """A case as text; an empty setting stands for the whole claim."""
    return f"{claim} on {setting}" if setting else claim
