"""What views, sums and products do to what lies along the axes of tensors.

A view that splits an axis only splits its bundle. Whether blocks move or what lies in them is decided where an
operation treats dimensions apart: then the outermost moves. What must be alike goes to `lmc.merging.orders`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, prod

import numpy as np

from lmc.merging.dimensions import Bundle, Dimension, Dimensions, Layout, fixed
from lmc.merging.orders import Elements, Orders


class Layouts:
    """Operations on layouts; what they demand goes to ``orders``."""

    def __init__(self) -> None:
        self.orders = Orders()
        self.given_up = 0  # operations whose effect on the order of channels was not followed

    def fix(self, layout: Layout) -> Layout:
        """Fix every channel of a tensor."""
        for bundle in layout.bundles:
            self.orders.fix(bundle.elements)
        return Layout(layout.axes)

    def apart(self, layout: Layout) -> Layout:
        """Bundles of several dimensions reduced to their outermost one, whose blocks move."""
        bundles = []
        for bundle in layout.bundles:
            rows = bundle.elements.reshape(len(bundle.elements), -1)
            bundles.append(Bundle(self.orders.block(rows), bundle.dimensions[:1]))
        return Layout(layout.axes, tuple(bundles))

    def plain(self, layout: Layout, axes: Sequence[int]) -> Layout:
        """Bundles apart, and each of ``axes`` of one dimension; of several that move, all but one are fixed."""
        layout = self.apart(layout)
        made, bundles = list(layout.axes), list(layout.bundles)
        for axis in axes:
            dimensions = made[axis]
            if len(dimensions) < 2:
                continue
            merged = Dimension(prod(one.size for one in dimensions))
            inside = [bundle for bundle in bundles if bundle.dimensions[0] in dimensions]
            bundles = [bundle for bundle in bundles if bundle not in inside]
            for bundle in inside[1:]:
                self.orders.fix(bundle.elements)
            if inside:
                elements = inside[0].elements
                sizes = [one.size for one in dimensions]
                fresh = self.orders.new("", *sizes)
                columns = np.moveaxis(fresh, dimensions.index(inside[0].dimensions[0]), 0).reshape(len(elements), -1)
                self.orders.tie(np.repeat(elements[:, None], columns.shape[1], axis=1), columns)
                bundles.append(Bundle(fresh.ravel(), (merged,)))
            made[axis] = (merged,)
        return Layout(tuple(made), tuple(bundles))

    def without(self, layout: Layout, axes: Sequence[int]) -> Layout:
        """Some axes fixed."""
        layout = self.apart(layout)
        dimensions = {one for axis in axes for one in layout.axes[axis]}
        for bundle in layout.bundles:
            if bundle.dimensions[0] in dimensions:
                self.orders.fix(bundle.elements)
        return Layout(layout.axes, tuple(bundle for bundle in layout.bundles if bundle.dimensions[0] not in dimensions))

    def reshape(self, layout: Layout, shape: Sequence[int]) -> Layout:
        """The same elements in row-major order under another shape; fixed where boundaries do not fit."""
        rest = [one for axis in layout.axes for one in axis]
        bundles, axes = list(layout.bundles), []
        for size in shape:
            taken: list[Dimension] = []
            while size > 1:
                one = rest.pop(0)
                common = gcd(size, one.size)
                if common == 1:
                    self.fix(layout)
                    return fixed(shape)
                if common < one.size:
                    outer, inner = Dimension(common), Dimension(one.size // common)
                    bundles = [_split(bundle, one, (outer, inner)) for bundle in bundles]
                    rest.insert(0, inner)
                    one = outer
                taken.append(one)
                size //= common
            axes.append(tuple(taken))
        return _joined(Layout(tuple(axes), tuple(bundles)))

    def take(self, layout: Layout, axis: int, indices: Elements) -> Layout:
        """The elements of one axis at ``indices``, in their order."""
        if len(layout.axes[axis]) > 1:
            layout = self.plain(layout, [axis])
        if not layout.axes[axis]:
            return layout.kept(_with(layout.axes, axis, (Dimension(len(indices)),) if len(indices) != 1 else ()))
        old, new = layout.axes[axis][0], Dimension(len(indices))
        bundles = []
        for bundle in layout.bundles:
            if old in bundle.dimensions:
                number = bundle.dimensions.index(old)
                elements = np.take(bundle.elements, indices, axis=number)
                self.orders.close(elements)
                dimensions = _with(bundle.dimensions, number, new)
                if len(indices) == 1:
                    elements, dimensions = elements.squeeze(number), tuple(one for one in dimensions if one is not new)
                if not dimensions:
                    continue
                bundle = Bundle(elements, dimensions)
            bundles.append(bundle)
        return Layout(_with(layout.axes, axis, (new,) if len(indices) != 1 else ()), tuple(bundles))

    def concatenate(self, layouts: Sequence[Layout], axis: int) -> Layout:
        """Tensors side by side along one axis; the other axes are ordered alike."""
        whole = _side_by_side(layouts, axis)
        if whole is not None:
            return whole
        layouts = [self.plain(layout, [axis]) for layout in layouts]
        sizes = [layout.shape[axis] for layout in layouts]
        found = [layout.elements(axis) for layout in layouts]
        others = [layout.kept(_with(layout.axes, axis, ())) for layout in layouts]
        result = self.alike(others)
        merged = Dimension(sum(sizes))
        if merged.size == 1:
            return result
        bundles = result.bundles
        if any(each is not None for each in found):
            arrays = []
            for each, size in zip(found, sizes, strict=True):
                if each is None:
                    arrays.append(self.orders.new("", size))
                    self.orders.fix(arrays[-1])
                else:
                    arrays.append(each)
                    self.orders.close(each)
            bundles = (*bundles, Bundle(np.concatenate(arrays), (merged,)))
        return Layout(_with(result.axes, axis, (merged,)), bundles)

    def alike(self, layouts: Sequence[Layout]) -> Layout:
        """Tensors that are combined element by element, broadcast where they are of size 1."""
        ndim = max(len(layout.axes) for layout in layouts)
        layouts = [Layout(((),) * (ndim - len(layout.axes)) + layout.axes, layout.bundles) for layout in layouts]
        busy = {axis for layout in layouts for axis in range(ndim) if _moves(layout, axis)}
        apart = [layout for layout in layouts if any(layout.axes[axis] for axis in busy)] or list(layouts[:1])
        if len({layout.pattern() for layout in apart}) == 1:
            first, *rest = apart
            for other in rest:
                for one, two in zip(_ordered(first), _ordered(other), strict=True):
                    self.orders.tie(one.ravel(), two.ravel())
            axes = [axis or _widest(layouts, number) for number, axis in enumerate(first.axes)]
            return Layout(tuple(axes), first.bundles)
        return self._axis_by_axis(layouts, ndim)

    def _axis_by_axis(self, layouts: Sequence[Layout], ndim: int) -> Layout:
        layouts = [self.apart(layout) for layout in layouts]
        axes: list[Dimensions] = []
        bundles: list[Bundle] = []
        for axis in range(ndim):
            present = [layout for layout in layouts if layout.axes[axis]]
            if not present:
                axes.append(())
                continue
            if len({layout.sizes(axis) for layout in present}) > 1:
                present = [self.plain(layout, [axis]) for layout in present]
            made, (first, *rest) = [], present
            for number, dimension in enumerate(first.axes[axis]):
                bundle = first.bundle_of(dimension)
                for other in rest:
                    bundle = self.unite(bundle, other.bundle_of(other.axes[axis][number]))
                new = Dimension(dimension.size)
                made.append(new)
                if bundle is not None:
                    bundles.append(Bundle(bundle.elements, (new,)))
            axes.append(tuple(made))
        return Layout(tuple(axes), tuple(bundles))

    def unite(self, one: Bundle | None, other: Bundle | None) -> Bundle | None:
        """Two dimensions ordered alike; both fixed where one is."""
        if one is not None and other is not None:
            self.orders.tie(one.elements, other.elements)
            return one
        for bundle in (one, other):
            if bundle is not None:
                self.orders.fix(bundle.elements)
        return None

    def contract(self, one: Layout, other: Layout, batch: int) -> Layout:
        """(batch..., n, k) times (batch..., k, m): batch and k are ordered alike, n and m stay."""
        if _spread(one) or _spread(other):
            one, other = self.apart(one), self.apart(other)
        self.alike([one.kept(one.axes[-1:]), other.kept(other.axes[-2:-1])])
        parts = [
            self.alike([one.kept(one.axes[:batch]), other.kept(other.axes[:batch])]),
            one.kept(one.axes[-2:-1]),
            other.kept(other.axes[-1:]),
        ]
        return Layout(sum((part.axes for part in parts), ()), sum((part.bundles for part in parts), ()))


def _moves(layout: Layout, axis: int) -> bool:
    return any(layout.bundle_of(one) is not None for one in layout.axes[axis])


def _widest(layouts: Sequence[Layout], axis: int) -> Dimensions:
    return next((layout.axes[axis] for layout in layouts if layout.axes[axis]), ())


def _with(items: Sequence[Dimensions] | Dimensions, number: int, item: object) -> tuple:  # type: ignore[type-arg]
    return (*items[:number], item, *items[number + 1 :])


def _spread(layout: Layout) -> bool:
    """Whether a bundle lies over several axes."""
    where = {one: axis for axis, ones in enumerate(layout.axes) for one in ones}
    return any(len({where[one] for one in bundle.dimensions}) > 1 for bundle in layout.bundles)


def _ordered(layout: Layout) -> list[Elements]:
    """The bundles' elements in the order of their places."""
    place = {one: (axis, index) for axis, ones in enumerate(layout.axes) for index, one in enumerate(ones)}
    return [
        each.elements for each in sorted(layout.bundles, key=lambda each: tuple(place[one] for one in each.dimensions))
    ]


