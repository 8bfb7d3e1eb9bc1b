"""What this suite found of merging: sums, complementary permutations, and what they say of the two conditions.

Targets were set before fresh seeds were trained, from a pilot on other models, whose numbers stand in ``history``.
"""

from __future__ import annotations

from lmc.claims.claim import NOTICEABLE, Claim
from lmc.claims.comparisons import Contrast
from lmc.claims.expectations import Level
from lmc.claims.extracts import barrier, foreign_share, layers, merge_barrier
from lmc.claims.null import Null
from lmc.claims.studies import Arm, merged, over_aligned, study
from lmc.claims.verdicts import FOUND_HERE

_SUM = merged("sum", "complementary")
_AVERAGE = merged("mean", "matching")
_PACKED = ("complementary", "unpermuted")

MERGING: tuple[Claim, ...] = (
    Claim(
        id="sum-needs-no-temperature",
        role=FOUND_HERE,
        ref="§6 (rescaling)",
        statement="At the largest width two models, one in complementary order, sum to one whose loss is theirs, with "
        "no inverse temperature.",
        unit="nats",
        study=study(Arm(merge_barrier("loss"), sample=_SUM), widest=True),
        expect=Level(below=0.02),
        null=Null("Averages of the same models: half a nat or more.", 0.5),
        why="A hundredth of chance level, ln 10.",
        history="Pilots: 0.005 for the MLP, -0.06 for VGG, -0.05 for ResNet; their averages 0.5 to 1.4.",
        core=False,
    ),
    Claim(
        id="sum-keeps-the-accuracy",
        role=FOUND_HERE,
        ref="§6 (rescaling)",
        statement="At the largest width such a sum loses at most one point of accuracy.",
        unit="share",
        study=study(Arm(merge_barrier("accuracy"), sample=_SUM), widest=True),
        expect=Level(below=0.01),
        null=Null("Averages of the same models: three points.", 0.03),
        why="One image in a hundred.",
        core=False,
    ),
    Claim(
        id="sum-beats-matching-where-nets-are-sparse",
        role=FOUND_HERE,
        ref="§6 (permutation search)",
        statement="At the largest width the raw barrier of such a sum is below the calibrated one after matching.",
        unit="nats",
        study=study(
            Arm(merge_barrier("calibrated_loss"), sample=_AVERAGE, label="matching"),
            Arm(merge_barrier("loss"), sample=_SUM, label="complementary"),
            widest=True,
        ),
        expect=Contrast("matching", "complementary", by=NOTICEABLE),
        null=Null("Both orders merge alike.", {"matching": 0.1, "complementary": 0.1}),
        why="What counts as an effect; the sum has no β fitted for it, and no label was seen.",
        history="Pilots: VGG -0.06 against 0.10, ResNet -0.04 against 0.02.",
        kinds=("vgg", "resnet"),
        core=False,
    ),
    Claim(
        id="dense-nets-gain-nothing",
        role=FOUND_HERE,
        ref="§5.4",
        statement="Under weak decay the sum has the larger barrier after a complementary permutation than after weight "
        "matching.",
        unit="nats",
        study=study(
            Arm(merge_barrier("loss"), "weak", _SUM, "complementary"),
            Arm(merge_barrier("loss"), "weak", merged("sum", "matching"), "matching"),
            widest=True,
        ),
        expect=Contrast("complementary", "matching", by=NOTICEABLE),
        null=Null("Both orders merge alike.", {"matching": 0.1, "complementary": 0.1}),
        why="What counts as an effect: nets that use all of their width have no room for a second one.",
        history="Pilots: VGG 0.13 against 0.01, ResNet 0.24 against 0.04.",
        kinds=("vgg", "resnet"),
        core=False,
    ),
    Claim(
        id="matching-harms-sparse-nets",
        role=FOUND_HERE,
        ref="F.3",
        statement="Weight matching raises the calibrated barrier of wide, strongly decayed VGGs.",
        unit="nats",
        study=over_aligned(barrier("calibrated_loss"), "matching", "unpermuted", widest=True),
        expect=Contrast("matching", "unpermuted", by=NOTICEABLE),
        null=Null("Matching does nothing.", {"matching": 0.1, "unpermuted": 0.1}),
        why="What counts as an effect. Matching makes the models' active channels collide, without making them equal.",
        history="Four sets of seeds: 0.05, 0.12, 0.19 and 0.16 more.",
        kinds=("vgg",),
        core=False,
    ),
    Claim(
        id="complementary-order-raises-lewc",
        role=FOUND_HERE,
        ref="§5 (intervention)",
        statement="A complementary permutation raises the LEWC cosine, on average over the layers beyond the first.",
        unit="cosine",
        study=over_aligned(layers("outputs", "lewc_cosine", skip=1), *_PACKED, widest=True),
        expect=Contrast(*_PACKED, by=NOTICEABLE, pooled=True),
        null=Null("Any order will do.", dict.fromkeys(_PACKED, 0.9)),
        why="What counts as an effect. The paper has correlations; this changes nothing but the order of units.",
        core=False,
    ),
    Claim(
        id="complementary-order-makes-models-orthogonal",
        role=FOUND_HERE,
        ref="§5.3 (intervention)",
        statement="A complementary permutation lowers the share of foreign responses, on average over the layers.",
        unit="share",
        study=over_aligned(foreign_share, "unpermuted", "complementary", widest=True),
        expect=Contrast("unpermuted", "complementary", by=NOTICEABLE, pooled=True),
        null=Null("Any order will do.", dict.fromkeys(_PACKED, 0.2)),
        why="What counts as an effect.",
        core=False,
    ),
)
