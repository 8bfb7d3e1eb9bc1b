"""The tensors of a checkpoint under the names of a model: what trainers put around names is taken off again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

WRAPPING = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What torch.compile, DataParallel and others insert into names, at any depth."""

COUNTER = "n_averaged"
"""What an AveragedModel counts."""

_AVERAGED = ("ema", "swa", "averag")


@dataclass(frozen=True)
class Fitted:
    """A state dict for one model.

    Args:
        state: by the model's names, as far as they are known.
        notes: what was left out, and what was taken of several.
    """

    state: dict[str, object]
    notes: tuple[str, ...] = ()


def fit_names(state: Mapping[str, Tensor], model: nn.Module, *, ema: bool = False) -> Fitted:
    """Bring a state dict to the names of a model.

    Prefixes of any order and depth are taken off, and put on where the model has them; a tensor that the model uses
    under two names may be saved once; factors of pruning and old weight norm become the weights they stand for; state
    that is no tensor, and the counter of an average, are the model's own.

    Args:
        state: of a checkpoint.
        model: built for it.
        ema: whether an average among the tensors is taken.
    """
    own = model.state_dict()
    wanted = {name for name, value in own.items() if isinstance(value, Tensor)}
    found = {name: value for name, value in state.items() if name.rpartition(".")[2] != COUNTER or name in wanted}
    found = _unfactored(found, wanted)
    names, notes = _renamed(found, wanted, ema=ema)
    fitted: dict[str, object] = {new: found[old] for new, old in names.items()}
    fitted |= _tied(fitted, model, wanted)
    fitted |= {name: value for name, value in own.items() if not isinstance(value, Tensor) and name not in fitted}
    return Fitted(fitted, notes)


def _renamed(
    state: Mapping[str, Tensor], wanted: Collection[str], *, ema: bool
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Old names by new ones, of the renaming that gives the model most of what it wants."""
    plain = {_unwrapped(name): name for name in wanted}
    known = {_unwrapped(name): name for name in state}
    if len(plain) != len(wanted) or len(known) != len(state):  # two names would become one
        plain, known = {name: name for name in wanted}, {name: name for name in state}
    prefixes = {""} | {
        ".".join(name.split(".")[:depth]) + "." for name in known for depth in range(1, name.count(".") + 1)
    }
    added = {""} | {name.split(".")[0] + "." for name in plain}

    def match(prefix: str, more: str) -> dict[str, str]:
        return {
            plain[more + name[len(prefix) :]]: old
            for name, old in known.items()
            if name.startswith(prefix) and more + name[len(prefix) :] in plain
        }

    tried = [(match(prefix, more), prefix) for prefix in prefixes for more in added]
    most = max(len(found) for found, _ in tried)
    best = sorted(((found, prefix) for found, prefix in tried if len(found) == most), key=lambda each: len(each[1]))
    if not most:
        return {name: name for name in state}, ()
    averaged = [each for each in best if any(word in each[1].lower() for word in _AVERAGED)]
    raw = [each for each in best if each not in averaged]
    chosen, prefix = (averaged or best)[0] if ema else (raw or best)[0]
    notes = []
    if raw and averaged:
        other = (raw if ema else averaged)[0][1]
        notes.append(
            f"took the tensors under {prefix or 'no prefix'!r}, not those under {other!r}"
            + ("" if ema else " (--ema takes these)")
        )
    rest = [old for name, old in known.items() if old not in chosen.values()]
    inside = [old for old in rest if _unwrapped(old).startswith(prefix)] if prefix else rest
    if prefix and len(inside) < len(rest) and not notes:
        left = [old for old in rest if old not in inside]
        notes.append(f"took the tensors under {prefix!r} and left {', '.join(left[:3])}")
    return {**chosen, **{_unwrapped(old)[len(prefix) :]: old for old in inside}}, tuple(notes)


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPING)


def _unfactored(state: dict[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """Weights in the place of the factors that pruning and old weight norm save, where the model has no such names."""
    found = dict(state)
    for name in state:
        stem, _, kind = name.rpartition("_")
        other = {"orig": f"{stem}_mask", "v": f"{stem}_g"}.get(kind)
        if other is None or other not in state or stem in state or any(each.endswith(f"_{kind}") for each in wanted):
            continue
        one, two = found.pop(name), found.pop(other)
        if kind == "orig":
            found[stem] = one * two
        elif two.numel() == len(two):
            found[stem] = torch._weight_norm(one, two, 0)
        else:
            found |= {name: one, other: two}
    return found


def _tied(state: Mapping[str, object], model: nn.Module, wanted: Collection[str]) -> dict[str, object]:
    """What is missing because the model has it under another name too."""
    tensors = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    names: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        names.setdefault(id(tensor), []).append(name)
    return {
        name: state[other]
        for same in names.values()
        for name in same
        for other in same
        if name in wanted and name not in state and other in state
    }


def without_extra_state(model: nn.Module) -> list[str]:
    """Let the modules of a private copy keep state that is no tensor for themselves, out of their state dicts.

    Returns:
        Their names.
    """
    found = []
    for name, value in model.state_dict().items():
        path, _, last = name.rpartition(".")
        if last != "_extra_state" or isinstance(value, Tensor):
            continue
        module = model.get_submodule(path)
        kind = type(module)
        plain = {"get_extra_state": nn.Module.get_extra_state, "set_extra_state": nn.Module.set_extra_state}
        module.__class__ = type(
            kind.__name__, (kind,), {**plain, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
        )
        found.append(path)
    return found


def taken_out(model: nn.Module) -> nn.Module:
    """What is inside torch.compile, DataParallel and AveragedModel, however deep."""
    while True:
        inner = getattr(model, "_orig_mod", None)  # torch.compile
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner
