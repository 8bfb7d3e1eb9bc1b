"""Layers that keep several models apart which train side by side, see `lmc.training.stacking`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmc.errors import MergeError

GROUPED = 64
"""Convolutions of at most so many channels, read and given, are stacked as groups of one convolution where there is
oneDNN. It trains six nets of 16 channels twice as fast as patches and products do, and is slower from 128 channels on,
where the products of single models are large enough. The choice depends on the layer's shape and the library alone, so
that a machine always makes the same; one without oneDNN rounds differently, as machines do anyway."""


class StackedLinear(nn.Module):
    """M linear layers: reads (N, M·inputs), gives (N, M·outputs).

    Args:
        layers: the layers, of one shape.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(self.joined([layer.weight.detach() for layer in layers]))
        self.bias = _stacked_bias(layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, M·inputs) to (N, M·outputs)."""
        models, fan_in, fan_out = self.weight.shape
        inputs, weight = _cast(inputs, self.weight)
        outputs: Tensor = _Products.apply(inputs.reshape(-1, models, fan_in).transpose(0, 1), weight, True)
        flat = outputs.transpose(0, 1).reshape(-1, models * fan_out)
        return flat if self.bias is None else flat + self.bias.to(flat.dtype)

    def joined(self, weights: Sequence[Tensor]) -> Tensor:
        """Weights of the models' own layers, (outputs, inputs) each, as they are held here: (M, inputs, outputs)."""
        return torch.stack([weight.T for weight in weights])

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
        assert isinstance(first.padding, tuple)
        self.kernel, self.stride, self.padding = first.kernel_size, first.stride, first.padding
        self.weight = nn.Parameter(self.joined([layer.weight.detach() for layer in layers]))
        self.bias = _stacked_bias(layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, M·channels, H, W) to (N, M·filters, H', W')."""
        models, fan_in, filters = self.weight.shape
        inputs, weight = _cast(inputs, self.weight)
        rows = inputs.permute(0, 2, 3, 1)  # (N, H, W, M·channels)
        pad_h, pad_w = self.padding
        if pad_h or pad_w:
            rows = F.pad(rows, (0, 0, pad_w, pad_w, pad_h, pad_h))
        patches: Tensor = _Patches.apply(rows, models, self.kernel, self.stride)
        _, n, height, width = patches.shape[:4]
        products: Tensor = _Products.apply(patches.reshape(models, -1, fan_in), weight, True)
        outputs = products.transpose(0, 1).reshape(n, height, width, models * filters)
        if self.bias is not None:
            outputs = outputs + self.bias.to(outputs.dtype)
        return outputs.permute(0, 3, 1, 2)

    def joined(self, weights: Sequence[Tensor]) -> Tensor:
        """Weights of the models' own layers as they are held here: (M, kernel rows · columns · channels, filters)."""
        return torch.stack([weight.permute(2, 3, 1, 0).flatten(0, 2) for weight in weights])

    def weight_of(self, model: int) -> Tensor:
        """The weight of one model, as its own convolution holds it: (filters, channels, kernel)."""
        height, width = self.kernel
        weight: Tensor = self.weight[model].view(height, width, -1, self.weight.shape[2])
        return weight.permute(3, 2, 0, 1)


