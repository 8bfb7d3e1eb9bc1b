"""Numbers taken from paths made by hand: the value that the formula gives, and its error."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lmc.claims.path_extracts import (
    agreement,
    barrier_of_chance,
    errors_beyond,
    errors_beyond_along,
    errors_beyond_ensemble,
    left_by_calibration,
    loss_beyond_ensemble,
)
from lmc.claims.studies import Imprecise
from lmc.datasets import Size

ACCURACIES = (0.98, 0.9, 0.8, 0.95, 0.94)
"""Of model b, which errs on 2 images of 100, over λ = ¼, ½, ¾ to model a, which errs on 6."""


def record(classes: int = 10, images: int = 400, merged: float = 0.8) -> dict[str, Any]:
    """A pair whose every number is another."""
    accuracies = (*ACCURACIES[:2], merged, *ACCURACIES[3:])
    points = [{"accuracy": each, "calibrated_loss": 0.1 + 0.1 * at} for at, each in enumerate(accuracies)]
    barriers = {
        "calibrated_loss_barrier_midpoint": 0.3,
        "calibrated_loss_barrier_maximum": 0.5,
        "loss_barrier_midpoint": 0.8,
    }
    errors = {
        "calibrated_loss_barrier_midpoint": 0.02,
        "calibrated_loss_barrier_maximum": 0.03,
        "loss_barrier_midpoint": 0.06,
        "accuracy_barrier_midpoint": 0.011,
        "accuracy_barrier_maximum": 0.013,
    }
    return {
        "path": {
            "lams": [0.0, 0.25, 0.5, 0.75, 1.0],
            "points": points,
            "ensemble": {"accuracy": 0.97, "calibrated_loss": 0.05},
            "barriers": barriers,
            "errors": errors,
            "agreement": {"merged_ensemble": 0.75, "a_b": 0.96, "merged_a": 0.5, "merged_b": 0.5},
        },
        "size": Size((1, 8, 8), classes, 1000, images),
    }


def read(extract: Imprecise, **changes: Any) -> float:
    found = extract(record(**changes))
    assert list(found) == [""]
    value = found[""]
    assert value is not None
    return value


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_barriers_are_shares_of_the_loss_of_chance(classes: int) -> None:
    chance = math.log(classes)
    made = record(classes)
    for extract, value, error in (
        (barrier_of_chance(), 0.3, 0.02),
        (barrier_of_chance("maximum"), 0.5, 0.03),
        (left_by_calibration, 0.3 - 0.8 / 2, 0.02 + 0.06 / 2),
        (loss_beyond_ensemble, 0.3 - 0.05, 0.02),
    ):
        assert read(extract, classes=classes) == pytest.approx(value / chance)
        assert extract.error(made) == pytest.approx(error / chance)


@pytest.mark.parametrize(("times", "value"), [(1.0, 0.2 - 0.04), (1.25, 0.2 - 0.05), (2.0, 0.2 - 0.08)])
def test_errors_beyond_so_many_times_the_models_own(times: float, value: float) -> None:
    """The merged model errs on 20 images of 100, its endpoints on 6 and on 2."""
    extract = errors_beyond(times)
    assert read(extract) == pytest.approx(value)
    assert extract.error(record()) == pytest.approx(0.011 + (times - 1) * math.sqrt(0.04 * 0.96 / 400))


@pytest.mark.parametrize(
    ("merged", "times", "value"),
    [
        (0.8, 1.25, 0.2 - 1.25 * 0.04),  # the largest is that of the midpoint
        (0.95, 1.25, 0.1 - 1.25 * (0.25 * 0.06 + 0.75 * 0.02)),  # λ weighs model a, the last of the path
        (0.95, 2.0, 0.1 - 2 * (0.25 * 0.06 + 0.75 * 0.02)),
        (0.95, 9.0, -8 * 0.02),  # model b itself
    ],
)
def test_errors_beyond_at_any_point_of_the_path(merged: float, times: float, value: float) -> None:
    extract = errors_beyond_along(times)
    assert read(extract, merged=merged) == pytest.approx(value)
    assert extract.error(record()) == pytest.approx(0.013 + (times - 1) * math.sqrt(0.04 * 0.96 / 400))


@pytest.mark.parametrize(
    ("allowed", "of", "value"),
    [
        (0.25, "models", 0.2 - 0.03 - 0.25 * 0.04),
        (1.0, "models", 0.2 - 0.03 - 0.04),
        (1.0, "ensemble", 0.2 - 0.03 - 0.03),
    ],
)
def test_errors_beyond_the_ensemble(allowed: float, of: Any, value: float) -> None:
    extract = errors_beyond_ensemble(allowed, of)
    assert read(extract) == pytest.approx(value)
    share = {"models": 0.04, "ensemble": 0.03}[of]
    paired = math.sqrt((0.25 - 0.17**2) / 400)  # they differ on a quarter of the images, and in accuracy by 0.17
    assert extract.error(record()) == pytest.approx(paired + allowed * math.sqrt(share * (1 - share) / 400))


def test_the_error_of_a_difference_is_that_of_the_images_both_answer_otherwise() -> None:
    """Simulated: of N images each is told apart with a chance, in the one or the other's favour."""
    import numpy as np

    rng, images, better, worse = np.random.default_rng(0), 400, 0.21, 0.04
    draws = rng.choice([1, -1, 0], size=(20_000, images), p=[better, worse, 1 - better - worse]).mean(1)
    found = errors_beyond_ensemble(0.0, "models").error(record())
    assert found == pytest.approx(draws.std(), rel=0.02)


@pytest.mark.parametrize(("which", "share"), [("merged_ensemble", 0.75), ("a_b", 0.96)])
def test_agreement_and_its_binomial_error(which: Any, share: float) -> None:
    assert read(agreement(which)) == share
    for images in (400, 100):
        assert agreement(which).error(record(images=images)) == pytest.approx(math.sqrt(share * (1 - share) / images))
