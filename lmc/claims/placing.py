"""What it is about a complementary order that helps: other orders beside it, and what it does to the two conditions.

The paper has correlations between the conditions and barriers. To change the order of units alone is an intervention.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from lmc.claims.claim import NOTICEABLE, Claim
from lmc.claims.comparisons import Contrast
from lmc.claims.derived import Derived, Record, derived, rank_correlation
from lmc.claims.extracts import foreign_share, layers, merge_barrier
from lmc.claims.merge_extracts import lacking_additivity
from lmc.claims.null import Null
from lmc.claims.shares import Share
from lmc.claims.studies import Arm, merged, over_aligned, study
from lmc.claims.verdicts import FOUND_HERE
from lmc.measuring.measurements import MergeMeasurement
from lmc.tiers import Setting

_PACKED = ("complementary", "unpermuted")
_DOSES = (0.0, 0.25, 0.5, 0.75, 1.0)


def _sums(alignment: str, *, few: bool = True) -> Arm:
    """The barriers of pairs, neighbours where a ``few`` will do, that are summed in an order."""
    return Arm(merge_barrier("loss"), sample=merged("sum", alignment, few=few), label=alignment)


def _by_dose(setting: Setting) -> Iterator[Derived]:
    """Of each pair at the widest, how the ranks of barriers follow those of doses."""
    family = setting.families["strong"]
    width, barrier_of = family.widths[-1], merge_barrier("loss")

    def value(records: Sequence[Record]) -> float | None:
        return rank_correlation(_DOSES, [barrier_of(each)[""] for each in records])

    for a, b in family.neighbours:
        specs = family.spec(width, a), family.spec(width, b)
        plain = MergeMeasurement(specs, rule="sum", layers=False)
        placed = functools.partial(MergeMeasurement, specs, (), "complementary", "sum", layers=False)
        reads = (plain, *(placed(dose=dose) for dose in _DOSES[1:]))
        yield Derived(width, (a, b), (a, b) in family.independent, reads, value)


PLACING: tuple[Claim, ...] = (
    Claim(
        id="complementary-order-sums-better",
        role=FOUND_HERE,
        ref="§6 (permutation search)",
        statement="At the largest width sums have a lower barrier in a complementary order than unpermuted.",
        unit="nats",
        study=study(_sums("unpermuted", few=False), _sums("complementary", few=False), widest=True),
        expect=Contrast("unpermuted", "complementary", by=NOTICEABLE),
        null=Null("Any order will do.", dict.fromkeys(_PACKED, 0.1)),
        why="What counts as an effect.",
        history="Pilots of an earlier recipe: MLPs 0.11 and 0.007, VGGs 0.08 and -0.06, ResNets 0.07 and -0.04. Asked "
        "of all pairs, no longer of neighbours alone, after seeds 120 to 125 were seen.",
        core=False,
    ),
    Claim(
        id="reversed-order-sums-worse",
        role=FOUND_HERE,
        ref="§6 (control)",
        statement="At the largest width the same sort reversed, strong channels on strong ones, gives sums a larger "
        "barrier.",
        unit="nats",
        study=study(_sums("reversed"), _sums("complementary"), widest=True),
        expect=Contrast("reversed", "complementary", by=NOTICEABLE),
        null=Null("Any sort will do.", {"reversed": 0.1, "complementary": 0.1}),
        why="What counts as an effect.",
        core=False,
    ),
    Claim(
        id="distance-alone-does-not-help",
        role=FOUND_HERE,
        ref="§6 (baseline: 2503.07661)",
        statement="At the largest width the order in which the two models are farthest apart gives sums a larger "
        "barrier than a complementary one.",
        unit="nats",
        study=study(_sums("distance"), _sums("complementary"), widest=True),
        expect=Contrast("distance", "complementary", by=NOTICEABLE),
        null=Null("Both orders keep the models apart.", {"distance": 0.1, "complementary": 0.1}),
        why="What counts as an effect. Distance looks for weights of opposite sign, which cancel where strong channels "
        "meet; a complementary order keeps strong channels from meeting.",
        kinds=("vgg", "resnet"),
        core=False,
    ),
    Claim(
        id="more-channels-placed-sum-better",
        role=FOUND_HERE,
        ref="§6 (dose)",
        statement="At the largest width the barrier of a sum falls with the share of channels that are placed in "
        "complementary order: none, a quarter, a half, three quarters, all.",
        unit="rank correlation",
        study=derived(_by_dose),
        expect=Share(limit=-0.5, at_most=0.5),
        null=Null("The share does not matter: no correlation.", 0.0),
        why="What counts as a strong correlation (Cohen 1988), in most pairs.",
        history="Asked of the mean, until all pairs had -1, whose mean has no error that is known.",
        core=False,
    ),
    Claim(
        id="complementary-order-raises-lewc",
        role=FOUND_HERE,
        ref="§5 (intervention)",
        statement="A complementary permutation raises the LEWC cosine, on average over the layers beyond the first.",
        unit="cosine",
        study=over_aligned(layers("outputs", "lewc_cosine", skip=1), *_PACKED, widest=True),
        expect=Contrast(*_PACKED, by=NOTICEABLE, pooled=True),
        null=Null("Any order will do.", dict.fromkeys(_PACKED, 0.9)),
        why="What counts as an effect. The paper has correlations; this changes nothing but the order of units.",
        core=False,
    ),
    Claim(
        id="complementary-order-raises-additivity",
        role=FOUND_HERE,
        ref="§5.2 (intervention)",
        statement="A complementary permutation halves what weak additivity lacks of 1, on average over the layers.",
        unit="log2 of a cosine's lack",
        study=over_aligned(lacking_additivity, "unpermuted", "complementary", widest=True),
        expect=Contrast("unpermuted", "complementary", by=1.0, pooled=True),
        null=Null("Any order will do.", dict.fromkeys(_PACKED, -5.0)),
        why="Where no channel is active in two models nothing is lacking. Half of it, as cosines this near 1 leave no "
        "room for differences.",
        core=False,
    ),
    Claim(
        id="complementary-order-raises-recovery",
        role=FOUND_HERE,
        ref="§5.3 (intervention)",
        statement="A complementary permutation lets the merged model's activations give a model's weights more of its "
        "own pre-activations, on average over the layers beyond the first.",
        unit="cosine",
        study=over_aligned(layers("weights", "recovery_cosine", skip=1), *_PACKED, widest=True),
        expect=Contrast(*_PACKED, by=NOTICEABLE, pooled=True),
        null=Null("Any order will do.", dict.fromkeys(_PACKED, 0.9)),
        why="What counts as an effect.",
        core=False,
    ),
    Claim(
        id="complementary-order-makes-models-orthogonal",
        role=FOUND_HERE,
        ref="§5.3 (intervention)",
        statement="A complementary permutation lowers the share of foreign responses, on average over the layers.",
        unit="share",
        study=over_aligned(foreign_share, "unpermuted", "complementary", widest=True),
        expect=Contrast("unpermuted", "complementary", by=NOTICEABLE, pooled=True),
        null=Null("Any order will do.", dict.fromkeys(_PACKED, 0.2)),
        why="What counts as an effect.",
        core=False,
    ),
)
