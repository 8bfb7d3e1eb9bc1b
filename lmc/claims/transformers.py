"""Small vision transformers, which the paper does not have: an open question, asked of all models without permutation.

An average scales a residual stream by λ and what a branch of two layers adds to it by λ²; a sum keeps both. LayerNorm
divides by the norm over all channels, of all models together.
"""

from __future__ import annotations

from lmc.claims.claim import NOTICEABLE, Claim
from lmc.claims.comparisons import Contrast
from lmc.claims.expectations import Trend
from lmc.claims.extracts import merge_barrier
from lmc.claims.null import Null
from lmc.claims.studies import Arm, merged, study
from lmc.claims.verdicts import FOUND_HERE

_REF = "§6 (transformers)"


def _lost(rule: str, label: str, *, family: str = "strong", order: str = "unpermuted") -> Arm:
    """Accuracy that neighbours lose when they are merged."""
    return Arm(merge_barrier("accuracy"), family, merged(rule, order, few=True), label)


TRANSFORMERS: tuple[Claim, ...] = (
    Claim(
        id="vit-sums-lose-less-than-means",
        role=FOUND_HERE,
        ref=_REF,
        statement="Summed, transformers lose less accuracy than averaged, on average over the widths.",
        unit="share",
        study=study(_lost("mean", "mean"), _lost("sum", "sum")),
        expect=Contrast("mean", "sum", by=0.1),
        null=Null("Both rules merge alike.", {"mean": 0.5, "sum": 0.5}),
        why="What Fig. 1 is asked for along all widths.",
        history="Pilots of one pair each: near chance by averages at every width, 0.21 to 0.62 by sums.",
        kinds=("vit",),
        core=False,
    ),
    Claim(
        id="vit-sums-lose-less-with-width",
        role=FOUND_HERE,
        ref=_REF,
        statement="The accuracy that summed transformers lose falls as they widen.",
        unit="share",
        study=study(_lost("sum", "sum")),
        expect=Trend(increasing=False, by=0.1),
        null=Null("Width does not matter.", 0.4),
        why="What Fig. 1 is asked for.",
        history="Pilots of one pair each: 0.21, 0.50, 0.36 and 0.36 lost at four widths.",
        kinds=("vit",),
        core=False,
    ),
    Claim(
        id="vit-sums-lose-less-under-strong-decay",
        role=FOUND_HERE,
        ref=_REF,
        statement="Under strong decay summed transformers lose less accuracy than under weak decay.",
        unit="share",
        study=study(_lost("sum", "weak", family="weak"), _lost("sum", "strong")),
        expect=Contrast("weak", "strong", by=NOTICEABLE),
        null=Null("Decay does not matter.", {"weak": 0.4, "strong": 0.4}),
        why="What counts as an effect, as in §5.4.",
        kinds=("vit",),
        core=False,
    ),
    Claim(
        id="vit-complementary-order-sums-better",
        role=FOUND_HERE,
        ref=_REF,
        statement="At the largest width summed transformers lose less accuracy in a complementary order, of heads "
        "and hidden units, than unpermuted.",
        unit="share",
        study=study(
            _lost("sum", "unpermuted"),
            _lost("sum", "complementary", order="complementary"),
            widest=True,
        ),
        expect=Contrast("unpermuted", "complementary", by=NOTICEABLE),
        null=Null("Any order will do.", {"unpermuted": 0.4, "complementary": 0.4}),
        why="What counts as an effect.",
        kinds=("vit",),
        core=False,
    ),
)
