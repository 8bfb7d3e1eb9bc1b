"""The claims of Appendix F.9 to F.11 (other decay, Sophia, skip connections, BatchNorm), in paper order."""

from __future__ import annotations

from lmc.claims.claim import Claim
from lmc.claims.comparisons import Contrast, Ordered
from lmc.claims.equivalence import Similar
from lmc.claims.expectations import Trend
from lmc.claims.explanation import Experiment, Explanation
from lmc.claims.extracts import barrier, endpoint, foreign_share
from lmc.claims.null import Null
from lmc.claims.studies import over_pairs
from lmc.claims.weak_decay import SIX_DECAYS, THRICE_THE_MODELS

_SOPHIA_AS_TRAINED_BY_ADAM = Experiment(
    "Sophia at the first-order learning rate, with coupled decay, and with decay over the same horizon: a barrier that "
    "does not fall with width then either refutes it."
)

OTHER_RECIPES: tuple[Claim, ...] = (
    Claim(
        id="fig23-less-decay-less-barrier",
        ref="F.9, Fig. 23",
        items=("Figure 23",),
        statement="At the largest width of the sweep the calibrated barrier rises with weight decay, from none on.",
        unit="nats",
        study=over_pairs(barrier("calibrated_loss"), "zero", "weak", "strong", widest=True),
        expect=Ordered(("zero", "weak", "strong"), by=0.05),
        null=Null("Decay changes nothing.", 0.2),
        why="F.9: 'For sufficiently wide models, smaller weight decay results in smaller barriers'; §5.4 says that "
        "'merged models trained with weak weight decay indeed exhibit large barriers' (see Fig. 9). Both are "
        "judged for every architecture; at most one can hold. A twentieth of a nat, as for Fig. 24.",
        explanations={
            "mlp-mnist": Explanation(
                "Seen in the verdict itself: the opposite is true at 512 units, as §5.4 says.", SIX_DECAYS
            ),
            "mlp-fashion-mnist": Explanation(
                "Seen in the verdict itself: the opposite is true at 512 units, as §5.4 says.", SIX_DECAYS
            ),
            "mlp-digits": Explanation(
                "Neither direction holds at this width: the three barriers differ by less than pairs do.",
                THRICE_THE_MODELS,
            ),
            "vgg-digits": Explanation(
                "The opposite is true, as §5.4 says (see Fig. 9).",
                SIX_DECAYS,
            ),
            "resnet-digits": Explanation(
                "The opposite is true, as §5.4 says (see Fig. 9).",
                SIX_DECAYS,
            ),
        },
        core=False,
    ),
    Claim(
        id="fig24-sophia-barrier-falls-with-width",
        ref="F.10, Fig. 24",
        items=("Figure 24",),
        statement="With Sophia too, the calibrated barrier falls as the models widen.",
        unit="nats",
        study=over_pairs(barrier("calibrated_loss"), "sophia"),
        expect=Trend(increasing=False, by=0.3),
        null=Null("Narrow models: a barrier of one nat at every width.", 1.0),
        why="The bound of Fig. 2(b).",
        explanations={
            "mlp-mnist": Explanation(
                "Seen in the verdict itself: the barrier does not fall (1.8, 1.6, 2.1). Sophia trains at a rate of its "
                "own here, where F.10 keeps the training conditions the same.",
                _SOPHIA_AS_TRAINED_BY_ADAM,
            ),
            "mlp-fashion-mnist": Explanation(
                "Seen in the verdict itself: the barrier does not fall (1.5, 1.6, 1.9). Sophia trains at a rate of its "
                "own here, where F.10 keeps the training conditions the same.",
                _SOPHIA_AS_TRAINED_BY_ADAM,
            ),
            "mlp-digits": Explanation(
                "Falls from 1.8 to 0.5 at a quarter of the width and rises to 1.1 at full width (pilots). Sophia "
                "trains at a rate of its own here, where F.10 keeps the training conditions the same. That it decays "
                "too little is no reason: with Adam and no decay the barrier is 0.1 at full width.",
                _SOPHIA_AS_TRAINED_BY_ADAM,
            ),
        },
        core=False,
    ),
    Claim(
        id="fig24-first-order-barrier-is-smaller",
        ref="F.10, Fig. 24",
        items=("Figure 24",),
        statement="At the largest width Sophia's models show the larger calibrated barrier.",
        unit="nats",
        study=over_pairs(barrier("calibrated_loss"), "sophia", "strong", widest=True),
        expect=Contrast("sophia", "strong", by=0.05),
        null=Null("The optimiser changes nothing.", 0.2),
        why="A twentieth of a narrow model's barrier.",
        core=False,
    ),
    Claim(
        id="fig25-sophia-trains-better",
        ref="F.10, Fig. 25",
        items=("Figure 25",),
        statement="Sophia's models are at least as accurate, on average over the widths.",
        unit="share",
        study=over_pairs(endpoint("accuracy"), "sophia", "strong"),
        expect=Contrast("sophia", "strong", by=0.001),
        null=Null("The optimiser changes nothing.", 0.98),
        why="The paper claims the direction; one image in a thousand is the least that counts.",
        explanations={
            "mlp-digits": Explanation(
                "On digits both optimisers reach what these MLPs can: 97.7 % with Sophia, 97.8 % with Adam (pilots).",
                Experiment(
                    "Sophia on digits at the first-order rate and at rates between: an accuracy that any of them "
                    "raises above Adam's refutes it."
                ),
            ),
        },
        core=False,
    ),
    Claim(
        id="fig26-batchnorm-lowers-barrier",
        ref="F.11, Fig. 26",
        items=("Figure 26",),
        statement="BatchNorm makes the MLP's calibrated barrier smaller.",
        unit="nats",
        study=over_pairs(barrier("calibrated_loss"), "strong", "bn"),
        expect=Contrast("strong", "bn", by=0.05),
        null=Null("BatchNorm changes nothing.", 0.6),
        why="A twentieth of a narrow model's barrier.",
        history="Pilots: 0.5 smaller at the middle width, where the plain MLP still has a barrier.",
        kinds=("mlp",),
    ),
    Claim(
        id="fig26-skip-connections-lower-barrier",
        ref="F.11, Fig. 26",
        items=("Figure 26",),
        statement="Skip connections make the MLP's calibrated barrier smaller.",
        unit="nats",
        study=over_pairs(barrier("calibrated_loss"), "strong", "skip"),
        expect=Contrast("strong", "skip", by=0.05),
        null=Null("Skip connections change nothing.", 0.6),
        why="A twentieth of a narrow model's barrier.",
        history="Pilots: 0.5 smaller at the middle width, where the plain MLP still has a barrier.",
        kinds=("mlp",),
    ),
    Claim(
        id="fig27-batchnorm-keeps-orthogonality",
        ref="F.11, Fig. 27",
        items=("Figure 27",),
        statement="BatchNorm does not substantially change the orthogonality ratio, on average over hidden layers.",
        unit="share",
        study=over_pairs(foreign_share, "strong", "bn"),
        expect=Similar("strong", "bn", within=0.07, pooled=True),
        null=Null("BatchNorm changes the share as much as width does, by 0.14.", {"strong": 0.32, "bn": 0.18}),
        why="Half of what width changes it by (Fig. 7).",
        history="Pilots: width changes it by 0.14 to 0.22.",
        kinds=("mlp",),
        core=False,
    ),
    Claim(
        id="fig27-skip-connections-keep-orthogonality",
        ref="F.11, Fig. 27",
        items=("Figure 27",),
        statement="Skip connections do not substantially change the ratio, on average over hidden layers.",
        unit="share",
        study=over_pairs(foreign_share, "strong", "skip"),
        expect=Similar("strong", "skip", within=0.07, pooled=True),
        null=Null("Skip connections change the share as much as width does, by 0.14.", {"strong": 0.32, "skip": 0.18}),
        why="Half of what width changes it by (Fig. 7).",
        history="Pilots: width changes it by 0.14 to 0.22.",
        kinds=("mlp",),
        core=False,
    ),
)
