"""The claims of Section 4 (layerwise exponentially weighted connectivity), in paper order."""

from __future__ import annotations

from lmc.claims.claim import CHANCE, NEARLY_ZERO, NOTICEABLE, ONSET, SEEN, Claim, Small
from lmc.claims.comparisons import Contrast
from lmc.claims.equivalence import Near
from lmc.claims.expectations import Level, Trend
from lmc.claims.explanation import Experiment, Explanation
from lmc.claims.extracts import layers
from lmc.claims.fit_extracts import exponent, third_of_hidden, third_of_logits
from lmc.claims.null import Null
from lmc.claims.path_extracts import agreement, errors_beyond_ensemble, loss_beyond_ensemble
from lmc.claims.studies import Arm, fits, over_pairs, study
from lmc.claims.verdicts import CHECK
from lmc.claims.width import STILL_TOO_NARROW

_HALF_A_THIRD = 1 / 6
_MODELS_AGREE = {
    name: Explanation(
        "On digits the two models name the same class for 98 or 99 images of a hundred, as nearly all of what they "
        "name is right; a merged model that errs on two more of a hundred (Fig. 1) cannot agree with their ensemble "
        "more often.",
        Experiment(
            "The same MLPs at twice the width, where they agree as often: a merged model that does not agree with the "
            "ensemble more often than at this width refutes it.",
            "On six models of other seeds it agrees for 97.2 % of the images, 96.2 % at this width; the models for "
            "99.3 % at both.",
        ),
    )
    for name in ("mlp-digits", "vgg-digits", "resnet-digits")
}

LEWC: tuple[Claim, ...] = (
    Claim(
        id="fig3-lewc-rises-with-width",
        ref="§4.2, Fig. 3",
        items=("Figure 3",),
        statement="In every layer beyond the first, the cosine between the merged layer's output and the endpoints' "
        "sum rises with width.",
        unit="cosine",
        study=over_pairs(layers("outputs", "lewc_cosine", skip=1)),
        expect=Trend(increasing=True, by=NOTICEABLE),
        null=Null("Narrow models: the same cosine at every width.", 0.7),
        why="'Consistently improves cosine similarity at each layer'; the paper claims the direction. The first layer "
        "is left to Fig. 4: all models read the same input, so LEWC there is weak additivity itself.",
        history=f"Was asked of the mean over the layers, which rose by 0.09 to 0.24 in pilots. {SEEN}",
        small=Small(
            "Beyond the first layer, the cosine between the merged layer's output and the endpoints' sum rises with "
            "width, on average over the layers.",
            Trend(increasing=True, by=NOTICEABLE, pooled=True, slack=NOTICEABLE),
            "The direction, of the mean. Layers of a small ResNet's first block, which collapses, stand at 0.95 at "
            "every width and vary by 0.03.",
        ),
    ),
    Claim(
        id="fig3-last-layer-is-of-the-merged",
        ref="§4.2, Fig. 3",
        items=("Figure 3",),
        statement="At the largest width the merged model's logits are a sum of those of the two models it was made of, "
        "with nothing of a third, equally good one.",
        unit="share of the third model",
        study=study(Arm(third_of_logits, sample=fits(0.5)), widest=True),
        expect=Near(0.0, within=0.05),
        null=Null("A merged model that is merely another good classifier: all three weigh alike.", 1 / 3),
        why="One part in twenty, to either side; what one third model happens to share with a merge has no sign.",
        history="Took the place of fig3-last-layer-approaches-ensemble: a third model has a higher cosine with the sum "
        f"of the two (0.97 to 0.99) than the merged one has. Was below a sixth, of the absolute share. {SEEN}",
        small=Small(
            "At the largest width the merged model's logits are a sum of those of the two models it was made of, with "
            "little of a third, equally good one.",
            Near(0.0, within=_HALF_A_THIRD),
            "Half of the third that three equally good classifiers would have.",
        ),
    ),
    Claim(
        id="fig3-hidden-layers-are-of-the-merged",
        role=CHECK,
        ref="§4.2, Fig. 3",
        items=("Figure 3",),
        statement="At the largest width every hidden layer of the merged model beyond the first is a sum of those of "
        "the two models it was made of, with nothing of a third one.",
        unit="share of the third model",
        study=study(Arm(third_of_hidden, sample=fits(0.5)), widest=True),
        expect=Near(0.0, within=0.1),
        null=Null("A layer that is like none of the three: half of the fits find nothing of the two in it.", 0.5),
        why="A tenth, to either side. That a third model has no part follows from symmetry, as its units are in an "
        "order of their own; that the two have one tests how layers are told and fitted.",
        history=SEEN,
        core=False,
        small=Small(
            "At the largest width every hidden layer of the merged model beyond the first is a sum of those of the two "
            "models it was made of, with little of a third one.",
            Near(0.0, within=_HALF_A_THIRD),
            "Half of the third that three equal models would have.",
        ),
    ),
    Claim(
        id="lewc-merged-predicts-as-ensemble",
        ref="§4.1, Def. 4.1",
        items=("Figure 3",),
        statement="At the largest width the merged model names the class that the ensemble of the two names more often "
        "than the two models name the same.",
        unit="share",
        study=study(
            Arm(agreement("merged_ensemble"), label="merged"), Arm(agreement("a_b"), label="models"), widest=True
        ),
        expect=Contrast("merged", "models", by=NOTICEABLE),
        null=Null(
            "A merged model that is merely another good classifier agrees with an ensemble as two models agree.",
            {"merged": 0.97, "models": 0.97},
        ),
        why="'Almost identical to the ensemble': beyond what two good classifiers share, by what counts as an effect.",
        history=SEEN,
        explanations=_MODELS_AGREE,
    ),
    Claim(
        id="lewc-merged-as-accurate-as-ensemble",
        ref="§4.1, Def. 4.1",
        items=("Figure 3",),
        statement="At the largest width the merged model errs no more than the ensemble, up to a quarter of the "
        "models' own errors.",
        unit="share of images",
        study=over_pairs(errors_beyond_ensemble(0.25, "models"), widest=True),
        expect=Level(below=0.0),
        null=Null("Narrow models, whose merge errs in three images of ten more than their ensemble.", 0.3),
        why="The margin of Fig. 1.",
        history=SEEN,
        explanations=STILL_TOO_NARROW,
        small=Small(
            "At the largest width the merged model errs at most twice as often as the ensemble.",
            Level(below=0.0),
            "The bound of Fig. 1.",
            over_pairs(errors_beyond_ensemble(1.0, "ensemble"), widest=True),
        ),
    ),
    Claim(
        id="lewc-merged-loss-equals-ensemble",
        ref="§4.1, Def. 4.1",
        items=("Figure 3",),
        statement="At the largest width the merged model's calibrated loss is nearly that of the ensemble, or below.",
        unit=CHANCE,
        study=over_pairs(loss_beyond_ensemble, widest=True),
        expect=Level(below=NEARLY_ZERO),
        null=Null("Narrow models: three tenths of chance's loss above their ensemble's.", 0.3),
        why="What counts as nearly zero for Fig. 2(b).",
        history=SEEN,
        small=Small(
            "At the largest width the merged model's calibrated loss is little above that of the ensemble.",
            Level(below=ONSET),
            "What counts as small for Fig. 2(b).",
        ),
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
