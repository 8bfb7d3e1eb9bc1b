"""Several models of one architecture as one network, each with its own weights and inputs.

Training a narrow network on a CPU costs little arithmetic and many small operations. Side by side, M models
share every operation but the matrix products: activations hold the models' channels one after another, so
BatchNorm, ReLU and pooling work on M times the channels as they are, and only linear layers and convolutions
are replaced by layers that keep the models apart. A model's numbers depend on its neighbours' only through
the rounding of differently shaped sums; stacks are therefore always made of the same seeds
(`lmc.specs.stack_seeds`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from lmc.errors import MergeError


class StackedLinear(nn.Module):
    """M linear layers: reads (N, M·inputs), gives (N, M·outputs).

    Args:
        layers: the layers, of one shape.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))  # (M, in, out)
        self.bias = _stacked_bias(layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, M·inputs) to (N, M·outputs)."""
        models, fan_in, fan_out = self.weight.shape
        outputs: Tensor = _Products.apply(inputs.reshape(-1, models, fan_in).transpose(0, 1), self.weight)
        flat = outputs.transpose(0, 1).reshape(-1, models * fan_out)
        return flat if self.bias is None else flat + self.bias

    def weight_of(self, model: int) -> Tensor:
        """The weight of one model, as its own linear layer holds it: (outputs, inputs)."""
        weight: Tensor = self.weight[model].T
        return weight


class StackedConv(nn.Module):
    """M convolutions: reads (N, M·channels, H, W), gives (N, M·filters, H', W'), both channels last.

    Args:
        layers: the layers, of one shape, without groups or dilation.
    """

    def __init__(self, layers: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        first = layers[0]
        if first.groups != 1 or first.dilation != (1, 1) or first.padding_mode != "zeros":
            raise MergeError(f"cannot stack {first}: groups, dilation and padding modes are not supported")
        assert isinstance(first.padding, tuple)
        self.kernel, self.stride, self.padding = first.kernel_size, first.stride, first.padding
        # (M, kernel rows · kernel columns · channels, filters)
        self.weight = nn.Parameter(
            torch.stack([layer.weight.detach().permute(2, 3, 1, 0).flatten(0, 2) for layer in layers])
        )
        self.bias = _stacked_bias(layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, M·channels, H, W) to (N, M·filters, H', W')."""
        models, fan_in, filters = self.weight.shape
        rows = inputs.permute(0, 2, 3, 1)  # (N, H, W, M·channels)
        pad_h, pad_w = self.padding
        if pad_h or pad_w:
            rows = F.pad(rows, (0, 0, pad_w, pad_w, pad_h, pad_h))
        patches: Tensor = _Patches.apply(rows, models, self.kernel, self.stride)
        _, n, height, width = patches.shape[:4]
        products: Tensor = _Products.apply(patches.reshape(models, -1, fan_in), self.weight)
        outputs = products.transpose(0, 1).reshape(n, height, width, models * filters)
        if self.bias is not None:
            outputs = outputs + self.bias
        return outputs.permute(0, 3, 1, 2)

    def weight_of(self, model: int) -> Tensor:
        """The weight of one model, as its own convolution holds it: (filters, channels, kernel)."""
        height, width = self.kernel
        weight: Tensor = self.weight[model].view(height, width, -1, self.weight.shape[2])
        return weight.permute(3, 2, 0, 1)


class _Products(torch.autograd.Function):
    """(M, rows, k) times (M, k, n), one matrix product per model, gathered as (rows, M, n)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        outputs = inputs.new_empty(inputs.shape[1], len(weight), weight.shape[2]).transpose(0, 1)
        for each, factor, product in zip(inputs.unbind(), weight.unbind(), outputs.unbind(), strict=True):
            torch.mm(each, factor, out=product)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor]:
        (gradient,) = gradients
        inputs, weight = ctx.saved_tensors
        for_weight = torch.empty_like(weight)
        gradients = gradient.unbind()
        for each, above, product in zip(inputs.unbind(), gradients, for_weight.unbind(), strict=True):
            torch.mm(each.T, above, out=product)
        if not ctx.needs_input_grad[0]:
            return None, for_weight
        for_inputs = torch.empty(inputs.shape, dtype=inputs.dtype, device=inputs.device)
        for above, factor, product in zip(gradients, weight.unbind(), for_inputs.unbind(), strict=True):
            torch.mm(above, factor.T, out=product)
        return for_inputs, for_weight


class _Patches(torch.autograd.Function):
    """(N, H, W, M·channels), padded, to patches (M, N, H', W', kernel rows, kernel columns, channels)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, models: int, kernel: tuple[int, int], stride: tuple[int, int]) -> Tensor:
        ctx.shape, ctx.models, ctx.kernel, ctx.stride = rows.shape, models, kernel, stride
        view = rows.view(*rows.shape[:3], models, -1)
        view = view.unfold(1, kernel[0], stride[0]).unfold(2, kernel[1], stride[1])
        return view.permute(3, 0, 1, 2, 5, 6, 4).contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = gradients
        total = gradient.new_zeros(ctx.shape)
        view = total.view(*total.shape[:3], ctx.models, -1)
        height, width = gradient.shape[2:4]
        for row in range(ctx.kernel[0]):
            for column in range(ctx.kernel[1]):
                stop_h, stop_w = row + ctx.stride[0] * height, column + ctx.stride[1] * width
                part = gradient[:, :, :, :, row, column].permute(1, 2, 3, 0, 4)
                view[:, row : stop_h : ctx.stride[0], column : stop_w : ctx.stride[1]] += part
        return total, None, None, None


def _stacked_bias(layers: Sequence[nn.Linear] | Sequence[nn.Conv2d]) -> nn.Parameter | None:
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    return nn.Parameter(torch.cat(biases)) if biases else None


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
            _replace(stacked, name, StackedConv(peers))
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
        if isinstance(module, (StackedLinear, StackedConv)):
            for index, state in enumerate(states):
                state[f"{name}.weight"] = module.weight_of(index).detach()
                if module.bias is not None:
                    state[f"{name}.bias"] = module.bias.detach().chunk(models)[index]
        elif isinstance(module, _BatchNorm):
            for key, value in module.state_dict().items():
                for index, state in enumerate(states):
                    state[f"{name}.{key}"] = value.chunk(models)[index] if value.ndim else value
    return states
