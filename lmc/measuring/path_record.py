"""What is kept of a path between two models, whose points and ensemble have been evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from lmc.measuring.barriers import barrier_errors, barrier_places, barriers
from lmc.measuring.evaluation import Judged
from lmc.precision import double


def mean_logits(a: Tensor, b: Tensor) -> Tensor:
    """What the ensemble of two models says, float64 (M, classes)."""
    return (double(a) + double(b)) / 2


def path_record(lams: Sequence[float], path: Sequence[Judged], ensemble: Judged) -> dict[str, Any]:
    """JSON-ready record of a path.

    Args:
        lams: from 0 (model b) to 1 (model a).
        path: what is said of the test images at each λ.
        ensemble: what the mean of the endpoints' logits says. Under LEWC the merged model's midpoint equals it up to
            scale.

    Returns:
        ``lams``; ``points``, the evaluation at each; ``ensemble``, its evaluation; ``barriers``, and by their names the
        λ they lie at, ``places``, and their standard ``errors`` (see `lmc.measuring.barriers`); and ``agreement``, the
        share of test images of which two say the same class: ``merged_ensemble``, ``merged_a`` and ``merged_b``, where
        ½ is a point of the path, and ``a_b``.
    """
    points = [each.evaluation for each in path]
    pairs = {"a_b": (path[-1], path[0])}
    if 0.5 in lams:
        merged = path[list(lams).index(0.5)]
        pairs |= {"merged_ensemble": (merged, ensemble), "merged_a": (merged, path[-1]), "merged_b": (merged, path[0])}
    return {
        "lams": list(lams),
        "points": [asdict(point) for point in points],
        "ensemble": asdict(ensemble.evaluation),
        "barriers": barriers(lams, points),
        "places": barrier_places(lams, points),
        "errors": barrier_errors(lams, path),
        "agreement": {
            name: float(double(one.predictions == other.predictions).mean()) for name, (one, other) in pairs.items()
        },
    }
