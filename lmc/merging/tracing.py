"""The permutation specification of a module, traced from its graph with torch.fx.

Every tensor in the graph carries one label per axis: layers create labels, element-wise operations keep them,
additions unite them (a union-find), inputs and outputs have none. Nothing is written by hand per architecture.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from lmc.errors import MergeError
from lmc.merging.channel_groups import Axis, ChannelGroups, Labels
from lmc.merging.permutation_spec import PermutationSpec, check_example, evaluating, random_permutations, verify
from lmc.merging.traceable import check_tensors

# What a module or function does, by its name in lower case without underscores.
_POINTWISE = re.compile(
    "identity|relu6?|leakyrelu|c?elu|selu|gelu|silu|mish|tanh|sigmoid|logsigmoid|softplus|softsign|hardtanh"
    "|hardswish|hardsigmoid|(log)?softmax|(alpha|featurealpha)?dropout|dropout[123]d|i?add|i?sub|i?mul|truediv|div"
    "|neg|abs|exp|square|r?sqrt|clamp|contiguous|clone"
)
_POOL = re.compile("(adaptive)?(max|avg)pool([123])d")
_RESHAPE = re.compile("flatten|view|reshape|(un)?squeeze|unflatten")
_REDUCE = re.compile("mean|sum|amax|amin")
_SHAPE = re.compile("size|n?dim|ndimension|numel|len|getattr")
_SUPPORTED = "Linear, Conv, BatchNorm, LayerNorm, pooling, flatten, additions and element-wise functions"
_LAYERS = (_BatchNorm, nn.LayerNorm, nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def trace_permutation_spec(model: nn.Module, example_input: Tensor) -> PermutationSpec:
    """Find the channel permutations that leave the function of ``model`` unchanged (Ainsworth et al., ICLR 2023).

    Inputs and outputs stay fixed, and so does every channel added to them. The result is verified:
    a random permutation of random weights must compute the same function in float64.

    Args:
        model: Linear, Conv (dense or depthwise), BatchNorm, LayerNorm, pooling, flatten, element-wise functions
            and additions, as modules or functions. Mode and weights are left as they are.
        example_input: one input (N, ...) on the model's device; N = 2 is enough.

    Returns:
        The specification of ``model.state_dict()``. Axes that no permutation reaches are ``None``.

    Raises:
        MergeError: torch.fx cannot trace the module, a node is of an unsupported kind, a parameter is shared
            or unused, a weight is computed from others (weight or spectral norm, pruning), a BatchNorm keeps
            no running statistics, or the example is empty; the node, layer or parameter is named.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
        >>> trace_permutation_spec(net, torch.zeros(2, 3)).axes["2.weight"]
        (None, Axis(group='0', repeat=1))
    """
    check_example(model, example_input)
    check_tensors(model)
    attributes = set(vars(model))
    with evaluating(model), torch.no_grad():
        try:
            graph_module = fx.GraphModule(model, _Tracer().trace(model))
        except MergeError:
            raise
        except Exception as error:  # tracing runs the module's own code
            raise MergeError(f"torch.fx cannot trace {type(model).__name__}: {error}") from error
        finally:
            for left in set(vars(model)) - attributes:  # torch.fx keeps constants of the forward pass in the module
                delattr(model, left)
        labeller = _Labeller(graph_module, frozenset(model.state_dict()))
        if sum(node.op == "placeholder" and not node.args for node in graph_module.graph.nodes) != 1:
            raise MergeError(f"{type(model).__name__} must read one tensor; wrap it in a module that does")
        labeller.run(example_input.clone())
    spec = labeller.spec_of(model)
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


class _Tracer(fx.Tracer):
    def to_bool(self, obj: fx.Proxy) -> bool:
        raise MergeError(
            f"the module's control flow depends on node {obj.node.name!r} ({_name_of(obj.node.target)}); "
            "only a module that does the same for every input has a fixed specification"
        )


class _Labeller(fx.Interpreter):
    """Runs the graph on the example and labels every axis of every tensor in it."""

    def __init__(self, module: fx.GraphModule, state: frozenset[str]) -> None:
        super().__init__(module)
        self.state = state  # names; the graph's own holds the constants of the forward pass too
        self.extra_traceback = False
        self.groups = ChannelGroups()
        self.labels: dict[fx.Node, Labels] = {}
        self.axes: dict[str, Labels] = {}

    def spec_of(self, model: nn.Module) -> PermutationSpec:
        parameters = [name for name, _ in model.named_parameters()]
        unused = [name for name in parameters if name not in self.axes]
        if unused:
            raise MergeError(f"parameters {unused[:3]} take no part in the forward pass; remove them from the module")
        state = model.state_dict()
        axes = {
            name: tuple(map(self.groups.find, self.axes.get(name, (None,) * tensor.ndim)))
            for name, tensor in state.items()
        }
        found = {axis.group for labels in axes.values() for axis in labels if axis}
        sizes = {name: size for name, size in self.groups.sizes.items() if name in found}
        return PermutationSpec(axes, sizes, frozenset(state) - frozenset(parameters))

    def run_node(self, n: fx.Node) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        sources = [node for node in n.all_input_nodes if node in self.labels]
        shapes = {node: tuple(self.env[node].shape) for node in sources}
        if n.op == "output":
            self._fix([axis for node in sources for axis in self.labels[node]])
            return super().run_node(n)
        try:
            result = super().run_node(n)
        except Exception as error:  # the module's own code
            raise MergeError(f"node {n.name!r} ({n.target}) cannot run on the example input: {error}") from error
        kind = self._kind_of(n)
        if not isinstance(result, Tensor):
            if sources and not _SHAPE.fullmatch(kind):
                self._refuse(n, f"gives a {type(result).__name__}, not a tensor")
            return result
        inputs = [(tuple(map(self.groups.find, self.labels[node])), shapes[node]) for node in sources]
        self.labels[n] = self._label(n, kind, inputs, result, args, kwargs)
        return result

    def _label(
        self,
        n: fx.Node,
        kind: str,
        inputs: Sequence[tuple[Labels, tuple[int, ...]]],
        result: Tensor,
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> Labels:
        """The labels of what node ``n`` gives, from those of what it reads."""
        module = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        if n.op == "get_attr":
            return self._tensor(str(n.target), result)
        if module is not None and isinstance(module, _LAYERS):
            return self._layer(n, module, inputs[0][0])
        if module is not None and next(module.parameters(), None) is not None:
            self._refuse(n, f"is a {type(module).__name__} layer")
        if all(axis is None for labels, _ in inputs for axis in labels):
            return (None,) * result.ndim  # whatever it does, it does it to values of fixed order
        labels, shape = inputs[0]
        if _POINTWISE.fullmatch(kind):
            return self._broadcast(inputs, result.ndim)
        if pool := _POOL.fullmatch(kind):
            return self._without(labels, int(pool[3]))
        if _RESHAPE.fullmatch(kind):
            return self._reshape(n, labels, shape, tuple(result.shape))
        if _REDUCE.fullmatch(kind):
            return _reduced(labels, *args[1:], **kwargs)
        self._refuse(n, "has an unknown effect on the order of channels")

    def _layer(self, n: fx.Node, module: nn.Module, labels: Labels) -> Labels:
        name = str(n.target)
        if isinstance(module, _BatchNorm):
            if module.running_mean is None:
                self._refuse(n, "is a BatchNorm without running statistics (track_running_stats=False)")
            self._assign(name, module, dict.fromkeys(("weight", "bias", "running_mean", "running_var"), labels[1:2]))
            return labels
        if isinstance(module, nn.LayerNorm):
            behind = labels[len(labels) - len(module.normalized_shape) :]
            self._assign(name, module, {"weight": behind, "bias": behind})
            return labels
        if isinstance(module, nn.Linear):
            out: Axis | None = self.groups.new(name, module.out_features)
            self._assign(name, module, {"weight": (out, labels[-1]), "bias": (out,)})
            return (*labels[:-1], out)
        assert isinstance(module, _ConvNd)
        spatial = len(module.kernel_size)
        labels = self._without(labels, spatial)
        read = labels[-1 - spatial]
        if module.groups == 1:
            out = self.groups.new(name, module.out_channels)
        elif module.groups == module.in_channels:
            out = read and Axis(read.group, read.repeat * (module.out_channels // module.in_channels))
            read = None
        else:
            self._refuse(n, f"is a convolution in {module.groups} groups, neither dense nor depthwise")
        self._assign(name, module, {"weight": (out, read, *(None,) * spatial), "bias": (out,)})
        return (*labels[: -1 - spatial], out, *(None,) * spatial)

    def _tensor(self, name: str, tensor: Tensor) -> Labels:
        """A parameter or buffer that the graph reads itself: each axis may turn out to follow channels.

        A constant may not: it is no part of the state dict, and stays where it is.
        """
        owned = name in self.state
        if name not in self.axes:
            self.axes[name] = tuple(
                self.groups.new(f"{name}[{number}]", size) if owned and size > 1 else None
                for number, size in enumerate(tensor.shape)
            )
        return self.axes[name]

    def _assign(self, layer: str, module: nn.Module, wanted: dict[str, Labels]) -> None:
        for part, labels in wanted.items():
            if getattr(module, part) is not None:
                name = f"{layer}.{part}"
                known = self.axes.setdefault(name, labels)  # there already where the layer is called twice
                for one, other in zip(known, labels, strict=True):
                    self.groups.unite(one, other)

    def _broadcast(self, inputs: Sequence[tuple[Labels, tuple[int, ...]]], ndim: int) -> Labels:
        labels: list[Axis | None] = [None] * ndim
        for position in range(1, ndim + 1):
            axes = [(one[-position], shape[-position]) for one, shape in inputs if len(shape) >= position]
            widest = max(size for _, size in axes)
            first, *others = [axis for axis, size in axes if size == widest]
            for other in others:
                first = self.groups.unite(first, other)
            labels[-position] = first
        return tuple(labels)

    def _reshape(self, n: fx.Node, labels: Labels, shape: Sequence[int], onto: Sequence[int]) -> Labels:
        """Labels of axes that are kept or merged, a labelled one first: (C, H, W) -> C·H·W."""
        rest, made = list(zip(labels, shape, strict=True)), []
        for size in onto:
            merged: list[tuple[Axis | None, int]] = []
            count = 1
            while rest and (count < size or (size == 1 == rest[0][1] and not merged)):
                merged.append(rest.pop(0))
                count *= merged[-1][1]
            merged = [(axis, length) for axis, length in merged if length > 1]
            if count != size or any(axis for axis, _ in merged[1:]):
                self._refuse(n, f"reshapes {tuple(shape)} to {tuple(onto)}, which splits or interleaves channels")
            axis = merged[0][0] if merged else None
            made.append(axis and Axis(axis.group, axis.repeat * (count // merged[0][1])))
        return tuple(made)

    def _without(self, labels: Labels, last: int) -> Labels:
        """The labels, the last few fixed."""
        self._fix(labels[len(labels) - last :])
        return (*labels[: len(labels) - last], *(None,) * last)

    def _fix(self, labels: Sequence[Axis | None]) -> None:
        for axis in labels:
            self.groups.unite(axis, None)

    def _kind_of(self, n: fx.Node) -> str:
        """What a node does, in one lower-case word; empty for code that is not PyTorch's."""
        if n.op == "call_module":
            return type(self.fetch_attr(str(n.target))).__name__.lower()
        name, home = n.target, "torch"
        if callable(n.target):
            name, home = getattr(n.target, "__name__", ""), str(getattr(n.target, "__module__", ""))
        return str(name).replace("_", "").lower() if home.split(".")[0] in {"torch", "_operator", "builtins"} else ""

    def _refuse(self, n: fx.Node, why: str) -> NoReturn:
        raise MergeError(
            f"node {n.name!r} ({n.op} {_name_of(n.target)}) {why}; supported are {_SUPPORTED}. "
            "For anything else write a lmc.PermutationSpec by hand: diagnose takes it as "
            "permutation=spec, weight_matching and permute as they take a traced one"
        )


def _name_of(target: object) -> str:
    """A node's target as its code calls it; a built-in function's own text is an address."""
    return str(getattr(target, "__name__", target))


def _reduced(labels: Labels, dim: int | Sequence[int] | None = None, keepdim: bool = False, **_: Any) -> Labels:
    """Labels after a symmetric reduction over some axes: it does not care about their order."""
    given = range(len(labels)) if dim is None else [dim] if isinstance(dim, int) else dim
    gone = {number % len(labels) for number in given}
    left = [(number, None if number in gone else axis) for number, axis in enumerate(labels)]
    return tuple(axis for number, axis in left if keepdim or number not in gone)
