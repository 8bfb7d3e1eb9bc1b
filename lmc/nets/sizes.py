"""What builders of networks share: the shape of images, and widths that give whole numbers of units."""

from __future__ import annotations

from lmc.errors import SpecError

Shape = tuple[int, int, int]
"""(C, H, W) of one image."""


def whole_units(width: float, base: int) -> int:
    """``width`` times ``base``, the units or channels of a layer.

    Raises:
        SpecError: it is no whole number of at least 1.
    """
    units = width * base
    if units < 1 or not float(units).is_integer():
        raise SpecError(
            f"width {width:g} times the base of {base} is {units:g}; "
            f"choose a multiple of 1/{base} so that it is a whole number of at least 1"
        )
    return int(units)
