"""The inverse temperature β that makes a model's softmax honest (§3.1, F.5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lmc.errors import MergeError
from lmc.precision import double, where_float64

CALIBRATION_SHARE = 0.2
BETA_RANGE = (1e-3, 1e4)

_LAST_STEP = 1e-6
"""Newton's last step of log β, at most. The error left behind a step is of the order of its square."""

_LOW, _HIGH = map(math.log, BETA_RANGE)


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
    """β = argmin NLL(softmax(β · logits)), by Newton's method within a bracket of the derivative's root.

    Leading dimensions (models, λ) are fitted at once, each as if it were alone.

    Args:
        logits: (..., N, classes).
        labels: int64 (N,).
        smoothing: share of each label spread evenly over all classes. Where every image is classified
            correctly β has no finite optimum; Platt (1999) smooths by 1/(N + 2) for that reason.

    Returns:
        β, float64 (...), in [1e-3, 1e4], at a bound where the minimum lies beyond it (perfectly
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
    scores = scores_by_class(logits)
    true = scores.gather(-2, where_float64(labels).expand(*scores.shape[:-2], 1, -1)).sum((-2, -1))
    total = scores.sum(-1).sum(-1)
    target = (1 - smoothing) * true + smoothing / scores.shape[-2] * total
    flat, goals = scores.reshape(-1, *scores.shape[-2:]), target.reshape(-1)
    return _Slope(flat, goals).root().reshape(target.shape)


def scores_by_class(logits: Tensor) -> Tensor:
    """Logits (..., N, classes) as float64 (..., classes, N), each image's largest subtracted.

    No exponential of a score overflows, and sums over the few classes run along the many images.
    """
    scores = double(logits).transpose(-1, -2).contiguous()
    return scores - scores.amax(-2, keepdim=True)


class _Slope:
    """Derivative of the NLL by β, which grows with β, for every point of a stack.

    Up to the positive factor 1/N it is Σ_n (E_p[score] - E_label[score]); its own derivative is Σ_n Var_p[score].

    Args:
        scores: float64 (points, classes, N), at most 0.
        target: Σ_n E_label[score], (points,).
    """

    def __init__(self, scores: Tensor, target: Tensor) -> None:
        self.scores, self.target = scores, target
        self.terms, self.weighted = torch.empty_like(scores), torch.empty_like(scores)

    def __call__(self, beta: Tensor) -> tuple[Tensor, Tensor]:
        """The slope and its derivative at ``beta``, (points,) each."""
        torch.mul(self.scores, beta[:, None, None], out=self.terms).exp_()
        norm = self.terms.sum(-2)
        mean = torch.mul(self.terms, self.scores, out=self.weighted).sum(-2).div_(norm)
        square = self.weighted.mul_(self.scores).sum(-2).div_(norm)
        return mean.sum(-1) - self.target, square.addcmul_(mean, mean, value=-1).sum(-1)

    def start(self) -> Tensor:
        """Log of the root's estimate from β = 0: the slope there over its derivative."""
        mean = self.scores.mean(-2)
        square = torch.mul(self.scores, self.scores, out=self.weighted).mean(-2)
        rise = self.target - mean.sum(-1)
        estimate = rise / square.addcmul_(mean, mean, value=-1).sum(-1)
        return estimate.clamp(*BETA_RANGE).nan_to_num(1.0).log()

    def root(self) -> Tensor:
        """β at the root, at a bound of `BETA_RANGE` where there is none within, 1 where the scores are all 0."""
        at = self.start()
        # The bracket reaches beyond the bounds, so that they are tried themselves and not only approached.
        low, high = torch.full_like(at, _LOW - 1), torch.full_like(at, _HIGH + 1)
        before, last = torch.full_like(at, math.inf), torch.full_like(at, math.inf)
        done = self.scores.amin((-2, -1)) == 0
        inert = done
        while not done.all():
            slope, change = self(at.exp())
            rising = slope > 0
            high, low = torch.where(rising, at, high), torch.where(rising, low, at)
            step = -slope / (at.exp() * change)  # of log β, which keeps β positive
            newton = at + step
            # Halve the bracket where Newton leaves it or, over two steps, does not slow down; NaN fails both.
            good = (newton > low) & (newton < high) & (step.abs() <= 0.9 * before)
            following = torch.where(good, newton, (low + high) / 2).clamp_(_LOW, _HIGH)
            moved = (following - at).abs()
            before, last = last, moved
            at = torch.where(done, at, following)  # what has arrived stays, whatever else is fitted beside it
            done = done | (moved <= torch.where(good, _LAST_STEP, 0.0)) | (high - low <= 1e-12)
        return torch.where(inert, torch.ones_like(at), at.exp())
