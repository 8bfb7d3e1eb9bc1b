"""The claims of Section 4 (layerwise exponentially weighted connectivity), in paper order."""

from __future__ import annotations

from lmc.claims.claim import NOTICEABLE, Claim
from lmc.claims.comparisons import Contrast
from lmc.claims.expectations import Level, Trend
from lmc.claims.extracts import exponent, layers, third_share
from lmc.claims.null import Null
from lmc.claims.studies import Arm, fits, over_pairs, study

LEWC: tuple[Claim, ...] = (
    Claim(
        id="fig3-lewc-rises-with-width",
        ref="§4.2, Fig. 3",
        items=("Figure 3",),
        statement="Beyond the first layer, the cosine between the merged layer's output and the endpoints' "
        "sum rises with width.",
        unit="cosine",
        study=over_pairs(layers("outputs", "lewc_cosine", skip=1)),
        expect=Trend(increasing=True, by=NOTICEABLE, pooled=True, slack=NOTICEABLE),
        null=Null("Narrow models: the same cosine at every width.", 0.7),
        why="The paper claims the direction. Layers of ResNet's first block, which collapses, stand at 0.95 at every "
        "width and vary by 0.03. The first layer is left to Fig. 4: all models read the same input, so LEWC there is "
        "weak additivity itself.",
        history="Pilots: the mean rises by 0.09 to 0.24.",
    ),
    Claim(
        id="fig3-last-layer-is-of-the-merged",
        ref="§4.2, Fig. 3",
        items=("Figure 3",),
        statement="At the largest width the merged model's logits are a sum of those of the two models it was made of, "
        "with next to nothing of a third, equally good one.",
        unit="share of the third model",
        study=study(Arm(third_share, sample=fits(0.5)), widest=True),
        expect=Level(below=1 / 6),
        null=Null("A merged model that is merely another good classifier: all three weigh alike.", 1 / 3),
        why="Half of the third that three equally good classifiers would have.",
        history="Took the place of fig3-last-layer-approaches-ensemble: a third model has a higher cosine with the sum "
        "of the two (0.97 to 0.99) than the merged one has.",
    ),
    Claim(
        id="def4.1-coefficients-fall-with-every-layer",
        ref="Def. 4.1",
        items=("Figure 3",),
        statement="At λ = ¼ the logits of merged bias-free MLPs weigh the models by more than (λ / (1 - λ))^2.5.",
        unit="exponent",
        study=study(Arm(exponent, "many", fits(0.25)), widest=True),
        expect=Level(above=2.5),
        null=Null("LLFC: the models weigh as in the parameters.", 1.0),
        why="Midway between the exponents of LLFC, 1, and of LEWC with four layers, 4.",
        kinds=("mlp",),
        core=False,
    ),
    Claim(
        id="def4.1-exponent-restarts-at-a-normalisation",
        ref="Def. 4.1, §5.1",
        items=("Figure 3",),
        statement="At λ = ¼ the logits of merged nets with BatchNorm weigh the models by more than (λ / (1 - λ))^1.5.",
        unit="exponent",
        study=study(Arm(exponent, sample=fits(0.25)), widest=True),
        expect=Level(above=1.5),
        null=Null("LLFC: the models weigh as in the parameters.", 1.0),
        why="Midway between the exponents of LLFC, 1, and of LEWC, 2: the reset statistics cancel what comes in.",
        kinds=("vgg", "resnet"),
        core=False,
    ),
    Claim(
        id="def4.1-matched-models-weigh-as-llfc-says",
        ref="Def. 4.1, App. C",
        items=("Figure 3",),
        statement="At λ = ¼ the exponent of the models' weights in the logits is smaller after weight matching.",
        unit="exponent",
        study=study(
            Arm(exponent, sample=fits(0.25), label="unpermuted"),
            Arm(exponent, sample=fits(0.25, "matching"), label="matching"),
            widest=True,
        ),
        expect=Contrast("unpermuted", "matching", by=0.5),
        null=Null("One law for both: no difference.", {"unpermuted": 1.0, "matching": 1.0}),
        why="Half of the least difference between the laws: LEWC's exponent is 2 or more, LLFC's 1.",
        core=False,
    ),
)
