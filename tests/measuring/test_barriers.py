"""Barriers of paths made by hand (Def. 2.1)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lmc.measuring.barriers import barrier_errors, barrier_places, barriers
from lmc.measuring.evaluation import Evaluation, Judged, judge_all


def path_of(values: list[float]) -> list[Evaluation]:
    return [Evaluation(accuracy=1 - value, loss=value, beta=1.0, calibrated_loss=2 * value) for value in values]


@pytest.mark.parametrize(
    ("lams", "values", "midpoint", "maximum", "at"),
    [
        ((0, 0.5, 1), [1.0, 3.0, 2.0], 1.5, None, None),
        ((0, 0.25, 0.5, 0.75, 1), [0.0, 1.0, 2.0, 3.0, 4.0], 0.0, 0.0, 0.0),  # straight, if λ weights the last model
        ((0, 0.25, 0.5, 0.75, 1), [0.0, 3.0, 2.5, 3.0, 4.0], 0.5, 2.0, 0.25),
        ((0, 0.25, 0.5, 0.75, 1), [2.0, 1.0, 1.0, 1.0, 2.0], -1.0, 0.0, 0.0),
        ((0, 0.2, 0.4, 0.6, 1), [0.0, 0.5, 0.0, 0.0, 0.0], None, 0.5, 0.2),
        ((0, 0.1, 0.5, 1), [10.0, 9.0, 5.0, 0.0], 0.0, 0.0, 0.0),
    ],
)
def test_barriers_by_hand(
    lams: tuple[float, ...], values: list[float], midpoint: float | None, maximum: float | None, at: float | None
) -> None:
    found, places = barriers(lams, path_of(values)), barrier_places(lams, path_of(values))
    assert list(found) == list(places)
    for quantity, factor in (("loss", 1), ("calibrated_loss", 2), ("accuracy", 1)):
        for point, expected in (("midpoint", midpoint), ("maximum", maximum)):
            wanted = None if expected is None else pytest.approx(factor * expected, abs=1e-12)
            assert found.pop(f"{quantity}_barrier_{point}") == wanted
        assert places[f"{quantity}_barrier_maximum"] == at
        assert places[f"{quantity}_barrier_midpoint"] == (None if midpoint is None else 0.5)
    assert not found


def test_a_path_and_its_lambdas_must_fit() -> None:
    with pytest.raises(ValueError, match="zip"):
        barriers((0, 0.5, 1), path_of([1.0, 2.0]))


def judged(right: list[bool], losses: list[float], calibrated: list[float]) -> Judged:
    """What is said of four images, on two of which β was not fitted."""
    evaluation = Evaluation(sum(right) / 4, sum(losses) / 4, 1.0, sum(calibrated) / 2)
    both = (torch.tensor(each, dtype=torch.float64) for each in (losses, calibrated))
    return Judged(evaluation, torch.zeros(4).long(), torch.tensor(right), *both)


def test_errors_by_hand() -> None:
    """b is wrong on image 0 and loses 4 there, the merged model is wrong on 0 and 1; a is right and loses nothing."""
    b = judged([False, True, True, True], [4.0, 0.0, 0.0, 0.0], [1.0, 0.0])
    merged = judged([False, False, True, True], [4.0, 2.0, 0.0, 0.0], [1.0, 1.0])
    a = judged([True] * 4, [0.0] * 4, [0.0, 0.0])
    lams, path = (0.0, 0.5, 1.0), (b, merged, a)
    found = barrier_errors(lams, path)
    # Excess by image: loss 2, 2, 0, 0, variance 4/3; accuracy 1/2, 1, 0, 0, variance 11/48; calibrated 1/2, 1, 1/8.
    assert found["loss_barrier_midpoint"] == pytest.approx((4 / 3 / 4) ** 0.5)
    assert found["accuracy_barrier_midpoint"] == pytest.approx((11 / 48 / 4) ** 0.5)
    assert found["calibrated_loss_barrier_midpoint"] == pytest.approx((1 / 8 / 2) ** 0.5)
    assert [found[f"{name}_barrier_maximum"] for name in ("loss", "calibrated_loss", "accuracy")] == [None] * 3


def test_the_error_of_the_maximum_is_that_at_its_lambda() -> None:
    ends = judged([True] * 4, [0.0] * 4, [0.0, 0.0])
    high, middle = judged([False] * 4, [8.0, 0.0, 0.0, 0.0], [3.0, 1.0]), judged([True] * 4, [1.0] * 4, [1.0, 1.0])
    lams, path = (0.0, 0.25, 0.5, 1.0), (ends, high, middle, ends)
    found = barrier_errors(lams, path)
    assert barrier_places(lams, [each.evaluation for each in path])["loss_barrier_maximum"] == 0.25
    assert found == {
        "loss_barrier_midpoint": 0.0,
        "loss_barrier_maximum": pytest.approx(2.0),  # 8, 0, 0, 0: standard deviation 4, over √4
        "calibrated_loss_barrier_midpoint": 0.0,
        "calibrated_loss_barrier_maximum": pytest.approx(1.0),
        "accuracy_barrier_midpoint": 0.0,
        "accuracy_barrier_maximum": 0.0,  # wrong on all
    }


def test_the_error_is_what_fresh_test_sets_scatter_by() -> None:
    """Barriers at the midpoint of 300 test sets of 200 images each, drawn from one population."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (60_000,), generator=generator)
    common = torch.randn(60_000, 3, generator=generator) + 2 * torch.nn.functional.one_hot(labels, 3)
    each = [common + torch.randn(60_000, 3, generator=generator) * noise for noise in (0.5, 1.5, 0.5)]
    excesses, errors = [], []
    for part in torch.arange(60_000).split(200):
        path = judge_all(torch.stack([logits[part] for logits in each]), labels[part])
        excesses.append(barriers((0.0, 0.5, 1.0), [point.evaluation for point in path]))
        errors.append(barrier_errors((0.0, 0.5, 1.0), path))
    for name in ("loss_barrier_midpoint", "accuracy_barrier_midpoint", "calibrated_loss_barrier_midpoint"):
        found_there, said_there = (np.array([one[name] for one in each], dtype=float) for each in (excesses, errors))
        spread, said = found_there.std(ddof=1), said_there.mean()
        assert said == pytest.approx(spread, rel=0.15), name
