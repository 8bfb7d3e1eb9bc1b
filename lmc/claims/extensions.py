"""What the paper does not report but its theory says: more than two models, and a law for the barrier.

Averages of more than two are of bias-free models, as the theorem asks: the merge shrinks a layer's output by
k^-ℓ but its bias only by 1/k, so that with biases eight models' average answers with little but its biases.
"""

from __future__ import annotations

from lmc.claims.claim import NEARLY_ZERO, Claim
from lmc.claims.comparisons import Ordered
from lmc.claims.expectations import Trend
from lmc.claims.extracts import merged_accuracy, merged_accuracy_loss, merged_last_lewc, merged_lewc
from lmc.claims.null import Null
from lmc.claims.path_extracts import barrier_of_chance
from lmc.claims.scaling import PowerLaw
from lmc.claims.studies import Arm, merges, over_pairs, study
from lmc.claims.verdicts import FOUND_HERE

_TWO, _FOUR = merges(models=2), merges(models=4)
_UNEQUAL = merges(0.5, 0.3, 0.2)
_SIZES = range(2, 9)


def _named(models: int) -> str:
    return f"{models} models"


EXTENSIONS: tuple[Claim, ...] = (
    Claim(
        id="kmodels-follow-lambda-law",
        role=FOUND_HERE,
        ref="Thm. 5.3 for k models",
        items=("Theorem 5.3",),
        statement="The logits of 2, 3 or 4 averaged bias-free MLPs near Σ λ_i^L f_L(θ_i) with width.",
        unit="cosine",
        study=study(*(Arm(merged_lewc, "many", sample) for sample in (_TWO, _UNEQUAL, _FOUR))),
        expect=Trend(increasing=True, by=0.05),
        null=Null("Narrow models: the same cosine at every width.", 0.4),
        why="The theorem gives the limit 1, not a rate; two models rise by 0.2 (Fig. 3).",
        kinds=("mlp",),
        core=False,
    ),
    Claim(
        id="kmodels-accuracy-rises-with-width",
        role=FOUND_HERE,
        ref="Thm. 5.3 for k models",
        items=("Theorem 5.3",),
        statement="The accuracy of 2 or 4 averaged bias-free MLPs rises with width.",
        unit="share",
        study=study(*(Arm(merged_accuracy, "many", sample) for sample in (_TWO, _FOUR))),
        expect=Trend(increasing=True, by=0.05),
        null=Null("Narrow models: the same accuracy at every width.", 0.5),
        why="Half of what is asked of two models (Fig. 1): with more models the transition comes at larger widths.",
        kinds=("mlp",),
        core=False,
    ),
    Claim(
        id="kmodels-merge-worse-than-two",
        role=FOUND_HERE,
        ref="Thm. 5.3 for k models",
        items=("Theorem 5.3",),
        statement="At a given width models lose more accuracy by averaging the more there are, from two to eight.",
        unit="share",
        study=study(*(Arm(merged_accuracy_loss, "crowd", merges(models=k), _named(k)) for k in _SIZES)),
        expect=Ordered(tuple(map(_named, _SIZES)), by=0.05),
        null=Null("The loss does not depend on how many models there are.", 0.5),
        why="k models share the width that two need for themselves.",
        kinds=("mlp",),
        core=False,
    ),
    Claim(
        id="kmodels-law-loosens-with-k",
        role=FOUND_HERE,
        ref="Thm. 5.3 for k models",
        items=("Theorem 5.3",),
        statement="At a given width averages are farther from Σ λ_i^L f_L(θ_i) the more models there are.",
        unit="cosine",
        study=study(*(Arm(merged_last_lewc, "crowd", merges(models=k), _named(k)) for k in _SIZES)),
        expect=Ordered(tuple(map(_named, reversed(_SIZES))), by=0.05),
        null=Null("The cosine does not depend on how many models there are.", 0.5),
        why="k models share the width that two need for themselves. The bound of the accuracy.",
        kinds=("mlp",),
        core=False,
    ),
    Claim(
        id="scaling-barrier-power-law",
        role=FOUND_HERE,
        ref="Fig. 2(b) (extension)",
        statement="The calibrated barrier falls at least as fast as the fourth root of the width.",
        unit="exponent",
        study=over_pairs(barrier_of_chance()),
        expect=PowerLaw(exponent=0.25, tolerance=NEARLY_ZERO),
        null=Null("Narrow models: the same barrier at every width.", 0.4),
        why="Sixteen times the width should at least halve the barrier. Whether it falls as a power of the width is "
        "tested too and said, but no verdict hangs on three widths.",
        core=False,
    ),
)
