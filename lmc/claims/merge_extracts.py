"""Numbers taken from records of merges and of pruned models."""

from __future__ import annotations

import math
from typing import Any

from lmc.claims.extracts import layers
from lmc.claims.studies import Values

Record = dict[str, Any]

LEAST_LACK = 1e-3
"""Of a cosine over the few hundred images that layers are measured on. Less is not told from nothing."""


def above_ensemble(record: Record) -> Values:
    """Loss of a merge above that of the mean of the models' logits: its barrier without the gain of an ensemble."""
    return {"": record["merged"]["loss"] - record["mean_logits"]["loss"]}


def lacking_additivity(record: Record) -> Values:
    """log2 of what the additivity cosine of every layer of a pair lacks of 1 (Def. 5.1), `LEAST_LACK` at least."""
    cosines = layers("activations", "additivity_cosine")(record)
    return {name: None if each is None else math.log2(max(1 - each, LEAST_LACK)) for name, each in cosines.items()}


def occupied_share(record: Record) -> Values:
    """Share of its channels that hold nearly all of a model's strength, see `lmc.merging.pruning.needed_share`."""
    return {"": record["occupancy"]["norm"]}


def needed_share(record: Record) -> Values:
    """The smallest share of its channels, of those tried, that leaves a model within a point of its accuracy.

    All larger ones must, too; 1 where none does.
    """
    share = record["occupancy"]["function"]
    return {"": 1.0 if share is None else share}


def lost_by_pruning(record: Record, keep: float) -> float:
    """Accuracy that a model loses by keeping the share ``keep`` of its channels.

    Raises:
        KeyError: that share was not measured.
    """
    return float(record["model"]["accuracy"] - _point(record, keep)["accuracy"])


def pruning_barrier(record: Record) -> Values:
    """Calibrated loss of a model that keeps half of its channels, above its own."""
    return {"": _point(record, 1 / 2)["calibrated_loss"] - record["model"]["calibrated_loss"]}


def _point(record: Record, keep: float) -> dict[str, float]:
    for point in record["points"]:
        if abs(point["keep"] - keep) < 1e-9:
            found: dict[str, float] = point
            return found
    raise KeyError(f"there is no point at {keep:g} of the channels, only at {[p['keep'] for p in record['points']]}")
