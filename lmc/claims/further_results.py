"""The claims of Appendix F.5 to F.8 (inverse temperature, norms, active neurons), in paper order."""

from __future__ import annotations

from lmc.claims.claim import NOTICEABLE, SEEN, Claim, Small
from lmc.claims.comparisons import Contrast
from lmc.claims.equivalence import Near
from lmc.claims.expectations import Level, Trend
from lmc.claims.explanation import Experiment, Explanation
from lmc.claims.extracts import beta_over_prediction, endpoint, layers, leftmost_share, midpoint, norm_decay
from lmc.claims.null import Null
from lmc.claims.studies import Arm, models, over_aligned, over_pairs, study
from lmc.claims.verdicts import FOUND_HERE

_FOUR_TIMES_AS_WIDE = "The same nets at four times the width: a share that has not risen refutes it."

FURTHER_RESULTS: tuple[Claim, ...] = (
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
                Experiment(_FOUR_TIMES_AS_WIDE),
            ),
            "mlp-fashion-mnist": Explanation(
                "Seen in the verdict itself: at 1,024 units 60, 45 and 18 % of the first, second and third layer's "
                "coordinates lie in the lowest fiftieth of the range, and the shares rise with width; the paper shows "
                "wider nets.",
                Experiment(_FOUR_TIMES_AS_WIDE),
            ),
            **{
                name: Explanation(
                    "On digits the widest nets are small and use much of their width: the lowest fiftieth of the "
                    f"range holds {wide} % of the last hidden layer's coordinates. The share rises with width, and the "
                    "active share falls (Fig. 5).",
                    Experiment(
                        _FOUR_TIMES_AS_WIDE,
                        f"From a quarter of this width, or less, it has risen from {narrow} to {wide} %, and in most "
                        "layers by far more.",
                    ),
                )
                for name, narrow, wide in (
                    ("mlp-digits", 20, 24),
                    ("vgg-digits", 3, 6),
                    ("resnet-digits", 0, 0.2),
                )
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
        expect=Contrast("matching", "unpermuted", by=NOTICEABLE),
        null=Null("A permutation that matches nothing.", 0.4),
        why="The paper claims the direction. Both are measured of the same pairs.",
        history=f"Was asked of the mean over the layers. {SEEN}",
        small=Small(
            "Weight matching makes the active neurons overlap more, on average over the layers.",
            Contrast("matching", "unpermuted", by=NOTICEABLE, pooled=True),
            "The direction, of the mean over the layers.",
        ),
        core=False,
    ),
)
