"""How much of its width a model needs, and what that says of merging: how many models fit, and what matching does.

Packing models into one is easy *because* strong decay leaves channels unused; these claims say how far it does. That
pruning to a half costs less with width is not among them: asked once on seeds 120 to 125, six models could not decide
it anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lmc.claims.claim import Claim
from lmc.claims.comparisons import Contrast
from lmc.claims.derived import Derived, Record, derived, rank_correlation
from lmc.claims.equivalence import NonInferior
from lmc.claims.expectations import Level, Trend
from lmc.claims.extracts import barrier, merge_barrier
from lmc.claims.merge_extracts import lost_by_pruning, needed_share, occupied_share, pruning_barrier
from lmc.claims.null import Null
from lmc.claims.studies import KEEPS, Arm, Values, affordable, pruned, study
from lmc.claims.verdicts import FOUND_HERE
from lmc.measuring.measurements import (
    FULL_PATH,
    MIDPOINT,
    Measurement,
    MergeMeasurement,
    PairMeasurement,
    PruneMeasurement,
)
from lmc.tiers import Setting

_BLOCK = 4
"""Models of which two, three and all four are packed into one."""


def _lost_by_half(record: Record) -> Values:
    return {"": lost_by_pruning(record, 1 / 2)}


def _packed_or_pruned(setting: Setting) -> Iterator[Derived]:
    """Accuracy that two models lose in one net, and by each keeping half of its channels."""
    family = setting.families["strong"]
    width, lost = family.widths[-1], merge_barrier("accuracy")
    for a, b in affordable(family):
        specs = family.spec(width, a), family.spec(width, b)
        packed = (MergeMeasurement(specs, (), "complementary", "sum", layers=False),)
        alone = tuple(PruneMeasurement(spec, KEEPS) for spec in specs)
        known = width, (a, b), (a, b) in family.independent
        yield Derived(*known, packed, lambda records: lost(records[0])[""], "packed")
        yield Derived(*known, alone, lambda records: _mean_lost(records, 1 / 2), "pruned")


def _mean_lost(records: Sequence[Record], keep: float) -> float:
    return float(np.mean([lost_by_pruning(each, keep) for each in records]))


def _capacity(setting: Setting) -> Iterator[Derived]:
    """Of each block of models, how the loss of packing k follows that of pruning to 1/k, over all widths and k."""
    family = setting.families["many"]
    sizes, lost = range(2, _BLOCK + 1), merge_barrier("accuracy")
    for seeds in family.groups(_BLOCK):
        packed: list[MergeMeasurement] = []
        alone: list[PruneMeasurement] = []
        for width in family.widths:
            specs = tuple(family.spec(width, seed) for seed in seeds)
            packed += [MergeMeasurement(specs[:k], (), "complementary", "sum", layers=False) for k in sizes]
            alone += [PruneMeasurement(spec, KEEPS) for spec in specs]

        def value(records: Sequence[Record], count: int = len(packed)) -> float | None:
            of_packing = [lost(each)[""] for each in records[:count]]
            pruned_ones = records[count:]
            blocks = [pruned_ones[at : at + _BLOCK] for at in range(0, len(pruned_ones), _BLOCK)]
            return rank_correlation([_mean_lost(block, 1 / k) for block in blocks for k in sizes], of_packing)

        yield Derived(family.widths[-1], seeds, True, (*packed, *alone), value)


def _harm(setting: Setting) -> Iterator[Derived]:
    """Of each pair, how what weight matching adds to its barrier follows its models' need of channels.

    Over strongly decayed models of every width and weakly decayed ones of the widest they have.
    """
    strong, weak = setting.families["strong"], setting.families["weak"]
    cells = [*((strong, width) for width in strong.widths), (weak, weak.widths[-1])]
    barrier_of = barrier("calibrated_loss")

    def value(records: Sequence[Record]) -> float | None:
        need, harm = [], []
        for at in range(0, len(records), 4):
            unpermuted, matched, *alone = records[at : at + 4]
            before, after = (barrier_of(each)[""] for each in (unpermuted, matched))
            harm.append(None if before is None or after is None else after - before)
            need.append(float(np.mean([needed_share(each)[""] for each in alone])))
        return rank_correlation(need, harm)

    for a, b in affordable(strong):
        independent = (a, b) in strong.independent
        reads: list[Measurement] = []
        for family, width in cells:
            specs = family.spec(width, a), family.spec(width, b)
            path = FULL_PATH if independent else MIDPOINT  # as other claims measure it
            reads += [PairMeasurement(*specs, path), PairMeasurement(*specs, MIDPOINT, "matching")]
            reads += [PruneMeasurement(spec, KEEPS) for spec in specs]
        yield Derived(strong.widths[-1], (a, b), independent, tuple(reads), value)


PACKING: tuple[Claim, ...] = (
    Claim(
        id="occupancy-falls-with-width",
        role=FOUND_HERE,
        ref="§5.2, §5.3 (occupancy)",
        statement="The share of its channels that hold 99 % of a model's strength falls with width.",
        unit="share",
        study=study(Arm(occupied_share, sample=pruned)),
        expect=Trend(increasing=False, by=0.25),
        null=Null("Models use all the width they get: the same share at every width.", 0.5),
        why="A model that needs a fixed number of channels needs a quarter of the share at four times the width: it "
        "falls by three quarters of itself. A quarter is asked.",
        history="Asked of the smallest share that keeps the accuracy, until all narrow models needed all channels, "
        "which has no error that is known.",
        core=False,
    ),
    Claim(
        id="occupancy-falls-with-decay",
        role=FOUND_HERE,
        ref="§5.4 (occupancy)",
        statement="Of weakly decayed models a larger share holds as much.",
        unit="share",
        study=study(Arm(occupied_share, "weak", pruned), Arm(occupied_share, "strong", pruned), widest=True),
        expect=Contrast("weak", "strong", by=0.1),
        null=Null("Decay does not matter.", {"weak": 0.5, "strong": 0.5}),
        why="A tenth of the channels. Without this, packing would be easy whatever the decay.",
        history="As of its fall with width.",
        core=False,
    ),
    Claim(
        id="pruning-to-half-costs-less-with-decay",
        role=FOUND_HERE,
        ref="§5.4 (occupancy)",
        statement="Keeping the stronger half of its channels adds more calibrated loss to a weakly decayed model.",
        unit="nats",
        study=study(Arm(pruning_barrier, "weak", pruned), Arm(pruning_barrier, "strong", pruned), widest=True),
        expect=Contrast("weak", "strong", by=0.02),
        null=Null("Decay does not matter.", {"weak": 0.05, "strong": 0.05}),
        why="A hundredth of chance level, ln 10. Packing is easy because strong decay makes it so.",
        history="Asked of the accuracy, until six models were too few to tell a point.",
        core=False,
    ),
    Claim(
        id="half-of-a-wide-model-is-enough",
        role=FOUND_HERE,
        ref="§5.3 (control)",
        statement="At the largest width a model that keeps the stronger half of its channels loses at most one point "
        "of accuracy: there is room for a second one.",
        unit="share",
        study=study(Arm(_lost_by_half, sample=pruned), widest=True),
        expect=Level(below=0.01),
        null=Null("Half of a narrow model: two points.", 0.02),
        why="What two models in one may lose, too.",
        core=False,
    ),
    Claim(
        id="packing-costs-no-more-than-pruning",
        role=FOUND_HERE,
        ref="§6 (control)",
        statement="At the largest width two models in one, in complementary order, lose no more accuracy than each of "
        "them does by keeping half of its channels.",
        unit="share",
        study=derived(_packed_or_pruned),
        expect=NonInferior("packed", "pruned", margin=0.01),
        null=Null("Packing harms as averaging does, pruning does not.", {"packed": 0.04, "pruned": 0.005}),
        why="One image in a hundred.",
        history="Pilots of an earlier recipe: no loss by either, but of narrow nets, which lose 3 to 22 points more.",
        core=False,
    ),
    Claim(
        id="capacity-follows-pruning",
        role=FOUND_HERE,
        ref="Thm. 5.3 for sums of k models",
        statement="The accuracy that 2, 3 and 4 bias-free MLPs lose in one net follows what each loses by keeping a "
        "half, a third and a quarter of its channels, over widths and numbers of models.",
        unit="rank correlation",
        study=derived(_capacity, "many"),
        expect=Level(above=0.5),
        null=Null("What one model loses says nothing of what several do.", 0.0),
        why="What counts as a strong correlation (Cohen 1988).",
        kinds=("mlp",),
        core=False,
    ),
    Claim(
        id="matching-harms-where-little-is-needed",
        role=FOUND_HERE,
        ref="F.3 (occupancy)",
        statement="What weight matching adds to a pair's calibrated barrier falls with the share of channels that its "
        "models need, over widths and decays.",
        unit="rank correlation",
        study=derived(_harm, "strong", "weak"),
        expect=Level(below=-0.5),
        null=Null("What a model needs says nothing of what matching does.", 0.0),
        why="What counts as a strong correlation (Cohen 1988).",
        kinds=("vgg", "resnet"),
        core=False,
    ),
)