def _split(bundle: Bundle, old: Dimension, new: tuple[Dimension, Dimension]) -> Bundle:
    if old not in bundle.dimensions:
        return bundle
    number = bundle.dimensions.index(old)
    dimensions = (*bundle.dimensions[:number], *new, *bundle.dimensions[number + 1 :])
    return Bundle(bundle.elements.reshape([one.size for one in dimensions]), dimensions)


def _joined(layout: Layout) -> Layout:
    """Neighbouring dimensions of one axis and one bundle made one."""
    axes, bundles = list(layout.axes), list(layout.bundles)
    for number, dimensions in enumerate(axes):
        made = list(dimensions)
        index = 0
        while index + 1 < len(made):
            one, other = made[index : index + 2]
            bundle = next((each for each in bundles if one in each.dimensions and other in each.dimensions), None)
            if bundle is None:
                index += 1
                continue
            merged, place = Dimension(one.size * other.size), bundle.dimensions.index(one)
            rest = [each for each in bundle.dimensions if each is not other]
            place = rest.index(one)
            order = [bundle.dimensions.index(each) for each in (*rest[: place + 1], other, *rest[place + 1 :])]
            rest[place] = merged
            elements = bundle.elements.transpose(order).reshape([each.size for each in rest])
            bundles[bundles.index(bundle)] = Bundle(elements, tuple(rest))
            made[index : index + 2] = [merged]
        axes[number] = tuple(made)
    return Layout(tuple(axes), tuple(bundles))


def _side_by_side(layouts: Sequence[Layout], axis: int) -> Layout | None:
    """Pieces of one bundle over several axes put together, as rotary embeddings do with halves; else None."""
    first = layouts[0]
    if any(len(layout.bundles) != 1 or len(layout.axes[axis]) != 1 for layout in layouts):
        return None
    other_axes = [_with(layout.axes, axis, ()) for layout in layouts]
    sizes = {Layout(axes).pattern() for axes in other_axes}
    places = {layout.pattern()[1] for layout in layouts}
    bundle = first.bundles[0]
    if len(bundle.dimensions) < 2 or first.axes[axis][0] not in bundle.dimensions or len(sizes) + len(places) > 2:
        return None
    merged = Dimension(sum(layout.shape[axis] for layout in layouts))
    number = bundle.dimensions.index(first.axes[axis][0])
    elements = np.concatenate([layout.bundles[0].elements for layout in layouts], axis=number)
    return Layout(_with(first.axes, axis, (merged,)), (Bundle(elements, _with(bundle.dimensions, number, merged)),))
