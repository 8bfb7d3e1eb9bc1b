"""The claims of Appendix F.1 to F.4 (CIFAR-100, weight matching, random permutations), in paper order."""

from __future__ import annotations

from lmc.claims.claim import CHANCE, NEARLY_ZERO, NOTICEABLE, ONSET, SEEN, Claim, Small
from lmc.claims.comparisons import Contrast
from lmc.claims.equivalence import NonInferior
from lmc.claims.expectations import Level, Monotone, Trend
from lmc.claims.explanation import Experiment, Explanation
from lmc.claims.extracts import barrier
from lmc.claims.null import Null
from lmc.claims.path_extracts import barrier_of_chance, errors_beyond
from lmc.claims.studies import Arm, aligned, draws, over_aligned, over_pairs, study
from lmc.claims.verdicts import CHECK

_SIXTY_STARTS = Experiment(
    "Matching from many starts: a matching with a larger inner product and a small barrier refutes it.",
    "Twelve pairs matched from up to 60 starts: the best matching found merges no better.",
)
_THEY_MEET = Explanation(
    "Weight matching lowers the barrier of narrow, strongly decayed VGGs and raises that of wide ones, by "
    "0.02 to 0.08 of chance's loss in six sets of seeds. Unpermuted, their active channels lie mostly "
    "apart; matching brings them together, and either model's weights answer the other's activations "
    "nearly as their own (a share of 0.45 instead of 0.2).",
    Experiment(
        "An order that keeps active channels apart: a barrier that is as large as after matching refutes "
        "that their meeting is the reason.",
        "In complementary order the average of the same pairs has a barrier below zero (-0.005 and -0.008 "
        "of chance's loss; matched 0.05 and 0.11, unpermuted 0.03 and 0.05). That matched models do not "
        "become equal is not enough of a reason: weakly decayed ones differ as much (both sides of "
        "commutativity 0.43 apart, 0.49 under strong decay) and merge without a barrier.",
    ),
)
"""Why wide, strongly decayed VGGs lose by matching."""
_NARROW = Null("Narrow models: a barrier of three tenths of chance's loss, and more.", 0.3)
_AT_EVERY_WIDTH = Null("Narrow models: the same barrier at every width.", 0.3)
_NEARLY_ZERO = "'Nearly zero': a fiftieth of chance's loss."
_PAST_ONSET = "A tenth of chance's loss; nearly zero is asked of the paper's own widths."
_MATCHES_NOTHING = "A permutation that matches nothing, which changes no distribution."
_BY_DIRECTION = "The paper claims the direction."

