"""Numbers taken from records made by hand: the value that the formula gives."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lmc.claims.extracts import beta_over_prediction, foreign_share


def record(depth: int, merged: float, ensemble: float) -> dict[str, Any]:
    """A pair whose merged model and ensemble need these inverse temperatures."""
    points = [{"beta": beta} for beta in (1.0, merged, 1.0)]
    return {
        "path": {"lams": [0.0, 0.5, 1.0], "points": points, "ensemble": {"beta": ensemble}},
        "layers": {"outputs": {str(layer): {} for layer in range(depth)}},
    }


@pytest.mark.parametrize(("depth", "merged", "share"), [(4, 8.0, 1.0), (4, 2.0, 1 / 3), (3, 4.0, 1.0), (2, 1.0, 0.0)])
def test_beta_over_what_lewc_predicts(depth: int, merged: float, share: float) -> None:
    """Merged logits 2^-L (f_a + f_b), mean logits (f_a + f_b) / 2: a net of four layers needs eight times the β."""
    for ensemble in (1.0, 1.7):
        found = beta_over_prediction(record(depth, merged * ensemble, ensemble))
        assert found == {f"{depth} layers": pytest.approx(share)}


@pytest.mark.parametrize(("ratio", "share"), [(0.0, 0.0), (1.0, 0.5), (3.0, 0.75), (0.25, 0.2)])
def test_the_foreign_share_of_an_orthogonality_ratio(ratio: float, share: float) -> None:
    weights = {"first": {"orthogonality_ratio": 9.0}, "second": {"orthogonality_ratio": ratio}}
    found = foreign_share({"layers": {"weights": weights}})
    assert found == {"second": pytest.approx(share)}
    assert math.isfinite(share)
    undefined = {"layers": {"weights": {**weights, "third": {"orthogonality_ratio": None}}}}
    assert foreign_share(undefined)["third"] is None
