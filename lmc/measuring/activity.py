"""Which coordinates of a pre-activation matter, and whether two models use the same ones (Fig. 5, 6, 21, 22)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmc.errors import MergeError, SpecError
from lmc.measuring.calls import ActivationCall
from lmc.precision import double

ACTIVE_THRESHOLD = 0.05
"""A coordinate counts as active above this share of the layer's largest moment; §5.2 only says "negligible". Below
it, a coordinate adds less than 1/400 of what the largest one adds to the second moment of the pre-activation."""

VARYING_THRESHOLD = 1e-3
"""A channel counts as varying where its standard deviation over inputs exceeds this share of the layer's scale, its
largest root second moment. bfloat16, in which many models are trained, resolves 1/256 of it: what varies less never
reached the next layer in training. It is far above what rounding in float32 leaves of a constant, about 1e-6."""

BINS = 50


class Moments:
    """√E[h_c²] of every channel c of every activation's input h (§5.2, Fig. 5; all layers: F.7), batch by batch.

    The moment is uncentered: a coordinate that is constant but not zero does count. No batch is held.

    Deviates:
        Behind a convolution the mean is over inputs *and positions*, giving one number per channel; the paper
        does not say whether it counts channels or the coordinates (channel, row, column). Channels are what a
        layer's width and its permutations count.
    """

    def __init__(self) -> None:
        self._squares: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._sums: dict[str, Tensor] = {}
        self._inputs = 0

    def add(self, activations: Mapping[str, ActivationCall]) -> None:
        """Add one batch, by name of the activation (see `lmc.measuring.tapping`)."""
        for name, call in activations.items():
            self._squares[name] = self._squares[name] + call.squares if name in self._squares else call.squares
            self._counts[name] = self._counts.get(name, 0) + call.count
            self._sums[name] = self._sums[name] + call.sums if name in self._sums else call.sums
        self._inputs += len(next(iter(activations.values())).before) if activations else 0

    def count(self, name: str) -> int:
        """How many numbers each moment of an activation is the mean of, inputs times positions."""
        return self._counts[name]

    def roots(self) -> dict[str, Tensor]:
        """By activation, in order of execution: float64 (channels,).

        Raises:
            MergeError: a moment is not finite; the activation is named.
        """
        moments = {name: (total / self._counts[name]).sqrt() for name, total in self._squares.items()}
        for name, each in moments.items():
            _check(each, f"the pre-activation of {name}")
        return moments

    def spreads(self) -> dict[str, Tensor]:
        """√Var[h_c] over the inputs, of every channel; by activation, in order of execution: float64 (channels,).

        Behind a convolution the variance is taken position by position, then averaged: an answer that differs at the
        border of every image alike says nothing of the image.
        """
        found = {}
        for name, total in self._squares.items():
            constant = self._sums[name].square().sum(1) / self._inputs
            found[name] = ((total - constant) / self._counts[name]).clamp_min(0).sqrt()
        return found

    def varying_shares(self) -> dict[str, float]:
        """The share of each activation's channels that vary with the input, see `varying`.

        Raises:
            MergeError: a moment is not finite; the activation is named.
        """
        spreads = self.spreads()
        return {name: active_share(varying(spreads[name], each)) for name, each in self.roots().items()}


def varying(spreads: Tensor, moments: Tensor, threshold: float = VARYING_THRESHOLD) -> Tensor:
    """The channels that vary with the input; where none does, the layer has collapsed and tells nothing of its input.

    A residual branch may collapse while the net goes on to work, by its shortcut.

    Args:
        spreads: standard deviations over the inputs, floating (channels,), see `Moments.spreads`.
        moments: root second moments of the same channels.
        threshold: relative to the largest moment.

    Returns:
        bool (channels,); none in a dead layer.
    """
    return spreads > threshold * moments.amax()


def active(moments: Tensor, threshold: float = ACTIVE_THRESHOLD) -> Tensor:
    """The coordinates whose root second moment exceeds ``threshold`` times the largest one (§5.2, Fig. 6).

    Args:
        moments: floating (channels,), see `Moments`.
        threshold: in (0, 1), relative to the largest moment.

    Returns:
        bool (channels,). Nothing is active in a dead layer, where all moments are zero.

    Raises:
        SpecError: ``threshold`` is not in (0, 1), or ``moments`` is not one row of numbers >= 0.
        MergeError: a moment is not finite.
    """
    if not 0 < threshold < 1:
        raise SpecError(f"threshold is {threshold!r}; it must lie between 0 and 1, e.g. {ACTIVE_THRESHOLD}")
    _check(moments, "the layer")
    return moments > threshold * moments.amax()


def active_share(flags: Tensor) -> float:
    """The share of coordinates that are active (Fig. 5).

    Args:
        flags: bool (channels,), see `active`.
    """
    return float(double(flags).mean())


def overlap_ratio(active_a: Tensor, active_b: Tensor) -> float:
    r"""\|A ∩ B\| / \|A ∪ B\| of the active coordinates of two models (Fig. 6; with permutations: F.8, Fig. 22).

    Without overlap and with all else zero, σ(λ h_a + (1-λ) h_b) = λ σ(h_a) + (1-λ) σ(h_b) exactly (§5.2).

    Args:
        active_a: bool (channels,), see `active`.
        active_b: the same of model b.

    Returns:
        A number in [0, 1]; 0 where neither has an active coordinate, as nothing overlaps then.

    Raises:
        SpecError: the two differ in shape.
    """
    if active_a.shape != active_b.shape:
        shapes = f"{tuple(active_a.shape)} and {tuple(active_b.shape)}"
        raise SpecError(f"active coordinates of shapes {shapes}; compare one layer of two models of one width")
    union = int((active_a | active_b).sum())
    return int((active_a & active_b).sum()) / union if union else 0.0


def histogram(moments: Tensor, bins: int = BINS) -> dict[str, Any]:
    """How many root second moments fall into each bin, and the share of the leftmost one (Fig. 5; F.7, Fig. 21).

    Args:
        moments: floating (channels,), see `Moments`.
        bins: number of bins of equal width.

    Returns:
        JSON-ready numbers, ``counts`` per bin, ``largest`` (the right edge of the last bin) and ``leftmost_share``,
        the number that Figure 21 prints next to "Small input std.". A dead layer is all in its leftmost bin.

    Raises:
        SpecError: ``bins`` is less than 1, or ``moments`` is not one row of numbers >= 0.
        MergeError: a moment is not finite.

    Deviates:
        The first bin starts at 0, not at the smallest moment, so that "small" means the same in every layer.
    """
    if bins < 1:
        raise SpecError(f"bins is {bins!r}; it must be at least 1, e.g. {BINS}")
    _check(moments, "the layer")
    largest = float(moments.amax())
    relative = double(moments).cpu().numpy() / (largest or 1.0)
    counts = np.histogram(relative, bins, range=(0.0, 1.0))[0].tolist()
    return {"counts": counts, "largest": largest, "leftmost_share": counts[0] / len(moments)}


def chance_overlap(share_a: float, share_b: float) -> float:
    """The overlap ratio of two independent random subsets with these shares: pq / (p + q - pq).

    What `overlap_ratio` must stay below for the models to avoid each other, and exceed for them to agree.

    Args:
        share_a: p, the active share of model a.
        share_b: q, that of model b.
    """
    union = share_a + share_b - share_a * share_b
    return share_a * share_b / union if union else 0.0


def compare_activity(of_a: Tensor, of_b: Tensor) -> dict[str, float]:
    """Active neurons of one layer of two models, and their overlap (Fig. 6, 22).

    Args:
        of_a: root second moments (channels,), see `Moments`.
        of_b: the same of model b; permuted to match a for Figure 22.

    Returns:
        JSON-ready numbers, ``active_share`` (mean of both), ``overlap_ratio`` and ``overlap_chance``.
    """
    flags_a, flags_b = active(of_a), active(of_b)
    shares = active_share(flags_a), active_share(flags_b)
    return {
        "active_share": sum(shares) / 2,
        "overlap_ratio": overlap_ratio(flags_a, flags_b),
        "overlap_chance": chance_overlap(*shares),
    }


def _check(moments: Tensor, what: str) -> None:
    if moments.ndim != 1 or not len(moments):
        raise SpecError(f"moments of {what} have shape {tuple(moments.shape)}; pass one number per channel")
    if not torch.isfinite(moments).all():
        raise MergeError(f"moments of {what} are NaN or infinite; the model diverged, train it again")
    if (moments < 0).any():
        raise SpecError(f"moments of {what} are as small as {float(moments.amin())}; pass roots of second moments")
