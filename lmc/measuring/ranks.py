"""How low the rank of a layer's weights is: the paper's reason for weak additivity and orthogonality (§5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lmc.errors import MergeError, SpecError
from lmc.measuring.tapping import Seeing
from lmc.precision import double


def stable_rank(matrix: Tensor) -> float:
    """‖W‖_F² / ‖W‖_2² = Σ s_i² / s_1², for singular values s_1 >= s_2 >= ... (§5.2, §5.4).

    Between 1 and `effective_rank`, which is at most the rank; the same for c·W (c not 0), Q·W and W·Q
    (Q orthogonal). The paper speaks of rank and names no measure of it; these two vary continuously.

    Args:
        matrix: floating (rows, columns), or a kernel (filters, channels, ...) read as
            (filters, channels · kernel size).

    Returns:
        The stable rank, computed in float64; 0 for a zero matrix.

    Raises:
        SpecError: ``matrix`` is not a matrix, or is empty.
        MergeError: an entry is not finite.
    """
    return _stable_rank(_singular_values(matrix)[0])


def effective_rank(matrix: Tensor) -> float:
    """exp(-Σ p_i log p_i) with p_i = s_i / Σ s_j for singular values s_i (Roy & Vetterli, EUSIPCO 2007).

    Between `stable_rank` and the rank: Σ s_i² / s_1² <= Σ s_i / s_1 = 1 / max p_i <= exp(entropy).

    Args:
        matrix: as `stable_rank` reads it.

    Returns:
        The effective rank, computed in float64; 0 for a zero matrix.

    Raises:
        SpecError: ``matrix`` is not a matrix, or is empty.
        MergeError: an entry is not finite.
    """
    return _effective_rank(_singular_values(matrix)[0])


def measure_ranks(weights: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """The ranks of every layer's weight (§5.4; biases do not count).

    Args:
        weights: by layer, see `lmc.measuring.calls.Tapped.weights`; on any device with float64.

    Returns:
        JSON-ready numbers by layer, ``stable_rank``, ``effective_rank``, ``relative_stable_rank`` and
        ``relative_effective_rank`` (over min(rows, columns), the paper's "rank relative to the width"), and
        ``frobenius_norm``. All are 0 for a layer of zeros, as strong decay leaves behind.

    Raises:
        MergeError: a weight is not finite; the layer is named.
    """
    found = {}
    for name, weight in weights.items():
        values, scale = _singular_values(weight, name)
        stable, effective = _stable_rank(values), _effective_rank(values)
        found[name] = {
            "stable_rank": stable,
            "effective_rank": effective,
            "relative_stable_rank": stable / len(values),
            "relative_effective_rank": effective / len(values),
            "frobenius_norm": float(torch.linalg.vector_norm(values)) * scale,
        }
    return found


@torch.no_grad()
def weight_ranks(models: Sequence[nn.Module], example: Tensor) -> dict[str, dict[str, list[float]]]:
    """`measure_ranks` of the weights that an input meets, in every model.

    Args:
        models: of one architecture.
        example: two inputs.

    Returns:
        By layer and rank, one number per model.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for model in models:
        for name, ranks in measure_ranks(Seeing(model)(example).tapped.weights).items():
            for kind, value in ranks.items():
                found.setdefault(name, {}).setdefault(kind, []).append(value)
    return found


def _singular_values(matrix: Tensor, what: str = "the matrix") -> tuple[Tensor, float]:
    """Singular values, descending, of W over its largest magnitude, and that magnitude: nothing underflows.

    They are the roots of the eigenvalues of W Wᵀ or Wᵀ W, the smaller of the two, which is faster than decomposing W.
    An eigenvalue is exact to rounding, ε, of the largest one, and so is s_i to ε s_1 / s_i of s_1: 4e-15 where it is
    at least s_1 / 10, and about 1e-8, the root of ε, where it is zero. No rank here can tell that.
    """
    if matrix.ndim < 2 or not matrix.numel():
        shape = tuple(matrix.shape)
        raise SpecError(f"{what} has shape {shape}; pass a weight of shape (rows, columns, ...), none of them 0")
    rows = double(matrix.detach().flatten(1))
    largest = float(rows.abs().amax())
    if not torch.isfinite(rows).all():
        raise MergeError(f"{what} holds NaN or infinite values; the model diverged, train it again")
    if largest == 0:
        return rows.new_zeros(min(rows.shape)), 0.0
    rows = rows / largest
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    return torch.linalg.eigvalsh(gram).flip(0).clamp_min(0).sqrt(), largest


def _stable_rank(values: Tensor) -> float:
    """The stable rank of a matrix with these singular values, descending."""
    return float((values / values[0]).square().sum()) if values[0] > 0 else 0.0


def _effective_rank(values: Tensor) -> float:
    """The effective rank of a matrix with these singular values, descending."""
    return float(torch.special.entr(values / values.sum()).sum().exp()) if values[0] > 0 else 0.0
