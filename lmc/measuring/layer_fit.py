"""What a layer of a merged model is made of, from the Gram matrix that is kept of it. Imports no torch.

A Gram matrix here is that of four vectors: the layer's outputs in the merged model and in models a, b and c, of which
only a and b were merged, over all inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MEMBERS = ("merged", "a", "b", "c")
"""Whose outputs, in the order of the Gram matrix; kept are its rows from the diagonal on, ten numbers."""


class LayerFit(NamedTuple):
    """f_merged = α f_a + γ f_b + δ f_c, by least squares.

    Args:
        alpha: α.
        gamma: γ.
        delta: δ; 0 where the merged model has nothing of a model that was not merged.
        residual_share: ‖f_merged - α f_a - γ f_b - δ f_c‖² over ‖f_merged‖², in [0, 1].
    """

    alpha: float
    gamma: float
    delta: float
    residual_share: float


def gram_matrix(gram: Sequence[float]) -> np.ndarray:
    """The Gram matrix (4, 4) of the ten numbers kept of it, in the order of `MEMBERS`."""
    rows, columns = np.triu_indices(len(MEMBERS))
    matrix = np.zeros((len(MEMBERS), len(MEMBERS)))
    matrix[rows, columns] = matrix[columns, rows] = gram
    return matrix


def layer_fit(gram: Sequence[float]) -> LayerFit | None:
    """Fit the merged model's layer by those of the three models.

    Args:
        gram: ten numbers, see `MEMBERS`.

    Returns:
        The fit; ``None`` where it is not unique, because a layer is dead or two models' agree up to scale.

    Example:
        >>> fit = layer_fit([5.0, 1.0, 2.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0])  # f_a + 2 f_b, all orthonormal
        >>> [round(each, 6) for each in fit]
        [1.0, 2.0, 0.0, 0.0]
    """
    matrix = gram_matrix(gram)
    if not (np.isfinite(matrix).all() and (matrix.diagonal() > 0).all()):
        return None
    norms = np.sqrt(matrix.diagonal())
    cosines = matrix / np.outer(norms, norms)
    if np.linalg.cond(cosines[1:, 1:]) > 1 / np.sqrt(np.finfo(float).eps):
        return None
    parts = np.linalg.solve(cosines[1:, 1:], cosines[1:, 0])
    alpha, gamma, delta = (float(each) for each in parts * norms[0] / norms[1:])
    return LayerFit(alpha, gamma, delta, float(np.clip(1 - parts @ cosines[1:, 0], 0, 1)))


def gram_cosine(gram: Sequence[float], one: Sequence[float], other: Sequence[float]) -> float | None:
    """The cosine of two linear combinations of the four vectors.

    Args:
        gram: ten numbers, see `MEMBERS`.
        one: coefficients of the first, one for each of `MEMBERS`.
        other: those of the second.

    Returns:
        The cosine over all inputs together; ``None`` where one of the two is zero.

    Example:
        >>> orthonormal = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]
        >>> round(gram_cosine(orthonormal, (0, 1, 0, 0), (0, 1, 1, 0)), 4)
        0.7071
    """
    matrix, first, second = gram_matrix(gram), np.asarray(one, float), np.asarray(other, float)
    squares = float(first @ matrix @ first) * float(second @ matrix @ second)
    return float(first @ matrix @ second / np.sqrt(squares)) if squares > 0 else None
