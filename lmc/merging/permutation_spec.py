"""The permutation symmetry of a network: which axes are reordered together; applied, inverted, composed, verified.

Reordering the channels of a hidden layer, together with everything that reads or normalises them, leaves the
function unchanged (Ainsworth et al., Git Re-Basin, ICLR 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lmc.errors import MergeError
from lmc.merging.channel_groups import Labels
from lmc.merging.weights import State

TOLERANCE = 1e-8
"""Largest float64 difference between the outputs of θ and π(θ), relative to the largest output."""

Permutations = Mapping[str, Tensor]


@dataclass(frozen=True)
class PermutationSpec:
    """Which axes of which tensors are reordered together.

    Args:
        axes: per parameter and buffer, one `lmc.merging.channel_groups.Axis` or ``None`` (a fixed order) per axis.
        groups: number of channels of each group, named after the first layer that writes it.
        buffers: the names in ``axes`` that are no parameters.
    """

    axes: Mapping[str, Labels]
    groups: Mapping[str, int]
    buffers: frozenset[str] = frozenset()


def permute(state: State, spec: PermutationSpec, permutations: Permutations) -> dict[str, Tensor]:
    """π(θ): channel i of each group becomes what was channel ``permutations[group][i]``.

    Args:
        state: state dict that fits ``spec``, buffers included.
        spec: see `lmc.merging.tracing.trace_permutation_spec`.
        permutations: per group, int64 (channels,).

    Returns:
        A new state dict.

    Raises:
        MergeError: the state does not fit the specification, or an array is no permutation.
    """
    check_state(spec, state)
    checked = check_permutations(spec, permutations)
    return {name: permute_tensor(tensor, spec.axes[name], checked).clone() for name, tensor in state.items()}


def permute_tensor(tensor: Tensor, labels: Labels, permutations: Permutations, *, skip: int = -1) -> Tensor:
    """Reorder one tensor along every labelled axis but number ``skip``; nothing is checked."""
    for number, axis in enumerate(labels):
        if axis is not None and number != skip:
            order = permutations[axis.group]
            if axis.repeat > 1:
                order = (order.unsqueeze(1) * axis.repeat + torch.arange(axis.repeat)).flatten()
            tensor = tensor.index_select(number, order.to(tensor.device))
    return tensor


def invert(permutations: Permutations) -> dict[str, Tensor]:
    """π⁻¹: undoes `permute`."""
    return {group: torch.argsort(order) for group, order in permutations.items()}


def compose(outer: Permutations, inner: Permutations) -> dict[str, Tensor]:
    """The permutation that does ``inner`` first and then ``outer``.

    Raises:
        MergeError: they are of different groups or sizes.
    """
    sizes = [{group: len(order) for group, order in one.items()} for one in (outer, inner)]
    if sizes[0] != sizes[1]:
        raise MergeError(f"permutations of {sizes[0]} and of {sizes[1]}; compose those of one specification")
    return {group: inner[group][order] for group, order in outer.items()}


def random_permutations(spec: PermutationSpec, seed: int) -> dict[str, Tensor]:
    """Uniformly random permutations: per group, int64 (channels,), the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return {group: torch.randperm(size, generator=generator) for group, size in spec.groups.items()}


@torch.no_grad()
def verify(
    model: nn.Module, state: State, spec: PermutationSpec, permutations: Permutations, example_input: Tensor
) -> None:
    """Refuse permutations that change the function: θ and π(θ) are run in float64 with BatchNorm's statistics.

    Args:
        model: the module; its own weights, mode and buffers are not touched.
        state: θ.
        spec: see `lmc.merging.tracing.trace_permutation_spec`.
        permutations: π.
        example_input: (N, ...).

    Raises:
        MergeError: the outputs differ by more than `TOLERANCE`, or the state does not fit.
    """
    expected = _run(model, state, example_input)
    found = _run(model, permute(state, spec, permutations), example_input)
    gap, largest = (found - expected).abs().max().item(), expected.abs().max().item()
    if not gap <= TOLERANCE * largest:
        raise MergeError(
            f"permuting {type(model).__name__} changes its outputs by up to {gap:.3g} (largest {largest:.3g}); "
            "the specification is not of this module, or the weights are not finite"
        )


def check_permutations(spec: PermutationSpec, permutations: Permutations) -> dict[str, Tensor]:
    """The permutations as int64 tensors on the CPU.

    Raises:
        MergeError: groups are missing or unknown, or an array is no permutation of its group.
    """
    if set(permutations) != set(spec.groups):
        raise MergeError(f"permutations are of {sorted(permutations)}; give one for each of {sorted(spec.groups)}")
    checked = {}
    for group, size in spec.groups.items():
        order = torch.as_tensor(permutations[group]).cpu()
        whole = not (order.is_floating_point() or order.is_complex() or order.dtype == torch.bool)
        if not whole or order.shape != (size,) or not torch.equal(order.long().sort().values, torch.arange(size)):
            raise MergeError(
                f"{group!r} got {order.dtype} {order.tolist()!s:.60}; it must hold each of 0..{size - 1} once"
            )
        checked[group] = order.long()
    return checked


def check_state(spec: PermutationSpec, state: State, what: str = "the state dict") -> None:
    """Refuse a state dict whose names or shapes do not fit the specification.

    Raises:
        MergeError: naming the first differences.
    """
    missing, extra = sorted(set(spec.axes) - set(state)), sorted(set(state) - set(spec.axes))
    if missing or extra:
        raise MergeError(f"{what} lacks {missing[:3]} and has {extra[:3]} besides; trace the specification anew")
    for name, labels in spec.axes.items():
        shape = tuple(state[name].shape)
        wanted = tuple(axis and spec.groups[axis.group] * axis.repeat for axis in labels)
        if len(shape) != len(wanted) or any(want not in (None, size) for want, size in zip(wanted, shape, strict=True)):
            raise MergeError(f"{what} has {name} of shape {shape}, the specification says {wanted}; use one width")


def _run(model: nn.Module, state: State, example_input: Tensor) -> Tensor:
    def wide(tensor: Tensor) -> Tensor:
        moved = tensor.to(example_input.device)
        return moved.double() if moved.is_floating_point() else moved.clone()

    tensors = {name: wide(tensor) for name, tensor in {**dict(model.named_buffers()), **state}.items()}
    with evaluating(model):
        try:
            outputs = functional_call(model, tensors, (wide(example_input),), strict=True)
        except RuntimeError as error:
            raise MergeError(f"{type(model).__name__} cannot run these weights on this input: {error}") from error
    if not isinstance(outputs, Tensor):
        raise MergeError(f"{type(model).__name__} gives a {type(outputs).__name__}; wrap it to give one tensor")
    return outputs


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and back into its own mode at the end."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
