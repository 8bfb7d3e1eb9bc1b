"""What is to be measured of trained models, each request named by its content key. Imports no torch.

`lmc.measuring.records` carries them out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from lmc.errors import MergeError, SpecError
from lmc.shares import checked_shares
from lmc.specs import RunSpec, content_key

MEASURE_VERSION = 7
"""Raised whenever the measuring code changes what a measurement holds; part of every key."""

MIDPOINT = (0.0, 0.5, 1.0)
FULL_PATH = tuple(step / 10 for step in range(11))
FLATNESS_STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)

MATCHING_STARTS = 3
"""Starts of the coordinate descent of weight matching, the best of which counts. From the identity alone, one pair
in five of strongly decayed VGGs ends at a poor optimum, whose merge is far worse than without matching."""

ALIGNMENTS = ("unpermuted", "matching", "random")


class Measurement(Protocol):
    """A request for numbers of one or more trained models; the store keeps their record under its key."""

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        """The models it needs."""
        ...

    @property
    def key(self) -> str:
        """Content key of kind, version of the measuring code, models and settings."""
        ...

    def describe(self) -> str:
        """One line for logs and error messages."""
        ...


@dataclass(frozen=True)
class PairMeasurement:
    """The path between two models and their layers at the midpoint.

    Args:
        a: spec of model a, at λ = 1.
        b: spec of model b, at λ = 0; equal to ``a`` up to the seeds. The same spec is a control.
        lams: points of the path, increasing, with 0, ½ and 1.
        alignment: what is done before the merge: ``"unpermuted"``; ``"matching"``: model b is permuted by weight
            matching (App. F.2); ``"random"``: each model is permuted at random (F.4; only the path is measured).

    Raises:
        SpecError: ``lams`` lacks a needed point or is not increasing, or ``alignment`` is unknown.
        MergeError: the two specs are of different architecture, width or dataset.
    """

    a: RunSpec
    b: RunSpec
    lams: tuple[float, ...] = MIDPOINT
    alignment: str = "unpermuted"

    def __post_init__(self) -> None:
        if not set(MIDPOINT) <= set(self.lams) or sorted(set(self.lams)) != list(self.lams):
            raise SpecError(f"lams {self.lams} must increase from 0 to 1 and include 0.5")
        if self.lams[0] != 0 or self.lams[-1] != 1:
            raise SpecError(f"lams {self.lams} must lie within [0, 1]")
        if self.alignment not in ALIGNMENTS:
            raise SpecError(f"unknown alignment {self.alignment!r}; choose one of {', '.join(ALIGNMENTS)}")
        check_one_architecture(self.specs)

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        """The two models."""
        return self.a, self.b

    @functools.cached_property
    def key(self) -> str:
        """See `Measurement`."""
        starts = [MATCHING_STARTS] if self.alignment == "matching" else []
        return _key("pair", self.specs, list(self.lams), self.alignment, *starts)

    def describe(self) -> str:
        """See `Measurement`."""
        how = "" if self.alignment == "unpermuted" else f" ({self.alignment} permutation)"
        return f"pair {self.a.seed}-{self.b.seed} of {self.a.describe()}{how}"


@dataclass(frozen=True)
class ModelMeasurement:
    """Ranks, active neurons and accuracy of one model.

    Args:
        spec: of the model.
    """

    spec: RunSpec

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        """The one model."""
        return (self.spec,)

    @functools.cached_property
    def key(self) -> str:
        """See `Measurement`."""
        return _key("model", self.specs)

    def describe(self) -> str:
        """See `Measurement`."""
        return self.spec.describe()


@dataclass(frozen=True)
class FlatnessMeasurement:
    """Model a along a random direction as long as its distance from model b (App. D).

    Args:
        a: spec of the model that is perturbed.
        b: spec of the model whose distance is the length of the step.
        alphas: shares of the step, from 0 to 1.
    """

    a: RunSpec
    b: RunSpec
    alphas: tuple[float, ...] = FLATNESS_STEPS

    def __post_init__(self) -> None:
        check_one_architecture(self.specs)

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        """The two models."""
        return self.a, self.b

    @functools.cached_property
    def key(self) -> str:
        """See `Measurement`."""
        return _key("flatness", self.specs, list(self.alphas))

    def describe(self) -> str:
        """See `Measurement`."""
        return f"flatness of {self.a.describe()}, {self.b.seed} away"


@dataclass(frozen=True)
class MergeMeasurement:
    """The average of k models against its ensemble.

    Args:
        specs: the models, equal up to their seeds.
        weights: λ_1 .. λ_k; empty for 1/k each.

    Raises:
        MergeError: the weights do not fit the models (see `lmc.shares.checked_shares`), or the specs are of
            different architecture, width or dataset, or fewer than two.
    """

    specs: tuple[RunSpec, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.specs) < 2:
            raise MergeError(f"{len(self.specs)} models cannot be merged; name at least two")
        checked_shares(self.weights or None, len(self.specs))
        check_one_architecture(self.specs)

    @functools.cached_property
    def key(self) -> str:
        """See `Measurement`."""
        return _key("merge", self.specs, list(self.weights))

    def describe(self) -> str:
        """See `Measurement`."""
        seeds = ", ".join(str(spec.seed) for spec in self.specs)
        weights = f" with weights {', '.join(f'{each:g}' for each in self.weights)}" if self.weights else ""
        return f"merge of {seeds}{weights} of {self.specs[0].describe()}"


def check_one_architecture(specs: tuple[RunSpec, ...]) -> None:
    """Refuse specs whose models cannot be averaged.

    Raises:
        MergeError: naming the first field that differs.
    """
    first = specs[0]
    for field in ("dataset", "classes", "arch", "width", "depth", "train_size", "bias"):
        for other in specs[1:]:
            if getattr(first, field) != getattr(other, field):
                raise MergeError(
                    f"cannot merge {field} {getattr(first, field)!r} with {field} {getattr(other, field)!r}; "
                    "choose equal specs"
                )


def families_of(measurements: Iterable[Measurement]) -> list[tuple[Measurement, ...]]:
    """Measurements that read the same models in the same way, to be carried out together.

    Returns:
        Groups in the order of their first measurement; within one, models are equal up to their seeds, and kind and
        alignment are the same. Every measurement stands in one group.
    """
    groups: dict[tuple[object, ...], list[Measurement]] = {}
    for measurement in measurements:
        recipe = measurement.specs[0].with_seed(0)
        group = type(measurement), getattr(measurement, "alignment", None), recipe
        groups.setdefault(group, []).append(measurement)
    return [tuple(group) for group in groups.values()]


def _key(kind: str, specs: tuple[RunSpec, ...], *settings: object) -> str:
    return content_key([kind, MEASURE_VERSION, [spec.key for spec in specs], *settings])
