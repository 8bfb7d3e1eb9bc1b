"""Weighted averages of state dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lmc.errors import MergeError
from lmc.shares import checked_shares

State = Mapping[str, Tensor]


def interpolate(a: State, b: State, lam: float) -> dict[str, Tensor]:
    """The linear interpolation θ(λ) = λ θ_a + (1-λ) θ_b (§2.2).

    Args:
        a: state dict of model a.
        b: state dict of model b, with the same names, shapes and dtypes.
        lam: λ in [0, 1], the weight of model *a*.

    Returns:
        A new state dict. Floating-point buffers (BatchNorm statistics) are interpolated too;
        integer buffers are those of ``a``. λ = 1 gives ``a`` and λ = 0 gives ``b`` exactly.

    Raises:
        MergeError: λ is out of range, or the models differ in architecture.

    Example:
        >>> import torch
        >>> interpolate({"w": torch.tensor([1.0])}, {"w": torch.tensor([3.0])}, 0.25)
        {'w': tensor([2.5000])}
    """
    if not 0 <= lam <= 1:
        raise MergeError(f"lam is {lam!r}; it must be between 0 (model b) and 1 (model a)")
    return merge([a, b], [lam, 1 - lam])


def merge(models: Sequence[State], weights: Sequence[float] | None = None) -> dict[str, Tensor]:
    """The weighted average Σ_i λ_i θ_i of k models.

    Args:
        models: k >= 1 state dicts with the same names, shapes and dtypes.
        weights: λ_1 .. λ_k, non-negative and summing to one; ``None`` means 1/k each.

    Returns:
        A new state dict, accumulated in each tensor's own dtype; integer buffers are the first model's.

    Raises:
        MergeError: no model, weights that do not fit, or models that differ in architecture.

    Example:
        >>> import torch
        >>> merge([{"w": torch.tensor([value])} for value in (1.0, 2.0, 6.0)])
        {'w': tensor([3.])}
    """
    shares = checked_shares(weights, len(models))
    check_is_state(models[0], "model 0")
    for index, model in enumerate(models[1:], start=1):
        check_same_architecture(models[0], model, f"model {index}")
    return {name: _average(name, models, shares) for name in models[0]}


def _average(name: str, models: Sequence[State], shares: Sequence[float]) -> Tensor:
    first = models[0][name]
    if not (first.dtype.is_floating_point or first.dtype.is_complex):
        return first.clone()
    kept = [(model[name], share) for model, share in zip(models, shares, strict=True) if share > 0]
    total = kept[0][0] * kept[0][1]
    for tensor, share in kept[1:]:
        total = torch.add(total, tensor, alpha=share)
    return total


def check_is_state(state: object, what: str) -> None:
    """Refuse what is no state dict, a module above all.

    Raises:
        MergeError: naming what it is and what to pass.
    """
    if not isinstance(state, Mapping):
        raise MergeError(f"{what} is a {type(state).__name__}, not a state dict; pass model.state_dict()")


def check_same_architecture(a: State, b: State, what: str = "model b") -> None:
    """Refuse two state dicts that differ in names, shapes or dtypes.

    Raises:
        MergeError: naming the first differences.
    """
    check_is_state(b, what)
    missing, extra = sorted(set(a) - set(b)), sorted(set(b) - set(a))
    if missing or extra:
        raise MergeError(
            f"{what} is of another architecture: it lacks {missing[:3]} and has {extra[:3]} besides; "
            "merge checkpoints of one architecture"
        )
    for name, tensor in a.items():
        other = b[name]
        if tensor.shape != other.shape or tensor.dtype != other.dtype:
            raise MergeError(
                f"{what} is of another architecture: {name} is {other.dtype} {tuple(other.shape)}, "
                f"the first model's is {tensor.dtype} {tuple(tensor.shape)}; merge checkpoints of one width"
            )
