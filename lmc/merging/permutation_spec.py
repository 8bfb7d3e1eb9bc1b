"""The permutation symmetry of a network: which axes are reordered together; applied, inverted, composed, verified.

Reordering the channels of a hidden layer, together with everything that reads or normalises them, leaves the
function unchanged (Ainsworth et al., Git Re-Basin, ICLR 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from lmc.errors import MergeError
from lmc.merging.channel_groups import Axis, Labels, Mixed
from lmc.merging.traceable import tensors_in
from lmc.merging.weights import State, check_is_state
from lmc.precision import double, where_float64

TOLERANCE = 1e-8
"""Largest float64 difference between the outputs of θ and π(θ), relative to the largest output."""

Permutations = Mapping[str, Tensor]


@dataclass(frozen=True)
class PermutationSpec:
    """Which axes of which tensors are reordered together.

    Args:
        axes: per parameter and buffer, one `lmc.merging.channel_groups.Axis`, `lmc.merging.channel_groups.Mixed` or
            ``None`` (a fixed order) per axis.
        groups: number of channels of each group, named after the first layer that writes it.
        buffers: the names in ``axes`` that are no parameters.
        fixing: operations that fixed channels because tracing knows no better.
    """

    axes: Mapping[str, Labels]
    groups: Mapping[str, int]
    buffers: frozenset[str] = frozenset()
    fixing: frozenset[str] = frozenset()


def permute(state: State, spec: PermutationSpec, permutations: Permutations) -> dict[str, Tensor]:
    """π(θ): channel i of each group becomes what was channel ``permutations[group][i]``.

    Args:
        state: state dict that fits ``spec``, buffers included.
        spec: see `lmc.merging.tracing.trace_permutation_spec`.
        permutations: per group, whole numbers (channels,): a tensor, an array or a list.

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
            tensor = tensor.index_select(number, order_of(axis, permutations).to(tensor.device))
    return tensor


def order_of(axis: Axis | Mixed, permutations: Permutations) -> Tensor:
    """Which index each index of an axis takes its value from."""
    if isinstance(axis, Axis):
        order = permutations[axis.group]
        if axis.repeat == 1:
            return order
        return (order.unsqueeze(1) * axis.repeat + torch.arange(axis.repeat)).flatten()
    whole = torch.arange(axis.size)
    for part in axis.parts:
        places = torch.tensor(part.places)
        whole[places] = places[permutations[part.group]]
    return whole


def invert(permutations: Permutations) -> dict[str, Tensor]:
    """π⁻¹: undoes `permute`.

    Raises:
        MergeError: an array is no permutation.
    """
    return {group: torch.argsort(order) for group, order in _checked(permutations).items()}


