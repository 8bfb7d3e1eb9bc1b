"""The committed results, by tier, that tables, pages and pictures are made of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from lmc.claims.verdicts import INVALID, NOT_RUN
from lmc.datasets import size_of
from lmc.results.checking import judged_again
from lmc.results.document import Claim, Document, Found, Judged
from lmc.results.file import read_results
from lmc.tiers import load_tier

ROOT = Path(__file__).resolve().parents[1]
BASELINES = ROOT / "benchmarks" / "baselines"
RUNS = {
    "quick": "quick-cpu.*",
    "preview": "preview-cpu.*",
    "standard": "standard-mlp-cpu.*",
    "laptop": "laptop-*",
    "vit": "vit-*",
}
"""By tier, the files of `BASELINES` that its verdicts are taken from: one, or one for each part of the tier."""


@dataclass(frozen=True, eq=False)
class Run:
    """What is committed of a tier.

    Args:
        tier: its name.
        files: in the order of their names.
        documents: what they hold.
    """

    tier: str
    files: tuple[Path, ...]
    documents: tuple[Document, ...]

    @cached_property
    def found(self) -> dict[tuple[str, str], Found]:
        """Every case by claim and setting; of parts that both name it, one that has run it.

        Left out are verdicts that are not today's: of claims that were asked something else, or in another unit, and
        those that today's statistics do not give again.
        """
        cases: dict[tuple[str, str], Found] = {}
        for document in self.documents:
            for claim, judged in document.judged():
                key = claim.id, judged.name
                if judged.verdict not in (NOT_RUN, INVALID) and not _stands(claim, judged):
                    continue
                if key not in cases or cases[key][1].verdict == NOT_RUN:
                    cases[key] = claim, judged
        return cases

    def of_claim(self, claim_id: str) -> list[Found]:
        """A claim's cases."""
        return [found for (name, _), found in self.found.items() if name == claim_id]

    @property
    def settings(self) -> list[str]:
        """The tier's settings that something was judged on, as the tier orders them."""
        judged = {name for (_, name), (_, case) in self.found.items() if case.verdict != NOT_RUN}
        return [each.name for each in load_tier(self.tier).settings if each.name in judged]

    def chance(self, setting: str) -> float:
        """The loss of chance there, in nats: ln of the number of classes."""
        (recipe,) = (each.families["strong"].recipe for each in load_tier(self.tier).settings if each.name == setting)
        return math.log(size_of(recipe.dataset, recipe.classes).classes)


def _stands(claim: Claim, judged: Judged) -> bool:
    again = judged_again(claim, judged)
    return again is not None and again.verdict == judged.verdict


@cache
def committed(folder: Path = BASELINES) -> dict[str, Run]:
    """The tiers that something is committed of."""
    return dict(_runs(folder))


def _runs(folder: Path) -> Iterator[tuple[str, Run]]:
    for tier, pattern in RUNS.items():
        if files := tuple(sorted(folder.glob(pattern))):
            yield tier, Run(tier, files, tuple(map(read_results, files)))
