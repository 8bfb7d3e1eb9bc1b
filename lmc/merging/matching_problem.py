"""The objective of weight matching, and what each channel of model b adds to it in each place of model a."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lmc.errors import MergeError
from lmc.merging.channel_groups import Axis, groups_of, places_of
from lmc.merging.permutation_spec import Permutations, PermutationSpec, check_state, order_of, permute_tensor
from lmc.merging.weights import State, check_same_architecture
from lmc.precision import double, where_float64

LEAST_GAIN = 1e-12
"""Smallest improvement worth a step, relative to ‖a‖·‖b‖; above rounding, which must not look like progress."""


class Problem:
    """The parameters of both models, and which groups meet in which of them.

    Raises:
        MergeError: the states do not fit each other or the specification, a weight is not finite, or float64 does not
            hold ‖a‖·‖b‖.
    """

    def __init__(self, spec: PermutationSpec, a: State, b: State) -> None:
        check_state(spec, a, "model a")
        check_same_architecture(a, b)
        self.labels = {name: labels for name, labels in spec.axes.items() if name not in spec.buffers}
        self.sizes, self.a, self.b = spec.groups, a, b
        # group -> the (parameter, axis) it orders
        self.uses: dict[str, list[tuple[str, int]]] = {group: [] for group in spec.groups}
        self.neighbours: dict[str, set[str]] = {group: set() for group in spec.groups}
        self.quadratic: dict[str, set[str]] = {group: set() for group in spec.groups}
        for name, labels in self.labels.items():
            met = [group for axis in labels for group in groups_of(axis)]
            for number, axis in enumerate(labels):
                for group in groups_of(axis):
                    self.uses[group].append((name, number))
            for group in met:
                if met.count(group) > 1:
                    self.quadratic[group].add(name)
                self.neighbours[group] |= {other for other in met if other != group or met.count(group) > 1}
        largest = self._norm(a, "a") * self._norm(b, "b")  # no gain exceeds it, nor do the sums on the way to one
        if not math.isfinite(largest):
            raise MergeError("the weights are too large to be matched in float64: ‖a‖·‖b‖ overflows; scale them down")
        self.least_gain = LEAST_GAIN * largest
        single = torch.finfo(torch.float32)
        self._fits_single = largest < single.max and (self.least_gain > single.tiny or not largest)

    def _norm(self, state: State, what: str) -> float:
        tensors = {name: where_float64(state[name]) for name in self.labels}
        norms = {name: torch.linalg.vector_norm(each, dtype=torch.float64).item() for name, each in tensors.items()}
        for name, norm in norms.items():
            if not math.isfinite(norm) and not torch.isfinite(state[name]).all():
                raise MergeError(f"{name} of model {what} holds NaN or infinite values; the model diverged")
        return math.hypot(*norms.values())

    def objective(self, permutations: Permutations, names: Iterable[str] | None = None) -> float:
        """Σ <a, π(b)> over the named parameters, or all; summed in float64."""
        total = 0.0
        for name in self.labels if names is None else sorted(names):
            permuted = permute_tensor(self.b[name], self.labels[name], permutations)
            total += (double(self.a[name]) * double(permuted)).sum().item()
        return total

    def gains(self, group: str, permutations: Permutations) -> Tensor | None:
        """G[i, j]: what channel j of b in the place of channel i of a adds to the objective; (n, n).

        Only what is ordered by nothing but ``group`` and the groups of ``permutations`` counts; ``None`` where that
        is nothing.
        """
        total = None
        for name, number in self.uses[group]:
            one, other = self._aligned(name, number, permutations)
            if one.numel():
                product = self._rows(one, name, number, group) @ self._rows(other, name, number, group).T
                total = product if total is None else total.add_(product)
        return None if total is None else total.cpu()

    def gain_of(self, group: str, new: Tensor, permutations: Permutations) -> float:
        """How much the objective grows where ``group`` gets the permutation ``new``, in float64."""
        if self.quadratic[group]:
            names = {name for name, _ in self.uses[group]}
            return self.objective({**permutations, group: new}, names) - self.objective(permutations, names)
        moved = torch.nonzero(new != permutations[group]).flatten()
        total = 0.0
        for name, number in self.uses[group] if len(moved) else ():
            one, other = self._aligned(name, number, permutations)
            rows, others = (self._rows(tensor, name, number, group) for tensor in (one, other))
            indices, after, before = (each.to(rows.device) for each in (moved, new[moved], permutations[group][moved]))
            difference = double(others[after]) - double(others[before])
            total += (double(rows[indices]) * difference).sum().item()
        return total

    def batches(self, order: Sequence[str]) -> list[list[str]]:
        """The groups in batches within which no two share a parameter, and neighbours keep their order.

        Going through the batches gives exactly what going through ``order`` one by one gives.
        """
        level: dict[str, int] = {}
        for group in order:
            level[group] = max((level[other] + 1 for other in self.neighbours[group] if other in level), default=0)
        return [[group for group in order if level[group] == depth] for depth in sorted(set(level.values()))]

    def _aligned(self, name: str, number: int, permutations: Permutations) -> tuple[Tensor, Tensor]:
        """A parameter of a, and of b permuted on all axes but one, without what groups of no order yet have."""
        one, other = self.a[name], self.b[name]
        for index, axis in enumerate(self.labels[name]):
            if axis is None or index == number:
                continue
            missing = [group for group in groups_of(axis) if group not in permutations]
            known = {**permutations, **{group: torch.arange(self.sizes[group]) for group in missing}}
            order = order_of(axis, known if missing else permutations).to(other.device)
            if missing:
                keep = torch.ones(len(order), dtype=torch.bool)
                for group in missing:
                    keep[places_of(axis, group, self.sizes[group]).flatten()] = False
                kept = torch.nonzero(keep).flatten().to(one.device)
                one, order = one.index_select(index, kept), order[kept]
            other = other.index_select(index, order)
        return one, other

    def _rows(self, tensor: Tensor, name: str, number: int, group: str) -> Tensor:
        """The channels of a group in a parameter, one per row: (channels, what each has there)."""
        axis, size = self.labels[name][number], self.sizes[group]
        assert axis is not None
        if not isinstance(axis, Axis):
            places = places_of(axis, group, size).flatten().to(tensor.device)
            tensor = tensor.index_select(number, places)
        rows = tensor.movedim(number, 0).reshape(size, -1)
        return rows.float() if self._fits_single and rows.dtype != torch.float64 else double(rows)
