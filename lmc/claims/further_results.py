"""The claims of Appendix F.1 to F.8 (further results), in paper order."""

from __future__ import annotations

from lmc.claims.claim import NOTICEABLE, Claim
from lmc.claims.comparisons import Contrast
from lmc.claims.equivalence import Near, NonInferior
from lmc.claims.expectations import Level, Trend
from lmc.claims.explanation import Experiment, Explanation
from lmc.claims.extracts import (
    barrier,
    beta_over_prediction,
    endpoint,
    layers,
    leftmost_share,
    midpoint,
    norm_decay,
)
from lmc.claims.null import Null
from lmc.claims.studies import Arm, aligned, models, over_aligned, over_pairs, study
from lmc.claims.verdicts import CHECK, FOUND_HERE

_SIXTY_STARTS = Experiment(
    "Matching from many starts: a matching with a larger inner product and a small barrier refutes it.",
    "Twelve pairs matched from up to 60 starts: the best matching found merges no better.",
)
_FOUR_TIMES_AS_WIDE = Experiment("The same nets at four times the width: a share that has not risen refutes it.")

FURTHER_RESULTS: tuple[Claim, ...] = (
    Claim(
        id="fig15-cifar100-barrier-falls-with-width",
        ref="F.1, Fig. 15",
        items=("Figure 15",),
        statement="On CIFAR-100 too, the calibrated barrier falls as the models widen.",
        unit="nats",
        study=over_pairs(barrier("calibrated_loss")),
        expect=Trend(increasing=False, by=0.3),
        null=Null("Narrow models: a barrier of one nat at every width.", 1.0),
        why="The bound of Fig. 2(b).",
        kinds=("vgg", "resnet"),
        dataset="cifar100",
        core=False,
    ),
    Claim(
        id="fig16-matched-models-reach-endpoints",
        ref="F.2, Fig. 16",
        items=("Conjecture 1.1", "Figure 16"),
        statement="At the largest width models merged after weight matching are about as accurate as endpoints.",
        unit="share",
        study=over_aligned(barrier("accuracy"), "matching"),
        expect=Level(below=0.03),
        null=Null("A permutation that matches nothing: what wide models lose unpermuted, 0.04.", 0.04),
        why="Three points of accuracy.",
        history="Pilots: below 0.01 for MLP and ResNet.",
        explanations={
            "vgg-digits": Explanation(
                "As for Fig. 17: pairs of strongly decayed VGGs lose 0.02 to 0.1 on average after matching, from run "
                "to run, one pair in five much more.",
                _SIXTY_STARTS,
            ),
        },
        core=False,
    ),
    Claim(
        id="fig17-matching-lowers-barrier",
        ref="F.3, Fig. 17",
        items=("Conjecture 1.1", "Figure 17"),
        statement="Weight matching lowers the calibrated barrier, on average over the widths.",
        unit="nats",
        study=over_aligned(barrier("calibrated_loss"), "unpermuted", "matching"),
        expect=Contrast("unpermuted", "matching", by=0.3),
        null=Null("A permutation that matches nothing, which changes no distribution.", 0.5),
        why="What counts as a barrier of narrow models.",
        explanations={
            "vgg-digits": Explanation(
                "Matching takes wide, strongly decayed VGGs out of the regime of disjoint activity without reaching "
                "that of equal weights: they gain little where they are narrow (pilots: from 1.0 to 0.5 or 0.8 at an "
                "eighth of the width) and lose where they are wide (from 0.09 to 0.14). Under weak decay matching "
                "removes the barrier.",
                _SIXTY_STARTS,
            ),
        },
        core=False,
    ),
    Claim(
        id="fig17-matching-suffices-under-weak-decay",
        ref="F.3 (reviewers' question)",
        items=("Conjecture 1.1", "Figure 17"),
        statement="Weight matching brings the calibrated barrier of weakly decayed wide models close to zero.",
        unit="nats",
        study=study(Arm(barrier("calibrated_loss"), "weak", aligned("matching"), label="matching"), widest=True),
        expect=Level(below=0.2),
        null=Null(
            "A permutation that matches nothing: weakly decayed models unpermuted, 0.08 (MLP) to 0.3 nats.", 0.08
        ),
        why="What counts as close to zero for Fig. 2(b).",
        core=False,
    ),
    Claim(
        id="fig18b-any-permutation-will-do-when-wide",
        role=CHECK,
        ref="F.4, Fig. 18(b)",
        items=("Figure 18",),
        statement="At the largest width models merge about as well after random permutations as after weight matching.",
        unit="nats",
        study=over_aligned(barrier("calibrated_loss"), "random", "matching", widest=True),
        expect=NonInferior("random", "matching", margin=0.2),
        null=Null("Narrow models, which matching helps by half a nat or more.", {"random": 1.0, "matching": 0.5}),
        why="What counts as close to zero for Fig. 2(b).",
        core=False,
    ),
    Claim(
        id="fig19-inverse-temperature-exceeds-endpoints",
        ref="F.5, Fig. 19",
        items=("Figure 19",),
        statement="At the largest width the merged model needs a larger inverse temperature than its endpoints.",
        unit="β",
        study=study(Arm(midpoint("beta"), label="merged"), Arm(endpoint("beta"), label="endpoints"), widest=True),
        expect=Contrast("merged", "endpoints", by=0.5),
        null=Null("The merged model is as sure of itself as its endpoints.", 1.5),
        why="The paper says the logits shrink; half a unit of β is a third more than an honest softmax.",
        core=False,
    ),
    Claim(
        id="fig19-inverse-temperature-rises-with-width",
        ref="F.5, Fig. 19",
        items=("Figure 19",),
        statement="The merged MLP's inverse temperature rises as LEWC takes hold.",
        unit="β",
        study=over_pairs(midpoint("beta")),
        expect=Trend(increasing=True, by=1.0),
        null=Null("Narrow models, which do not follow LEWC: about 1 at every width.", 1.0),
        why="From about 1 without LEWC towards 8 with it; a unit is a seventh of the way.",
        kinds=("mlp",),
        core=False,
    ),
    Claim(
        id="lewc-inverse-temperature-doubles-per-layer",
        role=FOUND_HERE,
        ref="Def. 4.1 (consequence)",
        items=("Theorem 5.3", "Figure 19"),
        statement="An L-layer MLP merged at λ = ½ needs 2^(L-1) times its ensemble's inverse temperature.",
        unit="log2 β / (L - 1)",
        study=over_pairs(beta_over_prediction, "shallow", "strong", "deep"),
        expect=Near(1.0, within=0.4),
        null=Null("LLFC: the merged logits are the ensemble's, at every depth.", 0.0),
        why="Exact under LEWC, 0 without it; nearer to the one than to the other.",
        history="Pilots: 0.97 for 3 layers, 0.95 for 4, and still 0.80 for 5, which need more width.",
        kinds=("mlp",),
        core=False,
    ),
    Claim(
        id="fig20-norms-decay-exponentially",
        ref="F.6, Fig. 20",
        items=("Figure 20",),
        statement="Against the endpoints', the merged MLP's activation norms decay exponentially with depth.",
        unit="log2 / layer",
        study=over_pairs(norm_decay("endpoints"), widest=True),
        expect=Level(below=-0.5),
        null=Null("Norms that keep their size from layer to layer.", 0.0),
        why="LEWC predicts about -1, no decay 0.",
        kinds=("mlp",),
        core=False,
    ),
    Claim(
        id="fig20-batchnorm-keeps-norms",
        ref="F.6, Fig. 20",
        items=("Figure 20",),
        statement="In nets with BatchNorm the activation norms do not decay exponentially with depth.",
        unit="log2 / layer",
        study=over_pairs(norm_decay("endpoints"), widest=True),
        expect=Level(above=-0.5),
        null=Null("Norms that decay as the plain MLP's do.", -0.75),
        why="Half of what LEWC predicts without BatchNorm.",
        kinds=("vgg", "resnet"),
        core=False,
    ),
    Claim(
        id="fig21-most-coordinates-are-silent",
        ref="F.7, Fig. 21",
        items=("Figure 21",),
        statement="At the largest width most coordinates of every layer lie in the lowest bin of the histogram.",
        unit="share",
        study=study(Arm(leftmost_share, sample=models), widest=True),
        expect=Level(above=0.5),
        null=Null("Coordinates spread evenly over the fifty bins.", 0.02),
        why="Most means more than half.",
        explanations={
            "mlp-mnist": Explanation(
                "Seen in the verdict itself: at 1,024 units 50, 41 and 17 % of the first, second and third layer's "
                "coordinates lie in the lowest fiftieth of the range, and the shares rise with width; the paper shows "
                "wider nets.",
                _FOUR_TIMES_AS_WIDE,
            ),
            "mlp-fashion-mnist": Explanation(
                "Seen in the verdict itself: at 1,024 units 60, 45 and 18 % of the first, second and third layer's "
                "coordinates lie in the lowest fiftieth of the range, and the shares rise with width; the paper shows "
                "wider nets.",
                _FOUR_TIMES_AS_WIDE,
            ),
            **{
                name: Explanation(
                    "On digits the widest nets are small and use much of their width: the lowest fiftieth of the "
                    f"range holds {share} % of the last hidden layer's coordinates (pilots). The share rises with "
                    "width, and the active share falls (Fig. 5).",
                    _FOUR_TIMES_AS_WIDE,
                )
                for name, share in (("mlp-digits", 21), ("vgg-digits", 8), ("resnet-digits", 1))
            },
        },
        core=False,
    ),
    Claim(
        id="fig22-matching-aligns-active-neurons",
        ref="F.8, Fig. 22",
        items=("Figure 22",),
        statement="Weight matching makes the active neurons overlap more in every layer.",
        unit="share",
        study=over_aligned(layers("activations", "overlap_ratio"), "matching", "unpermuted", widest=True),
        expect=Contrast("matching", "unpermuted", by=NOTICEABLE, pooled=True),
        null=Null("A permutation that matches nothing.", 0.4),
        why="The paper claims the direction.",
        core=False,
    ),
)
