"""The inverse temperature β that makes a model's softmax honest (§3.1, F.5)."""

from __future__ import annotations

import torch
from torch import Tensor

from lmc.errors import MergeError

CALIBRATION_SHARE = 0.2
BETA_RANGE = (1e-3, 1e4)
_BISECTIONS = 60


def calibration_split(size: int) -> tuple[Tensor, Tensor]:
    """Indices of the 20 % of ``size`` test images that β is fitted on, and of the other 80 %.

    The split is fixed: the same for every model, width and machine.

    Raises:
        MergeError: there are fewer than five images.
    """
    if size < 5:
        raise MergeError(f"{size} test images cannot be split 20/80; use at least 5")
    fitted = round(CALIBRATION_SHARE * size)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(0))
    return order[:fitted].sort().values, order[fitted:].sort().values


def fit_inverse_temperature(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """β = argmin NLL(softmax(β · logits)), found by bisection on the derivative, which grows with β.

    Args:
        logits: (..., N, classes); leading dimensions (models, λ) are fitted at once.
        labels: int64 (N,).
        smoothing: share of each label spread evenly over all classes. Where every image is classified
            correctly β has no finite optimum; Platt (1999) smooths by 1/(N + 2) for that reason.

    Returns:
        float64 (...): β in [1e-3, 1e4], at a bound where the minimum lies beyond it (perfectly
        separated labels), and 1 where β has no effect (all logits of an image equal).

    Raises:
        MergeError: shapes do not fit, a logit is not finite, or ``smoothing`` is not in [0, 1).

    Example:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
        >>> round(fit_inverse_temperature(logits, torch.tensor([0, 0, 0, 1])).item(), 4)  # ln 3
        1.0986
    """
    if logits.ndim < 2 or labels.shape != logits.shape[-2:-1] or not len(labels):
        raise MergeError(f"logits {tuple(logits.shape)} do not fit labels {tuple(labels.shape)}")
    if not 0 <= smoothing < 1:
        raise MergeError(f"smoothing is {smoothing!r}; it must be in [0, 1)")
    if not torch.isfinite(logits).all():
        raise MergeError("the logits hold NaN or infinite values; the model diverged")
    scores, classes = logits.double(), logits.shape[-1]
    index = labels.expand(scores.shape[:-1]).unsqueeze(-1)
    scores = scores - scores.gather(-1, index)  # relative to the true class: (..., N, classes)

    def slope(log_beta: Tensor) -> Tensor:
        """Derivative of the NLL by β, up to the positive factor 1/N: Σ_n (E_p[score] - E_label[score])."""
        shares = torch.softmax(log_beta.exp()[..., None, None] * scores, dim=-1)
        return ((shares - smoothing / classes) * scores).sum((-2, -1))

    low = torch.full(scores.shape[:-2], BETA_RANGE[0], dtype=torch.float64, device=scores.device).log()
    high = torch.full_like(low, BETA_RANGE[1]).log()
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        rising = slope(middle) > 0
        high = torch.where(rising, middle, high)
        low = torch.where(rising, low, middle)
    inert = scores.abs().amax((-2, -1)) == 0
    return torch.where(inert, torch.ones_like(low), ((low + high) / 2).exp())
