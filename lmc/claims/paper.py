"""The paper's claims as data, and the figures, tables and theorems that they stand for."""

from __future__ import annotations

from dataclasses import dataclass

from lmc.claims.appendix import APPENDIX
from lmc.claims.claim import Claim
from lmc.claims.conditions import CONDITIONS
from lmc.claims.controls import CONTROLS, THEOREMS
from lmc.claims.extensions import EXTENSIONS
from lmc.claims.forecasts import FORECASTS
from lmc.claims.further_results import FURTHER_RESULTS
from lmc.claims.lewc import LEWC
from lmc.claims.merging import MERGING
from lmc.claims.other_decays import OTHER_DECAYS
from lmc.claims.other_nets import OTHER_NETS
from lmc.claims.packing import PACKING
from lmc.claims.permutations import PERMUTATIONS
from lmc.claims.placing import PLACING
from lmc.claims.sophia import SOPHIA
from lmc.claims.transformers import TRANSFORMERS
from lmc.claims.weak_decay import WEAK_DECAY
from lmc.claims.width import WIDTH

CLAIMS: tuple[Claim, ...] = (
    *CONTROLS,
    *WIDTH,
    *LEWC,
    *CONDITIONS,
    *WEAK_DECAY,
    *APPENDIX,
    *PERMUTATIONS,
    *FURTHER_RESULTS,
    *OTHER_DECAYS,
    *SOPHIA,
    *OTHER_NETS,
    *THEOREMS,
    *EXTENSIONS,
    *MERGING,
    *PLACING,
    *PACKING,
    *FORECASTS,
    *TRANSFORMERS,
)


@dataclass(frozen=True)
class Item:
    """A figure, table, theorem or conjecture of the paper.

    Args:
        name: as the paper calls it.
        about: what it shows, in a few words.
    """

    name: str
    about: str

    def encoded_by(self) -> list[Claim]:
        """The claims that stand for it, in paper order."""
        return [claim for claim in CLAIMS if self.name in claim.items]


ITEMS: tuple[Item, ...] = (
    Item("Conjecture 1.1", "wide nets are linearly connected after a permutation"),
    Item("Figure 1", "accuracy of merged models by width"),
    Item("Figure 2", "loss and calibrated loss by width"),
    Item("Table 1", "barriers with and without permutation"),
    Item("Figure 3", "LEWC cosine by layer and width"),
    Item("Theorem 5.3", "the two conditions imply LEWC"),
    Item("Figure 4", "weak additivity by layer and width"),
    Item("Theorem 5.4", "its level for Gaussian pre-activations"),
    Item("Figure 5", "second moments of pre-activations"),
    Item("Figure 6", "overlap of active neurons"),
    Item("Figure 7", "reciprocal orthogonality"),
    Item("Figure 8", "recovery of pre-activations"),
    Item("Figure 9", "barrier under weak decay"),
    Item("Figure 10", "the conditions under weak decay"),
    Item("Figure 11", "commutativity with and without permutation"),
    Item("Figure 12", "accuracy and loss along a random direction"),
    Item("Figure 13", "activations along a random direction"),
    Item("Figure 14", "activations of two trained models"),
    Item("Figure 15", "CIFAR-100"),
    Item("Figure 16", "accuracy after weight matching"),
    Item("Figure 17", "barrier with and without weight matching"),
    Item("Figure 18", "random permutations"),
    Item("Figure 19", "inverse temperature"),
    Item("Figure 20", "activation norms by depth"),
    Item("Figure 21", "second moments, every layer"),
    Item("Figure 22", "overlap after weight matching"),
    Item("Figure 23", "barrier against weight decay"),
    Item("Figure 24", "barrier with Sophia"),
    Item("Figure 25", "accuracy and loss with Sophia"),
    Item("Figure 26", "barrier with skips and BatchNorm"),
    Item("Figure 27", "orthogonality with skips and BatchNorm"),
)
"""Everything the paper reports, in its order."""
