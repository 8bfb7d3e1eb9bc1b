"""What every layer of any network sees and gives, however it is written: modules, functions, methods.

Every *call* is caught, by ``TorchFunctionMode``: a ReLU that is a module, ``F.relu``, ``torch.relu`` or ``x.relu_()``
is the same call, and one module used five times is five of them. Hooks only tell in which module a call happens, and
so its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lmc.measuring.calls import ActivationCall, LayerCall, Seen, Tapped

ACTIVATIONS = frozenset(
    [
        "relu",
        "relu6",
        "leaky_relu",
        "prelu",
        "rrelu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "silu",
        "mish",
        "hardtanh",
        "hardswish",
        "hardsigmoid",
        "tanh",
        "sigmoid",
        "logsigmoid",
        "softplus",
        "softsign",
        "tanhshrink",
        "threshold",
    ]
)
"""Element-wise functions that count as activations, by name; in-place forms end with an underscore."""

RELU = "relu"
_LAYERS = frozenset(
    ["linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"],
)
_CLAMPS = frozenset({"clamp", "clamp_min", "clip"})
_ATTENTION = "multi_head_attention_forward"
_DATA = vars(torch._C.TensorBase)["data"].__get__  # changes of what it gives are not counted


class Seeing:
    """Runs a model and catches what its layers see and give.

    Tensors are held as they are, which takes half the memory of copies; for a net that works in place a batch runs
    once more, and from then on copies are held.

    Args:
        model: any network, in evaluation mode.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._copies = False

    def __call__(self, batch: Tensor) -> Seen:
        """Run the model on a copy of a batch of inputs."""
        seen, spoilt = self._run(batch)
        if spoilt:
            self._copies = True
            seen, _ = self._run(batch)
        return seen

    def _run(self, batch: Tensor) -> tuple[Seen, bool]:
        with tapping(self.model, copies=self._copies) as tapped:
            output = self.model(batch.clone())
        return Seen(tapped, output), tapped.spoilt


@contextmanager
def tapping(model: nn.Module, *, copies: bool = True) -> Iterator[Tapped]:
    """Catch every layer and activation call of the next forward pass of ``model``.

    Args:
        model: any network.
        copies: whether copies of tensors are held; else look at `lmc.measuring.calls.Tapped.spoilt` before using them.
    """
    tapped = Tapped()
    places: list[tuple[str, nn.Module]] = [("", model)]
    handles = []

    def entering(name: str) -> Any:
        return lambda module, _: places.append((name, module))

    def leaving(module: nn.Module, inputs: object, output: object) -> None:
        places.pop()

    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(entering(name), prepend=True))
            handles.append(module.register_forward_hook(leaving))
        names = {id(tensor): name for name, tensor in model.named_parameters()}
        with _Tap(tapped, places, names, copies=copies):
            yield tapped
    finally:
        for handle in handles:
            handle.remove()


def unseen_weights(model: nn.Module, tapped: Tapped) -> list[str]:
    """Names of the matrices and kernels of ``model`` that no call caught: embeddings, or maps written by hand."""
    seen = {id(call.weight) for call in tapped.layers.values()}
    return [name for name, tensor in model.named_parameters() if tensor.ndim > 1 and id(tensor) not in seen]