PERMUTATIONS: tuple[Claim, ...] = (
    Claim(
        id="fig15-cifar100-barrier-falls-with-width",
        ref="F.1, Fig. 15",
        items=("Figure 15",),
        statement="On CIFAR-100 too, the calibrated barrier falls as the models widen.",
        unit=CHANCE,
        study=over_pairs(barrier_of_chance()),
        expect=Trend(increasing=False, by=NOTICEABLE),
        null=_AT_EVERY_WIDTH,
        why=_BY_DIRECTION,
        history=f"Was a fall by 0.3 nats. {SEEN}",
        kinds=("vgg", "resnet"),
        dataset="cifar100",
        core=False,
    ),
    Claim(
        id="fig15-cifar100-barrier-falls-monotonically",
        ref="F.1, Fig. 15",
        items=("Figure 15",),
        statement="On CIFAR-100 the calibrated barrier falls at every step from one width to the next.",
        unit=CHANCE,
        study=over_pairs(barrier_of_chance()),
        expect=Monotone(increasing=False, slack=NOTICEABLE),
        null=Null("The widths in another order: it falls to the second and rises to the third.", (0.5, 0.0, 0.2)),
        why="'A monotonic decrease of the barrier in both metrics': at no step does it rise by what would count as an "
        "effect.",
        history=SEEN,
        kinds=("vgg", "resnet"),
        dataset="cifar100",
        core=False,
    ),
    Claim(
        id="fig15-cifar100-accuracy-barrier-falls-monotonically",
        ref="F.1, Fig. 15",
        items=("Figure 15",),
        statement="On CIFAR-100 the accuracy that merging costs falls at every step from one width to the next.",
        unit="share",
        study=over_pairs(barrier("accuracy")),
        expect=Monotone(increasing=False, slack=NOTICEABLE),
        null=Null("The widths in another order: it falls to the second and rises to the third.", (0.5, 0.0, 0.2)),
        why="The other of both metrics, likewise.",
        history=SEEN,
        kinds=("vgg", "resnet"),
        dataset="cifar100",
        core=False,
    ),
    Claim(
        id="fig15-modest-models-merge",
        ref="F.1, Fig. 15",
        items=("Figure 15",),
        statement="On CIFAR-100, where models are modest, the calibrated barrier is nearly zero at the largest width.",
        unit=CHANCE,
        study=over_pairs(barrier_of_chance(), widest=True),
        expect=Level(below=NEARLY_ZERO),
        null=_NARROW,
        why="'Eventually eliminating it', 'even when the models' performance is comparatively modest': a fiftieth of "
        "chance's loss. How modest the models are stands in the results as their accuracy.",
        history=SEEN,
        kinds=("vgg", "resnet"),
        dataset="cifar100",
        core=False,
    ),
    Claim(
        id="fig16-matched-models-reach-endpoints",
        ref="F.2, Fig. 16",
        items=("Conjecture 1.1", "Figure 16"),
        statement="At the largest width models merged after weight matching err at most 1.25 times as often as the "
        "models they were made of.",
        unit="share of images",
        study=over_aligned(errors_beyond(1.25), "matching", widest=True),
        expect=Level(below=0.0),
        null=Null("A permutation that matches nothing: errors in four images of a hundred more than theirs.", 0.03),
        why="The bound of Fig. 1: a quarter more errors.",
        history=f"Was a loss of three points of accuracy at most. {SEEN}",
        small=Small(
            "At the largest width models merged after weight matching err at most twice as often as the models they "
            "were made of.",
            Level(below=0.0),
            "Twice the errors, as for Fig. 1: a small net comes near its endpoints, it does not match them.",
            over_aligned(errors_beyond(2.0), "matching", widest=True),
        ),
        explanations={
            "vgg-digits": Explanation(
                "Weight matching raises the barrier of wide, strongly decayed VGGs, as for Fig. 17: they lose 0.02 to "
                "0.1 of accuracy on average after it, from run to run, one pair in five much more.",
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
        unit=CHANCE,
        study=over_aligned(barrier_of_chance(), "unpermuted", "matching"),
        expect=Contrast("unpermuted", "matching", by=NOTICEABLE),
        null=Null(_MATCHES_NOTHING, 0.2),
        why="'Tends to reduce the barrier regardless of the width'; the paper claims the direction. A width at which "
        "matching raises it fails the claim. Both are measured of the same pairs.",
        history=f"Was 0.3 nats. {SEEN}",
        explanations={"vgg-digits": _THEY_MEET},
        core=False,
    ),
    Claim(
        id="fig17-matched-barrier-approaches-zero",
        ref="F.3, Fig. 17",
        items=("Conjecture 1.1", "Figure 17"),
        statement="At the largest width the calibrated barrier is nearly zero after weight matching too.",
        unit=CHANCE,
        study=over_aligned(barrier_of_chance(), "matching", widest=True),
        expect=Level(below=NEARLY_ZERO),
        null=_NARROW,
        why=_NEARLY_ZERO + " It is so 'regardless of whether the permutation is used'; see Fig. 2(b) for without.",
        history=SEEN,
        small=Small(
            "At the largest width the calibrated barrier is small after weight matching too.",
            Level(below=ONSET),
            _PAST_ONSET,
        ),
        explanations={"vgg-digits": _THEY_MEET},
        core=False,
    ),
    Claim(
        id="fig17-matching-lowers-barrier-under-weak-decay",
        ref="F.3 (reviewers' question)",
        items=("Conjecture 1.1", "Figure 17"),
        statement="At the largest width weight matching lowers the calibrated barrier of weakly decayed models.",
        unit=CHANCE,
        study=study(
            Arm(barrier_of_chance(), "weak", draws, "unpermuted"),
            Arm(barrier_of_chance(), "weak", aligned("matching"), "matching"),
            widest=True,
        ),
        expect=Contrast("unpermuted", "matching", by=NOTICEABLE),
        null=Null(_MATCHES_NOTHING, 0.03),
        why="The direction. Both are measured of the same pairs.",
        history=SEEN,
        core=False,
    ),
    Claim(
        id="fig17-matching-suffices-under-weak-decay",
        ref="F.3 (reviewers' question)",
        items=("Conjecture 1.1", "Figure 17"),
        statement="At the largest width weight matching brings the calibrated barrier of weakly decayed models nearly "
        "to zero.",
        unit=CHANCE,
        study=study(Arm(barrier_of_chance(), "weak", aligned("matching"), label="matching"), widest=True),
        expect=Level(below=NEARLY_ZERO),
        null=Null(
            "A permutation that matches nothing: weakly decayed models unpermuted, 0.03 of chance's loss and more.",
            0.03,
        ),
        why=_NEARLY_ZERO,
        history=f"Was below 0.2 nats, which weakly decayed models unpermuted are too. {SEEN}",
        core=False,
    ),
    Claim(
        id="fig18b-any-permutation-will-do-when-wide",
        role=CHECK,
        ref="F.4, Fig. 18(b)",
        items=("Figure 18",),
        statement="At the largest width models merge about as well after random permutations as after weight matching.",
        unit=CHANCE,
        study=over_aligned(barrier_of_chance(), "random", "matching", widest=True),
        expect=NonInferior("random", "matching", margin=NEARLY_ZERO),
        null=Null("Narrow models, which matching helps.", {"random": 0.4, "matching": 0.2}),
        why="What counts as nearly zero for Fig. 2(b).",
        history=f"Was a margin of 0.2 nats. {SEEN}",
        small=Small(
            "At the largest width models merge nearly as well after random permutations as after weight matching.",
            NonInferior("random", "matching", margin=ONSET),
            "What counts as small for Fig. 2(b).",
        ),
        core=False,
    ),
)
