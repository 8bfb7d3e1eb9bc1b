"""What a results file holds: one definition, for whoever writes, reads, draws or compares it.

Observations and evidence are rounded to six digits, effects, intervals and p-values are not; text is made of them where
it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct, field

from lmc.claims.asked import Asked
from lmc.claims.verdicts import FAILS, FAILS_BY_CHANCE, FAILS_EXPLAINED, Role, Verdict
from lmc.results.recorded import Evidence
from lmc.results.scalars import Count, NonNegative, Number, Positive, Scalar, Seeds, Text

SCHEMA = "lmc-results/5"


class Value(Struct, frozen=True, omit_defaults=True):
    """One observation of a claim; what rests on no model has width 0 and no seeds."""

    width: NonNegative
    seeds: Seeds
    value: Number | None
    part: Text = ""
    group: Text = ""
    independent: bool = True
    draw: Count = 0
    error: NonNegative = 0.0


class Explained(Struct, frozen=True):
    """Why a claim is known to fail on a setting, see `lmc.claims.explanation`; empty where not known or not run."""

    why: Text
    refuted_by: Text = ""
    result: Text = ""


class Judged(Struct, frozen=True):
    """A claim judged on one setting.

    Args:
        name: of the setting.
        verdict: on it.
        reason: the numbers behind it, in words; without the part, see `lmc.results.wording.measured_in_words`.
        part: the layer, or other part, that decided; empty where the values have none, or where their mean decided.
        mean_of: how many parts the effect is the mean of; 0 where it is of one.
        effect: in the claim's unit.
        interval: 95 % interval of the effect.
        p_value: of the hypothesis that the effect is not what was asked.
        asked: what the effect had to reach; ``None`` where nothing was judged.
        values: the observations.
        kind: of the setting's networks, see `lmc.results.recorded.Family`; empty where nothing was trained for it.
        p_contrary: of the hypothesis that the effect is what was asked; ``None`` where nothing is random.
        explained: why it is known to fail there, if it is.
        predicted: the chance of being inconclusive that an earlier run gave it; ``None`` where there was none.
        by_chance: whether it fails as some of so many cases do by chance, see `lmc.results.chances`.
    """

    name: Text
    verdict: Verdict
    reason: Text
    part: Text
    mean_of: Count
    effect: Number | None
    interval: tuple[Number | None, Number | None] | None
    p_value: Number | None
    asked: Asked | None
    values: tuple[Value, ...]
    kind: Text = ""
    p_contrary: Number | None = None
    explained: Explained | None = None
    predicted: Number | None = None
    by_chance: bool = False

    @property
    def shown(self) -> str:
        """The verdict; of a failure also that it is explained, or else that it is not beyond chance."""
        fails = FAILS_EXPLAINED if self.explained else FAILS_BY_CHANCE if self.by_chance else FAILS
        return fails if self.verdict == FAILS else self.verdict


class Claim(Struct, frozen=True):
    """A claim with its verdicts.

    Args:
        id: unique and stable.
        ref: where the paper says it.
        items: the paper's figures, tables and theorems that it stands for, see `lmc.claims.paper.ITEMS`.
        statement: what it says.
        verdict: the worst of its settings'.
        unit: of the values.
        why: the reason for its bound.
        history: what it was before, and what had been seen then.
        settings: where it was judged.
        null: what would be measured if there were nothing in it.
        role: what the claim is, see `lmc.claims.verdicts.ROLES`.
    """

    id: Text
    ref: Text
    items: tuple[Text, ...]
    statement: Text
    verdict: Verdict
    unit: Text
    why: Text
    history: Text
    settings: Annotated[tuple[Judged, ...], Meta(min_length=1)]
    null: Text = ""
    role: Role = "claim"


Found = tuple[Claim, Judged]
"""A claim, and what was found on one of its settings."""


class Selection(Struct, frozen=True, kw_only=True):
    """What a run was asked to judge; ``None`` or empty where it was not restricted.

    Args:
        pilot: whether on the seeds that bounds are chosen on.
        claims: only those whose id contains one of these.
        extra_claims: somebody else's, that were judged besides, as ``package.module:NAME``.
        setting: only these settings of the tier.
        role: only these families beside the strong one.
        arch: only this kind of network.
        dataset: only this.
        max_width: no model wider than this.
        precision: of all models.
    """

    pilot: bool = False
    claims: tuple[Text, ...] = ()
    extra_claims: tuple[Text, ...] = ()
    setting: tuple[Text, ...] = ()
    role: tuple[Text, ...] = ()
    arch: Text | None = None
    dataset: Text | None = None
    max_width: Positive | None = None
    precision: Text | None = None


class MadeCounts(Struct, frozen=True):
    """How many models a run trained and how many measurements it made; none where all was stored."""

    models: Count = 0
    measurements: Count = 0


class Document(Struct, frozen=True, kw_only=True):
    """One run.

    Args:
        schema: see ``SCHEMA``.
        tier: its name.
        started: ISO 8601 time in UTC.
        seconds: duration, training and measuring included.
        commit: of the code.
        machine: facts of it, see `lmc.commands.machine.machine_facts`.
        versions: of Python and packages.
        made: see `MadeCounts`.
        selection: see `Selection`.
        claims: in paper order.
        evidence: see `lmc.results.recorded.Evidence`.
    """

    schema: Text = SCHEMA
    tier: Text
    started: Text
    seconds: NonNegative
    commit: Text
    machine: dict[Text, Scalar]
    versions: dict[Text, Text]
    made: MadeCounts = field(default_factory=MadeCounts)
    selection: Selection = field(default_factory=Selection)
    claims: tuple[Claim, ...]
    evidence: Evidence

    def judged(self) -> Iterator[Found]:
        """Every claim on every setting, in paper order."""
        return ((claim, each) for claim in self.claims for each in claim.settings)
