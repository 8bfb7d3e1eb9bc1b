"""A claim that models trained in a second can be judged by, and the tier it is judged on."""

from __future__ import annotations

from lmc.claims.claim import Claim
from lmc.claims.expectations import Level
from lmc.claims.extracts import barrier
from lmc.claims.null import Null
from lmc.claims.studies import over_pairs
from lmc.specs import RunSpec
from lmc.tiers import Family, Setting, Tier

RECIPE = RunSpec(
    dataset="digits",
    arch="mlp",
    width=1 / 64,
    optimizer="adam",
    lr=1e-3,
    schedule="constant",
    epochs=1,
    batch_size=50,
)
SETTING = Setting("tiny", {"strong": Family(RECIPE, (1 / 64,))}, min_accuracy=0.0)
TIER = Tier("tiny", (SETTING,), "for tests")
CLAIM = Claim(
    id="tiny-barrier",
    ref="-",
    statement="A barrier is a number.",
    unit="nats",
    study=over_pairs(barrier("calibrated_loss")),
    expect=Level(below=10.0),
    null=Null("A barrier of twenty nats.", 20.0),
    why="-",
    kinds=("mlp",),
)
CLAIMS = (CLAIM,)
