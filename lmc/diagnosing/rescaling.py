"""Scales that a function does not depend on: before a normalisation, and between a ReLU's unit and what reads it.

The mean of two models depends on them nevertheless. A layer whose output is normalised may be ten times as large in one
model, which then outweighs the other; a unit whose inputs are doubled and whose outputs are halved is the same unit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lmc.merging import State
from lmc.merging.channel_groups import Axis, Mixed, groups_of
from lmc.merging.permutation_spec import PermutationSpec
from lmc.precision import double, has_float64, where_float64

APART = 2.0
"""How many times as large a layer may be in one model as in another before both are brought to one size; layers of
models trained by one recipe differ by some tens of per cent."""

CLOSER = 0.5
"""Rescaling units is tried where it leaves less than this share of the squared distance between the models."""

_SAME = 1e-3
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class ScaleFree:
    """A layer whose scale the function does not depend on.

    Args:
        layer: name of a linear layer or convolution.
        norm: name of the BatchNorm that alone reads it, whose statistics follow; empty for any other normalisation.
        eps: of that BatchNorm.
    """

    layer: str
    norm: str = ""
    eps: float = 0.0

    def scaled(self, state: dict[str, Tensor], factor: Tensor) -> None:
        """Multiply the layer, by one number or one per channel, within a state."""
        for name in (f"{self.layer}.weight", f"{self.layer}.bias", f"{self.norm}.running_mean"):
            if name in state and not name.startswith("."):
                value = state[name]
                state[name] = value * _along(factor.to(value), value, 0)
        name = f"{self.norm}.running_var"
        if self.norm:
            variance = double(state[name])
            wide = factor.to(variance).square() * (variance + self.eps) - self.eps
            state[name] = wide.clamp_min(0).to(state[name])


@torch.no_grad()
def scale_free_layers(model: nn.Module, example: Tensor) -> list[ScaleFree]:
    """Layers that may be multiplied by 2 without any change of the outputs: found by running the model.

    Args:
        model: in evaluation mode; its weights are as before afterwards.
        example: a few inputs.
    """
    state = {name: value.clone() for name, value in model.state_dict().items()}
    expected = model(example.clone())
    if not torch.isfinite(expected).all():
        return []
    found = []
    norms = _norms_behind(model, example)
    for name, module in model.named_modules():
        if not isinstance(module, _LAYERS) or not name or f"{name}.weight" not in state:
            continue
        norm, eps = norms.get(name, ("", 0.0))
        free = ScaleFree(name, norm, eps)
        if _keeps(model, state, free, expected, example) and bool(state[f"{name}.weight"].any()):
            found.append(free)
    model.load_state_dict(state)
    return found


def _keeps(model: nn.Module, state: State, free: ScaleFree, expected: Tensor, example: Tensor) -> bool:
    for factor in (2.0, 0.6):
        changed = dict(state)
        free.scaled(changed, torch.tensor(factor, dtype=torch.float64))
        model.load_state_dict(changed)
        gap = (double(model(example.clone())) - double(expected)).abs().max()
        if not bool(gap <= _SAME * double(expected).abs().max()):
            return False
    return True


def _norms_behind(model: nn.Module, example: Tensor) -> dict[str, tuple[str, float]]:
    """The BatchNorm that reads what a layer gives, by the layer's name."""
    given: dict[int, tuple[str, Tensor]] = {}
    found: dict[str, tuple[str, float]] = {}
    handles = []

    def gives(name: str) -> object:
        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            given[id(output)] = (name, output)

        return note

    def reads(name: str, eps: float) -> object:
        def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            source = given.get(id(inputs[0]))
            if source is not None and source[1] is inputs[0]:
                found[source[0]] = (name, eps)

        return note

    for name, module in model.named_modules():
        if isinstance(module, _LAYERS):
            handles.append(module.register_forward_hook(gives(name)))  # type: ignore[arg-type]
        elif isinstance(module, _BatchNorm) and module.running_var is not None:
            handles.append(module.register_forward_pre_hook(reads(name, module.eps)))  # type: ignore[arg-type]
    try:
        model(example.clone())
    finally:
        for handle in handles:
            handle.remove()
    return found


def balanced(states: Sequence[State], layers: Sequence[ScaleFree]) -> tuple[list[State], list[str]]:
    """The states with every scale-free layer at its geometric mean size, where sizes lie `APART` or more.

    Args:
        states: of the models.
        layers: of their architecture.

    Returns:
        The states, and the names of the layers that were rescaled.
    """
    found = [dict(state) for state in states]
    names = []
    for free in layers:
        sizes = [float(torch.linalg.vector_norm(double(state[f"{free.layer}.weight"]))) for state in states]
        if min(sizes) <= 0 or max(sizes) / min(sizes) < APART:
            continue
        names.append(free.layer)
        mean = math.exp(sum(map(math.log, sizes)) / len(sizes))
        for state, size in zip(found, sizes, strict=True):
            free.scaled(state, torch.tensor(mean / size, dtype=torch.float64))
    return list(found), names


