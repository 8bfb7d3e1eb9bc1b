"""A claim is data: what is said, where, what is measured for it, and what it expects of the numbers.

Bounds come from the paper's words, theory or a claim's null. A pilot says only whether a design can reach them; a
claim's ``history`` says what had been seen when its bound was set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lmc.claims.explanation import Explanation
from lmc.claims.null import Null
from lmc.claims.parts import Expectation
from lmc.claims.statistics import Observation
from lmc.claims.verdicts import CLAIM, Role
from lmc.measuring.measurements import Measurement
from lmc.tiers import Setting, Tier

CHANCE = "share of ln C"
"""The unit of a loss barrier, the loss of chance on C classes, so that bounds mean the same for two classes and for a
hundred."""

NOTICEABLE = 0.01
"""The least change, in the claim's unit, that counts as an effect where the paper claims no more than a direction.

History: any change in the direction counted, until every recorded one was larger (0.014 at least, mostly above 0.1).
Barriers had bounds of their own, in nats.
"""

NEARLY_ZERO = 0.02
"""The largest barrier, as a share of ln C, that counts as "nearly zero", as the paper has it at its widest nets."""

ONSET = 0.1
"""The largest barrier, as a share of ln C, with which a small tier counts as past the onset of merging."""

SEEN = (
    "Set from the paper's words, theory or the null alone, but not blindly: verdicts on seeds 120 to 143 and pilots "
    "had been seen, under earlier bounds."
)
"""What to say of the bounds of today in a ``history``."""

Records = Mapping[str, dict[str, Any]]
"""Measured records by measurement key."""


@dataclass(frozen=True)
class Study:
    """Where a claim's numbers come from; it returns numbers and never judges.

    Args:
        needs: the measurements of a setting it reads.
        observe: the numbers, from the finished measurements.
        groups: families the setting must have.
    """

    needs: Callable[[Setting], Sequence[Measurement]]
    observe: Callable[[Setting, Records], list[Observation]]
    groups: tuple[str, ...] = ("strong",)


@dataclass(frozen=True)
class Small:
    """What a claim asks of a tier that is too small for the paper's own strength, see `lmc.tiers.families.Tier`.

    Args:
        statement: says how much less that is: a direction, or a wider bound.
        expect: the test the numbers must pass.
        why: the reason for the bound.
        study: where the numbers come from, if they are others.
        null: what they would be if there were nothing in it, if that is another.
    """

    statement: str
    expect: Expectation
    why: str
    study: Study | None = None
    null: Null | None = None


@dataclass(frozen=True)
class Claim:
    """One statement of the paper (or a control) as a testable expectation.

    Args:
        id: unique and stable; a name, nothing is read from it.
        ref: where the paper says it.
        statement: what it says, in one sentence.
        unit: of the values.
        study: where the numbers come from.
        expect: the test they must pass.
        null: what would be measured if there were nothing in it; it must not hold there.
        why: the reason for the bound.
        items: names of the paper's items that it stands for, see `lmc.claims.paper.ITEMS`; empty where it is beyond
            the paper.
        history: what the bound was before, and what had been seen of the numbers when it was chosen.
        kinds: architectures the paper claims it for; empty where no model is needed.
        dataset: the one dataset it is about; empty for any.
        explanations: setting name to the reason why it is known to fail there.
        role: a claim of the paper, a check of what follows from a symmetry or another bound, or found here.
        core: whether it belongs to the paper's core claims.
        wide: whether it speaks of wide models, see `lmc.tiers.families.Setting`.
        small: what it asks of a small tier; ``None`` where it asks the same of all.
    """

    id: str
    ref: str
    statement: str
    unit: str
    study: Study
    expect: Expectation
    null: Null
    why: str
    items: tuple[str, ...] = ()
    history: str = ""
    kinds: tuple[str, ...] = ("mlp", "vgg", "resnet")
    dataset: str = ""
    explanations: Mapping[str, Explanation] = field(default_factory=dict)
    role: Role = CLAIM
    core: bool = True
    wide: bool = True
    small: Small | None = None

    def asked_of(self, tier: Tier) -> Claim:
        """The claim as it is judged at ``tier``."""
        return self.at_small_strength() if tier.small else self

    def at_small_strength(self) -> Claim:
        """The claim as it is judged at a small tier."""
        if self.small is None:
            return self
        return dataclasses.replace(
            self,
            statement=self.small.statement,
            expect=self.small.expect,
            why=self.small.why,
            study=self.small.study or self.study,
            null=self.small.null or self.null,
            small=None,
        )
