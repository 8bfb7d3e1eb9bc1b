"""The inverse temperature: against scipy's minimiser, its symmetries, and where it has no optimum (§3.1, F.5)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special
from torch import Tensor

from lmc.errors import MergeError
from lmc.merging import calibration_split, fit_inverse_temperature
from lmc.merging.temperature import BETA_RANGE

quick = settings(deadline=None, max_examples=40, derandomize=True)
seeds = st.integers(0, 2**31 - 1)


def noisy_logits(seed: int, images: int = 60, classes: int = 4, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Logits that are right more often than not, and labels: an interior optimum."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes)) + 1.5 * np.eye(classes)[labels]
    return torch.from_numpy(scale * logits), torch.from_numpy(labels)


def scipy_beta(logits: np.ndarray, labels: np.ndarray, smoothing: float) -> float:
    """The minimiser of the cross-entropy with smoothed labels, found without a derivative."""
    classes = logits.shape[1]
    targets = (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes

    def loss(log_beta: float) -> float:
        return float(-(targets * special.log_softmax(math.exp(log_beta) * logits, axis=1)).sum())

    found = optimize.minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-12})
    width = 1e-4  # a parabola through points this near has its vertex far nearer than rounding lets loss() tell
    for _ in range(2):
        left, middle, right = (loss(found.x + step) for step in (-width, 0, width))
        found.x -= width / 2 * (right - left) / (right - 2 * middle + left)
    return math.exp(found.x)


@pytest.mark.parametrize("smoothing", [0.0, 1 / 62, 0.2])
@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_beta_minimises_the_loss(seed: int, scale: float, smoothing: float) -> None:
    logits, labels = noisy_logits(seed, scale=scale)
    found = fit_inverse_temperature(logits, labels, smoothing=smoothing).item()
    expected = scipy_beta(logits.numpy(), labels.numpy(), smoothing)
    assert 0.05 < expected < 20, "the case must have an interior optimum"
    assert found == pytest.approx(expected, rel=1e-6)  # scipy's own precision without a derivative


def bisected_beta(logits: Tensor, labels: Tensor, smoothing: float) -> float:
    """The root of the derivative by log β, by as many halvings as float64 has bits."""
    scores = logits - logits.gather(1, labels[:, None])
    low, high = map(math.log, BETA_RANGE)
    for _ in range(60):
        middle = (low + high) / 2
        shares = torch.softmax(math.exp(middle) * scores, dim=1)
        rising = ((shares - smoothing / logits.shape[1]) * scores).sum() > 0
        low, high = (low, middle) if rising else (middle, high)
    return math.exp((low + high) / 2)


@pytest.mark.parametrize("smoothed", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_newton_finds_what_bisection_does(seed: int, smoothed: bool) -> None:
    """From far too confident to far too shy, from useless to separable: roots within the bounds and beyond."""
    rng = np.random.default_rng(seed)
    images, classes = int(rng.integers(1, 200)), int(rng.integers(2, 12))
    labels = torch.from_numpy(rng.integers(0, classes, images))
    signal = torch.eye(classes, dtype=torch.float64)[labels] * rng.uniform(-1, 8)
    logits = (signal + torch.from_numpy(rng.normal(size=(images, classes)))) * 10 ** rng.uniform(-4, 4)
    smoothing = 1 / (images + 2) if smoothed else 0.0
    found = fit_inverse_temperature(logits, labels, smoothing=smoothing).item()
    assert found == pytest.approx(bisected_beta(logits, labels, smoothing), rel=1e-9, abs=0.0)


def test_a_stack_is_fitted_as_if_each_were_alone() -> None:
    cases = [noisy_logits(0, scale=scale)[0] for scale in (1e-5, 0.1, 1.0, 30.0, 1e6)]
    labels = noisy_logits(0)[1]
    separable = 5.0 * torch.eye(4, dtype=torch.float64)[labels]
    cases += [separable, -separable, torch.zeros_like(separable)]
    together = fit_inverse_temperature(torch.stack(cases), labels)
    assert together.tolist() == [fit_inverse_temperature(each, labels).item() for each in cases]


@quick
@given(seeds, st.floats(0.1, 10), st.sampled_from([0.0, 0.05]))
def test_scaling_the_logits_divides_beta(seed: int, factor: float, smoothing: float) -> None:
    logits, labels = noisy_logits(seed)
    base, scaled = (
        fit_inverse_temperature(each, labels, smoothing=smoothing).item() for each in (logits, factor * logits)
    )
    assert scaled == pytest.approx(base / factor, rel=1e-9)


@quick
@given(seeds)
def test_beta_ignores_shifts_and_the_order_of_images_and_classes(seed: int) -> None:
    logits, labels = noisy_logits(seed)
    rng = np.random.default_rng(seed)
    base = fit_inverse_temperature(logits, labels).item()
    shifts = torch.from_numpy(rng.normal(size=(len(labels), 1)))
    images, classes = (torch.from_numpy(rng.permutation(size)) for size in logits.shape)
    relabelled = classes.argsort()[labels]
    for other, others_labels in (
        (logits + shifts, labels),
        (logits[images], labels[images]),
        (logits[:, classes], relabelled),
    ):
        assert fit_inverse_temperature(other, others_labels).item() == pytest.approx(base, rel=1e-9)


@quick
@given(seeds)
def test_more_smoothing_never_raises_beta_of_a_confident_model(seed: int) -> None:
    logits, labels = noisy_logits(seed)
    betas = [fit_inverse_temperature(logits, labels, smoothing=share).item() for share in (0.0, 0.1, 0.3)]
    assert betas[0] > betas[1] > betas[2]


def test_leading_dimensions_are_fitted_one_by_one() -> None:
    logits, labels = noisy_logits(0)
    factors = torch.tensor([[0.5, 1.0, 2.0], [3.0, 4.0, 8.0]], dtype=torch.float64)
    found = fit_inverse_temperature(factors[..., None, None] * logits, labels)
    single = fit_inverse_temperature(logits, labels)
    assert (found.shape, single.shape, single.dtype) == ((2, 3), (), torch.float64)
    torch.testing.assert_close(found, single / factors, rtol=1e-9, atol=0.0)


def test_float32_logits_are_fitted_in_float64() -> None:
    logits, labels = noisy_logits(0)
    found = fit_inverse_temperature(logits.float(), labels)
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(fit_inverse_temperature(logits.float().double(), labels).item(), rel=0)


def test_separable_data_hits_the_bound_unless_smoothed() -> None:
    labels = torch.arange(10) % 3
    logits = torch.eye(3, dtype=torch.float64)[labels]
    low, high = BETA_RANGE
    assert fit_inverse_temperature(logits, labels).item() == pytest.approx(high, rel=1e-9)
    assert fit_inverse_temperature(-logits, labels).item() == pytest.approx(low, rel=1e-9)
    share = 1 / 12
    smoothed = fit_inverse_temperature(logits, labels, smoothing=share).item()
    # All images alike: softmax(β e_y) must equal the smoothed label, so β = ln((1 - s + s/C) / (s/C)).
    assert smoothed == pytest.approx(math.log((1 - share + share / 3) / (share / 3)), rel=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_inert_logits_have_beta_one(smoothing: float) -> None:
    labels = torch.arange(6) % 3
    flat = torch.arange(6.0)[:, None].expand(6, 3)
    varied, _ = noisy_logits(0, images=6, classes=3)
    found = fit_inverse_temperature(torch.stack([flat.double(), varied]), labels, smoothing=smoothing)
    assert found[0].item() == 1.0
    assert found[1].item() != 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_diverged_model_is_refused(value: float) -> None:
    logits, labels = noisy_logits(0)
    logits[3, 1] = value
    with pytest.raises(MergeError, match="diverged"):
        fit_inverse_temperature(logits, labels)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [((5, 3), (4,)), ((2, 5, 3), (2, 5)), ((5,), (5,)), ((0, 3), (0,)), ((5, 3), (5, 1)), ((5, 4, 3), (5,))],
)
def test_shapes_that_do_not_fit_are_refused(logits: tuple[int, ...], labels: tuple[int, ...]) -> None:
    with pytest.raises(MergeError, match="do not fit labels"):
        fit_inverse_temperature(torch.zeros(logits), torch.zeros(labels, dtype=torch.int64))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, math.nan])
def test_smoothing_out_of_range_is_refused(smoothing: float) -> None:
    with pytest.raises(MergeError, match="smoothing is"):
        fit_inverse_temperature(*noisy_logits(0), smoothing=smoothing)


@pytest.mark.parametrize("size", [5, 6, 10, 297, 10_000])
def test_the_split_is_20_80_disjoint_complete_and_fixed(size: int) -> None:
    fitted, judged = calibration_split(size)
    assert len(fitted) == round(size / 5)
    assert sorted(fitted.tolist() + judged.tolist()) == list(range(size))
    assert fitted.tolist() == sorted(fitted.tolist())
    torch.manual_seed(size)  # the global generator plays no part
    for one, other in zip(calibration_split(size), (fitted, judged), strict=True):
        assert one.tolist() == other.tolist()


def test_the_split_is_not_the_first_fifth() -> None:
    fitted, _ = calibration_split(100)
    assert fitted.max() >= 50


@pytest.mark.parametrize("size", range(5))
def test_too_few_images_to_split_are_refused(size: int) -> None:
    with pytest.raises(MergeError, match=f"{size} test images cannot be split"):
        calibration_split(size)
