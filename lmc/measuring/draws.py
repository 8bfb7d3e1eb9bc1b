"""Models permuted at random: their functions stay, but no unit corresponds to one of another model (App. F.4)."""

from __future__ import annotations

from torch import Tensor, nn

from lmc.merging.permutation_spec import PermutationSpec, permute, random_permutations, verify
from lmc.specs import RunSpec, content_key


def draw_seed(first: RunSpec, other: RunSpec, draw: int, place: int = 1) -> int:
    """The seed that ``other`` is permuted with.

    It depends on the models' seeds alone, so that families which differ in one setting get the same permutations.

    Args:
        first: spec of the model that stays as it is.
        other: spec of the model that is permuted; the two may be one.
        draw: number of the draw, from 1 on.
        place: of ``other`` among the models of a merge, the first one's being 0.

    Returns:
        A number of 60 bits.
    """
    seeds = [first.init_seed, first.data_seed, other.init_seed, other.data_seed]
    return int(content_key(["draw", seeds, draw, place])[:15], 16)


class Draws:
    """Draws of models of one architecture.

    Args:
        spec: of the architecture, see `lmc.merging.tracing.trace_permutation_spec`.
        example: two inputs.
    """

    def __init__(self, spec: PermutationSpec, example: Tensor) -> None:
        self._spec, self._example = spec, example
        self._verified: set[nn.Module] = set()

    def state(self, network: nn.Module, seed: int) -> dict[str, Tensor]:
        """The state of ``network``, its units reordered as ``seed`` has it.

        Raises:
            MergeError: a permutation would change the function, which is tried once for every network; or its outputs
                are not finite.
        """
        permutations, state = random_permutations(self._spec, seed), network.state_dict()
        if network not in self._verified:
            verify(network, state, self._spec, permutations, self._example)
            self._verified.add(network)
        return permute(state, self._spec, permutations)
