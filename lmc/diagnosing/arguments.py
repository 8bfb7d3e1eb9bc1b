"""What `lmc.diagnosing.diagnose.diagnose` is called with, sorted out and checked before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

import torch
from torch import Tensor, nn

from lmc.diagnosing.alignment import check_choice
from lmc.diagnosing.candidates import MIDDLE
from lmc.diagnosing.samples import Data
from lmc.diagnosing.verdict import Thresholds
from lmc.errors import DeviceError, MergeError, SpecError
from lmc.merging import State
from lmc.merging.permutation_spec import PermutationSpec, check_state, random_permutations, verify

Models = nn.Module | Sequence[nn.Module]
Permutation = str | PermutationSpec


def sorted_out(model_a: Models, model_b: nn.Module | Data, data: Data | None) -> tuple[Sequence[nn.Module], Data]:
    """The models and the data.

    Raises:
        SpecError: one of them is missing, or something is no module.
    """
    if isinstance(model_a, nn.Module):
        if data is None:
            raise SpecError("there is no data; call diagnose(model_a, model_b, data) or diagnose([models], data)")
        if not isinstance(model_b, nn.Module):
            raise SpecError(f"model_b is a {type(model_b).__name__}; pass a torch.nn.Module")
        return [model_a, model_b], data
    if data is not None or isinstance(model_b, nn.Module):
        raise SpecError("call diagnose(model_a, model_b, data) or diagnose([models], data)")
    if not isinstance(model_a, Sequence):
        raise SpecError(f"model_a is a {type(model_a).__name__}; pass a torch.nn.Module or a list of them")
    return model_a, model_b


def checked_lams(lams: Sequence[float]) -> tuple[float, ...]:
    """The points of a path, in order, with 0, ½ and 1.

    Raises:
        SpecError: one is out of [0, 1].
    """
    try:
        points = sorted({0.0, MIDDLE, 1.0, *map(float, lams)})
    except (TypeError, ValueError):
        points = []
    if not points:
        raise SpecError(f"lams is {lams!r:.60}; pass numbers within [0, 1], such as (0.25, 0.75)")
    if points[0] < 0 or points[-1] > 1 or any(point != point for point in points):
        raise SpecError(f"lams {list(lams)} must lie within [0, 1]")
    return tuple(points)


def told_apart(permutation: Permutation) -> tuple[str, PermutationSpec | None]:
    """The choice and the specification that ``permutation`` stands for.

    Raises:
        SpecError: it is no known choice.
    """
    if isinstance(permutation, PermutationSpec):
        return "always", permutation
    check_choice(permutation)
    return permutation, None


def check_counts(**counts: int) -> None:
    """Refuse numbers of inputs that nothing can be measured on.

    Raises:
        SpecError: naming the number.
    """
    least = {"layer_inputs": 1, "reset_inputs": 2}
    for name, value in counts.items():
        try:
            enough = index(value) >= least[name]
        except TypeError:
            enough = False
        if not enough:
            raise SpecError(f"{name} is {value!r:.60}; it must be a whole number of at least {least[name]}")


def checked_thresholds(thresholds: Thresholds | None) -> Thresholds:
    """The thresholds, or those that count where there are none.

    Raises:
        SpecError: they are something else.
    """
    if thresholds is not None and not isinstance(thresholds, Thresholds):
        raise SpecError(
            f"thresholds is {thresholds!r:.60}; pass lmc.diagnosing.verdict.Thresholds(accuracy=0.02, loss=0.1)"
        )
    return thresholds or Thresholds()


def checked_device(device: torch.device | str | None, model: object) -> torch.device:
    """The device to compute on; where ``model`` is, if none is named.

    Raises:
        SpecError: there is no such kind of device, or ``model`` is no module.
        DeviceError: this machine has none.
        MergeError: the model has no weights yet.
    """
    if device is None:
        return device_of(model)
    try:
        where = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise SpecError(f"unknown device {device!r:.60}; use 'cpu', 'cuda', or None for where model 1 is") from error
    try:
        torch.zeros(1, device=where).item()  # on the meta device there is nothing to read
    except Exception as error:  # each kind of device fails in its own way
        said = " ".join(str(error).split())
        raise DeviceError(f"device '{where}' cannot be used: {said:.120}; use 'cpu', or None") from error
    return where


def device_of(model: object) -> torch.device:
    """Where a model is.

    Raises:
        SpecError: it is no module.
        MergeError: it has no weights yet.
    """
    if not isinstance(model, nn.Module):
        raise SpecError(f"model 1 is a {type(model).__name__}; pass a torch.nn.Module")
    found = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    if any(device.type == "meta" for device in found):
        raise MergeError("the model is on the meta device and has no weights; load its checkpoint first")
    return next(iter(model.parameters()), torch.empty(0)).device


def check_spec(spec: PermutationSpec, model: nn.Module, states: Sequence[State], example: Tensor) -> None:
    """Refuse a specification written by hand under which a random permutation changes what a model computes.

    Args:
        spec: the specification.
        model: a module of the architecture; its weights are left as they are.
        states: of the models.
        example: a few inputs.

    Raises:
        MergeError: it does not fit a state, or the outputs change; see `lmc.merging.permutation_spec.verify`.
    """
    used = {axis.group for labels in spec.axes.values() for axis in labels if axis}
    if used != set(spec.groups):
        raise MergeError(
            f"the specification has axes of {sorted(used)} and groups {sorted(spec.groups)}; give each its size"
        )
    for number, state in enumerate(states, start=1):
        check_state(spec, state, f"model {number}")
        verify(model, state, spec, random_permutations(spec, 0), example)
