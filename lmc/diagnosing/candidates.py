"""One way to merge models: what it is called, what it gives, and how much worse that is than the models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmc.diagnosing.scoring import Score

AS_GIVEN = "as they are"

UNPERMUTED, MATCHED, COMPLEMENTARY = "unpermuted", "matching", "complementary"
"""What order the models' channels are brought into, which is none, alike by weight matching, or strong on weak."""

MEAN, SUM = "mean", "sum"
"""How weights are combined, see `lmc.merging.weights.merge` and `lmc.merging.sums`."""


@dataclass(frozen=True)
class Way:
    """How to merge, but for the BatchNorm reset.

    Args:
        alignment: ``"unpermuted"``, ``"matching"`` or ``"complementary"``.
        rescaled: whether channels are rescaled to those of the first model.
        rule: ``"mean"`` or ``"sum"``.
    """

    alignment: str = UNPERMUTED
    rescaled: bool = False
    rule: str = MEAN

    @property
    def permuted(self) -> bool:
        """Whether the models' channels are reordered first."""
        return self.alignment != UNPERMUTED

    @property
    def effort(self) -> tuple[bool, bool, bool]:
        """What it takes, to be compared, a permutation most, then another rule than the mean, then rescaling."""
        return self.permuted, self.rule == SUM and not self.permuted, self.rescaled


def name_of(way: Way, *, reset: bool = False) -> str:
    """What a merge is called, by what is done to the models first, how they are merged, and what is done after."""
    order = {UNPERMUTED: "", MATCHED: "permuted", COMPLEMENTARY: COMPLEMENTARY}[way.alignment]
    parts = {order: way.permuted, "rescaled": way.rescaled, SUM: way.rule == SUM, "BN reset": reset}
    return ", ".join(part for part, done in parts.items() if done) or AS_GIVEN


@dataclass(frozen=True)
class Excess:
    """How much worse the merged model is than the mean of the models it was made of (Def. 2.1 at equal weights).

    Args:
        metric: how much worse the metric is, negative where the merged model is better; for a classifier accuracy lost.
        loss: loss added, for a classifier nats.
        calibrated_loss: the same after each model got its own β; ``None`` without β.
    """

    metric: float
    loss: float
    calibrated_loss: float | None = None


@dataclass(frozen=True)
class Candidate:
    """One way to merge.

    Args:
        name: for the reader.
        way: what is done to the models first, and how they are merged.
        reset: whether BatchNorm statistics were reset afterwards.
        merged: what the merged model does.
        excess: against the models, with and without a reset of their own, whichever is harder to reach.
    """

    name: str
    way: Way
    reset: bool
    merged: Score
    excess: Excess


@dataclass(frozen=True)
class LinearPath:
    """Loss and metric along λ between two models (λ weights the first).

    The middle is measured on all inputs. Elsewhere, where there are many, a part of them is taken: what a point has
    more than the straight line between the ends, example by example, is added to that line.

    Args:
        lams: λ, increasing from 0 to 1.
        points: the score at each; β of the ends and the middle alone where a part was taken.
        barriers: ``{loss,calibrated_loss,metric}_barrier_{midpoint,maximum}`` (Def. 2.1); ``None`` where unknown.
        errors: standard errors of the paired differences, by ``metric`` and ``loss``, one per λ.
        inputs: how many the points between were measured on.
    """

    lams: tuple[float, ...]
    points: tuple[Score, ...]
    barriers: Mapping[str, float | None]
    errors: Mapping[str, tuple[float, ...]]
    inputs: int

    @property
    def midpoint(self) -> Score:
        """What the mean of the two models does."""
        return self.points[self.lams.index(0.5)]


def excess_of(merged: Score, *references: Sequence[Score], lower_is_better: bool = False) -> Excess:
    """The merged model against the mean of the models.

    Args:
        merged: what it does.
        references: what the models do, as they are and with other treatments; the hardest counts, number by number.
        lower_is_better: of the metric.
    """

    def mean(models: Sequence[Score], name: str) -> float:
        return float(sum(getattr(each, name) for each in models)) / len(models)

    sign = 1 if lower_is_better else -1
    calibrated = None
    if merged.calibrated_loss is not None and all(each.calibrated_loss is not None for each in references[0]):
        calibrated = max(merged.calibrated_loss - mean(models, "calibrated_loss") for models in references)
    return Excess(
        max(sign * (merged.metric - mean(models, "metric")) for models in references),
        max(merged.loss - mean(models, "loss") for models in references),
        calibrated,
    )
