"""The claims of Appendix C (commutativity) and D (flatness), in paper order."""

from __future__ import annotations

from lmc.claims.claim import CHANCE, NEARLY_ZERO, NOTICEABLE, ONSET, SEEN, Claim, Small
from lmc.claims.comparisons import Contrast
from lmc.claims.equivalence import Near
from lmc.claims.expectations import Level, Trend
from lmc.claims.extracts import endpoint_cosine, foreign_share, norm_decay, perturbation_cosine, perturbed
from lmc.claims.fit_extracts import exponent
from lmc.claims.layer_extracts import against_root_of_width, log_distance, loss_of_a_step, raw_barrier, sides_apart
from lmc.claims.null import Null
from lmc.claims.studies import Arm, fits, flatness, over_aligned, over_pairs, study

_SIDES = "‖x - y‖² / (‖x‖² + ‖y‖²)"
_HALF_WAY = "Half way between equal sides, 0, and unrelated ones, 1."
_SPAWNED = ("mlp", "vgg")
_BESIDE_STRANGERS = "Siblings part after half of the epochs; the strangers beside them have their recipe and width."
_MIDWAY = "Midway between LEWC, by which the norm halves with every layer, and LLFC, by which it stays."
_STEP_OF_NARROW = Null("A step harms wide models as it harms narrow ones, by 0.3 or more.", 0.3)

