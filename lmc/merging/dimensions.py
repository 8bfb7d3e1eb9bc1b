"""What lies along the axes of a tensor.

An axis is a product of dimensions, outermost first; a dimension is fixed or part of a bundle of elements whose order is
sought (see `lmc.merging.orders`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from lmc.merging.orders import Elements


class Dimension:
    """One dimension, known by its identity; never of size 1."""

    def __init__(self, size: int) -> None:
        self.size = size


Dimensions = tuple[Dimension, ...]


@dataclass(frozen=True)
class Bundle:
    """Elements over some dimensions of a tensor."""

    elements: Elements
    dimensions: Dimensions


@dataclass(frozen=True)
class Layout:
    """The dimensions of each axis of a tensor, none for an axis of size 1, and the bundles among them."""

    axes: tuple[Dimensions, ...]
    bundles: tuple[Bundle, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return tuple(prod(dimension.size for dimension in axis) for axis in self.axes)

    def bundle_of(self, dimension: Dimension) -> Bundle | None:
        """What orders a dimension."""
        return next((bundle for bundle in self.bundles if dimension in bundle.dimensions), None)

    def elements(self, axis: int) -> Elements | None:
        """The elements of an axis of one dimension that alone has a bundle."""
        if len(self.axes[axis]) != 1:
            return None
        bundle = self.bundle_of(self.axes[axis][0])
        return bundle.elements if bundle is not None and len(bundle.dimensions) == 1 else None

    def sizes(self, axis: int) -> tuple[int, ...]:
        """Of the dimensions of an axis."""
        return tuple(dimension.size for dimension in self.axes[axis])

    def moved(self, order: Sequence[int]) -> Layout:
        """The axes in another order."""
        return Layout(tuple(self.axes[number] for number in order), self.bundles)

    def kept(self, axes: Sequence[Dimensions]) -> Layout:
        """With these axes, and the bundles that lie wholly in them."""
        known = {dimension for axis in axes for dimension in axis}
        return Layout(tuple(axes), tuple(bundle for bundle in self.bundles if known >= set(bundle.dimensions)))

    def pattern(self) -> tuple[object, ...]:
        """What must be equal for two layouts to lie alike: sizes of dimensions, and where the bundles are."""
        place = {one: (axis, index) for axis, axis_ones in enumerate(self.axes) for index, one in enumerate(axis_ones)}
        lies = sorted(tuple(place[one] for one in bundle.dimensions) for bundle in self.bundles)
        return tuple(self.sizes(axis) for axis in range(len(self.axes))), tuple(lies)


def fixed(shape: Sequence[int]) -> Layout:
    """Everything in a fixed order."""
    return Layout(tuple((Dimension(size),) if size != 1 else () for size in shape))


def laid(arrays: Sequence[Elements | None], shape: Sequence[int]) -> Layout:
    """One array of elements, or None, per axis."""
    plain = fixed(shape)
    pairs = [(array, axis) for array, axis in zip(arrays, plain.axes, strict=True) if array is not None and axis]
    return Layout(plain.axes, tuple(Bundle(array, axis) for array, axis in pairs))
