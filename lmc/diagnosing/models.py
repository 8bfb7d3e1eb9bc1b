"""Private copies of a reader's models, checked: the originals are never run, changed or put into another mode."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from lmc.errors import DataError, MergeError, SpecError, in_one_line
from lmc.merging import State
from lmc.merging.weights import check_same_architecture

PROBED = 8
"""Inputs that models are tried on before anything is measured."""


def copies_of(models: Sequence[nn.Module], device: torch.device) -> tuple[list[nn.Module], list[str]]:
    """Copies of the models in evaluation mode on ``device``, and remarks about what was found.

    Raises:
        MergeError: the models differ in class or architecture, cannot be copied, or hold NaN.
    """
    notes: list[str] = []
    copies: list[nn.Module] = []
    for number, given in enumerate(models, start=1):
        kind = type(given).__name__
        if isinstance(given, torch.jit.ScriptModule):
            raise MergeError(f"model {number} is a {kind}, which hides its layers; pass the module it came from")
        model = _unwrapped(given)
        if model is not given:
            notes.append(f"model {number} was taken out of its {kind} wrapper")
        if copies and type(model) is not type(copies[0]):
            first, this = type(copies[0]).__name__, type(model).__name__
            raise MergeError(f"model 1 is a {first}, model {number} a {this}; pass one architecture")
        try:
            copied = copy.deepcopy(model)
        except Exception as error:  # a module's own code
            raise MergeError(
                f"model {number} cannot be copied ({in_one_line(error)}); "
                "use diagnose_states with a function that builds the model"
            ) from error
        copies.append(copied.to(device).eval())
    check_states([model.state_dict() for model in copies])
    modes = [f"model {index}" for index, model in enumerate(models, start=1) if model.training]
    if modes:
        notes.append(f"in training mode: {', '.join(modes)}; measured in evaluation mode, left as given")
    if any(isinstance(module, _DropoutNd) and module.p > 0 for module in copies[0].modules()):
        notes.append("dropout is off, as in evaluation mode")
    return copies, notes


def built(factory: Callable[[], nn.Module], states: Sequence[State]) -> list[nn.Module]:
    """One module per state dict, made by ``factory``, in evaluation mode.

    Raises:
        SpecError: the factory fails or gives no module.
        MergeError: a state dict does not fit what it gives.
    """
    name = getattr(factory, "__qualname__", type(factory).__name__)
    if not callable(factory):
        raise SpecError(f"the factory is a {type(factory).__name__}; pass a function that returns an untrained model")
    models = []
    for index, state in enumerate(states, start=1):
        try:
            model = factory()
        except (Exception, SystemExit) as error:  # the reader's own code, which may even exit
            raise SpecError(
                f"the factory {name} failed: {in_one_line(error)}; it must build the model without arguments"
            ) from error
        if not isinstance(model, nn.Module):
            raise SpecError(f"the factory {name} gives a {type(model).__name__}; it must return a torch.nn.Module")
        if not isinstance(state, Mapping):
            raise SpecError(f"state {index} is a {type(state).__name__}; pass a state dict")
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines()]
            raise MergeError(
                f"checkpoint {index} does not fit the model of {name}: {'; '.join(lines[1:3]) or lines[0]:.300}; "
                "name the factory it was trained with"
            ) from error
        models.append(model.eval())
    return models


def check_states(states: Sequence[State]) -> None:
    """Refuse states that cannot be averaged.

    Raises:
        MergeError: they differ in names or shapes, hold something else than tensors, or NaN.
    """
    for index, state in enumerate(states, start=1):
        odd = [name for name, value in state.items() if not isinstance(value, Tensor)]
        if odd:
            raise MergeError(f"{odd[0]} of model {index} is a {type(state[odd[0]]).__name__}, no tensor to average")
        if not any(value.is_floating_point() for value in state.values()):
            raise MergeError(f"model {index} has no weights; there is nothing to average")
        if index > 1:
            check_same_architecture(states[0], state, f"model {index}")
        for name, value in state.items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise MergeError(f"{name} of model {index} holds NaN or infinite values; the model diverged")


@torch.no_grad()
def try_out(copies: Sequence[nn.Module], spare: nn.Module, example: Tensor) -> int:
    """Run every model on a few inputs; ``spare`` with their weights must do the same.

    Args:
        copies: the models.
        spare: another of their architecture, overwritten.
        example: a few inputs.

    Returns:
        The number of classes.

    Raises:
        DataError: a model cannot run on the inputs.
        MergeError: what it gives are no logits (N, classes), are not finite, differ from run to run, or depend on
            more than the state dict.
    """
    classes = 0
    for index, model in enumerate(copies, start=1):
        logits = run(model, example)
        if not torch.isfinite(logits).all():
            raise MergeError(f"the logits of model {index} hold NaN or infinite values; the model diverged")
        if not _alike(logits, run(model, example)):
            raise MergeError(
                f"model {index} gives other outputs every time, in evaluation mode too; "
                "make it deterministic (functional dropout needs training=self.training)"
            )
        spare.load_state_dict(model.state_dict())
        if not _alike(logits, run(spare, example)):
            raise MergeError(
                f"model {index} computes something else than model 1 does with the same weights; "
                "the two differ in more than their state dicts (an activation, an option, a buffer that is not saved)"
            )
        classes = logits.shape[1]
    return classes


def run(model: nn.Module, inputs: Tensor) -> Tensor:
    """Logits (N, classes) of ``inputs``.

    Raises:
        DataError: the model cannot run on them.
        MergeError: it gives something else than logits.
    """
    kind = type(model).__name__
    try:
        outputs = model(inputs.clone())
    except Exception as error:  # the module's own code
        raise DataError(
            f"{kind} cannot run on inputs of {inputs.dtype} {tuple(inputs.shape)}: {in_one_line(error)}; "
            "pass data of the shape it was trained on"
        ) from error
    if not isinstance(outputs, Tensor):
        raise MergeError(
            f"{kind} gives a {type(outputs).__name__}, not one tensor of logits; "
            "wrap it in a module whose forward returns the logits only"
        )
    if outputs.ndim != 2 or len(outputs) != len(inputs) or outputs.shape[1] < 2:
        raise MergeError(
            f"{kind} gives outputs of shape {tuple(outputs.shape)} for {len(inputs)} inputs; "
            "only classifiers with logits (N, classes) can be diagnosed, so wrap it in one"
        )
    return outputs


def gives_probabilities(outputs: Tensor) -> bool:
    """Whether outputs (N, classes) are what a softmax gives: every row is >= 0 and sums to 1 up to rounding."""
    if not outputs.is_floating_point():
        return False
    rounding = 16 * torch.finfo(outputs.dtype).eps
    return bool((outputs >= 0).all() and ((outputs.double().sum(1) - 1).abs() <= rounding).all())


def identical(states: Sequence[State]) -> bool:
    """Whether all states hold the same numbers."""
    return all(torch.equal(states[0][name], other[name]) for other in states[1:] for name in states[0])


def _alike(x: Tensor, y: Tensor) -> bool:
    largest = float(x.abs().amax())
    tolerance = 1e-3 if x.dtype in (torch.float32, torch.float64) else 5e-2
    return bool((x.double() - y.double()).abs().amax() <= tolerance * (largest or 1.0))


def _unwrapped(model: nn.Module) -> nn.Module:
    inner = getattr(model, "_orig_mod", None)  # torch.compile
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = model.module
    return inner if isinstance(inner, nn.Module) else model
