"""The claims of Appendix C (commutativity) and D (flatness), in paper order."""

from __future__ import annotations

from lmc.claims.claim import NOTICEABLE, Claim
from lmc.claims.comparisons import Contrast
from lmc.claims.equivalence import Near
from lmc.claims.expectations import Level, Trend
from lmc.claims.explanation import Experiment, Explanation
from lmc.claims.extracts import (
    barrier,
    endpoint_cosine,
    layers,
    norm_decay,
    perturbation_cosine,
    perturbed,
)
from lmc.claims.null import Null
from lmc.claims.studies import Arm, flatness, over_aligned, over_pairs, study

_CENTRED_HEADS = Experiment(
    "The last layer's two sides, each less its mean over the classes: a distance that stays below the bound refutes "
    "that only a shift shared by all logits is alike."
)

APPENDIX: tuple[Claim, ...] = (
    Claim(
        id="fig11a-commutativity-fails",
        ref="App. C, Fig. 11(a)",
        items=("Figure 11",),
        statement="Without permutation, wide models do not commute: W^a z^b and W^b z^a differ in every layer.",
        unit="‖x - y‖² / (‖x‖² + ‖y‖²)",
        study=over_pairs(layers("weights", "relative_commutativity"), widest=True),
        expect=Level(above=0.25),
        null=Null("Models that commute, as LLFC has it: both sides are equal.", 0.0),
        why="Unrelated sides give 1, equal ones 0. Deviates: Zhou et al. divide by ‖x‖ ‖y‖, which is twice this at "
        "equal norms but has no mean where single models' layers collapse (10,000 in a pilot's first block of a "
        "ResNet).",
        history="Pilots: 0.5 or more in every layer.",
        explanations={
            "mlp-mnist": Explanation(
                "Seen in the verdict itself: holds in the first three layers (0.4 to 0.96) but not in the last "
                "(0.17). There both sides are a fifth to a third of the models' own responses (Fig. 7), and what is "
                "left of them is alike.",
                _CENTRED_HEADS,
            ),
            "mlp-fashion-mnist": Explanation(
                "Seen in the verdict itself: holds in the first three layers (0.4 to 0.96) but not in the last "
                "(0.09). There both sides are a fifth to a third of the models' own responses (Fig. 7), and what is "
                "left of them is alike.",
                _CENTRED_HEADS,
            ),
        },
        core=False,
    ),
    Claim(
        id="fig11b-matching-restores-commutativity",
        ref="App. C, Fig. 11(b)",
        items=("Figure 11",),
        statement="Weight matching brings W^a z^b and W^b z^a closer to each other in every layer.",
        unit="‖x - y‖² / (‖x‖² + ‖y‖²)",
        study=over_aligned(layers("weights", "relative_commutativity"), "unpermuted", "matching", widest=True),
        expect=Contrast("unpermuted", "matching", by=NOTICEABLE, pooled=True),
        null=Null("A permutation that matches nothing leaves unrelated sides unrelated.", 1.0),
        why="The paper claims the direction.",
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
        id="fig12-random-step-harms-less-with-width",
        ref="App. D.1, Fig. 12",
        items=("Figure 12",),
        statement="A random step as long as the distance between two models costs less accuracy as they widen.",
        unit="share",
        study=study(Arm(perturbed("accuracy"), sample=flatness)),
        expect=Trend(increasing=False, by=0.05),
        null=Null("A step harms models of every width as it harms narrow ones.", 0.5),
        why="Five points of accuracy, the bound below for the widest.",
        core=False,
    ),
    Claim(
        id="fig12-random-step-is-harmless-when-wide",
        ref="App. D.1, Fig. 12",
        items=("Figure 12",),
        statement="At the largest width a random step of that length costs almost no accuracy.",
        unit="share",
        study=study(Arm(perturbed("accuracy"), sample=flatness)),
        expect=Level(below=0.05),
        null=Null("A step harms wide models as it harms narrow ones, by 0.3 or more.", 0.3),
        why="Below what the merge itself may cost (Fig. 1).",
        core=False,
    ),
    Claim(
        id="appD-random-step-harms-less-than-merging",
        ref="App. D.2, D.3",
        items=("Figure 12",),
        statement="At the largest width the uncalibrated loss rises less along the random step than by merging.",
        unit="nats",
        study=study(
            Arm(barrier("loss"), label="merged"),
            Arm(perturbed("loss"), sample=flatness, label="perturbed"),
            widest=True,
        ),
        expect=Contrast("merged", "perturbed", by=0.2),
        null=Null("Merging is a step like any other of that length.", 0.6),
        why="The bound of Fig. 2(a): flatness would predict no rise for either.",
        core=False,
    ),
    Claim(
        id="fig13-perturbed-activations-stay-with-width",
        ref="App. D.2, Fig. 13",
        items=("Figure 13",),
        statement="The perturbed model's activations resemble the original's more as the models widen.",
        unit="cosine",
        study=study(Arm(perturbation_cosine, sample=flatness)),
        expect=Trend(increasing=True, by=NOTICEABLE, pooled=True, slack=NOTICEABLE),
        null=Null("A step moves models of every width as it moves narrow ones.", 0.7),
        why="The paper claims the direction.",
        core=False,
    ),
    Claim(
        id="fig14-trained-models-differ-more-than-perturbed",
        ref="App. D.3, Fig. 13, 14",
        items=("Figure 14",),
        statement="At the largest width two trained models' activations differ where a perturbed model's do not.",
        unit="cosine",
        study=study(
            Arm(perturbation_cosine, sample=flatness, label="perturbed"),
            Arm(endpoint_cosine, label="trained"),
            widest=True,
        ),
        expect=Contrast("perturbed", "trained", by=0.1, pooled=True),
        null=Null("A trained model is a step away like any other model at that distance.", 0.9),
        why="A tenth of a cosine is what one would notice.",
        core=False,
    ),
)
