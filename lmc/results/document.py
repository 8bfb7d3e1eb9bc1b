"""What a results file holds: one definition, for whoever writes, reads, draws or compares it.

Numbers are as they were measured, rounded to six digits in the evidence; text is made of them where it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct, field

from lmc.claims.asked import Asked
from lmc.claims.verdicts import FAILS, FAILS_BY_CHANCE, FAILS_EXPLAINED, Role, Verdict

SCHEMA = "lmc-results/4"

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


class Value(Struct, frozen=True, omit_defaults=True):
    """One observation of a claim; what rests on no model has width 0 and no seeds."""

    width: NonNegative
    seeds: Seeds
    value: Number | None
    part: Text = ""
    group: Text = ""
    independent: bool = True
    draw: Count = 0
    error: NonNegative = 0.0


class Explained(Struct, frozen=True):
    """Why a claim is known to fail on a setting, and the experiment that would refute that.

    Args:
        why: the reason.
        refuted_by: the experiment; empty in files from before it was asked for.
        result: what came of it; empty where it has not been run.
    """

    why: Text
    refuted_by: Text = ""
    result: Text = ""


class Judged(Struct, frozen=True):
    """A claim judged on one setting.

    Args:
        name: of the setting.
        verdict: on it.
        reason: the numbers behind it, in words; without the part, see `lmc.results.wording.measured_in_words`.
        part: the layer, or other part, that decided; empty where the values have none, or where their mean decided.
        mean_of: how many parts the effect is the mean of; 0 where it is of one.
        effect: in the claim's unit.
        interval: 95 % interval of the effect.
        p_value: of the hypothesis that the effect is not what was asked.
        asked: what the effect had to reach; ``None`` where nothing was judged.
        values: the observations.
        kind: of the setting's networks, see `Family`; empty where nothing was trained for it.
        p_contrary: of the hypothesis that the effect is what was asked; ``None`` where nothing is random.
        explained: why it is known to fail there, if it is.
        predicted: the chance of being inconclusive that an earlier run gave it; ``None`` where there was none.
        by_chance: whether it fails as some of so many cases do by chance, see `lmc.results.chances`.
    """

    name: Text
    verdict: Verdict
    reason: Text
    part: Text
    mean_of: Count
    effect: Number | None
    interval: tuple[Number | None, Number | None] | None
    p_value: Number | None
    asked: Asked | None
    values: tuple[Value, ...]
    kind: Text = ""
    p_contrary: Number | None = None
    explained: Explained | None = None
    predicted: Number | None = None
    by_chance: bool = False

    @property
    def shown(self) -> str:
        """The verdict; of a failure also that it is explained, or else that it is not beyond chance."""
        fails = FAILS_EXPLAINED if self.explained else FAILS_BY_CHANCE if self.by_chance else FAILS
        return fails if self.verdict == FAILS else self.verdict


class Claim(Struct, frozen=True):
    """A claim with its verdicts.

    Args:
        id: unique and stable.
        ref: where the paper says it.
        items: the paper's figures, tables and theorems that it stands for, see `lmc.claims.paper.ITEMS`.
        statement: what it says.
        verdict: the worst of its settings'.
        unit: of the values.
        why: the reason for its bound.
        history: what it was before, and what had been seen then.
        settings: where it was judged.
        null: what would be measured if there were nothing in it.
        role: what the claim is, see `lmc.claims.verdicts.ROLES`.
    """

    id: Text
    ref: Text
    items: tuple[Text, ...]
    statement: Text
    verdict: Verdict
    unit: Text
    why: Text
    history: Text
    settings: Annotated[tuple[Judged, ...], Meta(min_length=1)]
    null: Text = ""
    role: Role = "claim"


Found = tuple[Claim, Judged]
"""A claim, and what was found on one of its settings."""


class Family(Struct, frozen=True):
    """Models of one recipe.

    Args:
        setting: name of the setting.
        kind: of its architecture: ``mlp``, ``vgg``, ``resnet`` or somebody's own.
        role: in the setting.
        dataset: it was trained on.
        arch: of the models.
        recipe: the spec without width and seeds; shown, never read.
        widths: increasing.
        seeds: of the models.
    """

    setting: Text
    kind: Text
    role: Text
    dataset: Text
    arch: Text
    recipe: dict[Text, Scalar]
    widths: tuple[Positive, ...]
    seeds: Seeds


class Home(Struct, frozen=True):
    """Whose numbers these are."""

    setting: Text
    role: Text
    width: Positive


class Model(Home, frozen=True):
    """The training log of one model; ``loss`` by epoch."""

    seed: Count
    status: Text
    parameters: Count
    steps: Count
    decay_horizon: Number
    seconds: Number
    loss: tuple[Number | None, ...]


class Ensemble(Struct, frozen=True):
    """The mean of two models' logits."""

    accuracy: Number
    loss: Number
    beta: Number | None
    calibrated_loss: Number | None