APPENDIX: tuple[Claim, ...] = (
    Claim(
        id="fig11a-commutativity-fails",
        ref="App. C, Fig. 11(a)",
        items=("Figure 11",),
        statement="Without permutation, wide models hardly commute: W^a z^b and W^b z^a are farther from each other "
        "than half way to unrelated ones, in every layer.",
        unit=_SIDES,
        study=over_pairs(sides_apart, widest=True),
        expect=Level(above=0.5),
        null=Null("Models that commute, as LLFC has it: both sides are equal.", 0.0),
        why=f"'The commutativity property hardly holds'. {_HALF_WAY} Deviates: Zhou et al. divide by ‖x‖ ‖y‖, which is "
        "twice this at equal norms but has no mean where single models' layers collapse (10,000 in a pilot's first "
        "block of a ResNet). The last layer's sides are taken without what all classes share.",
        history=f"Was above 0.25, with what all classes share in the last layer. {SEEN}",
        core=False,
    ),
    Claim(
        id="fig11b-matching-restores-commutativity",
        ref="App. C, Fig. 11(b)",
        items=("Figure 11",),
        statement="Weight matching brings W^a z^b and W^b z^a closer to each other in every layer.",
        unit=_SIDES,
        study=over_aligned(sides_apart, "unpermuted", "matching", widest=True),
        expect=Contrast("unpermuted", "matching", by=NOTICEABLE),
        null=Null("A permutation that matches nothing leaves unrelated sides unrelated.", 1.0),
        why="The paper claims the direction. Both are measured of the same pairs.",
        history=f"Was asked of the mean over the layers. {SEEN}",
        small=Small(
            "Weight matching brings W^a z^b and W^b z^a closer to each other, on average over the layers.",
            Contrast("unpermuted", "matching", by=NOTICEABLE, pooled=True),
            "The direction, of the mean over the layers.",
        ),
        core=False,
    ),
    Claim(
        id="appC-matching-breaks-orthogonality",
        ref="App. C.1",
        items=("Figure 11",),
        statement="Weight matching raises the orthogonality ratio, on average over the layers beyond the input's.",
        unit="share",
        study=over_aligned(foreign_share, "matching", "unpermuted", widest=True),
        expect=Contrast("matching", "unpermuted", by=NOTICEABLE, pooled=True),
        null=Null("A permutation that matches nothing leaves the ratio as it is.", 0.2),
        why="'Commutativity is likely to hold, whereas reciprocal orthogonality is unlikely'; the paper claims the "
        "direction. Both are measured of the same pairs.",
        history=SEEN,
        core=False,
    ),
    Claim(
        id="appC-spawned-models-commute",
        ref="App. C.1",
        items=("Figure 11",),
        statement="Models spawned from one partly trained start do commute: W^a z^b and W^b z^a are nearer to each "
        "other than half way to unrelated ones, in every layer.",
        unit=_SIDES,
        study=over_pairs(sides_apart, "spawned", widest=True),
        expect=Level(below=0.5),
        null=Null("Siblings are strangers, whose sides are unrelated.", 1.0),
        why=f"{_HALF_WAY} The positive control of Fig. 11(a), with its bound.",
        history=SEEN,
        kinds=_SPAWNED,
        core=False,
        wide=False,
    ),
    Claim(
        id="appC-spawned-models-are-not-orthogonal",
        ref="App. C.1",
        items=("Figure 11",),
        statement="Spawned models answer each other's activations more than models that share no start, on average "
        "over the layers beyond the input's.",
        unit="share",
        study=over_pairs(foreign_share, "spawned", "strong", widest=True),
        expect=Contrast("spawned", "strong", by=NOTICEABLE, pooled=True),
        null=Null("Siblings are strangers, as orthogonal as any.", 0.3),
        why=f"'Reciprocal orthogonality clearly does not hold when the two weight matrices match': then the share is "
        f"½. The direction. {_BESIDE_STRANGERS}",
        history=SEEN,
        kinds=_SPAWNED,
        core=False,
        wide=False,
    ),
    Claim(
        id="appC-spawned-models-weigh-as-llfc-says",
        ref="Def. 4.1, App. C.1",
        items=("Figure 11",),
        statement="At λ = ¼ the logits of merged spawned models weigh them as the parameters do: the exponent is 1.",
        unit="exponent",
        study=study(Arm(exponent, "spawned", fits(0.25)), widest=True),
        expect=Near(1.0, within=0.5),
        null=Null("LEWC where every layer is normalised; without, it is the number of layers.", 2.0),
        why="LLFC says 1. Half of the least difference between the laws: LEWC's exponent is 2 or more.",
        history=SEEN,
        kinds=_SPAWNED,
        core=False,
        wide=False,
    ),
    Claim(
        id="appC-spawned-outputs-keep-their-norm",
        ref="App. C.1",
        items=("Figure 11",),
        statement="The outputs of merged spawned MLPs keep their size against the endpoints' average, layer by layer.",
        unit="log2 / layer",
        study=over_pairs(norm_decay("average"), "spawned", widest=True),
        expect=Level(above=-0.5),
        null=Null("LEWC: the norm halves with every layer.", -1.0),
        why=_MIDWAY,
        history=SEEN,
        kinds=("mlp",),
        core=False,
        wide=False,
    ),
    Claim(
        id="appC-matched-outputs-keep-their-norm",
        ref="App. C.1",
        items=("Figure 11",),
        statement="After weight matching the merged MLP's outputs keep their size against the endpoints' average, "
        "layer by layer.",
        unit="log2 / layer",
        study=over_aligned(norm_decay("average"), "matching", widest=True),
        expect=Level(above=-0.5),
        null=Null("LEWC: the norm halves with every layer.", -1.0),
        why=_MIDWAY,
        history=f"-0.06 on digits, -0.85 unmatched. {SEEN}",
        kinds=("mlp",),
        core=False,
    ),
    Claim(
        id="appC-norms-tell-lewc-from-llfc",
        ref="App. C.1",
        items=("Figure 11",),
        statement="The merged MLP's outputs halve against the endpoints' average with every layer, as LEWC says "
        "and LLFC denies.",
        unit="log2 / layer",
        study=over_pairs(norm_decay("average"), widest=True),
        expect=Near(-1.0, within=0.25),
        null=Null("LLFC: the merged outputs are the average of the endpoints' and keep their norm.", 0.0),
        why="LEWC predicts -1, LLFC 0; a quarter is far from both halves.",
        kinds=("mlp",),
        core=False,
    ),
    Claim(
        id="appD-distance-stays-bounded",
        ref="App. D.1",
        items=("Figure 12",),
        statement="The distance between two trained models grows more slowly with width than the root of the width.",
        unit="log2",
        study=against_root_of_width(over_pairs(log_distance)),
        expect=Trend(increasing=False, by=0.5),
        null=Null("The distance grows like the root of the width, as that of random initial weights does.", 3.0),
        why="'Weight decay prevents it from increasing substantially'. Over widths that differ by four, the least in "
        "any tier but one, a distance that stays as it is falls by 1 against the root; half of that.",
        history=SEEN,
        core=False,
    ),
    Claim(
        id="fig12-random-step-harms-less-with-width",
        ref="App. D.1, Fig. 12",
        items=("Figure 12",),
        statement="A random step as long as the distance between two models costs less accuracy as they widen.",
        unit="share",
        study=study(Arm(perturbed("accuracy"), sample=flatness)),
        expect=Trend(increasing=False, by=NOTICEABLE),
        null=Null("A step harms models of every width as it harms narrow ones.", 0.5),
        why="The paper claims the direction.",
        history=f"Was a fall by 0.05. {SEEN}",
        core=False,
    ),
    Claim(
        id="fig12-random-step-is-harmless-when-wide",
        ref="App. D.1, Fig. 12",
        items=("Figure 12",),
        statement="At the largest width a random step of that length costs next to no accuracy.",
        unit="share",
        study=study(Arm(perturbed("accuracy"), sample=flatness), widest=True),
        expect=Level(below=NOTICEABLE),
        null=_STEP_OF_NARROW,
        why="'The degradation becomes negligible': less than what counts as an effect.",
        history=f"Was below 0.05. {SEEN}",
        small=Small(
            "At the largest width a random step of that length costs little accuracy.",
            Level(below=0.05),
            "One image in twenty, a sixth or less of what narrow models lose.",
        ),
        core=False,
    ),
    Claim(
        id="fig12-random-step-raises-no-loss-when-wide",
        ref="App. D.1, Fig. 12",
        items=("Figure 12",),
        statement="At the largest width a random step of that length hardly raises the loss.",
        unit=CHANCE,
        study=study(Arm(loss_of_a_step, sample=flatness), widest=True),
        expect=Level(below=NEARLY_ZERO),
        null=Null("A step harms wide models as merging does, which raises their loss by a quarter of chance's.", 0.25),
        why="'Both test accuracy and test loss become almost insensitive': a fiftieth of chance's loss.",
        history=SEEN,
        small=Small(
            "At the largest width a random step of that length raises the loss little.",
            Level(below=ONSET),
            "A tenth of chance's loss.",
        ),
        core=False,
    ),
    Claim(
        id="appD-random-step-harms-less-than-merging",
        ref="App. D.2, D.3",
        items=("Figure 12",),
        statement="At the largest width the uncalibrated loss rises less along the random step than by merging.",
        unit=CHANCE,
        study=study(
            Arm(raw_barrier, label="merged"),
            Arm(loss_of_a_step, sample=flatness, label="perturbed"),
            widest=True,
        ),
        expect=Contrast("merged", "perturbed", by=NOTICEABLE),
        null=Null("Merging is a step like any other of that length.", 0.25),
        why="'Even more so than in the interpolation between two independently trained models'; the paper claims the "
        "direction.",
        history=f"Was 0.2 nats. {SEEN}",
        core=False,
    ),
    Claim(
        id="fig13-perturbed-activations-stay-with-width",
        ref="App. D.2, Fig. 13",
        items=("Figure 13",),
        statement="The perturbed model's activations resemble the original's more as the models widen, in every layer.",
        unit="cosine",
        study=study(Arm(perturbation_cosine, sample=flatness)),
        expect=Trend(increasing=True, by=NOTICEABLE),
        null=Null("A step moves models of every width as it moves narrow ones.", 0.7),
        why="The paper claims the direction.",
        history=f"Was asked of the mean over the layers. {SEEN}",
        small=Small(
            "The perturbed model's activations resemble the original's more as the models widen, on average over the "
            "layers.",
            Trend(increasing=True, by=NOTICEABLE, pooled=True, slack=NOTICEABLE),
            "The direction, of the mean over the layers; a layer may stay where it is.",
        ),
        core=False,
    ),
    Claim(
        id="fig14-trained-models-differ-more-than-perturbed",
        ref="App. D.3, Fig. 13, 14",
        items=("Figure 14",),
        statement="At the largest width two trained models' activations differ where a perturbed model's do not, on "
        "average over the layers.",
        unit="cosine",
        study=study(
            Arm(perturbation_cosine, sample=flatness, label="perturbed"),
            Arm(endpoint_cosine, label="trained"),
            widest=True,
        ),
        expect=Contrast("perturbed", "trained", by=0.1, pooled=True),
        null=Null("A trained model is a step away like any other model at that distance.", 0.9),
        why="'Qualitatively different behavior': a tenth of a cosine is what one would notice.",
        core=False,
    ),
)
