"""Private copies of a reader's models, checked: the originals are never run, changed or put into another mode."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import UninitializedParameter

from lmc.diagnosing.effective import dequantised, make_effective, private_copy
from lmc.diagnosing.loading import fit_names, taken_out, without_extra_state
from lmc.diagnosing.reading import read_output
from lmc.errors import DataError, LmcError, MergeError, SpecError, in_one_line
from lmc.merging import State
from lmc.merging.weights import check_same_architecture
from lmc.precision import double

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
        model = taken_out(given)
        if model is not given:
            notes.append(f"model {number} was taken out of its {kind} wrapper")
        if lazy := [name for name, each in model.named_parameters() if isinstance(each, UninitializedParameter)]:
            raise MergeError(
                f"{lazy[0]} of model {number} has no shape yet, as its layer is lazy; run the model once, or load its "
                "checkpoint"
            )
        try:
            copied = private_copy(model)
        except Exception as error:  # a module's own code
            raise MergeError(
                f"model {number} cannot be copied ({in_one_line(error)}); "
                "use diagnose_states with a function that builds the model"
            ) from error
        copied = copied.to(device).eval()
        kept = without_extra_state(copied)
        notes += [f"state that is no tensor is each model's own: {_listed(kept)}"] if kept and not copies else []
        floated = dequantised(copied)
        notes += _widened(copied, number)
        factored = make_effective(copied)
        if copies and not _of_one_class(copied, copies[0]):
            first, this = type(copies[0]).__name__, type(copied).__name__
            raise MergeError(f"model 1 is a {first}, model {number} a {this}; pass one architecture")
        notes += [each for each in _plain_notes(floated, factored) if each not in notes]
        copies.append(copied)
    notes += _one_precision(copies)
    check_states([model.state_dict() for model in copies])
    modes = [f"model {index}" for index, model in enumerate(models, start=1) if model.training]
    if modes:
        notes.append(f"in training mode: {', '.join(modes)}; measured in evaluation mode, left as given")
    if any(isinstance(module, _DropoutNd) and module.p > 0 for module in copies[0].modules()):
        notes.append("dropout is off, as in evaluation mode")
    return copies, notes


def built(
    factory: Callable[[], nn.Module], states: Sequence[State], *, ema: bool = False
) -> tuple[list[nn.Module], list[str]]:
    """One module per state dict, made by ``factory``, in evaluation mode; and remarks.

    Args:
        factory: builds a model.
        states: by its names, or with what trainers put around them; see `lmc.diagnosing.loading.fit_names`.
        ema: whether an average among the tensors is taken.

    Raises:
        SpecError: the factory fails or gives no module.
        MergeError: a state dict does not fit what it gives.
    """
    name = getattr(factory, "__qualname__", type(factory).__name__)
    if not callable(factory):
        raise SpecError(f"the factory is a {type(factory).__name__}; pass a function that returns an untrained model")
    models: list[nn.Module] = []
    notes: list[str] = []
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
        odd = [key for key, value in state.items() if not isinstance(value, Tensor)]
        try:
            fitted = fit_names({key: value for key, value in state.items() if key not in odd}, model, ema=ema)
            notes += [f"checkpoint {index}: {note}" for note in fitted.notes]
            notes += _converted(index, fitted.state, model)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what does not fit is said below
                model.load_state_dict(fitted.state | {key: state[key] for key in odd})
        except (RuntimeError, TypeError, AttributeError) as error:
            lines = [line.strip() for line in str(error).splitlines()]
            raise MergeError(
                f"checkpoint {index} does not fit the model of {name}: {'; '.join(lines[1:3]) or lines[0]:.300}; "
                "name the factory it was trained with"
            ) from error
        models.append(model.eval())
    return models, list(dict.fromkeys(notes))


def _converted(index: int, state: Mapping[str, object], model: nn.Module) -> list[str]:
    """A remark on floating tensors that the model keeps in another type."""
    own = model.state_dict()
    kinds = {
        (_short(value.dtype), _short(own[name].dtype))
        for name, value in state.items()
        if isinstance(value, Tensor)
        and value.is_floating_point()
        and isinstance(own.get(name), Tensor)
        and value.dtype != own[name].dtype
    }
    return [f"checkpoint {index} is {was}, its model {now}: converted to that" for was, now in sorted(kinds)]


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
            if value.layout != torch.strided:
                kind = str(value.layout).removeprefix("torch.")
                raise MergeError(
                    f"{name} of model {index} is a {kind} tensor; make it dense (to_dense()) to average it"
                )
            if value.is_floating_point() and not torch.isfinite(value.float() if value.itemsize == 1 else value).all():
                raise MergeError(f"{name} of model {index} holds NaN or infinite values; the model diverged")


@torch.no_grad()
def try_out(copies: Sequence[nn.Module], spare: nn.Module, example: Tensor) -> Tensor:
    """Run every model on a few inputs; ``spare`` with their weights must do the same.

    Args:
        copies: the models.
        spare: another of their architecture, overwritten.
        example: a few inputs.

    Returns:
        What the last of them gives.

    Raises:
        DataError: a model cannot run on the inputs.
        MergeError: what it gives is no tensor (N, ...), not finite, differs from run to run, or depends on
            more than the state dict.
    """
    outputs = torch.empty(0)
    for index, model in enumerate(copies, start=1):
        outputs = run(model, example)
        if not torch.isfinite(outputs).all():
            raise MergeError(f"the logits of model {index} hold NaN or infinite values; the model diverged")
        if not _alike(outputs, run(model, example)):
            raise MergeError(
                f"model {index} gives other outputs every time, in evaluation mode too; "
                "make it deterministic (functional dropout needs training=self.training)"
            )
        spare.load_state_dict(model.state_dict())
        if not _alike(outputs, run(spare, example)):
            raise MergeError(
                f"model {index} computes something else than model 1 does with the same weights; "
                "the two differ in more than their state dicts (an activation, an option, a buffer that is not saved)"
            )
    return outputs


def run(model: nn.Module, inputs: Tensor) -> Tensor:
    """Outputs (N, ...) of ``inputs``.

    Raises:
        DataError: the model cannot run on them.
        MergeError: it gives something else than one floating tensor with a row per input.
    """
    kind = type(model).__name__
    try:
        outputs = model(inputs.clone())
    except LmcError:
        raise
    except Exception as error:  # the module's own code
        raise DataError(
            f"{kind} cannot run on inputs of {inputs.dtype} {tuple(inputs.shape)}: {in_one_line(error)}; "
            "pass data of the shape it was trained on"
        ) from error
    outputs = read_output(outputs, kind, None)
    if outputs.ndim < 1 or len(outputs) != len(inputs) or not outputs.is_floating_point():
        raise MergeError(
            f"{kind} gives {outputs.dtype} of shape {tuple(outputs.shape)} for {len(inputs)} inputs; "
            "it must give floating numbers (N, ...), a row per input, or pass outputs=, a function that makes them"
        )
    return outputs


def gives_probabilities(outputs: Tensor) -> bool:
    """Whether outputs (N, classes) are what a softmax gives: every row is >= 0 and sums to 1 up to rounding."""
    if not outputs.is_floating_point():
        return False
    rounding = 16 * torch.finfo(outputs.dtype).eps
    return bool((outputs >= 0).all() and ((double(outputs).sum(1) - 1).abs() <= rounding).all())


def identical(states: Sequence[State]) -> bool:
    """Whether all states hold the same numbers."""
    return all(torch.equal(states[0][name], other[name]) for other in states[1:] for name in states[0])


def _alike(x: Tensor, y: Tensor) -> bool:
    largest = float(x.abs().amax())
    tolerance = 1e-3 if x.dtype in (torch.float32, torch.float64) else 5e-2
    return bool((double(x) - double(y)).abs().amax() <= tolerance * (largest or 1.0))


def _of_one_class(one: nn.Module, other: nn.Module) -> bool:
    """Whether both are of a class of one name: a notebook defines it anew whenever its cell runs."""
    names = [(type(each).__module__, type(each).__qualname__) for each in (one, other)]
    return type(one) is type(other) or names[0] == names[1]


def _plain_notes(floated: Sequence[str], factored: Sequence[str]) -> list[str]:
    notes = []
    if floated:
        notes.append(f"quantised layers were dequantised and measured so: {_listed(floated)}")
    if factored:
        notes.append(
            f"weights that are computed from factors (a norm, a mask, a low-rank update) were averaged as the "
            f"layers use them, not factor by factor: {_listed(factored)}; the merged weights are those of "
            "lmc.effective_copy(model), in which these are plain"
        )
    return notes


def _one_precision(copies: Sequence[nn.Module]) -> list[str]:
    """Bring models of several precisions to the widest, in place."""
    kinds = [_precision(model) for model in copies]
    if len(set(kinds)) == 1 or None in kinds:
        return []
    wide = functools.reduce(torch.promote_types, [kind for kind in kinds if kind is not None])
    for model in copies:
        model.to(wide)
    said = ", ".join(f"model {number} is {_short(kind)}" for number, kind in enumerate(kinds, start=1))
    return [f"the models are of several precisions ({said}); all were converted to {_short(wide)}"]


def _widened(model: nn.Module, number: int) -> list[str]:
    """Bring tensors of a type that nothing can be computed in, such as float8, to float32, in place."""
    tensors = [each for each in model.state_dict().values() if isinstance(each, Tensor)]
    narrow = {each.dtype for each in tensors if each.is_floating_point() and each.itemsize == 1}
    if not narrow:
        return []
    for each in (*model.parameters(), *model.buffers()):
        if each.dtype in narrow:
            each.data = each.data.float()
    return [f"model {number} is {', '.join(sorted(map(_short, narrow)))} in part; merged in float32"]


def _precision(model: nn.Module) -> torch.dtype | None:
    kinds = {each.dtype for each in model.parameters() if each.is_floating_point() and each.dtype.itemsize > 1}
    return functools.reduce(torch.promote_types, kinds) if kinds else None


def _short(dtype: torch.dtype | None) -> str:
    return str(dtype).removeprefix("torch.")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