class _Tap(TorchFunctionMode):
    """Notes calls and lets them happen. A later call may change a tensor in place, unless copies are held."""

    def __init__(
        self, tapped: Tapped, places: list[tuple[str, nn.Module]], names: dict[int, str], *, copies: bool
    ) -> None:
        super().__init__()
        self.tapped, self.places, self.names, self.copies = tapped, places, names, copies
        self.channels: tuple[int, int] | None = None  # axis and number of channels that the last layer gave

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = str(getattr(func, "__name__", "")).rstrip("_")
        if name in _LAYERS:
            return self._layer(name, func, args, kwargs)
        if name == _ATTENTION and len(args) >= 13:
            return self._attention(func, args, kwargs)
        if name in ACTIVATIONS or (name in _CLAMPS and _is_relu(args, kwargs)):
            return self._activation(RELU if name in _CLAMPS else name, func, args, kwargs)
        if func == _DATA:
            self.tapped.hidden = not self.copies
        return func(*args, **kwargs)

    def _hold(self, tensor: Tensor) -> Tensor:
        """The tensor as it is now."""
        if self.copies or tensor.is_inference():  # whose changes are not counted
            return tensor.clone()
        self.tapped.versions.append((tensor, tensor._version))
        return tensor

    def _layer(self, kind: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = func(*args, **kwargs)
        given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
        rest = {key: value for key, value in kwargs.items() if key not in ("input", "weight", "bias")}
        behind = args[3:]

        def apply(inputs: Tensor, weight: Tensor) -> Tensor:
            response: Tensor = func(inputs, weight, None, *behind, **rest)
            return response

        inputs, bias = given["input"], given.get("bias")
        axis = -1 if kind == "linear" else 1
        if inputs.ndim > 1:
            shape = (-1,) if kind == "linear" else (-1, *(1,) * (output.ndim - 2))
            response = self._hold(output) if bias is None else output - bias.reshape(shape)
            self._note_layer(LayerCall(given["weight"], bias, self._hold(inputs), response, apply))
        self.channels = axis, output.shape[axis]
        return output

    def _attention(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The projections into and out of `nn.MultiheadAttention`, which calls nothing that can be caught.

        What the projection out reads is what attention gives where that projection is the identity.
        """
        output = func(*args, **kwargs)
        query, key, value, weight_in, weight_out = args[0], args[1], args[2], args[5], args[11]
        if query.ndim == 3:  # (positions, N, features)
            if weight_in is not None and query is key and key is value:
                self._note_attention(query, weight_in, args[6])
            identity = torch.eye(len(weight_out), dtype=weight_out.dtype, device=weight_out.device)
            plain = (*args[:11], identity[: weight_out.shape[1], : weight_out.shape[1]], None, *args[13:])
            if weight_out.shape[0] == weight_out.shape[1]:
                self._note_attention(func(*plain, **kwargs)[0], weight_out, args[12])
        return output

    def _note_attention(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        rows = inputs.transpose(0, 1).clone()
        self._note_layer(LayerCall(weight, bias, rows, F.linear(rows, weight), lambda z, w: F.linear(z, w)))
        self.channels = -1, len(weight)

    def _note_layer(self, call: LayerCall) -> None:
        name = self.names.get(id(call.weight))
        path = self.places[-1][0]
        label = (name.removesuffix("weight").rstrip("._") if name else path) or "weight"
        self.tapped.layers[_unused(label, self.tapped.layers)] = call

    def _activation(self, kind: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = args[0] if args else kwargs["input"]
        before = self._hold(given)
        output = func(*args, **kwargs)
        rest, behind = {key: value for key, value in kwargs.items() if key != "input"}, args[1:]

        def sigma(values: Tensor) -> Tensor:
            result: Tensor = func(values.clone(), *behind, **rest)  # of a copy, as it may work in place
            return result

        if before.ndim > 1:
            path, module = self.places[-1]
            # A module that is nothing but the activation lends it its name.
            own = path and not any(True for _ in module.children())
            label = path if own else f"{path}.{kind}".lstrip(".")
            call = ActivationCall(kind, before, self._hold(output), sigma, self._axis(before))
            self.tapped.activations[_unused(label, self.tapped.activations)] = call
        return output

    def _axis(self, tensor: Tensor) -> int:
        if self.channels is not None:
            axis, count = self.channels
            if tensor.shape[axis] == count:
                return axis % tensor.ndim
        return tensor.ndim - 1 if tensor.ndim == 3 else 1


def _is_relu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a clamp is max(x, 0)."""
    low = args[1] if len(args) > 1 else kwargs.get("min")
    high = args[2] if len(args) > 2 else kwargs.get("max")
    return high is None and isinstance(low, (int, float)) and low == 0


def _unused(label: str, taken: dict[str, Any]) -> str:
    count, name = 1, label
    while name in taken:
        count += 1
        name = f"{label}#{count}"
    return name
