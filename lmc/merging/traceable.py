"""What no permutation of a module can be found for, whatever its graph looks like: refused before it is traced."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize

from lmc.errors import MergeError


def check_tensors(model: nn.Module) -> None:
    """Refuse a module whose state dict is not the tensors its layers use, one each.

    Raises:
        MergeError: a tensor is shared, or a weight is computed from others; the layer is named.
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
    owners: dict[int, str] = {}
    for name, tensor in [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]:
        if owners.setdefault(id(tensor), name) != name:
            raise MergeError(f"{name} and {owners[id(tensor)]} share one tensor; give each layer its own")


def _listed(module: nn.Module) -> str:
    return " and ".join(getattr(module, "parametrizations", {}))
