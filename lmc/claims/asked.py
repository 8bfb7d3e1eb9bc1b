"""What an expectation asks of a claim's numbers, as data: text, zones and directions are made from it where shown."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Bound = Annotated[float, Meta(ge=-1e100, le=1e100)]
Quantity = Literal["value", "change", "step", "difference", "rise", "share", "deviation", "exponent"]
"""What the effect is:

- ``value``: the mean at one width;
- ``change``: of the mean from the narrowest width to the widest;
- ``step``: of the mean from one width to the next, where it advances least;
- ``difference``: the first group's mean less the second's, over the widths that both have;
- ``rise``: of the mean from the first group to the last, along their order;
- ``share``: of the single values that lie on the bad side of a limit;
- ``deviation``: of the farthest value from the target;
- ``exponent``: a, where the values fall as width^-a.
"""


_LOW, _HIGH, _BOTH = (True, False), (False, True), (True, True)
_ENDS = {
    "value": (_LOW, _HIGH, _BOTH),
    "change": (_LOW, _HIGH),
    "step": (_LOW, _HIGH),
    "difference": (_LOW, _HIGH, _BOTH),
    "rise": (_LOW,),
    "share": (_HIGH,),
    "deviation": (_BOTH,),
    "exponent": (_LOW,),
}
"""Which quantity can have which ends."""


class Asked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An interval that the effect must lie in.

    Args:
        quantity: what the effect is, see `Quantity`.
        low: its lower end, in the claim's unit; ``None`` where nothing is too small.
        high: its upper end; ``None`` where nothing is too large.
        at: at which width a ``value`` or a ``share`` is asked; empty where every width counts.
        groups: families or alignments that are compared, in the order that `Quantity` gives a meaning.
        target: what theory gives, where a ``deviation`` or a ``value`` is asked for that should be near it.
        pooled: asked of the mean over the parts (layers), not of every part.
        slack: by how much a part may go the other way, where ``pooled``.
        limit: beyond which a value is bad, where a ``share`` of such values is asked for.
        bad: on which side of the limit it is bad.
        alpha: the largest p-value that counts as significant; ``None`` where nothing is random.

    Raises:
        ValueError: the quantity has no such ends, groups, limit or target.
    """

    quantity: Quantity
    low: Bound | None = None
    high: Bound | None = None
    at: Literal["", "widest", "narrowest"] = ""
    groups: tuple[str, ...] = ()
    target: Bound | None = None
    pooled: bool = False
    slack: Bound = 0.0
    alpha: Bound | None = None
    limit: Bound | None = None
    bad: Literal["", "above", "below"] = ""

    def __post_init__(self) -> None:
        ends = self.low is not None, self.high is not None
        near = self.quantity == "deviation" or (self.quantity, ends) == ("value", _BOTH)
        groups = {"difference": len(self.groups) == 2, "rise": len(self.groups) > 1}
        if (
            ends not in _ENDS[self.quantity]
            or near == (self.target is None)
            or not groups.get(self.quantity, not self.groups)
            or (self.quantity == "share") != (self.limit is not None and self.bad != "")
        ):
            raise ValueError(f"{self} asks nothing of a {self.quantity}: ends, target, limit or groups do not fit it")

    @property
    def direction(self) -> int:
        """1 where larger effects are what is asked for, -1 where smaller ones are, 0 where neither."""
        return (self.high is None) - (self.low is None)

    @property
    def shape(self) -> tuple[object, ...]:
        """What two must share for their effects to be of one quantity; the ends may differ."""
        ends = self.low is None, self.high is None
        target = self.target if self.quantity == "deviation" else None  # from which a value is not counted
        return self.quantity, ends, self.at, self.groups, target, self.pooled, self.limit, self.bad
