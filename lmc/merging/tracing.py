"""The permutation specification of a module, traced from the operations that it runs.

Every axis of every parameter starts with an order of its own; the input's are fixed. Each operation on a tensor tells
which of them must be alike (`lmc.merging.operations`), the output fixes what reaches it, and what is left free is the
specification. Nothing is written by hand per architecture or layer. An operation without a rule fixes the channels
that it reads.

Operations are seen as PyTorch dispatches them (ATen), below modules, functions and hooks. ``torch.fx`` records
modules and functions instead, each in many spellings, and stops at control flow that depends on shapes;
``torch.export`` records the same operations as here, but compiles a graph for it, which takes seconds.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary, WeakIdRef

from lmc.errors import MergeError
from lmc.merging import layer_operations, view_operations  # noqa: F401 (they fill the table of rules)
from lmc.merging.channel_groups import Axis, Labels, Mixed, Part, groups_of
from lmc.merging.dimensions import Layout, fixed, laid
from lmc.merging.layouts import Layouts
from lmc.merging.operations import RULES, elementwise, unknown
from lmc.merging.orders import Channels, Elements
from lmc.merging.permutation_spec import PermutationSpec, check_example, evaluating, random_permutations, verify
from lmc.merging.traceable import check_tensors, tensors_in

_READS_VALUES = {"_local_scalar_dense", "is_nonzero", "equal"}
_ONE_VALUE = {"zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"}


def trace_permutation_spec(model: nn.Module, example_input: Tensor) -> PermutationSpec:
    """Find the channel permutations that leave the function of ``model`` unchanged (Ainsworth et al., ICLR 2023).

    Inputs and outputs stay fixed, and so does every channel that is added to them or read by an operation whose
    effect is not known. Attention heads, and the groups of a grouped convolution, move as a whole. The result is
    verified: a random permutation of random weights must compute the same function in float64.

    Args:
        model: a module that does the same for every input of this shape. Mode and weights are left as they are.
        example_input: one input (N, ...) on the model's device; N = 2 is enough.

    Returns:
        The specification of ``model.state_dict()``. Axes that no permutation reaches are ``None``; so are those of
        parameters that evaluation does not use, such as auxiliary heads, which a permutation therefore leaves
        unfit for what feeds them in training.

    Raises:
        MergeError: the module cannot run on the example, its control flow depends on values, a weight is computed
            from others (weight or spectral norm, pruning), the example is empty, or the verification fails.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
        >>> trace_permutation_spec(net, torch.zeros(2, 3)).axes["2.weight"]
        (None, Axis(group='0', repeat=1))
    """
    check_example(model, example_input)
    check_tensors(model)
    watch = Watch(model)
    with evaluating(model), torch.no_grad(), _elementary():
        example = example_input.clone()
        watch.layouts_of[example] = fixed(example.shape)
        try:
            with watch:
                outputs = model(example)
        except MergeError:
            raise
        except Exception as error:  # the module's own code
            raise MergeError(f"{type(model).__name__} cannot run on the example input: {error}") from error
    for output in tensors_in(outputs):
        watch.layouts.fix(watch.known(output))
    spec = watch.spec()
    generator = torch.Generator().manual_seed(0)
    weights = {name: _generic(tensor, generator) for name, tensor in model.state_dict().items()}
    verify(model, weights, spec, random_permutations(spec, 0), example_input)
    return spec


def _generic(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Weights without any accidental symmetry; vectors positive, as variances must be."""
    if not tensor.is_floating_point():
        return tensor
    if tensor.ndim < 2:
        return torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5
    fan_in = max(tensor[0].numel(), 1)
    return torch.randn(tensor.shape, generator=generator, dtype=torch.float64).div(fan_in**0.5)


