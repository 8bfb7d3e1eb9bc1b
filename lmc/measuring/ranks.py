"""How low the rank of a layer's weights is: the paper's reason for weak additivity and orthogonality (§5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lmc.errors import MergeError, SpecError
from lmc.measuring.capture import WEIGHT_LAYERS


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
    return stable_rank_from(_singular_values(matrix)[0])


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
    return effective_rank_from(_singular_values(matrix)[0])


def measure_ranks(model: nn.Module) -> dict[str, dict[str, float]]:
    """The ranks of every linear layer's and convolution's weight (§5.4; biases do not count).

    Args:
        model: any module, on any device with float64.

    Returns:
        JSON-ready numbers by layer name, ``stable_rank``, ``effective_rank``, ``relative_stable_rank`` and
        ``relative_effective_rank`` (over min(rows, columns), the paper's "rank relative to the width"), and
        ``frobenius_norm``. All are 0 for a layer of zeros, as strong decay leaves behind.

    Raises:
        MergeError: a weight is not finite; the layer is named.
    """
    found = {}
    for name, module in model.named_modules():
        if not isinstance(module, WEIGHT_LAYERS):
            continue
        values, scale = _singular_values(module.weight, name)
        found[name] = {
            "stable_rank": stable_rank_from(values),
            "effective_rank": effective_rank_from(values),
            "relative_stable_rank": stable_rank_from(values) / len(values),
            "relative_effective_rank": effective_rank_from(values) / len(values),
            "frobenius_norm": float(torch.linalg.vector_norm(values)) * scale,
        }
    return found


def _singular_values(matrix: Tensor, what: str = "the matrix") -> tuple[Tensor, float]:
    """Singular values, descending, of W over its largest magnitude, and that magnitude: nothing underflows."""
    if matrix.ndim < 2 or not matrix.numel():
        shape = tuple(matrix.shape)
        raise SpecError(f"{what} has shape {shape}; pass a weight of shape (rows, columns, ...), none of them 0")
    rows = matrix.detach().flatten(1).double()
    largest = float(rows.abs().amax())
    if not torch.isfinite(rows).all():
        raise MergeError(f"{what} holds NaN or infinite values; the model diverged, train it again")
    if largest == 0:
        return rows.new_zeros(min(rows.shape)), 0.0
    values: Tensor = torch.linalg.svdvals(rows / largest)
    return values, largest


def stable_rank_from(values: Tensor) -> float:
    """The stable rank of a matrix with these singular values, descending."""
    return float((values / values[0]).square().sum()) if values[0] > 0 else 0.0


def effective_rank_from(values: Tensor) -> float:
    """The effective rank of a matrix with these singular values, descending."""
    return float(torch.special.entr(values / values.sum()).sum().exp()) if values[0] > 0 else 0.0
