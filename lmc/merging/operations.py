"""What each operation of PyTorch does to the order of channels.

The names are those of ATen, to which modules and functions of any kind come down. What is not named here fixes the
channels that it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import lgamma
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmc.merging.layouts import Layout, Layouts, fixed, laid
from lmc.merging.traceable import tensors_in

Known = Callable[[Tensor], Layout]
Rule = Callable[[Layouts, Known, Sequence[Any], Any], Any]
"""From the layouts of tensors, the arguments and the result to the layout of the result, or one for each of several."""

RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations of these names."""

    def register(made: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, made))
        return made

    return register


@rule(
    "detach", "alias", "lift_fresh", "_to_copy", "_softmax", "_safe_softmax", "_log_softmax", "native_dropout",
    "hardswish", "rsub", "floor_divide", "log_sigmoid_forward", "_prelu_kernel", "copy", "contiguous", "_conj",
    "resolve_conj", "softmax", "log_softmax", "fill", "zero",
)  # fmt: skip
def elementwise(layouts: Layouts, known: Known, args: Sequence[Any], result: Any) -> Layout:
    """Also a softmax: it does not care about the order along its axis."""
    return layouts.alike([known(each) for each in args if isinstance(each, Tensor)])


@rule("empty_like", "rand_like", "randn_like", "new_empty", "new_empty_strided")
def made(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    """Only the shape is read."""
    return fixed(result.shape)


@rule("view", "_unsafe_view", "reshape", "_reshape_alias", "squeeze", "unsqueeze", "flatten", "unflatten")
def reshaped(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    return layouts.reshape(known(args[0]), result.shape)


@rule("permute", "transpose", "t")
def permuted(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    layout = known(args[0])
    numbers = list(range(len(layout.axes)))
    if len(args) == 2:
        order = [number % len(numbers) for number in args[1]]
    else:
        order = list(numbers)
        one, other = (number % len(numbers) for number in args[1:]) if args[1:] else (0, -1)
        if order:
            order[one], order[other] = order[other], order[one]
    return layout.moved(order)


@rule("expand")
def expanded(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    return known(args[0]).kept(_grown(known(args[0]), result.shape))


@rule("repeat")
def repeated(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    """(n,) repeated k times is (k, n) as one axis."""
    layout = known(args[0])
    axes = ((),) * (result.ndim - len(layout.axes)) + layout.axes
    outer = fixed(args[1])
    return Layout(tuple((*times, *axis) for times, axis in zip(outer.axes, axes, strict=True)), layout.bundles)


def _grown(layout: Layout, shape: Sequence[int]) -> list[tuple[Any, ...]]:
    axes = ((),) * (len(shape) - len(layout.axes)) + layout.axes
    return [axis or new for axis, new in zip(axes, fixed(shape).axes, strict=True)]


@rule("slice")
def sliced(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    tensor, axis, start, end, step = (*args, *(None,) * (5 - len(args)))
    axis = (axis or 0) % tensor.ndim
    indices = np.arange(tensor.shape[axis])[slice(start, end, step)]
    layout = known(tensor)
    return layout if len(indices) == tensor.shape[axis] else layouts.take(layout, axis, indices)


@rule("select")
def selected(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    tensor, axis, index = args
    axis %= tensor.ndim
    layout = layouts.take(known(tensor), axis, np.array([index % tensor.shape[axis]]))
    return layout.kept(layout.axes[:axis] + layout.axes[axis + 1 :])


@rule("split", "split_with_sizes", "unsafe_split", "chunk", "unsafe_split_with_sizes")
def cut(layouts: Layouts, known: Known, args: Sequence[Any], result: Sequence[Tensor]) -> list[Layout]:
    axis = (args[2] if len(args) > 2 else 0) % args[0].ndim
    ends = np.cumsum([part.shape[axis] for part in result])
    starts = [end - part.shape[axis] for end, part in zip(ends, result, strict=True)]
    return [layouts.take(known(args[0]), axis, np.arange(start, end)) for start, end in zip(starts, ends, strict=True)]


@rule("unbind")
def unbound(layouts: Layouts, known: Known, args: Sequence[Any], result: Sequence[Tensor]) -> list[Layout]:
    axis = args[1] if len(args) > 1 else 0
    return [selected(layouts, known, (args[0], axis, index), each) for index, each in enumerate(result)]


@rule("flip", "roll")
def turned(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    """Index by index, where an axis moves at all."""
    layout, axes = known(args[0]), args[-1]
    if len(args) == 3:
        shifts, axes = args[1:] if args[2] else ([0], [])
    for index, axis in enumerate(axes):
        numbers = np.arange(args[0].shape[axis])
        numbers = np.roll(numbers, shifts[index]) if len(args) == 3 else numbers[::-1]
        layout = layouts.take(layout, axis % args[0].ndim, numbers)
    return layout


@rule("cat")
def concatenated(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    axis = (args[1] if len(args) > 1 else 0) % result.ndim
    return layouts.concatenate([known(each) for each in args[0] if each.ndim == result.ndim], axis)


@rule("stack")
def stacked(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    axis = (args[1] if len(args) > 1 else 0) % result.ndim
    layout = layouts.alike([known(each) for each in args[0]])
    new = fixed([len(args[0])]).axes
    return Layout((*layout.axes[:axis], *new, *layout.axes[axis:]), layout.bundles)


@rule("glu")
def gated(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    """One half of an axis times a function of the other."""
    axis = (args[1] if len(args) > 1 else -1) % result.ndim
    half = result.shape[axis]
    return layouts.alike([layouts.take(known(args[0]), axis, np.arange(half) + start) for start in (0, half)])


@rule("pixel_shuffle")
def shuffled(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    """(N, C·r·r, H, W) to (N, C, H·r, W·r)."""
    (*before, channels, height, width), factor = result.shape, args[1]
    inside = (channels, factor, factor, height // factor, width // factor)
    layout, first = layouts.reshape(known(args[0]), (*before, *inside)), len(before)
    order = [*range(first + 1), *(first + number for number in (3, 1, 4, 2))]
    return layouts.reshape(layout.moved(order), result.shape)


@rule("channel_shuffle", "native_channel_shuffle")
def interleaved(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    """(N, groups·C, ...) to (N, C·groups, ...)."""
    (batch, channels, *rest), groups = result.shape, args[1]
    layout = layouts.reshape(known(args[0]), (batch, groups, channels // groups, *rest))
    return layouts.reshape(layout.moved([0, 2, 1, *range(3, len(rest) + 3)]), result.shape)


@rule("cumsum", "cumprod", "sort", "topk")
def along(layouts: Layouts, known: Known, args: Sequence[Any], result: Any) -> Any:
    """One axis is fixed, the others stay."""
    first = result if isinstance(result, Tensor) else result[0]
    numbers = [each for each in args[1:] if isinstance(each, int) and not isinstance(each, bool)]
    axis = (numbers[-1] if numbers else -1) % first.ndim
    layout = layouts.without(known(args[0]), [axis])
    layout = layout.kept([*layout.axes[:axis], *fixed([first.shape[axis]]).axes, *layout.axes[axis + 1 :]])
    return layout if isinstance(result, Tensor) else [layout for _ in result]


@rule("constant_pad_nd")
def padded(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    """Constant channels are alike; so are constant pixels, which lie along fixed axes anyway."""
    layout, pads = known(args[0]), args[1]
    for number in range(len(pads) // 2):
        axis, widths = len(layout.axes) - 1 - number, pads[2 * number : 2 * number + 2]
        if min(widths) < 0:
            return unknown(layouts, known, args, result)
        if any(widths):
            moves = layouts.plain(layout, [axis]).elements(axis) is not None
            shapes = [(*layout.shape[:axis], width, *layout.shape[axis + 1 :]) for width in widths]
            sides = [fixed([size if number == axis else 1 for number, size in enumerate(shape)]) for shape in shapes]
            if moves:
                sides = [laid([layouts.orders.new("", each.shape[axis]) if number == axis else None
                               for number in range(len(each.axes))], each.shape) for each in sides]  # fmt: skip
            present = [sides[0]] * (widths[0] > 0) + [layout] + [sides[1]] * (widths[1] > 0)
            layout = layouts.concatenate(present, axis)
    return layout


@rule("index", "_unsafe_index")
def indexed(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    """Axes that tensors index are fixed; the others stay."""
    tensor, indices = args[0], [*args[1], *(None,) * (args[0].ndim - len(args[1]))]
    for each in indices:
        if each is not None:
            layouts.fix(known(each))
    by = [number for number, each in enumerate(indices) if each is not None]
    layout = layouts.without(known(tensor), by)
    width = result.ndim - (len(indices) - len(by))
    place = by[0] if by == list(range(by[0], by[-1] + 1)) else 0
    kept = [layout.axes[number] for number in range(len(indices)) if number not in by]
    made = fixed(result.shape[place : place + width]).axes
    if any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in indices):
        return unknown(layouts, known, args, result)
    return layout.kept([*kept[:place], *made, *kept[place:]])


@rule("index_select")
def index_selected(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    tensor, axis, index = args
    return indexed(layouts, known, (tensor, [None] * (axis % tensor.ndim) + [index]), result)


@rule("embedding")
def embedded(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    return indexed(layouts, known, (args[0], [args[1]]), result)


@rule("mean", "sum", "amax", "amin", "var", "std", "var_mean", "std_mean", "logsumexp", "linalg_vector_norm", "norm")
def reduced(layouts: Layouts, known: Known, args: Sequence[Any], result: Any) -> Any:
    """A symmetric reduction does not care about the order along its axes."""
    layout, ndim = layouts.apart(known(args[0])), args[0].ndim
    given = next((each for each in args[1:] if isinstance(each, list | tuple)), None)
    gone = {number % ndim for number in given} if given else set(range(ndim))
    first = result if isinstance(result, Tensor) else result[0]
    if first.ndim == ndim:
        axes = [() if number in gone else axis for number, axis in enumerate(layout.axes)]
    else:
        axes = [axis for number, axis in enumerate(layout.axes) if number not in gone]
    return layout.kept(axes) if isinstance(result, Tensor) else [layout.kept(axes) for _ in result]


@rule("mm", "bmm", "mv", "dot")
def multiplied(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    one, other = (known(each) for each in args[:2])
    vectors = [args[0].ndim == 1, args[1].ndim == 1]
    if vectors[0]:
        one = Layout(((), *one.axes), one.bundles)
    if vectors[1]:
        other = Layout((*other.axes, ()), other.bundles)
    made = layouts.contract(one, other, len(one.axes) - 2)
    return layouts.reshape(made, result.shape)


@rule("addmm", "baddbmm", "addmv")
def multiplied_and_added(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    return layouts.alike([multiplied(layouts, known, args[1:3], result), known(args[0])])


@rule("convolution", "_convolution")
def convolved(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    """In groups, whole groups move: what they read, and what they write."""
    tensor, weight, bias = args[:3]
    transposed, groups = args[6], args[8]
    spatial = weight.ndim - 2
    kernel = layouts.plain(layouts.without(known(weight), range(2, weight.ndim)), [0, 1])
    layout = layouts.plain(known(tensor), range(tensor.ndim - spatial - 1, tensor.ndim))
    layout = layouts.without(layout, range(tensor.ndim - spatial, tensor.ndim))
    channel = tensor.ndim - spatial - 1
    read, out = layout.kept((layout.axes[channel],)), kernel.kept((kernel.axes[1 if transposed else 0],))
    inner = kernel.kept((kernel.axes[0 if transposed else 1],))
    if groups == 1:
        layouts.alike([read, inner])
    elif transposed:
        layouts.fix(read), layouts.fix(inner)
        out = fixed([result.shape[channel]])
    else:
        layouts.fix(inner)
        blocks = [layouts.apart(layouts.reshape(each, (groups, each.shape[0] // groups))) for each in (read, out)]
        layouts.alike([each.kept(each.axes[:1]) for each in blocks])
        out = layouts.reshape(blocks[1], (result.shape[channel],))
    if bias is not None:
        out = layouts.alike([out, known(bias)])
    before = layout.kept(layout.axes[:channel])
    axes = (*before.axes, out.axes[0], *fixed(result.shape[channel + 1 :]).axes)
    return Layout(axes, (*before.bundles, *out.bundles))


@rule("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
      "miopen_batch_norm", "_batch_norm_no_update", "batch_norm")  # fmt: skip
def batch_normalised(layouts: Layouts, known: Known, args: Sequence[Any], result: Any) -> list[Layout]:
    vectors = [each for each in args[1:5] if isinstance(each, Tensor)]
    tail = [1] * (args[0].ndim - 2)
    shaped = [layouts.reshape(known(each), [len(each), *tail]) for each in vectors]
    layout = layouts.alike([known(args[0]), *shaped])
    return [layout, *(fixed(each.shape) for each in result[1:])]


@rule("native_layer_norm", "layer_norm", "_fused_rms_norm", "rms_norm")
def layer_normalised(layouts: Layouts, known: Known, args: Sequence[Any], result: Any) -> Any:
    layout = layouts.alike([known(args[0]), *(known(each) for each in args[2:4] if isinstance(each, Tensor))])
    return layout if isinstance(result, Tensor) else [layout, *(fixed(each.shape) for each in result[1:])]


@rule("native_group_norm")
def group_normalised(layouts: Layouts, known: Known, args: Sequence[Any], result: Any) -> list[Layout]:
    """Channels move within their groups, or groups as a whole: whichever has more permutations."""
    groups, channels = args[6], args[0].shape[1]
    layout = layouts.plain(known(args[0]), [1])
    elements = layout.elements(1)
    each = channels // groups
    if elements is not None and groups > 1:
        rows = elements.reshape(groups, each)
        if groups * lgamma(each + 1) >= lgamma(groups + 1):
            for row in rows:
                layouts.orders.close(row)
        else:
            layouts.orders.block(rows)
    vectors = [known(each) for each in args[1:3] if isinstance(each, Tensor)]
    tail = [1] * (args[0].ndim - 2)
    layout = layouts.alike([layout, *(layouts.reshape(vector, [*vector.shape, *tail]) for vector in vectors)])
    return [layout, *(fixed(each.shape) for each in result[1:])]


def spatial(last: int) -> Rule:
    """Of an operation on the last axes alone: they are fixed, the others stay."""

    def local(layouts: Layouts, known: Known, args: Sequence[Any], result: Any) -> Any:
        layout, ndim = known(args[0]), args[0].ndim
        layout = layouts.without(layout, range(ndim - last, ndim))
        first = result if isinstance(result, Tensor) else result[0]
        made = layout.kept([*layout.axes[: ndim - last], *fixed(first.shape[ndim - last :]).axes])
        return made if isinstance(result, Tensor) else [made for _ in result]

    return local


for size in (1, 2, 3):
    pools = [f"{kind}_pool{size}d" for kind in ("max", "avg", "_adaptive_avg", "adaptive_avg", "adaptive_max")]
    names = [*pools, f"max_pool{size}d_with_indices", f"reflection_pad{size}d", f"replication_pad{size}d"]
    ups = {1: "linear", 2: "bilinear", 3: "trilinear"}
    names += [f"upsample_nearest{size}d", f"_upsample_nearest_exact{size}d", f"upsample_{ups[size]}{size}d"]
    rule(*names)(spatial(size))
rule("upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa")(spatial(2))


def unknown(layouts: Layouts, known: Known, args: Sequence[Any], result: Any) -> Any:
    """Whatever it does, it does it to channels of fixed order."""
    for each in tensors_in(args):
        layouts.fix(known(each))
    return fixed(result.shape) if isinstance(result, Tensor) else [fixed(each.shape) for each in tensors_in(result)]
