"""A net, images, a tier and two claims of one's own, which lmc trains, judges and reports like the paper's.

Every process of a run imports this module, so it registers what the tier needs, and imports no torch itself.
"""

from __future__ import annotations

from pathlib import Path

import lmc
from lmc.claims.claim import NOTICEABLE, Claim
from lmc.claims.expectations import Trend
from lmc.claims.extracts import barrier, layers
from lmc.claims.null import Null
from lmc.claims.studies import over_pairs
from lmc.specs import RunSpec
from lmc.tiers import Family, Setting, Tier

FOLDER = Path(__file__).parent / "few-digits"
"""Of images, see ``make_images.py``."""
KIND = "gelu-mlp"
"""A kind of its own: the paper's claims about MLPs leave it out. With ``"mlp"`` they would be judged on it too."""

lmc.register_dataset("few-digits", FOLDER)
lmc.register_architecture(
    lmc.Architecture(
        name="gelu-mlp",
        kind=KIND,
        build="own_claim.net:build",
        stacked=(1, 1),  # train six at once: they are small
    )
)


def tier() -> Tier:
    """Six nets at each of three widths, trained in seconds."""
    recipe = RunSpec(
        dataset="few-digits",
        arch="gelu-mlp",
        width=1,
        optimizer="adam",
        lr=4e-3,
        weight_decay=0.012,
        epochs=40,
        batch_size=50,
    )
    strong = Family(recipe, widths=(1 / 16, 1 / 4, 1), seeds=tuple(range(6)))
    setting = Setting("gelu-few-digits", {"strong": strong}, min_accuracy=0.8, wide=1)
    return Tier("own_claim", (setting,), "GELU MLPs on the digits from nought to four; half a minute on a laptop")


CLAIMS = (
    Claim(
        id="gelu-barrier-falls-with-width",
        ref="own",
        statement="Without permutation, the calibrated loss barrier of nets with GELU falls as they widen, too.",
        unit="nats",
        study=over_pairs(barrier("calibrated_loss")),
        expect=Trend(increasing=False, by=0.1),
        null=Null("Narrow nets: the same barrier at every width.", 0.5),
        why="A tenth of a nat is a twentieth of chance level ln 5, and more than pairs of one width differ by.",
        kinds=(KIND,),
    ),
    Claim(
        id="gelu-lewc-rises-with-width",
        ref="Def. 4.1, for GELU",
        items=("Figure 3",),
        statement="Beyond the first layer, the cosine between the merged layer's output and the endpoints' sum rises "
        "with width for GELU, too, though it only nearly satisfies what Theorem 5.3 asks of an activation.",
        unit="cosine",
        study=over_pairs(layers("outputs", "lewc_cosine", skip=1)),
        expect=Trend(increasing=True, by=NOTICEABLE, pooled=True),
        null=Null("Narrow nets: the same cosine at every width.", 0.8),
        why="The paper claims the direction, not a size: the least effect of its own claim.",
        kinds=(KIND,),
    ),
)
