"""What `lmc.diagnosing.diagnose.diagnose` is called with, sorted out and checked before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lmc.diagnosing.candidates import MIDDLE
from lmc.diagnosing.samples import Data
from lmc.errors import MergeError, SpecError
from lmc.merging import State
from lmc.merging.permutation_spec import PermutationSpec, check_state, random_permutations, verify

Models = nn.Module | Sequence[nn.Module]


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
    points = sorted({0.0, MIDDLE, 1.0, *map(float, lams)})
    if points[0] < 0 or points[-1] > 1 or any(point != point for point in points):
        raise SpecError(f"lams {list(lams)} must lie within [0, 1]")
    return tuple(points)


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
    for index, state in enumerate(states, start=1):
        check_state(spec, state, f"model {index}")
        verify(model, state, spec, random_permutations(spec, 0), example)
