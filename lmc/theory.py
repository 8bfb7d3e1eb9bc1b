"""Closed forms of the paper's theorems, and nets built to meet their conditions exactly.

Needs numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmc.errors import SpecError
from lmc.shares import checked_shares

Array = NDArray[np.float64]

GAUSSIAN_NULL = (3 / 4 + 1 / math.pi) / math.sqrt(1 + 1 / math.pi)
"""lim cos(σ(x+y), σ(x)+σ(y)) of independent Gaussian vectors in high dimension, 0.93044 (Thm. 5.4)."""


def additivity_limit(lam: float) -> float:
    """c(λ) = lim cos(σ(λx + (1-λ)y), λσ(x) + (1-λ)σ(y)) for Gaussian x, y as d grows (Thm. 5.4 at λ = ½).

    With s = √(λ² + (1-λ)²) and the arc-cosine kernel k(ρ) = E[σ(u)σ(v)] of unit Gaussians with
    correlation ρ (Cho & Saul 2009), it is [λ s k(λ/s) + (1-λ) s k((1-λ)/s)] over
    [(s/√2) √(s²/2 + λ(1-λ)/π)].

    Args:
        lam: λ in [0, 1].

    Raises:
        SpecError: λ is out of range.

    Example:
        >>> round(additivity_limit(0.5), 5), round(additivity_limit(0.3), 5)
        (0.93044, 0.95921)
    """
    if not 0 <= lam <= 1:
        raise SpecError(f"lam is {lam!r}; it must be between 0 and 1")
    rest = 1 - lam
    s = math.hypot(lam, rest)
    top = lam * s * _relu_kernel(lam / s) + rest * s * _relu_kernel(rest / s)
    return top / ((s / math.sqrt(2)) * math.sqrt(s * s / 2 + lam * rest / math.pi))


def _relu_kernel(rho: float) -> float:
    rho = min(1.0, max(-1.0, rho))
    return (math.sqrt(1 - rho * rho) + rho * (math.pi - math.acos(rho))) / (2 * math.pi)


def lewc_inverse_temperature(layers: int) -> float:
    """β = 2^(L-1): what restores the softmax of an L-layer bias-free net merged at λ = ½.

    LEWC gives logits 2^-L (f_a + f_b) where the ensemble's mean is (f_a + f_b) / 2 (Def. 4.1).
    """
    return 2.0 ** (layers - 1)


def sampled_additivity(rng: np.random.Generator, dimension: int, samples: int, lam: float = 0.5) -> Array:
    """cos(σ(λx + (1-λ)y), λσ(x) + (1-λ)σ(y)) of ``samples`` pairs of Gaussian vectors (Thm. 5.4).

    Returns:
        (samples,) cosines.
    """
    x, y = rng.standard_normal((2, samples, dimension))
    merged = np.maximum(lam * x + (1 - lam) * y, 0)
    average = lam * np.maximum(x, 0) + (1 - lam) * np.maximum(y, 0)
    norms = np.linalg.norm(merged, axis=1) * np.linalg.norm(average, axis=1)
    cosines: Array = np.einsum("ij,ij->i", merged, average) / norms
    return cosines


@dataclass(frozen=True)
class Weights:
    """A ReLU MLP in float64, the last layer linear.

    Args:
        matrices: W_1 .. W_L, each (units of ℓ, units of ℓ-1).
        biases: b_1 .. b_L.
    """

    matrices: tuple[Array, ...]
    biases: tuple[Array, ...]

    def outputs(self, inputs: Array) -> list[Array]:
        """f_1 .. f_L of ``inputs`` (N, d): the ReLU outputs, then the logits."""
        found, last = [], len(self.matrices) - 1
        features = inputs
        for index, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            features = features @ matrix.T + bias
            if index < last:
                features = np.maximum(features, 0)
            found.append(features)
        return found


def orthogonal_nets(
    rng: np.random.Generator,
    *,
    models: int,
    layers: int,
    units: int,
    inputs: int,
    classes: int,
    overlap: float = 0.0,
    leak: float = 0.0,
    bias: float = 0.0,
) -> list[Weights]:
    """Random nets that meet both conditions of Thm. 5.3 exactly, or violate one by a chosen amount.

    Every model owns ``units`` hidden units of each layer; its weights neither read nor write another's.
    Then no unit is active in two models (weak additivity, Def. 5.1) and W^b z^a = 0 (reciprocal
    orthogonality, Def. 5.2). The input is shared: layer 1 needs no orthogonality. A further ``units``
    of each hidden layer belong to nobody and are silent unless ``overlap`` makes all models write them.

    Args:
        rng: source of the weights.
        models: number of nets, at least 1.
        layers: L, number of weight matrices, at least 1.
        units: hidden units each model owns.
        inputs: input dimension.
        classes: number of logits.
        overlap: size of every model's writes into the common units, which nobody reads: breaks weak
            additivity and nothing else.
        leak: size of the weights with which each model reads the others' units: breaks orthogonality.
        bias: size of the biases of each model's own units: breaks the theorem's bias-free premise, which
            `sum_nets` does without.
    """
    if min(models, layers, units, inputs, classes) < 1:
        raise SpecError("models, layers, units, inputs and classes must be at least 1")
    hidden = (models + 1) * units
    sizes = [inputs, *[hidden] * (layers - 1), classes]
    owner = np.repeat(np.arange(models + 1), units)
    common = (owner == models).astype(float)
    nets = []
    for model in range(models):
        own = (owner == model).astype(float)
        matrices, biases = [], []
        for layer in range(1, layers + 1):
            rows, columns = sizes[layer], sizes[layer - 1]
            matrix = rng.standard_normal((rows, columns)) / math.sqrt(units if layer > 1 else inputs)
            offset = bias * rng.standard_normal(rows)
            if layer > 1:
                matrix = matrix * (own + leak * (1 - own - common))
            if layer < layers:
                matrix, offset = matrix * (own + overlap * common)[:, None], offset * own
            matrices.append(matrix)
            biases.append(offset)
        nets.append(Weights(tuple(matrices), tuple(biases)))
    return nets


def average_nets(nets: Sequence[Weights], weights: Sequence[float]) -> Weights:
    """Σ_i λ_i θ_i.

    Args:
        nets: k >= 1 models of one size.
        weights: λ_1 .. λ_k, non-negative and summing to one.

    Raises:
        MergeError: there is no model, or the weights do not fit.
    """
    weights = checked_shares(weights, len(nets))
    return Weights(
        tuple(_weighted(weights, layer) for layer in zip(*(net.matrices for net in nets), strict=True)),
        tuple(_weighted(weights, layer) for layer in zip(*(net.biases for net in nets), strict=True)),
    )


def sum_nets(nets: Sequence[Weights], weights: Sequence[float]) -> Weights:
    r"""Sum merging: Σ_i θ_i in the hidden layers, Σ_i α_i θ_i in the last.

    Theorem (5.3 for sums, k models, biases and any element-wise σ). Let model i have the layers
    h_ℓ^i = W_ℓ^i z_{ℓ-1}^i + b_ℓ^i, z_ℓ^i = σ(h_ℓ^i) for ℓ < L and the logits f_L^i = h_L^i, on a common input
    z_0^i = x. If

    1. σ(Σ_i h_ℓ^i) = Σ_i σ(h_ℓ^i) for ℓ < L (weak additivity of k models, Def. 5.1), and
    2. W_ℓ^i z_{ℓ-1}^j = 0 for i ≠ j and 2 <= ℓ <= L (reciprocal orthogonality, Def. 5.2),

    then the merged net has z̃_ℓ = Σ_i z_ℓ^i for ℓ < L, and the logits Σ_i α_i f_L^i.

    Proof, by induction over ℓ. Layer 1: h̃_1 = Σ_i (W_1^i x + b_1^i) = Σ_i h_1^i, whatever the weights are, as all
    models read the same x; so z̃_1 = σ(Σ_i h_1^i) = Σ_i z_1^i by (1). Let z̃_{ℓ-1} = Σ_j z_{ℓ-1}^j and 1 < ℓ < L. Then
    h̃_ℓ = Σ_i (W_ℓ^i Σ_j z_{ℓ-1}^j + b_ℓ^i), where (2) leaves of the double sum the terms with i = j:
    h̃_ℓ = Σ_i h_ℓ^i, and z̃_ℓ = Σ_i z_ℓ^i by (1). The last layer is the same sum with weights:
    f̃_L = Σ_i α_i (W_L^i Σ_j z_{L-1}^j + b_L^i) = Σ_i α_i f_L^i. ∎

    Nothing is scaled on the way, so biases keep their size beside the weights, and the logits need no inverse
    temperature; in the average λ_i^ℓ f_ℓ of Thm. 5.3, b_ℓ^i comes with λ_i and W_ℓ^i z_{ℓ-1}^i with λ_i^ℓ. (1) holds
    where no unit is active in two models and σ(0) = 0; it asks nothing of the order of layers, so that skips, which
    add z_m^i of an earlier layer m >= 1, and per-channel normalisation fit in between (see `lmc.merging.sums`).

    Args:
        nets: k >= 1 models of one size.
        weights: α_1 .. α_k, non-negative and summing to one.

    Raises:
        MergeError: there is no model, or the weights do not fit.
    """
    weights = checked_shares(weights, len(nets))
    ones, last = [1.0] * len(nets), len(nets[0].matrices) - 1
    matrices, biases = (
        tuple(
            _weighted(weights if layer == last else ones, each)
            for layer, each in enumerate(zip(*(getattr(net, name) for net in nets), strict=True))
        )
        for name in ("matrices", "biases")
    )
    return Weights(matrices, biases)


def sum_error(nets: Sequence[Weights], weights: Sequence[float], inputs: Array) -> float:
    """Largest relative deviation, over layers, of a sum's outputs from what `sum_nets` proves of them.

    Args:
        nets: k models.
        weights: α_1 .. α_k, non-negative and summing to one.
        inputs: (N, d).

    Returns:
        The largest of ‖z̃_ℓ - Σ_i z_ℓ^i‖ / ‖Σ_i z_ℓ^i‖, ℓ < L, and the same of the logits and Σ_i α_i f_L^i; 0 where
        both vanish.

    Raises:
        MergeError: there is no model, or the weights do not fit.
    """
    merged = sum_nets(nets, weights).outputs(inputs)
    outputs = [net.outputs(inputs) for net in nets]
    factors = [*[[1.0] * len(nets)] * (len(merged) - 1), weights]
    expected = [_weighted(each, layer) for each, layer in zip(factors, zip(*outputs, strict=True), strict=True)]
    return max(map(_relative_error, merged, expected))


def _relative_error(found: Array, expected: Array) -> float:
    error, size = float(np.linalg.norm(found - expected)), float(np.linalg.norm(expected))
    return error / size if size > 0 else (0.0 if error == 0 else math.inf)


def _weighted(weights: Sequence[float], arrays: Sequence[Array]) -> Array:
    return np.tensordot(np.asarray(weights), np.stack(arrays), axes=1)


def lewc_error(nets: Sequence[Weights], weights: Sequence[float], inputs: Array) -> float:
    """Largest relative deviation, over layers, of f_ℓ(Σ λ_i θ_i) from Σ λ_i^ℓ f_ℓ(θ_i) (Def. 4.1).

    Args:
        nets: k models.
        weights: λ_1 .. λ_k, non-negative and summing to one.
        inputs: (N, d).

    Returns:
        max_ℓ ‖f_ℓ(merged) - Σ λ_i^ℓ f_ℓ(θ_i)‖ / ‖Σ λ_i^ℓ f_ℓ(θ_i)‖; 0 where both vanish.

    Raises:
        MergeError: there is no model, or the weights do not fit.
    """
    merged = average_nets(nets, weights).outputs(inputs)
    outputs = [net.outputs(inputs) for net in nets]
    worst = 0.0
    for index, found in enumerate(merged):
        shares = [lam ** (index + 1) for lam in weights]
        expected = _weighted(shares, [each[index] for each in outputs])
        worst = max(worst, _relative_error(found, expected))
    return worst
