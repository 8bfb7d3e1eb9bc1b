"""The claims of Section 3 (width and barrier), in paper order."""

from __future__ import annotations

from lmc.claims.claim import Claim
from lmc.claims.equivalence import NonInferior
from lmc.claims.expectations import Level, Trend
from lmc.claims.extracts import barrier, left_by_calibration, midpoint
from lmc.claims.null import Null
from lmc.claims.studies import over_aligned, over_pairs
from lmc.claims.verdicts import CHECK

WIDTH: tuple[Claim, ...] = (
    Claim(
        id="fig1-accuracy-rises-with-width",
        ref="§3.1, Fig. 1",
        items=("Figure 1",),
        statement="Without permutation, the merged model's accuracy rises as the models widen.",
        unit="share",
        study=over_pairs(midpoint("accuracy")),
        expect=Trend(increasing=True, by=0.1),
        null=Null("Narrow models, merged at every width: three in ten right.", 0.3),
        why="0.1 is well above the spread between pairs at the widest.",
        history="Pilots: up by 0.3 to 0.6.",
    ),
    Claim(
        id="fig1-accuracy-reaches-endpoints",
        ref="§3.1, Fig. 1",
        items=("Figure 1",),
        statement="At the largest width the merged model is about as accurate as the models it was made of.",
        unit="share",
        study=over_pairs(barrier("accuracy")),
        expect=Level(below=0.07),
        null=Null("Narrow models lose 0.3 of accuracy or more by merging.", 0.3),
        why="Seven points of accuracy, against 30 to 65 at the narrowest.",
        history="Pilots: 0.006 to 0.04.",
    ),
    Claim(
        id="fig2a-calibration-removes-the-barrier",
        ref="§3.1, Fig. 2(a)",
        items=("Figure 2",),
        statement="At the largest width, calibration removes more than half of the raw loss barrier (the calibrated "
        "one less half of the raw one is negative).",
        unit="nats",
        study=over_pairs(left_by_calibration),
        expect=Level(below=0.0),
        null=Null("Narrow models, whose merge is bad with and without calibration: 1.4 nats, and 1.4 left.", 0.7),
        why="Half: what is left is then less than what was a matter of the scale of the logits alone. An uncalibrated "
        "loss that stays above the endpoints' is seen at every width, and says nothing by itself.",
        history="Took the place of fig2a-uncalibrated-loss-stays-above, which held for narrow models too.",
    ),
    Claim(
        id="fig2b-calibrated-barrier-falls-with-width",
        ref="§3.1, Fig. 2(b)",
        items=("Figure 2",),
        statement="Without permutation, the calibrated loss barrier falls as the models widen.",
        unit="nats",
        study=over_pairs(barrier("calibrated_loss")),
        expect=Trend(increasing=False, by=0.3),
        null=Null("Narrow models: a barrier of one nat at every width.", 1.0),
        why="What counts as a barrier of narrow models.",
        history="Pilots: down by 0.9 to 1.5.",
    ),
    Claim(
        id="fig2b-calibrated-barrier-approaches-zero",
        ref="§3.1, Fig. 2(b)",
        items=("Figure 2",),
        statement="At the largest width the calibrated loss barrier is close to zero.",
        unit="nats",
        study=over_pairs(barrier("calibrated_loss")),
        expect=Level(below=0.2),
        null=Null("Narrow models: a barrier of one nat.", 1.0),
        why="A fifth or less of the narrow barrier, and a tenth of chance level ln 10.",
        history="Pilots: 0.02 to 0.11.",
    ),
    Claim(
        id="table1-permutation-is-not-needed",
        role=CHECK,
        ref="§3.1, Table 1",
        items=("Table 1",),
        statement="At the largest width models merge about as well without permutation as after weight matching.",
        unit="nats",
        study=over_aligned(barrier("calibrated_loss"), "unpermuted", "matching", widest=True),
        expect=NonInferior("unpermuted", "matching", margin=0.2),
        null=Null("Narrow models, which matching helps by half a nat or more.", {"unpermuted": 1.0, "matching": 0.5}),
        why="What counts as close to zero for Fig. 2(b).",
        core=False,
    ),
    Claim(
        id="sec3.2-random-permutations-do-no-harm",
        role=CHECK,
        ref="§3.2, F.4, Fig. 18(a)",
        items=("Figure 18",),
        statement="At the largest width models permuted at random merge as accurately as they are.",
        unit="share",
        study=over_aligned(barrier("accuracy"), "random", widest=True),
        expect=Level(below=0.07),
        null=Null("Narrow models lose 0.3 of accuracy or more by merging.", 0.3),
        why="The bound of Fig. 1.",
        core=False,
    ),
)
