"""What is to be measured of trained models, each request named by its content key. Imports no torch.

`lmc.measuring.records` carries them out.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Protocol

from lmc.errors import MergeError, SpecError
from lmc.measuring import mergeable
from lmc.shares import checked_shares
from lmc.specs import RunSpec, content_key

MEASURE_VERSION = 8
"""Raised whenever the measuring code changes what a measurement holds; part of every key."""

MIDPOINT = (0.0, 0.5, 1.0)
FULL_PATH = tuple(step / 10 for step in range(11))
FLATNESS_STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)

MATCHING_STARTS = 3
"""Starts of the coordinate descent of weight matching, the best of which counts. From the identity alone, one pair
in five of strongly decayed VGGs ends at a poor optimum, whose merge is far worse than without matching."""


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

    A draw has the law of an independent pair, as initial weights are so by layer and optimisers treat every weight
    alike; but it shares the models. With ``a`` equal to ``b`` it is a self-permutation forecast.

    Args:
        a: spec of model a, at λ = 1.
        b: spec of model b, at λ = 0; equal to ``a`` up to the seeds. The same spec is a control.
        lams: points of the path, increasing, with 0, ½ and 1.
        alignment: what is done to model b before the merge, see `lmc.measuring.mergeable.ALIGNMENTS`.
        draw: from 1 on, model b is permuted at random, by a seed derived from the models' seeds and ``draw`` (F.4);
            0 leaves it as it is.
        layers: whether layers are measured too, which takes longer than the midpoint of the path.

    Raises:
        SpecError: ``lams`` lacks a needed point or is not increasing, ``alignment`` is unknown, or there can be no
            draw of these models (see `lmc.measuring.mergeable.check_draw`).
        MergeError: the two specs are of different architecture, width or dataset.
    """

    a: RunSpec
    b: RunSpec
    lams: tuple[float, ...] = MIDPOINT
    alignment: str = "unpermuted"
    draw: int = 0
    layers: bool = True

    def __post_init__(self) -> None:
        whole = set(MIDPOINT) <= set(self.lams) and sorted(set(self.lams)) == list(self.lams)
        if not whole or (self.lams[0], self.lams[-1]) != (0, 1):
            raise SpecError(f"lams {self.lams} must increase from 0 to 1 and include 0.5")
        mergeable.check_draw(self.specs, self.alignment, self.draw)
        mergeable.check_one_architecture(self.specs)

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        """The two models."""
        return self.a, self.b

    @functools.cached_property
    def key(self) -> str:
        """See `Measurement`."""
        return _key("pair", self.specs, list(self.lams), *_aligned(self.alignment), self.draw, self.layers)

    def describe(self) -> str:
        """See `Measurement`."""
        return f"pair {self.a.seed}-{self.b.seed} of {self.a.describe()}{_how(self.alignment, self.draw)}"


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
        mergeable.check_one_architecture(self.specs)

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
    """k models merged into one, against their ensemble.

    Args:
        specs: the models, equal up to their seeds.
        weights: λ_1 .. λ_k; empty for 1/k each.
        alignment: what is done to the models after the first, see `lmc.measuring.mergeable.ALIGNMENTS`.
        rule: ``"mean"``, ``"sum"`` (hidden layers are summed, the last averaged) or ``"transplant"``.
        bn: BatchNorm statistics are ``"reset"`` on training images, or ``"summed"``, which needs no data.
        draw: from 1 on, the models after the first are permuted at random; see `PairMeasurement`.
        dose: share of the channels that a complementary permutation places; those that stay are chosen by the models'
            seeds.
        layers: whether layers are measured too, which takes longer than the merge.

    Raises:
        MergeError: the weights do not fit the models (see `lmc.shares.checked_shares`), or the specs are of
            different architecture, width or dataset, or fewer than two.
        SpecError: ``alignment``, ``rule`` or ``bn`` is unknown, the statistics of a mean are to be summed, there
            can be no draw of these models (see `lmc.measuring.mergeable.check_draw`), or ``dose`` is out of range or
            not of a complementary permutation.
    """

    specs: tuple[RunSpec, ...]
    weights: tuple[float, ...] = ()
    alignment: str = "unpermuted"
    rule: str = "mean"
    bn: str = "reset"
    draw: int = 0
    dose: float = 1.0
    layers: bool = True

    def __post_init__(self) -> None:
        if len(self.specs) < 2:
            raise MergeError(f"{len(self.specs)} models cannot be merged; name at least two")
        checked_shares(self.weights or None, len(self.specs))
        mergeable.check_rule(self.rule, self.bn, self.alignment, self.dose)
        mergeable.check_draw(self.specs, self.alignment, self.draw)
        mergeable.check_one_architecture(self.specs)

    @functools.cached_property
    def key(self) -> str:
        """See `Measurement`."""
        how = [*_aligned(self.alignment), self.rule, self.bn, self.draw]
        part = [] if self.dose == 1 and self.layers else [self.dose, self.layers]  # the whole keeps its key
        return _key("merge", self.specs, list(self.weights), *how, *part)

    def describe(self) -> str:
        """See `Measurement`."""
        seeds = ", ".join(str(spec.seed) for spec in self.specs)
        weights = f" with weights {', '.join(f'{each:g}' for each in self.weights)}" if self.weights else ""
        rule = {"mean": "merge"}.get(self.rule, self.rule) + ("" if self.bn == "reset" else f", statistics {self.bn},")
        dose = "" if self.dose == 1 else f" of {self.dose:g} of the channels"
        return f"{rule} of {seeds}{weights} of {self.specs[0].describe()}{_how(self.alignment, self.draw)}{dose}"