@torch.no_grad()
def rescaled(
    model: nn.Module,
    states: Sequence[State],
    layers: Sequence[ScaleFree],
    spec: PermutationSpec | None,
    example: Tensor,
) -> list[State] | None:
    """All states but the first with their channels as large as the first one's, if that brings them much closer.

    Args:
        model: a module of the architecture, in evaluation mode; a copy is run.
        states: of the models.
        layers: whose scale a normalisation ignores; channels before a BatchNorm are taken one by one.
        spec: groups of channels, for units between a ReLU and what reads it; ``None`` leaves these out.
        example: a few inputs.

    Returns:
        The states, ``None`` where they stay more than `CLOSER` apart, or where nothing can be rescaled.
    """
    wide = copy.deepcopy(model)
    wide = (wide if has_float64(example.device.type) else wide.cpu()).double()
    found: list[State] = [states[0]]
    closer = False
    for state in states[1:]:
        changed = dict(state)
        for free in layers:
            if free.norm:
                free.scaled(changed, _ratios(states[0], changed, free.layer))
        for writers, readers in _units(spec, changed):
            trial = dict(changed)
            _scale_units(trial, states[0], writers, readers)
            if _same_function(wide, changed, trial, example):
                changed = trial
        if not _same_function(wide, state, changed, example):
            return None
        closer = closer or _distance(states[0], changed) < CLOSER * _distance(states[0], state)
        found.append(changed)
    return found if closer else None


def _ratios(one: State, other: State, layer: str) -> Tensor:
    """How much larger the rows of a layer are in one state than in another; 1 where either is zero."""
    sizes = [torch.linalg.vector_norm(double(state[f"{layer}.weight"]).flatten(1), dim=1) for state in (one, other)]
    return torch.where((sizes[0] > 0) & (sizes[1] > 0), sizes[0] / sizes[1].clamp_min(1e-300), 1.0)


def _units(spec: PermutationSpec | None, state: State) -> Iterator[tuple[list[str], list[tuple[str, int, int]]]]:
    """Of every group of channels the tensors that write it last, and those that read it: name, axis, repeats.

    Groups that share an axis with others are left out.
    """
    if spec is None:
        return
    axes = [
        (name, number, axis)
        for name, labels in spec.axes.items()
        if state[name].is_floating_point()
        for number, axis in enumerate(labels)
        if axis is not None
    ]
    mixed = {group for _, _, axis in axes if isinstance(axis, Mixed) for group in groups_of(axis)}
    for group in spec.groups:
        mine = [each for each in axes if isinstance(each[2], Axis) and each[2].group == group]
        writers = [name for name, number, _ in mine if number == 0]
        readers = [(name, number, axis.repeat) for name, number, axis in mine if number and isinstance(axis, Axis)]
        norms = {name.removesuffix("running_mean") for name in writers if name.endswith("running_mean")}
        if norms:
            writers = [name for name in writers if f"{name.rpartition('.')[0]}." in norms and "running_" not in name]
        alone = all(state[name].shape[0] == spec.groups[group] for name in writers)  # not several rows per unit
        if group not in mixed and writers and readers and alone:
            yield writers, readers


def _scale_units(
    state: dict[str, Tensor], like: State, writers: Sequence[str], readers: Sequence[tuple[str, int, int]]
) -> None:
    """Bring units to the balance of incoming and outgoing sizes that they have in another state."""

    def sizes(of: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        into = sum(
            double(of[name]).flatten(1).square().sum(1) if of[name].ndim > 1 else double(of[name]).square()
            for name in writers
        )
        count = len(of[writers[0]])
        out = sum(double(of[name]).movedim(axis, 0).reshape(count, -1).square().sum(1) for name, axis, _ in readers)
        assert isinstance(into, Tensor)
        assert isinstance(out, Tensor)
        return into, out

    (into, out), (wanted_in, wanted_out) = sizes(state), sizes(like)
    ratio = (wanted_in * out / (into * wanted_out)).pow(0.25)
    factor = torch.where(torch.isfinite(ratio) & (ratio > 0), ratio, 1.0)
    for name in writers:
        state[name] = state[name] * _along(factor.to(state[name]), state[name], 0)
    for name, axis, repeat in readers:
        inverse = (1 / factor).repeat_interleave(repeat).to(state[name])
        state[name] = state[name] * _along(inverse, state[name], axis)


def _same_function(wide: nn.Module, one: State, other: State, example: Tensor) -> bool:
    """Whether two states compute the same, in float64."""
    inputs = double(example) if example.is_floating_point() else where_float64(example)
    outputs = []
    for state in (one, other):
        wide.load_state_dict({name: where_float64(value) for name, value in state.items()})
        try:
            outputs.append(wide(inputs.clone()))
        except RuntimeError:  # the module's own code, which converts to float32 somewhere
            return False
    gap, largest = (outputs[0] - outputs[1]).abs().max(), outputs[0].abs().max()
    return bool(gap <= _SAME * largest)


def _along(factor: Tensor, tensor: Tensor, axis: int) -> Tensor:
    if factor.ndim == 0:
        return factor
    return factor.reshape(*(1,) * axis, -1, *(1,) * (tensor.ndim - axis - 1))


def _distance(one: State, other: State) -> float:
    return sum(
        float((double(one[name]) - double(value)).square().sum())
        for name, value in other.items()
        if value.is_floating_point() and "running_" not in name
    )
