"""What operations of PyTorch do to the order of channels: the table of rules, and the two that need no shapes.

The names are those of ATen, to which modules and functions of any kind come down. What is not named here fixes the
channels that it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from lmc.merging.dimensions import Layout, fixed
from lmc.merging.layouts import Layouts
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


def unknown(layouts: Layouts, known: Known, args: Sequence[Any], result: Any) -> Any:
    """Whatever it does, it does it to channels of fixed order."""
    layouts.given_up += 1
    for each in tensors_in(args):
        layouts.fix(known(each))
    return fixed(result.shape) if isinstance(result, Tensor) else [fixed(each.shape) for each in tensors_in(result)]
