"""Rules of operations that compute across channels or space: reductions, products, normalisation, pooling."""

from __future__ import annotations

from collections.abc import Sequence
from math import lgamma
from typing import Any

from torch import Tensor

from lmc.merging.dimensions import Layout, fixed
from lmc.merging.layouts import Layouts
from lmc.merging.operations import Known, Rule, rule


@rule("mean", "sum", "amax", "amin", "var", "std", "var_mean", "std_mean", "logsumexp", "linalg_vector_norm", "norm")
def _reduced(layouts: Layouts, known: Known, args: Sequence[Any], result: Any) -> Any:
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
def _multiplied(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    one, other = (known(each) for each in args[:2])
    vectors = [args[0].ndim == 1, args[1].ndim == 1]
    if vectors[0]:
        one = Layout(((), *one.axes), one.bundles)
    if vectors[1]:
        other = Layout((*other.axes, ()), other.bundles)
    made = layouts.contract(one, other, len(one.axes) - 2)
    return layouts.reshape(made, result.shape)


@rule("addmm", "baddbmm", "addmv")
def _multiplied_and_added(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
    return layouts.alike([_multiplied(layouts, known, args[1:3], result), known(args[0])])


@rule("convolution", "_convolution")
def _convolved(layouts: Layouts, known: Known, args: Sequence[Any], result: Tensor) -> Layout:
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
def _batch_normalised(layouts: Layouts, known: Known, args: Sequence[Any], result: Any) -> list[Layout]:
    vectors = [each for each in args[1:5] if isinstance(each, Tensor)]
    tail = [1] * (args[0].ndim - 2)
    shaped = [layouts.reshape(known(each), [len(each), *tail]) for each in vectors]
    layout = layouts.alike([known(args[0]), *shaped])
    return [layout, *(fixed(each.shape) for each in result[1:])]


@rule("native_layer_norm", "layer_norm", "_fused_rms_norm", "rms_norm")
def _layer_normalised(layouts: Layouts, known: Known, args: Sequence[Any], result: Any) -> Any:
    layout = layouts.alike([known(args[0]), *(known(each) for each in args[2:4] if isinstance(each, Tensor))])
    return layout if isinstance(result, Tensor) else [layout, *(fixed(each.shape) for each in result[1:])]


@rule("native_group_norm")
def _group_normalised(layouts: Layouts, known: Known, args: Sequence[Any], result: Any) -> list[Layout]:
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
