"""A claim is data: what is said, where, what is measured for it, and what it expects of the numbers.

Most bounds were chosen from pilots of earlier recipes, before the models of today's verdicts were trained; a claim's
``history`` says what had been seen. ``benchmarks/baselines/pilot-quick-cpu.json`` holds pilots of today's recipes.
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

NOTICEABLE = 0.01
"""The least change of a share or cosine that counts as an effect where the paper claims no more than a direction.

History: any change in the direction counted, until every recorded one was larger (0.014 at least, mostly above 0.1).
"""

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
    """What a claim asks of a tier that is too small for the paper's own strength, see `lmc.tiers.Tier.small`.

    Args:
        statement: says how much less that is: a direction, or a wider bound.
        expect: the test the numbers must pass.
        why: the reason for the bound.
    """

    statement: str
    expect: Expectation
    why: str


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
        if self.small is None or not tier.small:
            return self
        return dataclasses.replace(
            self, statement=self.small.statement, expect=self.small.expect, why=self.small.why, small=None
        )
