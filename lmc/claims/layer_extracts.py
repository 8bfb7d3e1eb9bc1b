"""Numbers of Appendix C and D: both sides of commutativity, norms, distances, the loss of a random step."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from lmc.claims.claim import Records, Study
from lmc.claims.extracts import perturbed
from lmc.claims.statistics import Observation
from lmc.claims.studies import Imprecise, Values
from lmc.tiers import Setting

Record = dict[str, Any]
_SIDES = "relative_commutativity"


def sides_apart(record: Record) -> Values:
    """How far W^a z^b is from W^b z^a in every layer (Def. C.1): 1 where they are unrelated, 0 where they are equal.

    Of the last layer without what all classes share, which no prediction depends on; as it is where it has no classes.
    """
    found = {name: dict(values) for name, values in record["layers"]["weights"].items()}
    last = found[next(reversed(found))]
    centred = last.get(f"class_centred_{_SIDES}")
    if centred is not None:
        last[_SIDES] = centred
    return {name: values[_SIDES] for name, values in found.items()}


def loss_of_a_step(record: Record) -> Values:
    """How much the loss rises along the whole random step (App. D.1), as a share of ln C."""
    return {"": _share(perturbed("loss")(record)[""], record)}


raw_barrier = Imprecise(
    lambda record: _share(record["path"]["barriers"]["loss_barrier_midpoint"], record),
    lambda record: _share(record["path"]["errors"]["loss_barrier_midpoint"], record) or 0.0,
)
"""The barrier of a pair at the midpoint without calibration, as a share of ln C (Def. 2.1)."""


def own_loss(record: Record) -> Values:
    """The calibrated loss of the models a pair consists of, averaged, as a share of ln C (Fig. 25)."""
    first, last = record["path"]["points"][0], record["path"]["points"][-1]
    return {"": _share((first["calibrated_loss"] + last["calibrated_loss"]) / 2, record)}


def _share(loss: float | None, record: Record) -> float | None:
    return None if loss is None else loss / math.log(record["size"].classes)


def log_distance(record: Record) -> Values:
    """log2 of the distance ‖θ_a - θ_b‖ of two models (App. D.1)."""
    return {"": math.log2(record["distance"]) if record["distance"] > 0 else None}


def against_root_of_width(found: Study) -> Study:
    """Logarithms to base 2 less that of the root of the width, with which random initial weights grow.

    A layer of n units that reads n has n² weights of variance 2 / n at the start: their norm is √(2 n).
    """

    def observe(setting: Setting, records: Records) -> list[Observation]:
        return [
            dataclasses.replace(each, value=None if each.value is None else each.value - math.log2(each.width) / 2)
            for each in found.observe(setting, records)
        ]

    return Study(found.needs, observe, found.groups)
