"""The paper's claims as data, and which of them stands for each of its figures, tables and theorems."""

from __future__ import annotations

from dataclasses import dataclass

from lmc.claims.appendix import APPENDIX
from lmc.claims.claim import Claim
from lmc.claims.controls import CONTROLS, THEOREMS
from lmc.claims.extensions import EXTENSIONS
from lmc.claims.further_results import FURTHER_RESULTS
from lmc.claims.main_text import MAIN_TEXT

CLAIMS: tuple[Claim, ...] = (*CONTROLS, *MAIN_TEXT, *APPENDIX, *FURTHER_RESULTS, *THEOREMS, *EXTENSIONS)


@dataclass(frozen=True)
class Item:
    """A figure, table, theorem or conjecture of the paper.

    Args:
        name: as the paper calls it.
        about: what it shows, in a few words.
        claims: prefixes of the ids of the claims that stand for it.
    """

    name: str
    about: str
    claims: tuple[str, ...]

    def encoded_by(self) -> list[Claim]:
        """The claims that stand for it, in paper order."""
        return [claim for claim in CLAIMS if claim.id.startswith(self.claims)]


ITEMS: tuple[Item, ...] = (
    Item("Conjecture 1.1", "wide nets are linearly connected after a permutation", ("fig16-", "fig17-")),
    Item("Figure 1", "accuracy of merged models by width", ("fig1-", "control-narrow")),
    Item("Figure 2", "loss and calibrated loss by width", ("fig2a", "fig2b")),
    Item("Table 1", "barriers with and without permutation", ("table1",)),
    Item("Figure 3", "LEWC cosine by layer and width", ("fig3-",)),
    Item("Theorem 5.3", "the two conditions imply LEWC", ("thm5.3", "kmodels", "lewc-inverse")),
    Item("Figure 4", "weak additivity by layer and width", ("fig4-",)),
    Item("Theorem 5.4", "its level for Gaussian pre-activations", ("thm5.4", "fig4-additivity-exceeds")),
    Item("Figure 5", "second moments of pre-activations", ("fig5-", "sec5.2")),
    Item("Figure 6", "overlap of active neurons", ("fig6-",)),
    Item("Figure 7", "reciprocal orthogonality", ("fig7-",)),
    Item("Figure 8", "recovery of pre-activations", ("fig8-",)),
    Item("Figure 9", "barrier under weak decay", ("fig9-", "sec5.4")),
    Item("Figure 10", "the conditions under weak decay", ("fig10",)),
    Item("Figure 11", "commutativity with and without permutation", ("fig11", "appC")),
    Item("Figure 12", "accuracy and loss along a random direction", ("fig12-", "appD")),
    Item("Figure 13", "activations along a random direction", ("fig13-",)),
    Item("Figure 14", "activations of two trained models", ("fig14-",)),
    Item("Figure 15", "CIFAR-100", ("fig15-",)),
    Item("Figure 16", "accuracy after weight matching", ("fig16-",)),
    Item("Figure 17", "barrier with and without weight matching", ("fig17-",)),
    Item("Figure 18", "random permutations", ("sec3.2", "fig18")),
    Item("Figure 19", "inverse temperature", ("fig19-", "lewc-inverse")),
    Item("Figure 20", "activation norms by depth", ("fig20-",)),
    Item("Figure 21", "second moments, every layer", ("fig21-",)),
    Item("Figure 22", "overlap after weight matching", ("fig22-",)),
    Item("Figure 23", "barrier against weight decay", ("fig23-",)),
    Item("Figure 24", "barrier with Sophia", ("fig24-",)),
    Item("Figure 25", "accuracy and loss with Sophia", ("fig25-",)),
    Item("Figure 26", "barrier with skips and BatchNorm", ("fig26-",)),
    Item("Figure 27", "orthogonality with skips and BatchNorm", ("fig27-",)),
)
"""Everything the paper reports, in its order."""
