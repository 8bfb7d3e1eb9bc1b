"""Weights that a layer computes from factors, as the layer uses them: averaging factors averages no weights.

Spectral norm, weight norm, pruning masks and LoRA keep a matrix as several tensors. The mean of two such sets is the
mean of nothing that a layer ever multiplied by: singular vectors of opposite sign cancel, and B₁A₁ + B₂A₂ is not
(B₁ + B₂)(A₁ + A₂) / 2.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from lmc.errors import MergeError, in_one_line

_HOOKED = "torch.nn.utils."
_LOW_RANK = "lora"
_AFFINE_GAP = 1e-4
"""How far a layer with low-rank factors may be off an affine map, relative to its largest output."""


def effective_copy(model: nn.Module) -> nn.Module:
    """A copy of ``model`` in evaluation mode, in which every layer holds the weight it uses: see `make_effective`.

    The recommended merge of such models is loaded into it.

    Example:
        >>> layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 3))
        >>> sorted(effective_copy(layer).state_dict())
        ['bias', 'weight']
    """
    found = private_copy(model).eval()
    make_effective(found)
    return found


def private_copy(model: nn.Module) -> nn.Module:
    """A deep copy, also of a module that keeps results of its last forward pass, as weight norm by hooks does."""
    kept = [each for module in model.modules() for each in vars(module).values() if isinstance(each, Tensor)]
    found: nn.Module = copy.deepcopy(model, {id(each): each.detach().clone() for each in kept if not each.is_leaf})
    return found


@torch.no_grad()
def make_effective(model: nn.Module) -> tuple[str, ...]:
    """Put the weight that each layer uses in the place of its factors.

    These are torch's parametrizations (spectral and weight norm, orthogonal, your own), their predecessors with hooks
    (``torch.nn.utils.weight_norm``, ``spectral_norm``, ``prune``), and layers with low-rank updates called ``lora...``,
    which become the `nn.Linear` that they are.

    Args:
        model: in evaluation mode, changed; no other module shares the tensors that are replaced.

    Returns:
        The names of the weights that were computed from factors.

    Raises:
        MergeError: low-rank factors belong to a layer that is no affine map of its input, so that there is no
            effective weight; the layer and its tensors are named.
    """
    found = [*_without_parametrizations(model), *_without_hooks(model), *_without_low_rank(model)]
    return tuple(sorted(found))


def _without_parametrizations(model: nn.Module) -> Iterator[str]:
    """By hand, as torch's own removal changes the class, which a copy shares with the reader's module."""
    for path, module in list(model.named_modules()):
        parametrizations = module._modules.get("parametrizations")
        if not isinstance(parametrizations, nn.ModuleDict):
            continue
        values = {name: getattr(module, name).detach().clone() for name in parametrizations}
        kept = {name: any(True for _ in each.parameters()) for name, each in parametrizations.items()}
        del module._modules["parametrizations"]
        module.__class__ = module.__class__.__bases__[0]
        for name, value in values.items():
            _register(module, name, value, parameter=kept[name])
            yield _joined(path, name)


def _without_hooks(model: nn.Module) -> Iterator[str]:
    for path, module in list(model.named_modules()):
        for key, hook in list(module._forward_pre_hooks.items()):
            name = getattr(hook, "_tensor_name", getattr(hook, "name", None))  # pruning, norms
            if not (type(hook).__module__.startswith(_HOOKED) and isinstance(name, str)):
                continue
            hook(module, ())  # computes the weight from its factors, as before every forward pass
            value = getattr(module, name).detach().clone()
            del module._forward_pre_hooks[key]
            module.__dict__.pop(name, None)
            for part in ("_orig", "_mask", "_g", "_v", "_u"):
                module._parameters.pop(name + part, None)
                module._buffers.pop(name + part, None)
            _register(module, name, value, parameter=True)
            _drop_state_hooks(module)
            yield _joined(path, name)


def _drop_state_hooks(module: nn.Module) -> None:
    """Hooks of the old spectral norm that expect its factors in a state dict."""
    for hooks in (module._state_dict_hooks, module._load_state_dict_pre_hooks):
        for key, hook in list(hooks.items()):
            inner = getattr(hook, "hook", hook)
            if type(inner).__module__.startswith(_HOOKED):
                del hooks[key]


def _without_low_rank(model: nn.Module) -> Iterator[str]:
    paths = {
        ".".join(parts[:index])
        for name, _ in model.named_parameters()
        for parts in [name.split(".")]
        for index, part in enumerate(parts)
        if part.lower().startswith(_LOW_RANK)
    }
    for path in sorted(paths, key=len, reverse=True):
        layer = model.get_submodule(path)
        parts = [name for name, _ in layer.named_parameters() if _LOW_RANK in name.lower()]
        where = f"layer {path!r}" if path else "the module"
        plain = _as_linear(layer)
        if plain is None:
            raise MergeError(
                f"{where} keeps a weight as the factors {', '.join(parts[:4])} and is no linear layer, so they would "
                "be averaged one by one, which averages no weights; merge the factors into the weight first "
                "(peft: model.merge_and_unload())"
            )
        if not path:
            raise MergeError(
                f"{where} itself keeps its weight as the factors {', '.join(parts[:4])}; "
                "put it into an nn.Sequential, or merge the factors into the weight first"
            )
        model.set_submodule(path, plain)
        yield _joined(path, "weight")


def _as_linear(layer: nn.Module) -> nn.Linear | None:
    """The linear layer that computes what ``layer`` does; ``None`` where it is none."""
    example = next(layer.parameters())
    for size in _input_sizes(layer):
        basis = torch.eye(size, dtype=example.dtype, device=example.device)
        probe = torch.linspace(-1, 1, size, dtype=example.dtype, device=example.device).sin().expand(2, size)
        try:
            constant: Tensor = layer(basis.new_zeros(1, size))
            responses: Tensor = layer(basis)
            seen: Tensor = layer(probe)
        except Exception:  # the layer's own code, on inputs of another size than it reads
            continue
        if not isinstance(seen, Tensor) or seen.ndim != 2 or not torch.isfinite(responses).all():
            continue
        plain = nn.Linear(size, seen.shape[1], dtype=example.dtype, device=example.device).eval()
        plain.weight.copy_((responses - constant).T)
        assert plain.bias is not None
        plain.bias.copy_(constant[0])
        gap = float((plain(probe) - seen).abs().max())
        if gap <= _AFFINE_GAP * max(float(seen.abs().max()), float(constant.abs().max()), 1e-30):
            if not constant.any():
                plain.register_parameter("bias", None)
            return plain
    return None


def _input_sizes(layer: nn.Module) -> list[int]:
    """Numbers of inputs that the layer may read, its own word for it first."""
    said = getattr(layer, "in_features", None)
    sizes = [said] if isinstance(said, int) else []
    sizes += [tensor.shape[axis] for tensor in layer.parameters() if tensor.ndim == 2 for axis in (1, 0)]
    return list(dict.fromkeys(sizes))


def dequantised(model: nn.Module) -> tuple[str, ...]:
    """Put linear layers in the place of torch's quantised ones, which hold no tensor that can be averaged.

    Args:
        model: changed.

    Returns:
        The names of the layers.

    Raises:
        MergeError: a quantised layer is of another kind than linear, or computes in whole numbers throughout.
    """
    found: list[str] = []
    for path, module in list(model.named_modules()):
        home = type(module).__module__
        if isinstance(getattr(module, "fake_quant_enabled", None), Tensor):
            raise MergeError(
                f"layer {path!r} is a {type(module).__name__} of quantisation-aware training, whose ranges are of its "
                "own model; merge the weights in a model without such layers, and prepare the merge anew"
            )
        inside = any(path.startswith(f"{layer}.") for layer in found)
        if ".quantized" not in home or inside or not module.state_dict():
            continue
        if ".dynamic" not in home or not callable(getattr(module, "weight", None)):
            how = "quantised" if ".dynamic" in home else "statically quantised"
            raise MergeError(
                f"layer {path!r} is a {how} {type(module).__name__}, which has no float weights to average; "
                "merge the float models instead, and quantise their merge"
            )
        try:
            weight, bias = module.weight().dequantize(), module.bias()
        except Exception as error:
            raise MergeError(
                f"layer {path!r} cannot be dequantised ({in_one_line(error)}); merge the float models"
            ) from error
        if weight.ndim != 2 or not path:
            raise MergeError(f"layer {path!r} is a quantised {type(module).__name__}; merge the float models instead")
        plain = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).eval()
        plain.weight.data.copy_(weight)
        if bias is not None:
            plain.bias.data.copy_(bias)
        model.set_submodule(path, plain)
        found.append(path)
    return tuple(found)


@torch.no_grad()
def fold_masks(models: Sequence[nn.Module], example: Tensor | None) -> list[str]:
    """Multiply weights by the masks that their layers keep as buffers, and put ones in the place of the masks.

    A mask is a buffer of zeros and ones of its weight's shape; models that were pruned apart have several. The mean of
    masks times the mean of weights is the mean of no weights that a layer uses.

    Args:
        models: in evaluation mode, changed.
        example: a few inputs, on which no model may change; what changes one is no mask, and is left as it is.

    Returns:
        The names of the masks.

    Raises:
        MergeError: there seem to be masks, and no example to check it on.
    """
    found = []
    for path, module in models[0].named_modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            weights = [each for each, value in module.named_parameters(recurse=False) if value.shape == buffer.shape]
            masks = [model.get_submodule(path).get_buffer(name) for model in models]
            binary = all(bool(((mask == 0) | (mask == 1)).all()) for mask in masks)
            if not weights or not binary or all(torch.equal(masks[0], mask) for mask in masks[1:]):
                continue
            if example is None:
                raise MergeError(
                    f"{_joined(path, name)} looks like a mask of {weights[0]} and differs between the models; pass "
                    "--data, or the shape of an input with --shape, to find out and average what the layer uses"
                )
            if any(_fold(models, path, name, weight, example) for weight in weights):
                found.append(_joined(path, name))
    return found


def _fold(models: Sequence[nn.Module], path: str, name: str, weight: str, example: Tensor) -> bool:
    """Fold one mask into one weight in every model, if that changes none of them."""
    kept = []
    for model in models:
        module = model.get_submodule(path)
        mask, value = module.get_buffer(name), module.get_parameter(weight)
        kept += [(mask, mask.clone()), (value, value.clone())]
        before = model(example.clone())
        value.mul_(mask)
        mask.fill_(1)
        if not torch.allclose(model(example.clone()), before, rtol=1e-5, atol=1e-6):
            for tensor, old in kept:
                tensor.copy_(old)
            return False
    return True


def _register(module: nn.Module, name: str, value: Tensor, *, parameter: bool) -> None:
    if parameter:
        module.register_parameter(name, nn.Parameter(value))
    else:
        module.register_buffer(name, value)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
