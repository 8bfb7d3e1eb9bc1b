"""The paper's layer-wise quantities as pure functions of tensors.

Every function reads (N, ...) tensors, one row per test input, and returns float64 (N,): one number per
input, to be averaged. Rows are reduced in the tensors' own precision. A row whose value is undefined
(0/0) is NaN there and is left out of the average.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lmc.precision import double


class Rows:
    """Answers of a layer, (N, ...), whose norms are computed once however often they are compared.

    Args:
        values: the answers, not to be changed.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values

    @property
    def norms(self) -> Tensor:
        """Row-wise Euclidean norms, float64 (N,)."""
        return self._norms_and_lost[0]

    @property
    def lost(self) -> Tensor | None:
        """Rows whose squares under- or overflow, bool (N,); ``None`` where there are none."""
        return self._norms_and_lost[1]

    @functools.cached_property
    def _norms_and_lost(self) -> tuple[Tensor, Tensor | None]:
        (rows,) = _flat(self.values)
        norms: Tensor = double(torch.linalg.vector_norm(rows, dim=1))
        low, high = _range(rows)
        lost = ~((norms >= low) & (norms <= high))
        if not lost.any():
            return norms, None
        scaled, largest = _scaled(rows[lost.to(rows.device)])
        norms[lost] = double(torch.linalg.vector_norm(scaled, dim=1)) * largest
        return norms, lost


def norm(x: Tensor | Rows) -> Tensor:
    """Row-wise Euclidean norm."""
    return _rows(x).norms


def cosine(x: Tensor | Rows, y: Tensor | Rows) -> Tensor:
    """Row-wise cosine similarity; 1 where both rows are zero (they agree), 0 where only one is."""
    x, y = _rows(x), _rows(y)
    flat_x, flat_y = _flat(x.values, y.values)
    cosines: Tensor = double(torch.linalg.vecdot(flat_x, flat_y)) / (x.norms * y.norms)
    for lost in (x.lost, y.lost):
        if lost is not None:
            there = lost.to(flat_x.device)
            cosines[lost] = _rescaled_cosines(flat_x[there], flat_y[there])
    return cosines


def _rows(x: Tensor | Rows) -> Rows:
    return x if isinstance(x, Rows) else Rows(x)


def _flat(*tensors: Tensor) -> list[Tensor]:
    """Tensors of one shape as (N, D), their entries in one order; channels last are not copied for it."""
    if all(each.ndim == 4 and each.is_contiguous(memory_format=torch.channels_last) for each in tensors):
        tensors = tuple(each.movedim(1, -1) for each in tensors)
    return [each.flatten(1) for each in tensors]


def _range(rows: Tensor) -> tuple[float, float]:
    """Between which norms rows (N, D) can be squared; below, above, zero or not finite, they are rescaled first.

    What underflows of a row is less than D times the smallest number: above the lower bound, no more than rounding.
    """
    kind = torch.finfo(rows.dtype)
    return math.sqrt(rows.shape[1] * kind.tiny / kind.eps), math.sqrt(kind.max)


def _rescaled_cosines(x: Tensor, y: Tensor) -> Tensor:
    x, y = _scaled(x)[0], _scaled(y)[0]
    norms_x, norms_y = (double(torch.linalg.vector_norm(each, dim=1)) for each in (x, y))
    agree = double((norms_x == 0) & (norms_y == 0))
    dots = double(torch.linalg.vecdot(x, y))
    return torch.where(norms_x * norms_y != 0, dots / (norms_x * norms_y), agree)


def _scaled(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (N, D) over their largest magnitude, and that magnitude in float64: no square under- or overflows."""
    largest = rows.abs().amax(1, keepdim=True)
    return rows / torch.where(largest > 0, largest, torch.ones_like(largest)), double(largest[:, 0])


def ratio(numerator: Tensor | Rows, denominator: Tensor | Rows) -> Tensor:
    """Row-wise ‖numerator‖ / ‖denominator‖; 0 where both are zero, NaN where only the denominator is."""
    return _defined_quotient(norm(numerator), norm(denominator))


def combined(each: Sequence[Rows], shares: Sequence[float], layer: int) -> Rows:
    """Σ λ_i^ℓ f_ℓ(θ_i; x) over `scale_of` it, so that deep layers do not underflow.

    What LEWC says the merged model gives at layer ℓ (Def. 4.1, Fig. 3), and at ℓ = 1 what LLFC says it gives at any
    layer, Σ λ_i f_ℓ(θ_i; x) (App. C). At equal shares the two differ in scale only.

    Args:
        each: outputs of the layer, one (N, ...) a model.
        shares: λ_1 .. λ_k.
        layer: ℓ, counted from 1.
    """
    largest = max(shares)
    terms = [
        one.values if lam == largest else (lam / largest) ** layer * one.values
        for one, lam in zip(each, shares, strict=True)
    ]
    return Rows(sum(terms[1:], start=terms[0]))


def scale_of(shares: Sequence[float], layer: int) -> float:
    """The largest λ_i^ℓ, which `combined` is divided by."""
    return max(shares) ** layer


def norm_ratio(merged: Rows, law: Rows, scale: float) -> Tensor:
    """‖f_ℓ(merged)‖ over the norm that a law expects, (N,): 1 under LLFC or LEWC, whichever ``law`` is of (App. C).

    NaN where the latter is zero, even if both are: 0 would count as a merged model gone silent.

    Args:
        merged: outputs of the merged model, (N, ...).
        law: what the law expects, over ``scale``; see `combined`.
        scale: see `scale_of`.
    """
    expected = scale * law.norms
    return (merged.norms / expected).where(expected != 0, torch.nan)


def additivity_cosine(
    h_a: Tensor, h_b: Tensor, sigma: Callable[[Tensor], Tensor], lam: float = 0.5, sides: Tensor | Rows | None = None
) -> Tensor:
    """cos(σ(λ h_a + (1-λ) h_b), λ σ(h_a) + (1-λ) σ(h_b)) (Def. 5.1, Fig. 4).

    Args:
        h_a: pre-activations of model a, (N, ...).
        h_b: the same of model b.
        sigma: σ, element-wise.
        lam: weight λ of model a.
        sides: λ σ(h_a) + (1-λ) σ(h_b) up to scale, where it is at hand.
    """
    if sides is None:
        sides = lam * sigma(h_a) + (1 - lam) * sigma(h_b)
    return cosine(sigma(lam * h_a + (1 - lam) * h_b), sides)


def orthogonality_ratio(foreign: Tensor | Rows, own: Tensor | Rows) -> Tensor:
    """‖W^b z^a‖ / ‖W^a z^a‖: 0 under reciprocal orthogonality (Def. 5.2, Fig. 7).

    Args:
        foreign: W^b z^a.
        own: W^a z^a.
    """
    return ratio(foreign, own)


def recovery_cosine(w_merged: Tensor | Rows, own: Tensor | Rows) -> Tensor:
    """cos(W^a z(merged), W^a z^a): 1 where model a's response survives the merge (Fig. 8)."""
    return cosine(w_merged, own)


class CommutativityDistance:
    """‖X - Y‖² / (‖X‖ ‖Y‖) of X = W^a Z^b and Y = W^b Z^a over all inputs, 0 under commutativity (Def. C.1, Fig. 11).

    Normalised as Zhou et al. (NeurIPS 2023) do, who take the norms over the whole matrices, not input by
    input: single inputs on which a collapsed layer answers almost nothing would else decide the mean.
    """

    def __init__(self) -> None:
        self.apart, self.first, self.second = 0.0, 0.0, 0.0

    def add(self, ab: Tensor | Rows, ba: Tensor | Rows) -> None:
        """Add a batch of W^a z^b and W^b z^a, each (N, ...)."""
        self.apart += float(norm(_rows(ab).values - _rows(ba).values).square().sum())
        self.first += float(norm(ab).square().sum())
        self.second += float(norm(ba).square().sum())

    @property
    def relative(self) -> float | None:
        """‖X - Y‖² / (‖X‖² + ‖Y‖²), in [0, 2], 1 for unrelated sides, half the distance where norms are equal.

        It stays bounded where one model's layer has collapsed, is 0 where both have and agree on zero, and ``None``
        only where something is not finite.
        """
        total = self.first + self.second
        if not math.isfinite(total):
            return None
        return self.apart / total if total else 0.0

    @property
    def value(self) -> float | None:
        """The distance; 0 where both sides are zero, ``None`` where only one is or something is not finite."""
        product = math.sqrt(self.first * self.second)
        if not math.isfinite(product) or (product == 0 and self.apart != 0):
            return None
        return self.apart / product if product else 0.0


def _defined_quotient(top: Tensor, bottom: Tensor) -> Tensor:
    """top / bottom; 0 where both are zero, NaN where only the bottom is or where either is NaN."""
    undefined = torch.where(top != 0, torch.full_like(top, torch.nan), torch.zeros_like(top))
    return torch.where(bottom != 0, top / bottom, undefined)
