"""Controls: what must be so for any verdict to mean something; and the theorems, checked by computing."""

from __future__ import annotations

from lmc import theory
from lmc.claims import theorems
from lmc.claims.claim import CHANCE, ONSET, SEEN, Claim
from lmc.claims.expectations import Level, Within
from lmc.claims.null import Null
from lmc.claims.path_extracts import barrier_of_chance
from lmc.claims.studies import computed, over_pairs, self_merge
from lmc.claims.verdicts import CHECK, FOUND_HERE

CONTROLS: tuple[Claim, ...] = (
    Claim(
        id="control-self-merge",
        role=CHECK,
        ref="Def. 2.1 (control)",
        statement="A model merged with itself shows no barrier.",
        unit="nats or share",
        study=self_merge(),
        expect=Within(0.0, 0.1),
        null=Null("Two models that share nothing, merged while narrow, show a barrier of one nat.", 1.0),
        why="Only the BatchNorm statistics change: recomputed in one pass, where training kept a running mean. A "
        "twentieth of chance's loss on ten classes, ln 10.",
        history="Pilots: up to 0.052, and always an improvement.",
        wide=False,
    ),
    Claim(
        id="control-narrow-barrier",
        ref="Fig. 1, 2 (control)",
        items=("Figure 1",),
        statement="Narrow models show a calibrated loss barrier.",
        unit=CHANCE,
        study=over_pairs(barrier_of_chance()),
        expect=Level(above=ONSET, at="narrowest"),
        null=Null("There is no barrier anywhere, as of one model merged with itself.", 0.0),
        why="What counts as none to speak of. A suite that sees no barrier here could not see one anywhere.",
        history=f"Was 0.3 nats; pilots: 1.0 to 1.6. {SEEN}",
        wide=False,
    ),
)

THEOREMS: tuple[Claim, ...] = (
    Claim(
        id="thm5.3-conditions-imply-lewc",
        ref="Thm. 5.3, E.1",
        items=("Theorem 5.3",),
        statement="Bias-free nets that meet both conditions satisfy LEWC exactly, for any number of models.",
        unit="relative error",
        study=computed(theorems.theorem_5_3_errors),
        expect=Within(0.0, 1e-12),
        null=Null("Nets that meet neither condition: an error as large as the outputs.", 1.0),
        why="An identity: only float64 rounding remains.",
        kinds=(),
    ),
    Claim(
        id="thm5.3-error-proportional-to-violation",
        role=FOUND_HERE,
        ref="Thm. 5.3",
        items=("Theorem 5.3",),
        statement="LEWC's error grows in proportion to a violation of either condition or of the bias premise.",
        unit="exponent",
        study=computed(theorems.theorem_5_3_slopes),
        expect=Within(1.0, 0.05),
        null=Null("An error that does not depend on the violation.", 0.0),
        why="First order in the violation: an exponent of one, measured over three decades.",
        kinds=(),
    ),
    Claim(
        id="thm5.4-gaussian-limit",
        ref="Thm. 5.4, E.2",
        items=("Theorem 5.4",),
        statement="For independent Gaussian pre-activations the additivity cosine tends to 0.93044.",
        unit="cosine",
        study=computed(theorems.theorem_5_4_limit),
        expect=Within(theory.GAUSSIAN_NULL, 5e-4),
        null=Null("A ReLU that is linear on its inputs.", 1.0),
        why="At d = 20,000 one sample deviates by about 1e-3, the mean of 100 by 1e-4.",
        kinds=(),
    ),
    Claim(
        id="thm5.4-concentration-rate",
        ref="Thm. 5.4, E.2",
        items=("Theorem 5.4",),
        statement="The cosine's deviation from its limit shrinks like one over the root of the dimension.",
        unit="exponent",
        study=computed(theorems.theorem_5_4_rate),
        expect=Within(-0.5, 0.05),
        null=Null("No concentration: the spread does not depend on the dimension.", 0.0),
        why="600 samples at four dimensions fix the exponent to about 0.015.",
        kinds=(),
    ),
    Claim(
        id="thm5.4-general-lambda",
        role=FOUND_HERE,
        ref="Thm. 5.4 at any λ",
        items=("Theorem 5.4",),
        statement="The closed form c(λ) agrees with sampled Gaussian pre-activations.",
        unit="difference of cosines",
        study=computed(theorems.theorem_5_4_lambdas),
        expect=Within(0.0, 7e-4),
        null=Null("The limit at λ = ½ for every λ: wrong by 0.065 at λ = 0.1.", 0.065),
        why="At d = 10,000 the mean of 100 samples deviates by about 1.5e-4.",
        kinds=(),
    ),
)
