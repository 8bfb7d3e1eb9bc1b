"""The numbers and texts that a results file may hold."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

_LARGEST = 1e100
"""No number of float32 is beyond 3.4e38, and what is made of numbers up to here (squares, ranges) is still finite."""

Number = Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)]
Positive = Annotated[float, Meta(gt=0, le=_LARGEST)]
NonNegative = Annotated[float, Meta(ge=0, le=_LARGEST)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Text = Annotated[str, Meta(pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*$")]  # what XML, and with it SVG, can hold
Whole = Annotated[int, Meta(ge=-(2**53), le=2**53)]
Scalar = Text | Whole | Number | bool | None
Seeds = tuple[Count, ...]
"""Of the models that a number was measured on, one, a pair, or more."""