@dataclass(frozen=True)
class PruneMeasurement:
    """One model with only its strongest channels.

    Args:
        spec: of the model.
        keeps: shares of the channels of every group that are kept, each in (0, 1].

    Raises:
        SpecError: there is no share, or one is out of range.
    """

    spec: RunSpec
    keeps: tuple[float, ...]

    def __post_init__(self) -> None:
        mergeable.check_keeps(self.keeps)

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        """The one model."""
        return (self.spec,)

    @functools.cached_property
    def key(self) -> str:
        """See `Measurement`."""
        return _key("prune", self.specs, list(self.keeps))

    def describe(self) -> str:
        """See `Measurement`."""
        return f"pruning of {self.spec.describe()}"


@dataclass(frozen=True)
class LayerFitMeasurement:
    """What layers of a merged model consist of: those of a and b, which it merges, and of a third, c, its null.

    Args:
        a: spec of model a.
        b: spec of model b.
        c: spec of a third model, equal to them up to the seeds.
        lam: λ in (0, 1), the weight of model a.
        alignment: ``"unpermuted"``, or ``"matching"``: b and c are permuted to be close to a.

    Raises:
        SpecError: two of the models are one, λ is out of range, or the alignment is another.
        MergeError: the specs are of different architecture, width or dataset.
    """

    a: RunSpec
    b: RunSpec
    c: RunSpec
    lam: float = 0.5
    alignment: str = "unpermuted"

    def __post_init__(self) -> None:
        mergeable.check_fit(self.specs, self.lam)
        mergeable.one_of("alignment", self.alignment, mergeable.ALIGNMENTS[:2])
        mergeable.check_one_architecture(self.specs)

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        """The three models."""
        return self.a, self.b, self.c

    @functools.cached_property
    def key(self) -> str:
        """See `Measurement`."""
        return _key("layer fit", self.specs, self.lam, *_aligned(self.alignment))

    def describe(self) -> str:
        """See `Measurement`."""
        merged = f"{self.a.seed}-{self.b.seed} at {self.lam:g} with {self.c.seed}"
        return f"layer fit of {merged} of {self.a.describe()}{_how(self.alignment, 0)}"


def _key(kind: str, specs: tuple[RunSpec, ...], *settings: object) -> str:
    return content_key([kind, MEASURE_VERSION, [spec.key for spec in specs], *settings])


def _aligned(alignment: str) -> list[object]:
    """What a key says of an alignment."""
    return [alignment, MATCHING_STARTS] if alignment == "matching" else [alignment]


def _how(alignment: str, draw: int) -> str:
    """What a description says of the permutation."""
    if draw:
        return f" (draw {draw})"
    return "" if alignment == "unpermuted" else f" ({alignment} permutation)"
