"""Several models of one architecture as one network, each with its own weights and inputs.

Training a narrow network on a CPU costs little arithmetic and many small operations. Side by side, M models
share every operation but the matrix products: activations hold the models' channels one after another, so
BatchNorm, ReLU and pooling work on M times the channels as they are, and only linear layers and convolutions
are replaced by layers that keep the models apart: products of matrices, or, where that is faster, convolutions
with a group for every model. A model's numbers depend on its neighbours' only through the rounding of differently
shaped sums; stacks are therefore always made of the same seeds (`lmc.specs.stack_seeds`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lmc.training.stacked_layers import GroupedConv, StackedConv, StackedLinear, stacked_conv

_STACKED = (StackedLinear, StackedConv, GroupedConv)


def stack(models: Sequence[nn.Module]) -> nn.Module:
    """One network that runs ``models`` side by side.

    Args:
        models: networks of one architecture of linear layers, convolutions, BatchNorm and operations
            that treat channels alike; their inputs' channels are concatenated.

    Returns:
        A new module; (N, M·C, H, W) in, (N, M·classes) out.

    Raises:
        MergeError: a layer cannot be stacked.
    """
    stacked = copy.deepcopy(models[0])
    for name, module in list(stacked.named_modules()):
        peers: list[Any] = [model.get_submodule(name) for model in models]
        if isinstance(module, nn.Linear):
            _replace(stacked, name, StackedLinear(peers))
        elif isinstance(module, nn.Conv2d):
            _replace(stacked, name, stacked_conv(peers))
        elif isinstance(module, _BatchNorm):
            _replace(stacked, name, _stacked_norm(peers))
    return stacked


def _stacked_norm(layers: Sequence[_BatchNorm]) -> _BatchNorm:
    first = layers[0]
    wide = type(first)(first.num_features * len(layers), first.eps, first.momentum, first.affine)
    wide.to(next(first.parameters(), torch.empty(0)))
    state = [layer.state_dict() for layer in layers]
    joined = {name: torch.cat([each[name] for each in state]) for name, value in state[0].items() if value.ndim}
    wide.load_state_dict({**state[0], **joined})
    return wide


def _replace(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(root.get_submodule(parent), child, module)


def unstack(stacked: nn.Module, models: int) -> list[dict[str, Tensor]]:
    """The state dict of every model in a stacked network, named and shaped as before `stack`.

    Args:
        stacked: what `stack` returned, perhaps trained since.
        models: M.
    """
    states: list[dict[str, Tensor]] = [{} for _ in range(models)]
    for name, module in stacked.named_modules():
        if isinstance(module, _STACKED):
            for index, state in enumerate(states):
                state[f"{name}.weight"] = module.weight_of(index).detach()
                if module.bias is not None:
                    state[f"{name}.bias"] = module.bias.detach().chunk(models)[index]
        elif isinstance(module, _BatchNorm):
            for key, value in module.state_dict().items():
                for index, state in enumerate(states):
                    state[f"{name}.{key}"] = value.chunk(models)[index] if value.ndim else value
    return states


def like_parameters(network: nn.Module, models: int, make: Callable[[int, torch.Size], Tensor]) -> list[Tensor]:
    """A tensor for every parameter of a stacked network, made for each model as its own network would hold it.

    Args:
        network: what `stack` returned; or a single one, which is its own only model.
        models: M.
        make: called with the number of a model and the shape of a parameter, in the order of the parameters.
    """
    found = []
    for name, value in network.named_parameters():
        parent, _, last = name.rpartition(".")
        module = network.get_submodule(parent)
        if last == "weight" and isinstance(module, _STACKED):
            own = module.weight_of(0).shape
            found.append(module.joined([make(model, own) for model in range(models)]))
        elif models == 1:
            found.append(make(0, value.shape))
        else:
            own = torch.Size([len(value) // models, *value.shape[1:]])
            found.append(torch.cat([make(model, own) for model in range(models)]))
    return found
