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
    return _averages([a, b], [lam, 1 - lam])


def merge(models: Sequence[State], weights: Sequence[float] | None = None) -> dict[str, Tensor]:
    """The weighted average Σ_i λ_i θ_i of k models.

    Args:
        models: k >= 1 state dicts with the same names, shapes and dtypes.
        weights: λ_1 .. λ_k, non-negative and summing to one; ``None`` means 1/k each.

    Returns:
        A new state dict, accumulated in float32 or wider and rounded once; integer buffers are the first model's.

    Raises:
        MergeError: no model, weights that do not fit, models that differ in architecture, or NaN in what they give.

    Example:
        >>> import torch
        >>> merge([{"w": torch.tensor([value])} for value in (1.0, 2.0, 6.0)])
        {'w': tensor([3.])}
    """
    merged = _averages(models, checked_shares(weights, len(models)))
    check_finite(merged, models)
    return merged


def _averages(models: Sequence[State], shares: Sequence[float]) -> dict[str, Tensor]:
    check_alike(models)
    return {name: _average(name, models, shares) for name in models[0]}


def _average(name: str, models: Sequence[State], shares: Sequence[float]) -> Tensor:
    kept = [(model[name], share) for model, share in zip(models, shares, strict=True) if share > 0]
    return weighted_sum([tensor for tensor, _ in kept], [share for _, share in kept], models[0][name])


def weighted_sum(tensors: Sequence[Tensor], factors: Sequence[float], otherwise: Tensor) -> Tensor:
    """Σ_i f_i t_i of tensors of one dtype, accumulated in float32 or wider and rounded once.

    Args:
        tensors: one or more, of one shape.
        factors: f_i.
        otherwise: what is copied where tensors of this dtype cannot be averaged: whole numbers.
    """
    dtype = otherwise.dtype
    if not (dtype.is_floating_point or dtype.is_complex):
        return otherwise.clone()
    wide = wide_type(dtype)
    total = tensors[0].to(wide) * factors[0]
    for tensor, factor in zip(tensors[1:], factors[1:], strict=True):
        total = torch.add(total, tensor.to(wide), alpha=factor)
    return total.to(dtype)


def wide_type(dtype: torch.dtype) -> torch.dtype:
    """The dtype, floating or complex, that sums of numbers of a dtype are held in: of single precision at least."""
    if dtype.is_complex:
        return torch.complex64 if dtype == torch.complex32 else dtype
    return torch.float32 if dtype.itemsize < 4 else dtype


def check_finite(merged: State, models: Sequence[State]) -> None:
    """Refuse a merge that holds NaN or infinite values.

    Args:
        merged: what was made of the models.
        models: they, to say which of them is to blame.

    Raises:
        MergeError: naming the tensor and the model, or that the numbers became too large for their dtype.
    """
    for name, tensor in merged.items():
        if _is_finite(tensor):
            continue
        for index, model in enumerate(models):
            if not _is_finite(model[name]):
                raise MergeError(
                    f"{name} of model {index} holds NaN or infinite values; train it again or leave it out"
                )
        raise MergeError(f"{name} of the merge is too large for {tensor.dtype}; convert the models to float32 first")


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.dtype.is_floating_point or tensor.dtype.is_complex):
        return True
    return bool(torch.isfinite(tensor.to(wide_type(tensor.dtype))).all())


def check_alike(models: Sequence[State]) -> None:
    """Refuse state dicts that cannot be merged.

    Raises:
        MergeError: one is no state dict, or differs from the first in names, shapes or dtypes.
    """
    check_is_state(models[0], "model 0")
    for index, model in enumerate(models[1:], start=1):
        check_same_architecture(models[0], model, f"model {index}")


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
        if tensor.shape == other.shape and tensor.dtype != other.dtype:
            raise MergeError(
                f"{name} of {what} is {other.dtype}, that of the first model {tensor.dtype}; "
                "convert them to one dtype first, the wider one"
            )
        if tensor.shape != other.shape:
            raise MergeError(
                f"{what} is of another architecture: {name} is of shape {tuple(other.shape)}, "
                f"the first model's {tuple(tensor.shape)}; merge checkpoints of one width"
            )
