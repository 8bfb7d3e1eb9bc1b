"""What layers are made of: numbers taken from Gram matrices of vectors made by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lmc.claims.fit_extracts import exponent, third_of_hidden, third_of_logits, third_share


def gram(alpha: float, gamma: float, delta: float, *, noise: float = 0.0, alike: float = 0.6) -> list[float]:
    """That of f_merged = α f_a + γ f_b + δ f_c + noise and three unit vectors with a cosine of ``alike``."""
    between = np.full((3, 3), alike) + (1 - alike) * np.eye(3)
    models = np.linalg.cholesky(between)
    merged = np.array([alpha, gamma, delta]) @ models
    vectors = np.column_stack([np.vstack([merged, models]), [noise, 0, 0, 0]])
    return [float(each) for each in (vectors @ vectors.T)[np.triu_indices(4)]]


@pytest.mark.parametrize("noise", [0.0, 3.0])
@pytest.mark.parametrize(
    ("alpha", "gamma", "delta", "share"),
    [
        (0.5, 0.5, 0.0, 0.0),
        (0.2, 0.2, 0.2, 1 / 3),
        (0.3, 0.6, 0.1, 0.1),
        (0.3, 0.6, -0.1, -0.1),
        (0.9, -0.5, 0.1, 0.2),
        (0.0, 0.0, 0.4, 1.0),
        (-0.3, 0.1, 0.2, 1.0),  # nothing of the two
        (-0.3, 0.1, -0.2, 1.0),
    ],
)
def test_the_third_share_has_the_sign_of_its_coefficient(
    alpha: float, gamma: float, delta: float, share: float, noise: float
) -> None:
    for scale in (1.0, 1 / 16):
        found = third_share(gram(scale * alpha, scale * gamma, scale * delta, noise=noise))
        assert found == pytest.approx(share, abs=1e-9)


def test_noise_does_not_raise_the_mean_of_the_third_share() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 4000)
    found = np.array([third_share(gram(0.5, 0.5, float(each))) for each in noise])
    assert abs(found.mean()) < 3 * found.std() / math.sqrt(len(found))
    assert np.abs(found).mean() > 0.05, "that of its absolute value would be raised"


def test_a_layer_that_is_like_none_of_the_three_does_not_look_like_the_merged() -> None:
    rng = np.random.default_rng(1)
    found = [third_share(gram(*rng.normal(0, 0.1, 3), noise=1.0, alike=0.0)) for _ in range(1000)]
    assert np.mean([each for each in found if each is not None]) > 0.4


def test_a_dead_layer_has_no_share() -> None:
    assert third_share([0.0] * 10) is None


def test_the_third_share_by_layer() -> None:
    def layer(delta: float) -> dict[str, Any]:
        return {"centred": gram(0.4, 0.4, delta), "raw": gram(0.1, 0.1, 0.9)}

    record = {"grams": {"one": layer(0.8), "two": layer(0.2), "three": layer(-0.2), "logits": layer(0.0)}}
    assert third_of_logits(record) == {"": pytest.approx(0.0, abs=1e-9)}
    assert third_of_hidden(record) == {"two": pytest.approx(0.2), "three": pytest.approx(-0.2)}


@pytest.mark.parametrize("lam", [0.25, 0.4, 0.75])
@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_the_exponent_of_the_coefficients(lam: float, power: float) -> None:
    """Def. 4.1: λ^ℓ and (1 - λ)^ℓ."""
    made = gram(lam**power, (1 - lam) ** power, 0.05)
    record = {"lam": lam, "grams": {"logits": {"centred": made, "raw": gram(1.0, 1.0, 1.0)}}}
    assert exponent(record) == {"": pytest.approx(power)}
    flipped = gram(-(lam**power), (1 - lam) ** power, 0.05)
    assert exponent({"lam": lam, "grams": {"logits": {"centred": flipped}}}) == {"": pytest.approx(power)}


def test_there_is_no_exponent_of_a_dead_layer() -> None:
    assert exponent({"lam": 0.25, "grams": {"logits": {"centred": [0.0] * 10}}}) == {"": None}
