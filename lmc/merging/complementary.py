"""Complementary permutation: one model's strong channels where the others' are weak, so that none is active in two.

The opposite of weight matching, and no assignment problem but a sort: by the rearrangement inequality, pairing one
model's strongest channels with the other's weakest minimises Σ_c s_c t_c, and the answers of one model's weights to the
other's activations are sums of such products. It helps where models leave channels unused, which strong decay makes
them do. Maximising the distance ‖a - π(b)‖ does not do the same: it looks for weights of opposite sign, which cancel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lmc.errors import MergeError
from lmc.merging.permutation_spec import PermutationSpec
from lmc.merging.strengths import Strengths
from lmc.merging.weight_matching import weight_matching
from lmc.merging.weights import State


def complementary_permutations(
    spec: PermutationSpec, strengths: Sequence[Strengths], *, dose: float = 1.0, seed: int = 0
) -> list[dict[str, Tensor]]:
    """Place one model after the other: its strongest channels where all before it together are weakest.

    Args:
        spec: of the models' architecture.
        strengths: of each model, see `lmc.merging.strengths`.
        dose: share of every group's channels that are placed so, in [0, 1]; the others, chosen at random, stay.
        seed: of that choice.

    Returns:
        Per model the permutations for `lmc.merging.permutation_spec.permute`, the first one's the identity.

    Raises:
        MergeError: fewer than two models, strengths that do not fit the groups, or a dose out of range.

    Example:
        >>> from lmc.merging.channel_groups import Axis
        >>> spec = PermutationSpec({"weight": (None, Axis("hidden"))}, {"hidden": 3})
        >>> of_a, of_b = {"hidden": torch.tensor([3.0, 0.0, 1.0])}, {"hidden": torch.tensor([5.0, 2.0, 0.0])}
        >>> complementary_permutations(spec, [of_a, of_b])[1]["hidden"]  # channel 0, b's strongest, into place 1
        tensor([2, 0, 1])
    """
    if not 0 <= dose <= 1:
        raise MergeError(f"dose is {dose!r}; it must be between 0 (nothing moves) and 1 (all channels are placed)")
    generator = torch.Generator().manual_seed(seed)
    moving = {
        group: torch.randperm(size, generator=generator)[: round(dose * size)].sort().values
        for group, size in spec.groups.items()
    }
    return _placed(spec, strengths, moving, descending=False)


def reversed_permutations(spec: PermutationSpec, strengths: Sequence[Strengths]) -> list[dict[str, Tensor]]:
    """The same sort reversed, strong on strong: what shows that it is the order that helps. A control.

    Args:
        spec: see `complementary_permutations`.
        strengths: likewise.

    Returns:
        See `complementary_permutations`.

    Raises:
        MergeError: fewer than two models, or strengths that do not fit the groups.
    """
    return _placed(spec, strengths, {group: torch.arange(size) for group, size in spec.groups.items()}, descending=True)


def distant_permutations(spec: PermutationSpec, a: State, b: State) -> dict[str, Tensor]:
    """Weight matching with the sign turned: the largest ‖a - π(b)‖ that its descent finds (PaRaMS, 2503.07661).

    Args:
        spec: of the models' architecture.
        a: state dict of the model that stays.
        b: state dict of the model to permute.

    Returns:
        Per group, int64 (channels,).

    Raises:
        MergeError: see `lmc.merging.weight_matching.weight_matching`.
    """
    turned = {name: -tensor if tensor.is_floating_point() else tensor for name, tensor in a.items()}
    return weight_matching(spec, turned, b).permutations


def _placed(
    spec: PermutationSpec, strengths: Sequence[Strengths], moving: dict[str, Tensor], *, descending: bool
) -> list[dict[str, Tensor]]:
    """Place the channels ``moving`` of every model but the first, by rank against those already there."""
    if len(strengths) < 2:
        raise MergeError(f"strengths of {len(strengths)} model; complementary are two models or more")
    for index, each in enumerate(strengths):
        _check(spec, each, index)
    taken = {group: strengths[0][group].clone() for group in spec.groups}
    found = [{group: torch.arange(size) for group, size in spec.groups.items()}]
    for own in strengths[1:]:
        permutations = {}
        for group, size in spec.groups.items():
            among, order = moving[group], torch.arange(size)
            places = among[taken[group][among].argsort(descending=True, stable=True)]
            order[places] = among[own[group][among].argsort(descending=descending, stable=True)]
            permutations[group] = order
            taken[group] += own[group][order]
        found.append(permutations)
    return found


def _check(spec: PermutationSpec, strengths: Strengths, index: int) -> None:
    sizes = {group: len(each) for group, each in strengths.items()}
    if sizes != dict(spec.groups):
        raise MergeError(f"strengths of model {index} are of {sizes}, the groups {dict(spec.groups)}; use one spec")
    for group, each in strengths.items():
        if not torch.isfinite(each).all() or (each < 0).any():
            raise MergeError(
                f"strengths of {group!r} of model {index} are negative, NaN or infinite; pass squared norms"
            )