class Path(Home, frozen=True):
    """What lies between two models, point by point."""

    seeds: Seeds
    alignment: Text
    lams: Annotated[tuple[Number, ...], Meta(min_length=1)]
    accuracy: tuple[Number, ...]
    loss: tuple[Number, ...]
    beta: tuple[Number | None, ...]
    calibrated_loss: tuple[Number | None, ...]
    ensemble: Ensemble


class Outputs(Home, frozen=True):
    """Norms and cosines of two models' and their merge's outputs, by layer."""

    seeds: Seeds
    layers: tuple[Text, ...]
    norm_merged: tuple[Number | None, ...]
    norm_endpoints: tuple[Number | None, ...]
    endpoint_cosine: tuple[Number | None, ...]


class RandomStep(Home, frozen=True):
    """What lies in a random direction from a model."""

    seeds: Seeds
    alphas: tuple[Number, ...]
    accuracy: tuple[Number, ...]
    loss: tuple[Number, ...]


class Histogram(Home, frozen=True):
    """Counts of root second moments of one model, by activation."""

    seed: Count
    activations: dict[Text, tuple[Count, ...]]


class Evidence(Struct, frozen=True):
    """Enough to redraw the paper's figures without the store, see `lmc.results.evidence.evidence`."""

    families: tuple[Family, ...]
    models: tuple[Model, ...]
    paths: tuple[Path, ...]
    outputs: tuple[Outputs, ...]
    random_steps: tuple[RandomStep, ...]
    histograms: tuple[Histogram, ...]


class Selection(Struct, frozen=True, kw_only=True):
    """What a run was asked to judge; ``None`` or empty where it was not restricted.

    Args:
        pilot: whether on the seeds that bounds are chosen on.
        claims: only those whose id contains one of these.
        extra_claims: somebody else's, that were judged besides, as ``package.module:NAME``.
        setting: only these settings of the tier.
        role: only these families beside the strong one.
        arch: only this kind of network.
        dataset: only this.
        max_width: no model wider than this.
        precision: of all models.
    """

    pilot: bool = False
    claims: tuple[Text, ...] = ()
    extra_claims: tuple[Text, ...] = ()
    setting: tuple[Text, ...] = ()
    role: tuple[Text, ...] = ()
    arch: Text | None = None
    dataset: Text | None = None
    max_width: Positive | None = None
    precision: Text | None = None


class MadeCounts(Struct, frozen=True):
    """How many models a run trained and how many measurements it made; none where all was stored."""

    models: Count = 0
    measurements: Count = 0


class Document(Struct, frozen=True, kw_only=True):
    """One run.

    Args:
        schema: see ``SCHEMA``.
        tier: its name.
        started: ISO 8601 time in UTC.
        seconds: duration, training and measuring included.
        commit: of the code.
        machine: facts of it, see `lmc.commands.machine.machine_facts`.
        versions: of Python and packages.
        made: see `MadeCounts`.
        selection: see `Selection`.
        claims: in paper order.
        evidence: see `Evidence`.
    """

    schema: Text = SCHEMA
    tier: Text
    started: Text
    seconds: NonNegative
    commit: Text
    machine: dict[Text, Scalar]
    versions: dict[Text, Text]
    made: MadeCounts = field(default_factory=MadeCounts)
    selection: Selection = field(default_factory=Selection)
    claims: tuple[Claim, ...]
    evidence: Evidence

    def judged(self) -> Iterator[Found]:
        """Every claim on every setting, in paper order."""
        return ((claim, each) for claim in self.claims for each in claim.settings)