def compose(outer: Permutations, inner: Permutations) -> dict[str, Tensor]:
    """The permutation that does ``inner`` first and then ``outer``.

    Raises:
        MergeError: they are of different groups or sizes, or an array is no permutation.
    """
    outer, inner = _checked(outer), _checked(inner)
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

    Tracing does this for weights of its own; do it for the weights that are to be permuted, before they are used.

    Args:
        model: the module; its own weights, mode and buffers are not touched.
        state: θ.
        spec: see `lmc.merging.tracing.trace_permutation_spec`.
        permutations: π.
        example_input: (N, ...); N = 2 is enough and cheap.

    Raises:
        MergeError: the outputs differ by more than `TOLERANCE`, or the state does not fit.
    """
    check_example(model, example_input)
    expected = torch.cat(_run(model, state, example_input))
    if not torch.isfinite(expected).all():
        raise MergeError(
            f"the outputs of {type(model).__name__} hold NaN or infinite values; the model diverged, train it again"
        )
    found = torch.cat(_run(model, permute(state, spec, permutations), example_input))
    gap, largest = (found - expected).abs().max().item(), expected.abs().max().item()
    if not gap <= TOLERANCE * largest:
        raise MergeError(
            f"permuting {type(model).__name__} changes its outputs by up to {gap:.3g} (largest {largest:.3g}); "
            "the specification is not of this module: trace that of the very module"
        )


def check_permutations(spec: PermutationSpec, permutations: Permutations) -> dict[str, Tensor]:
    """The permutations as int64 tensors on the CPU.

    Raises:
        MergeError: groups are missing or unknown, or an array is no permutation of its group.
    """
    if isinstance(permutations, Mapping) and set(permutations) != set(spec.groups):
        given = sorted(map(str, permutations))
        raise MergeError(f"permutations are of {given}; give one for each of {sorted(spec.groups)}")
    return _checked(permutations, spec.groups)


def _checked(permutations: Permutations, sizes: Mapping[str, int] | None = None) -> dict[str, Tensor]:
    """The permutations as int64 tensors on the CPU, of the sizes given or, without, of whatever size they have."""
    if not isinstance(permutations, Mapping):
        raise MergeError(f"permutations are a {type(permutations).__name__}; pass a dict with one array per group")
    checked = {}
    for group in permutations if sizes is None else sizes:
        given = permutations[group]
        order = _whole_numbers(given)
        size = None if order is None else len(order)
        if sizes is not None:
            size = sizes[group]
        if order is None or len(order) != size or not torch.equal(order.sort().values, torch.arange(size)):
            wanted = "0..n-1" if size is None else f"0..{size - 1}"
            values = given.tolist() if isinstance(given, Tensor | np.ndarray) else given
            kind = getattr(given, "dtype", type(given).__name__)
            raise MergeError(f"{group!r} got {kind} {values!r:.60}; it must hold each of {wanted} once")
        checked[group] = order
    return checked


def _whole_numbers(values: object) -> Tensor | None:
    """int64 (n,) on the CPU, or ``None`` for what is no one-dimensional array of whole numbers."""
    try:
        array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    except (ValueError, TypeError, RuntimeError):  # ragged lists, and tensors that numpy has no type for
        return None
    if array.dtype.kind not in "iu" or array.ndim != 1:
        return None
    return torch.from_numpy(np.array(array, dtype=np.int64, order="C"))  # a copy: torch reads no reversed arrays


def check_state(spec: PermutationSpec, state: State, what: str = "the state dict") -> None:
    """Refuse a state dict whose names or shapes do not fit the specification.

    Raises:
        MergeError: naming the first differences.
    """
    if not isinstance(spec, PermutationSpec):
        raise MergeError(f"the specification is a {type(spec).__name__}; pass what trace_permutation_spec gives")
    check_is_state(state, what)
    missing, extra = sorted(set(spec.axes) - set(state)), sorted(set(state) - set(spec.axes))
    if missing or extra:
        raise MergeError(f"{what} lacks {missing[:3]} and has {extra[:3]} besides; trace the specification anew")
    for name, labels in spec.axes.items():
        shape = tuple(state[name].shape)
        wanted = tuple(axis and _size(axis, spec.groups) for axis in labels)
        if len(shape) != len(wanted) or any(want not in (None, size) for want, size in zip(wanted, shape, strict=True)):
            raise MergeError(f"{what} has {name} of shape {shape}, the specification says {wanted}; use one width")


def _size(axis: Axis | Mixed, groups: Mapping[str, int]) -> int:
    if isinstance(axis, Axis):
        return groups[axis.group] * axis.repeat
    for part in axis.parts:
        if len(part.places) != groups[part.group]:
            raise MergeError(
                f"an axis places {len(part.places)} channels of {part.group!r}, which has {groups[part.group]}"
            )
    return axis.size


def check_example(model: object, example_input: object) -> None:
    """Refuse what cannot be run.

    Raises:
        MergeError: ``model`` is no module, or ``example_input`` no tensor with at least one input.
    """
    if not isinstance(model, nn.Module):
        raise MergeError(f"the model is a {type(model).__name__}; pass a torch.nn.Module")
    if not isinstance(example_input, Tensor):
        raise MergeError(f"the example input is a {type(example_input).__name__}; pass one tensor (N, ...)")
    if not example_input.numel():
        raise MergeError(f"the example input of shape {tuple(example_input.shape)} is empty; pass two inputs, (2, ...)")


def _run(model: nn.Module, state: State, example_input: Tensor) -> list[Tensor]:
    """The floating outputs, each (values,)."""

    device = where_float64(example_input).device

    def wide(tensor: Tensor) -> Tensor:
        moved = tensor.to(device)
        return double(moved) if moved.is_floating_point() else moved.clone()

    tensors = {name: wide(tensor) for name, tensor in {**dict(model.named_buffers()), **state}.items()}
    with evaluating(model):
        try:
            outputs = functional_call(model, tensors, (wide(example_input),), tie_weights=False)
        except RuntimeError as error:
            raise MergeError(f"{type(model).__name__} cannot run these weights on this input: {error}") from error
    found = [output.flatten() for output in tensors_in(outputs) if output.is_floating_point()]
    if not found:
        raise MergeError(f"{type(model).__name__} gives a {type(outputs).__name__}; wrap it to give floating tensors")
    return found


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
