"""Rules of operations that rearrange: views, slices, concatenation, padding, indices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmc.merging.dimensions import Layout, fixed, laid
from lmc.merging.layouts import Layouts
from lmc.merging.operations import Known, rule, unknown


@rule("empty_like", "rand_like", "randn_like", "new_empty", "new_empty_strided")
def _made(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
    """Only the shape is read."""
    return fixed(result.shape)


@rule("view", "_unsafe_view", "reshape", "_reshape_alias", "squeeze", "unsqueeze", "flatten", "unflatten")
def _reshaped(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
    return layouts.reshape(known(args[0]), result.shape)


@rule("as_strided")
def _restrided(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
    """Pooling to one pixel, channels last, restates the strides of axes of one element: the same elements in order."""
    layout = known(args[0])
    sizes = [(size, step) for size, step in zip(result.shape, result.stride(), strict=True) if size > 1]
    in_order = [step for _, step in sizes] == [
        math.prod(size for size, _ in sizes[at + 1 :]) for at in range(len(sizes))
    ]
    if not in_order or [size for size, _ in sizes] != [size for size in layout.shape if size > 1]:
        return unknown(layouts, known, args, result)
    return layouts.reshape(layout, result.shape)


@rule("permute", "transpose", "t")
def _permuted(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
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
def _expanded(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
    return known(args[0]).kept(__grown(known(args[0]), result.shape))


@rule("repeat")
def _repeated(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
    """(n,) repeated k times is (k, n) as one axis."""
    layout = known(args[0])
    axes = ((),) * (result.ndim - len(layout.axes)) + layout.axes
    outer = fixed(args[1])
    return Layout(tuple((*times, *axis) for times, axis in zip(outer.axes, axes, strict=True)), layout.bundles)


def __grown(layout: Layout, shape: Sequence[int]) -> list[tuple[Any, ...]]:
    axes = ((),) * (len(shape) - len(layout.axes)) + layout.axes
    return [axis or new for axis, new in zip(axes, fixed(shape).axes, strict=True)]


@rule("slice")
def _sliced(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
    tensor = args[0]
    axis, start, end, step = list(args[1:]) + [None] * (5 - len(args))
    axis = (axis or 0) % tensor.ndim
    indices = np.arange(tensor.shape[axis])[slice(start, end, step)]
    layout = known(tensor)
    return layout if len(indices) == tensor.shape[axis] else layouts.take(layout, axis, indices)


@rule("select")
def _selected(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
    tensor, axis, index = args
    axis %= tensor.ndim
    layout = layouts.take(known(tensor), axis, np.array([index % tensor.shape[axis]]))
    return layout.kept(layout.axes[:axis] + layout.axes[axis + 1 :])


@rule("split", "split_with_sizes", "unsafe_split", "chunk", "unsafe_split_with_sizes")
def _cut(layouts: Layouts, known: Known, args: Sequence[Any], result: Sequence[Tensor]) -> list[Layout]:
    axis = (args[2] if len(args) > 2 else 0) % args[0].ndim
    ends = np.cumsum([part.shape[axis] for part in result])
    starts = [end - part.shape[axis] for end, part in zip(ends, result, strict=True)]
    return [layouts.take(known(args[0]), axis, np.arange(start, end)) for start, end in zip(starts, ends, strict=True)]


@rule("unbind")
def _unbound(layouts: Layouts, known: Known, args: Sequence[Any], result: Sequence[Tensor]) -> list[Layout]:
    axis = args[1] if len(args) > 1 else 0
    return [_selected(layouts, known, (args[0], axis, index), each) for index, each in enumerate(result)]


@rule("flip", "roll")
def _turned(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
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
def _concatenated(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
    axis = (args[1] if len(args) > 1 else 0) % result.ndim
    return layouts.concatenate([known(each) for each in args[0] if each.ndim == result.ndim], axis)


@rule("stack")
def _stacked(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
    axis = (args[1] if len(args) > 1 else 0) % result.ndim
    layout = layouts.alike([known(each) for each in args[0]])
    new = fixed([len(args[0])]).axes
    return Layout((*layout.axes[:axis], *new, *layout.axes[axis:]), layout.bundles)


@rule("glu")
def _gated(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
    """One half of an axis times a function of the other."""
    axis = (args[1] if len(args) > 1 else -1) % result.ndim
    half = result.shape[axis]
    return layouts.alike([layouts.take(known(args[0]), axis, np.arange(half) + start) for start in (0, half)])


@rule("pixel_shuffle")
def _shuffled(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
    """(N, C·r·r, H, W) to (N, C, H·r, W·r)."""
    (*before, channels, height, width), factor = result.shape, args[1]
    inside = (channels, factor, factor, height // factor, width // factor)
    layout, first = layouts.reshape(known(args[0]), (*before, *inside)), len(before)
    order = [*range(first + 1), *(first + number for number in (3, 1, 4, 2))]
    return layouts.reshape(layout.moved(order), result.shape)


@rule("channel_shuffle", "native_channel_shuffle")
def _interleaved(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
    """(N, groups·C, ...) to (N, C·groups, ...)."""
    (batch, channels, *rest), groups = result.shape, args[1]
    layout = layouts.reshape(known(args[0]), (batch, groups, channels // groups, *rest))
    return layouts.reshape(layout.moved([0, 2, 1, *range(3, len(rest) + 3)]), result.shape)


ORDERING = ("cumsum", "cumprod", "sort", "topk")
"""Operations to which the order along one axis matters."""


@rule(*ORDERING)
def _along(layouts: Layouts, known: Known, args: Sequence[Any], result: Any) -> Any:
    """One axis is fixed, the others stay."""
    first = result if isinstance(result, Tensor) else result[0]
    numbers = [each for each in args[1:] if isinstance(each, int) and not isinstance(each, bool)]
    axis = (numbers[-1] if numbers else -1) % first.ndim
    layout = layouts.without(known(args[0]), [axis])
    layout = layout.kept([*layout.axes[:axis], *fixed([first.shape[axis]]).axes, *layout.axes[axis + 1 :]])
    return layout if isinstance(result, Tensor) else [layout for _ in result]


@rule("constant_pad_nd")
def _padded(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
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
def _indexed(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
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
def _index_selected(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
    tensor, axis, index = args
    return _indexed(layouts, known, (tensor, [None] * (axis % tensor.ndim) + [index]), result)


@rule("embedding")
def _embedded(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Any:
    return _indexed(layouts, known, (args[0], [args[1]]), result)
