"""The claims of Appendix F.11 (skip connections, BatchNorm), in paper order."""

from __future__ import annotations

from dataclasses import replace

from lmc.claims.claim import CHANCE, NOTICEABLE, SEEN, Claim
from lmc.claims.comparisons import Contrast
from lmc.claims.equivalence import Similar
from lmc.claims.explanation import Experiment, Explanation
from lmc.claims.extracts import foreign_share
from lmc.claims.null import Null
from lmc.claims.path_extracts import barrier_of_chance
from lmc.claims.studies import over_pairs

_HALF_OF_WIDTH = "'For each layer'; half of what width changes it by (Fig. 7)."
_OF_THE_MEAN = "Was asked of the mean over the layers."
_OTHER_SEEDS = Experiment("Other models: a layer whose share moves the other way refutes that BatchNorm moves it.")

OTHER_NETS: tuple[Claim, ...] = (
    Claim(
        id="fig26-batchnorm-lowers-barrier",
        ref="F.11, Fig. 26",
        items=("Figure 26",),
        statement="BatchNorm makes the MLP's calibrated barrier smaller.",
        unit=CHANCE,
        study=over_pairs(barrier_of_chance(), "strong", "bn"),
        expect=Contrast("strong", "bn", by=NOTICEABLE),
        null=Null("BatchNorm changes nothing.", 0.3),
        why="The paper claims the direction.",
        history="Was 0.05 nats; pilots: 0.5 nats smaller at the middle width, where the plain MLP still has a barrier. "
        f"{SEEN}",
        kinds=("mlp",),
    ),
    Claim(
        id="fig26-skip-connections-lower-barrier",
        ref="F.11, Fig. 26",
        items=("Figure 26",),
        statement="Skip connections make the MLP's calibrated barrier smaller.",
        unit=CHANCE,
        study=over_pairs(barrier_of_chance(), "strong", "skip"),
        expect=Contrast("strong", "skip", by=NOTICEABLE),
        null=Null("Skip connections change nothing.", 0.3),
        why="The paper claims the direction.",
        history="Was 0.05 nats; pilots: 0.5 nats smaller at the middle width, where the plain MLP still has a barrier. "
        f"{SEEN}",
        kinds=("mlp",),
    ),
    Claim(
        id="fig27-batchnorm-keeps-orthogonality",
        ref="F.11, Fig. 27",
        items=("Figure 27",),
        statement="BatchNorm does not substantially change the orthogonality ratio of any layer beyond the input's.",
        unit="share",
        study=over_pairs(foreign_share, "strong", "bn"),
        expect=Similar("strong", "bn", within=0.07),
        null=Null("BatchNorm changes the share as much as width does, by 0.14.", {"strong": 0.32, "bn": 0.18}),
        why=_HALF_OF_WIDTH,
        history=f"{_OF_THE_MEAN} Pilots: width changes it by 0.14 to 0.22.",
        explanations={
            **dict.fromkeys(
                ("mlp-mnist", "mlp-fashion-mnist"),
                Explanation(
                    "BatchNorm raises the share in one layer, by 0.08 on MNIST, and lowers it as much in another; the "
                    "mean over the layers, which was judged once, hides both.",
                    _OTHER_SEEDS,
                ),
            ),
            "mlp-digits": Explanation(
                "BatchNorm raises the share in the second layer, from 0.36 to 0.43, and lowers it in the third, from "
                "0.34 to 0.25; the mean over the layers hides both.",
                replace(_OTHER_SEEDS, result="On two sets of seeds the changes agree to 0.005 in every layer."),
            ),
        },
        kinds=("mlp",),
        core=False,
    ),
    Claim(
        id="fig27-skip-connections-keep-orthogonality",
        ref="F.11, Fig. 27",
        items=("Figure 27",),
        statement="Skip connections do not substantially change the ratio of any layer beyond the input's.",
        unit="share",
        study=over_pairs(foreign_share, "strong", "skip"),
        expect=Similar("strong", "skip", within=0.07),
        null=Null("Skip connections change the share as much as width does, by 0.14.", {"strong": 0.32, "skip": 0.18}),
        why=_HALF_OF_WIDTH,
        history=f"{_OF_THE_MEAN} Pilots: width changes it by 0.14 to 0.22.",
        kinds=("mlp",),
        core=False,
    ),
)
