"""Barriers of paths made by hand (Def. 2.1)."""

from __future__ import annotations

import pytest

from lmc.measuring.barriers import barriers
from lmc.measuring.evaluation import Evaluation


def path_of(values: list[float]) -> list[Evaluation]:
    return [Evaluation(accuracy=1 - value, loss=value, beta=1.0, calibrated_loss=2 * value) for value in values]


@pytest.mark.parametrize(
    ("lams", "values", "midpoint", "maximum"),
    [
        ((0, 0.5, 1), [1.0, 3.0, 2.0], 1.5, None),
        ((0, 0.25, 0.5, 0.75, 1), [0.0, 1.0, 2.0, 3.0, 4.0], 0.0, 0.0),  # straight, if λ weights the last model
        ((0, 0.25, 0.5, 0.75, 1), [0.0, 3.0, 2.5, 3.0, 4.0], 0.5, 2.0),
        ((0, 0.25, 0.5, 0.75, 1), [2.0, 1.0, 1.0, 1.0, 2.0], -1.0, 0.0),
        ((0, 0.2, 0.4, 0.6, 1), [0.0, 0.5, 0.0, 0.0, 0.0], None, 0.5),
        ((0, 0.1, 0.5, 1), [10.0, 9.0, 5.0, 0.0], 0.0, 0.0),
    ],
)
def test_barriers_by_hand(
    lams: tuple[float, ...], values: list[float], midpoint: float | None, maximum: float | None
) -> None:
    found = barriers(lams, path_of(values))
    for quantity, factor in (("loss", 1), ("calibrated_loss", 2), ("accuracy", 1)):
        for point, expected in (("midpoint", midpoint), ("maximum", maximum)):
            wanted = None if expected is None else pytest.approx(factor * expected, abs=1e-12)
            assert found.pop(f"{quantity}_barrier_{point}") == wanted
    assert not found


def test_a_path_and_its_lambdas_must_fit() -> None:
    with pytest.raises(ValueError, match="zip"):
        barriers((0, 0.5, 1), path_of([1.0, 2.0]))