@contextmanager
def _elementary() -> Iterator[None]:
    """Attention and recurrent layers as products, softmax and element-wise functions, not as single kernels."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # Setting the flags warns of other flags.
        with (
            sdpa_kernel(SDPBackend.MATH),
            warnings.catch_warnings(action="ignore"),
            torch.backends.mkldnn.flags(enabled=False),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class Watch(TorchDispatchMode):  # type: ignore[misc, no-untyped-call, unused-ignore]
    """Sees every operation and lays out what it gives.

    Args:
        model: whose parameters and buffers are ordered; other tensors that the forward pass makes are constants.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.layouts = Layouts()
        self.layouts_of = WeakIdKeyDictionary(ref_type=WeakIdRef)
        self.state = model.state_dict(keep_vars=True)
        self.buffers = frozenset(self.state) - {name for name, _ in model.named_parameters(remove_duplicate=False)}
        self.names = {id(tensor): name for name, tensor in reversed(self.state.items())}
        self.sources: dict[str, list[Elements | None]] = {}
        self.fixing: set[str] = set()  # operations on channels that have no rule, or one that fixes them

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or PyTorch imports its compiler, for seconds, to keep it away from here

    def known(self, tensor: Tensor) -> Layout:
        """The layout of a tensor: that of a parameter starts free, that of a constant is fixed."""
        if tensor not in self.layouts_of:
            name = self.names.get(id(tensor))
            self.layouts_of[tensor] = fixed(tensor.shape) if name is None else self._free(name, tensor)
        layout: Layout = self.layouts_of[tensor]
        return layout

    def _free(self, name: str, tensor: Tensor) -> Layout:
        layer, _, part = name.rpartition(".")
        arrays: list[Elements | None] = []
        for number, size in enumerate(tensor.shape):
            source = layer if part in ("weight", "bias") and layer else f"{name}[{number}]"
            arrays.append(self.layouts.orders.new(source, size) if size > 1 else None)
        self.sources[name] = arrays
        return laid(arrays, tensor.shape)

    def _alike(self, tensor: Tensor) -> Layout:
        """Of a tensor of one value: all that lies along an axis is alike, and may move."""
        arrays = [self.layouts.orders.new("", size) if size > 1 else None for size in tensor.shape]
        return laid(arrays, tensor.shape)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        read = tensors_in([args, kwargs or {}])
        name = func._schema.name.split("::")[-1]
        if name in _READS_VALUES and any(each in self.layouts_of or id(each) in self.names for each in read):
            raise MergeError(
                f"the module's control flow depends on values ({_where()}); only a module that does the same for "
                "every input has a fixed specification"
            )
        result = func(*args, **(kwargs or {}))
        if name in _ONE_VALUE:
            self.layouts_of[result] = self._alike(result)
            return result
        if not any(each in self.layouts_of or id(each) in self.names for each in read):
            return result
        name = name.removesuffix("_")  # in place: the same, and the tensor's own layout is that of the result
        moving = any(self.known(each).bundles for each in read)
        before = self.layouts.given_up
        if torch.Tag.pointwise in func.tags:
            made = elementwise(self.layouts, self.known, read, result)
        elif name in RULES:
            made = RULES[name](self.layouts, self.known, _positional(func, args, kwargs or {}), result)
        else:
            made = unknown(self.layouts, self.known, read, result)
        if moving and (self.layouts.given_up > before or name in view_operations.ORDERING):
            self.fixing.add(name)
        for tensor, layout in zip(tensors_in(result), [made] if isinstance(made, Layout) else made, strict=True):
            assert layout.shape == tuple(tensor.shape), (name, layout.shape, tensor.shape)
            self.layouts_of[tensor] = layout
        return result

    def spec(self) -> PermutationSpec:
        """What is left free."""
        channels = self.layouts.orders.solve()
        names = _unique(channels.names)
        axes: dict[str, Labels] = {}
        for name, tensor in self.state.items():
            known = self.sources.get(self.names[id(tensor)], [None] * tensor.ndim)
            axes[name] = tuple(each if each is None else _label(each, channels, names) for each in known)
        used = {group for labels in axes.values() for axis in labels for group in groups_of(axis)}
        sizes = {name: size for name, size in zip(names, channels.sizes, strict=True) if name in used}
        return PermutationSpec(axes, sizes, self.buffers, frozenset(self.fixing))


def _positional(func: Any, args: Any, kwargs: dict[str, Any]) -> list[Any]:
    """All arguments in the order of the schema, defaults included."""
    schema = func._schema.arguments
    given = [*args, *(None,) * (len(schema) - len(args))]
    for number, argument in enumerate(schema[len(args) :], start=len(args)):
        given[number] = kwargs.get(argument.name, argument.default_value)
    return given


def _unique(names: tuple[str, ...]) -> list[str]:
    """Groups that one layer begins told apart: ``conv``, ``conv#2``."""
    found: list[str] = []
    for number, name in enumerate(names):
        before = names[:number].count(name)
        found.append(f"{name}#{before + 1}" if before else name)
    return found


def _label(elements: Elements, channels: Channels, names: list[str]) -> Axis | Mixed | None:
    """What orders an axis with these elements."""
    group = channels.group[elements]
    parts = []
    for number in np.unique(group[group >= 0]):
        indices = np.flatnonzero(group == number)
        inside = elements[indices]
        order = np.lexsort((indices, channels.position[inside], channels.channel[inside]))
        places = indices[order].reshape(channels.sizes[number], -1)
        places = places[:, np.argsort(places[0])]
        parts.append(Part(names[number], tuple(map(tuple, places.tolist()))))
        if len(indices) == len(elements) and np.array_equal(places.ravel(), np.arange(len(elements))):
            return Axis(names[number], places.shape[1])
    return Mixed(len(elements), tuple(parts)) if parts else None


def _where() -> str:
    """The line of the module's own code that runs."""
    frame = sys._getframe(1)
    while frame.f_back is not None and ("torch" in frame.f_globals.get("__name__", "").split(".")[:1] or
                                        frame.f_globals.get("__name__", "").startswith("lmc.merging.")):  # fmt: skip
        frame = frame.f_back
    return f"{frame.f_code.co_name} in {frame.f_code.co_filename}, line {frame.f_lineno}"
