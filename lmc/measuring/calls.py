"""What is caught of a forward pass: the calls of layers and activation functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lmc.measuring.conditions import Rows
from lmc.precision import double, where_float64


@dataclass(frozen=True)
class LayerCall:
    """One use of a weight: a linear layer or convolution.

    Args:
        weight: W.
        bias: or ``None``.
        inputs: z, (N, ...).
        response: W z, without the bias.
        apply: the map (z, W) -> W z with the layer's stride and so on.
    """

    weight: Tensor
    bias: Tensor | None
    inputs: Tensor
    response: Tensor
    apply: Callable[[Tensor, Tensor], Tensor]

    @functools.cached_property
    def rows(self) -> Rows:
        """The response, to be compared."""
        return Rows(self.response)

    @property
    def output(self) -> Tensor:
        """W z and the bias."""
        if self.bias is None:
            return self.response
        return self.response + self.bias.reshape(-1, *(1,) * (self.weight.ndim - 2))

    def respond(self, inputs: Tensor) -> Rows:
        """W z' for other inputs."""
        return Rows(self.apply(inputs, self.weight))


@dataclass(frozen=True)
class ActivationCall:
    """One use of an activation function.

    Args:
        kind: its name, ``RELU`` also where it is written as ``clamp(min=0)``.
        before: pre-activation h, (N, ...).
        after: σ(h).
        sigma: σ.
        channels: the axis that holds the channels.
    """

    kind: str
    before: Tensor
    after: Tensor
    sigma: Callable[[Tensor], Tensor]
    channels: int

    @functools.cached_property
    def rows(self) -> Rows:
        """σ(h), to be compared."""
        return Rows(self.after)

    @functools.cached_property
    def squares(self) -> Tensor:
        """Σ h_c² of every channel c, over inputs and positions; float64 (channels,)."""
        return double(self.before.movedim(self.channels, -1).flatten(0, -2)).square().sum(0)

    @functools.cached_property
    def sums(self) -> Tensor:
        """Σ h over the inputs, of every channel and position; float64 (channels, positions)."""
        sums = where_float64(self.before).sum(0, dtype=torch.float64).movedim(self.channels - 1, 0)
        return sums.reshape(len(sums), -1)

    @property
    def count(self) -> int:
        """How many squares are in each sum, inputs times positions."""
        return self.before.numel() // self.before.shape[self.channels]


@dataclass
class Tapped:
    """The calls of one forward pass, in order of execution; a later call of the same thing ends with ``#2``, ...

    Args:
        layers: by name of the weight's layer.
        activations: by name of the module, or module and function.
        versions: tensors that are held without a copy, and how often each had been changed in place by then.
        hidden: whether the net can have changed some in a way that is not counted.
    """

    layers: dict[str, LayerCall] = field(default_factory=dict)
    activations: dict[str, ActivationCall] = field(default_factory=dict)
    versions: list[tuple[Tensor, int]] = field(default_factory=list)
    hidden: bool = False

    @property
    def spoilt(self) -> bool:
        """Whether a tensor may have been changed in place since it was caught."""
        return self.hidden or any(tensor._version != version for tensor, version in self.versions)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weight of every layer, by its name."""
        return {name: call.weight for name, call in self.layers.items() if "#" not in name}  # else the same again

    @property
    def bytes(self) -> int:
        """Memory of all tensors held; two that share it count once."""
        held = [tensor for call in self.layers.values() for tensor in (call.inputs, call.response)]
        held += [tensor for call in self.activations.values() for tensor in (call.before, call.after)]
        storages = (tensor.untyped_storage() for tensor in held)
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@dataclass(frozen=True)
class Seen:
    """What a model does with one batch.

    Args:
        tapped: its layers and activations.
        output: what it gives, (N, classes).
    """

    tapped: Tapped
    output: Tensor

    @functools.cached_property
    def rows(self) -> Rows:
        """The output, to be compared."""
        return Rows(self.output)

    @property
    def is_chain(self) -> bool:
        """Whether layers and activations alternate, each reading all of what the one before it gives and no more.

        They may be reshaped in between, but nothing may be added (residual branches), scaled or pooled.
        """
        layers, activations = list(self.tapped.layers.values()), list(self.tapped.activations.values())
        if len(layers) != len(activations) + 1:
            return False
        read_by_activations = [*(call.before for call in activations), self.output]
        into = all(_same(layer.output, read) for layer, read in zip(layers, read_by_activations, strict=True))
        return into and all(
            _same(call.after, layer.inputs) for call, layer in zip(activations, layers[1:], strict=True)
        )


def _same(given: Tensor, read: Tensor) -> bool:
    """Whether these have the same entries in the same order, up to the rounding of a bias taken off and put back."""
    if given.numel() != read.numel():
        return False
    given, read = where_float64(given.flatten()), where_float64(read.flatten())
    rounding = max(torch.finfo(each.dtype).eps for each in (given, read)) ** 0.5
    apart, size = (torch.linalg.vector_norm(each, dtype=torch.float64) for each in (given - read, read))
    return bool(apart <= rounding * size)
