"""The claims of Appendix F.9 (other decays), in paper order."""

from __future__ import annotations

from lmc.claims.claim import CHANCE, NOTICEABLE, SEEN, Claim
from lmc.claims.comparisons import Ordered
from lmc.claims.explanation import Experiment, Explanation
from lmc.claims.null import Null
from lmc.claims.path_extracts import barrier_of_chance
from lmc.claims.studies import over_pairs
from lmc.claims.weak_decay import SIX_DECAYS, THRICE_THE_MODELS

_SIX = ("zero", "weak", "decay-0.0003", "decay-0.001", "strong", "decay-0.01")
_UP_TO_STRONG = _SIX[:5]

OTHER_DECAYS: tuple[Claim, ...] = (
    Claim(
        id="fig23-less-decay-less-barrier",
        ref="F.9, Fig. 23",
        items=("Figure 23",),
        statement="At the largest width of the sweep the calibrated barrier rises with weight decay, from none on.",
        unit=CHANCE,
        study=over_pairs(barrier_of_chance(), "zero", "weak", "strong", widest=True),
        expect=Ordered(("zero", "weak", "strong"), by=NOTICEABLE),
        null=Null("Decay changes nothing.", 0.1),
        why="F.9: 'For sufficiently wide models, smaller weight decay results in smaller barriers'; §5.4 says that "
        "'merged models trained with weak weight decay indeed exhibit large barriers' (see Fig. 9). Both are "
        "judged for every architecture; at most one can hold. The paper claims the direction.",
        history=f"Was 0.05 nats. {SEEN}",
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
        id="fig23-less-decay-less-barrier-at-five-decays",
        ref="F.9, Fig. 23",
        items=("Figure 23",),
        statement="On MNIST, at the largest width of the sweep, the MLP's calibrated barrier rises at every step of "
        "five decays from 0 to 0.003.",
        unit=CHANCE,
        study=over_pairs(barrier_of_chance(), *_UP_TO_STRONG, widest=True),
        expect=Ordered(_UP_TO_STRONG, by=NOTICEABLE),
        null=Null("Decay changes nothing.", 0.1),
        why="F.9's own range, 'from 0 to 0.003', and its direction. Decides between F.9 and §5.4: at most one of this "
        "and the next can hold.",
        history=SEEN,
        explanations={
            "mlp-mnist": Explanation(
                "Seen in three of the decays, of other models: the opposite is true at 512 units (0.2, 0.15 and 0.08 "
                "nats from no decay to strong), as §5.4 says.",
                Experiment("Six decays, in the verdict itself: two neighbours that rise with decay refute it."),
            )
        },
        kinds=("mlp",),
        dataset="mnist",
        core=False,
    ),
    Claim(
        id="fig23-more-decay-less-barrier-at-six-decays",
        ref="§5.4, Fig. 9; F.9",
        items=("Figure 23",),
        statement="On MNIST, at the largest width of the sweep, the MLP's calibrated barrier falls at every step of "
        "six "
        "decays from 0 to 0.01.",
        unit=CHANCE,
        study=over_pairs(barrier_of_chance(), *_SIX, widest=True),
        expect=Ordered(_SIX[::-1], by=NOTICEABLE),
        null=Null("Decay changes nothing.", 0.1),
        why="§5.4, the opposite of F.9, over F.9's range and a step beyond.",
        history=SEEN,
        kinds=("mlp",),
        dataset="mnist",
        core=False,
    ),
)