class GroupedConv(nn.Module):
    """As `StackedConv`, in one convolution with a group for every model.

    Args:
        layers: the layers, of one shape, without groups or dilation.
    """

    def __init__(self, layers: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        first = layers[0]
        self.models, self.stride, self.padding = len(layers), first.stride, first.padding
        self.weight = nn.Parameter(self.joined([layer.weight.detach() for layer in layers]))
        self.bias = _stacked_bias(layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, M·channels, H, W) to (N, M·filters, H', W')."""
        return F.conv2d(inputs, self.weight, self.bias, self.stride, self.padding, groups=self.models)

    def joined(self, weights: Sequence[Tensor]) -> Tensor:
        """Weights of the models' own layers as they are held here: (M·filters, channels, kernel)."""
        return torch.cat(list(weights)).contiguous(memory_format=torch.channels_last)

    def weight_of(self, model: int) -> Tensor:
        """The weight of one model, as its own convolution holds it: (filters, channels, kernel)."""
        return self.weight.chunk(self.models)[model]


class _Products(torch.autograd.Function):
    """(M, rows, k) times (M, k, n), one matrix product per model; where ``gathered``, laid out as (rows, M, n).

    Gradients are products again, so that they can be differentiated once more.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, gathered: bool) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        models, rows, columns = len(weight), inputs.shape[1], weight.shape[2]
        if gathered:
            outputs = inputs.new_empty(rows, models, columns).transpose(0, 1)
        else:
            outputs = inputs.new_empty(models, rows, columns)
        for each, factor, product in zip(inputs.unbind(), weight.unbind(), outputs.unbind(), strict=True):
            torch.mm(each, factor, out=product)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,) = gradients
        inputs, weight = ctx.saved_tensors
        for_weight = _Products.apply(inputs.mT, gradient, False) if ctx.needs_input_grad[1] else None
        for_inputs = _Products.apply(gradient, weight.mT, False) if ctx.needs_input_grad[0] else None
        return for_inputs, for_weight, None


class _Patches(torch.autograd.Function):
    """(N, H, W, M·channels), padded, to patches (M, N, H', W', kernel rows, kernel columns, channels)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, models: int, kernel: tuple[int, int], stride: tuple[int, int]) -> Tensor:
        ctx.how = rows.shape, models, kernel, stride
        view = rows.view(*rows.shape[:3], models, -1)
        view = view.unfold(1, kernel[0], stride[0]).unfold(2, kernel[1], stride[1])
        return view.permute(3, 0, 1, 2, 5, 6, 4).contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        total: Tensor = _Overlaid.apply(*gradients, *ctx.how)
        return total, None, None, None


class _Overlaid(torch.autograd.Function):
    """The transpose of `_Patches`: what stands for one place in several patches is summed."""

    @staticmethod
    def forward(
        ctx: Any, patches: Tensor, shape: torch.Size, models: int, kernel: tuple[int, int], stride: tuple[int, int]
    ) -> Tensor:
        ctx.how = models, kernel, stride
        total = patches.new_zeros(shape)
        view = total.view(*shape[:3], models, -1)
        height, width = patches.shape[2:4]
        for row in range(kernel[0]):
            for column in range(kernel[1]):
                stop_h, stop_w = row + stride[0] * height, column + stride[1] * width
                part = patches[:, :, :, :, row, column].permute(1, 2, 3, 0, 4)
                view[:, row : stop_h : stride[0], column : stop_w : stride[1]] += part
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        patches: Tensor = _Patches.apply(gradients[0].contiguous(), *ctx.how)
        return patches, None, None, None, None


def _cast(inputs: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both as autocast casts them for a layer of torch's own; it leaves products of our own as they are."""
    device = inputs.device.type
    if not torch.is_autocast_enabled(device):
        return inputs, weight
    dtype = torch.get_autocast_dtype(device)
    return inputs.to(dtype), weight.to(dtype)


def _stacked_bias(layers: Sequence[nn.Linear] | Sequence[nn.Conv2d]) -> nn.Parameter | None:
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    return nn.Parameter(torch.cat(biases)) if biases else None


def stacked_conv(layers: Sequence[nn.Conv2d]) -> StackedConv | GroupedConv:
    """The convolutions of several models as one layer, as it is faster.

    Args:
        layers: of one shape.

    Raises:
        MergeError: they have groups, a dilation or a padding mode of their own.
    """
    first = layers[0]
    if first.groups != 1 or first.dilation != (1, 1) or first.padding_mode != "zeros":
        raise MergeError(f"cannot stack {first}: groups, dilation and padding modes are not supported")
    few = max(first.in_channels, first.out_channels) <= GROUPED
    onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return GroupedConv(layers) if few and onednn else StackedConv(layers)
