"""Models brought into another order of units before they are merged; their functions stay."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from lmc.measuring.measurements import MATCHING_STARTS
from lmc.merging.permutation_spec import Permutations, PermutationSpec, permute, verify
from lmc.merging.tracing import trace_permutation_spec
from lmc.merging.weight_matching import weight_matching
from lmc.nets import memory_format_of
from lmc.specs import RunSpec

Align = Callable[[nn.Module, nn.Module, RunSpec, Tensor], None]
"""Reorders the units of a model by those of another: model a, model b, spec of b, two inputs."""


def match(a: nn.Module, b: nn.Module, run: RunSpec, example: Tensor) -> None:
    """Permute model b in place to be closest to a, by weight matching (App. F.2); its old tensors are left as they are.

    Args:
        a: stays as it is.
        b: of ``run``.
        run: the spec of b.
        example: two inputs.

    Raises:
        MergeError: the architecture cannot be traced, or a permutation would change the function.
    """
    spec = trace_permutation_spec(a, example)
    found = weight_matching(spec, a.state_dict(), b.state_dict(), restarts=MATCHING_STARTS)
    _reorder(b, spec, found.permutations, run, example)


def _reorder(
    model: nn.Module, spec: PermutationSpec, permutations: Permutations, run: RunSpec, example: Tensor
) -> None:
    verify(model, model.state_dict(), spec, permutations, example)
    model.load_state_dict(permute(model.state_dict(), spec, permutations), assign=True)
    model.to(memory_format=memory_format_of(run.arch))


ALIGN: dict[str, Align] = {"matching": match}
"""What permutes model b in place, by alignment."""
