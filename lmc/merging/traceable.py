"""What no permutation of a module can be found for, whatever its graph looks like: refused before it is traced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from lmc.errors import MergeError


def check_tensors(model: nn.Module) -> None:
    """Refuse a module whose state dict is not the tensors that its layers use.

    Raises:
        MergeError: a weight is computed from others; the layer is named.
    """
    for name, module in model.named_modules():
        where = f"layer {name!r}" if name else "the module"
        if parametrize.is_parametrized(module):
            raise MergeError(
                f"{where} computes its {_listed(module)} from other tensors, and parametrised weights cannot be "
                "permuted; call torch.nn.utils.parametrize.remove_parametrizations first"
            )
        for hook in module._forward_pre_hooks.values():
            if type(hook).__module__.startswith("torch.nn.utils."):
                raise MergeError(
                    f"{where} computes a weight in a {type(hook).__name__} hook, and parametrised weights cannot be "
                    "permuted; call torch.nn.utils.remove_weight_norm, remove_spectral_norm or prune.remove first"
                )


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors of nested lists, tuples and dictionaries, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [tensor for each in value for tensor in tensors_in(each)] if isinstance(value, list | tuple) else []


def _listed(module: nn.Module) -> str:
    return " and ".join(getattr(module, "parametrizations", {}))
