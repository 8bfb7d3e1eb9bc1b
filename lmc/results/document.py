"""What stands where in a results file, as types that a file is checked against before anything is made of it."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

_LARGEST = 1e100
"""No number of float32 is beyond 3.4e38, and what is made of numbers up to here (squares, ranges) is still finite."""

Number = Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)]
Positive = Annotated[float, Meta(gt=0, le=_LARGEST)]
NonNegative = Annotated[float, Meta(ge=0, le=_LARGEST)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Text = Annotated[str, Meta(pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*$")]  # what XML, and with it SVG, can hold
Scalar = Text | int | Number | bool | None
Verdict = Literal["holds", "fails", "inconclusive", "invalid", "not-run"]


class Value(TypedDict):
    """One observation of a claim; what rests on no model has width 0."""

    width: NonNegative
    pair: Text
    value: Number | None
    part: Text
    group: Text
    independent: bool


class Setting(TypedDict):
    """A claim judged on one setting."""

    name: Text
    verdict: Verdict
    reason: Text
    known_gap: Text
    effect: Number | None
    interval: tuple[Number | None, Number | None] | None
    p_value: Number | None
    threshold: Text
    values: list[Value]


class Claim(TypedDict):
    """A claim with its verdicts."""

    id: Text
    ref: Text
    statement: Text
    verdict: Verdict
    reason: Text
    unit: Text
    why: Text
    settings: Annotated[list[Setting], Meta(min_length=1)]


class Recipe(TypedDict):
    """What of a recipe is read; the rest is only shown."""

    dataset: Text
    arch: Text


class Family(TypedDict):
    """Models of one recipe."""

    setting: Text
    role: Text
    recipe: Recipe
    widths: list[Positive]
    seeds: list[int]


class Home(TypedDict):
    """Whose numbers these are."""

    setting: Text
    role: Text
    width: Positive


class Model(Home):
    """The training log of one model."""

    seed: int
    status: Text
    parameters: int
    steps: int
    decay_horizon: Number
    seconds: Number
    loss: list[Number | None]


class Ensemble(TypedDict):
    """The mean of two models' logits."""

    accuracy: Number
    loss: Number
    beta: Number | None
    calibrated_loss: Number | None


class Path(Home):
    """What lies between two models."""

    pair: Text
    alignment: Text
    lams: Annotated[list[Number], Meta(min_length=1)]
    accuracy: list[Number]
    loss: list[Number]
    beta: list[Number | None]
    calibrated_loss: list[Number | None]
    ensemble: Ensemble


class Outputs(Home):
    """Norms and cosines of two models' and their merge's outputs, by layer."""

    pair: Text
    layers: list[Text]
    norm_merged: list[Number | None]
    norm_endpoints: list[Number | None]
    endpoint_cosine: list[Number | None]


class RandomStep(Home):
    """What lies in a random direction from a model."""

    pair: Text
    alphas: list[Number]
    accuracy: list[Number]
    loss: list[Number]


class Histogram(Home):
    """Counts of root second moments of one model, by ReLU."""

    seed: int
    relus: dict[Text, list[Count]]


class Evidence(TypedDict):
    """See `lmc.results.evidence.evidence`."""

    families: list[Family]
    models: list[Model]
    paths: list[Path]
    outputs: NotRequired[list[Outputs]]  # files from before they were kept lack them
    random_steps: list[RandomStep]
    histograms: list[Histogram]


class Selection(TypedDict):
    """What a run was asked to judge, see `lmc.results.selection.selection_of`."""

    pilot: bool
    claims: list[Text]
    extra_claims: NotRequired[list[Text]]  # likewise of somebody else's packages
    arch: Text | None
    dataset: Text | None
    max_width: Positive | None
    precision: Text | None


class Document(TypedDict):
    """See `lmc.results.file.results_document`."""

    schema: Text
    tier: Text
    started: Text
    seconds: NonNegative
    commit: Text
    machine: dict[Text, Scalar]
    versions: dict[Text, Text]
    made: dict[Text, int]
    claims: list[Claim]
    evidence: Evidence
    selection: NotRequired[Selection]  # files from before it was kept lack it


def ragged(evidence: Evidence) -> str | None:
    """Which row has lists that should be equally long and are not."""
    for row in evidence["paths"]:
        if len({len(row[name]) for name in ("lams", "accuracy", "loss", "beta", "calibrated_loss")}) > 1:
            return f"the path of {row['pair']} on {row['setting']}"
    for outputs in evidence.get("outputs", []):
        if len({len(outputs[name]) for name in ("layers", "norm_merged", "norm_endpoints", "endpoint_cosine")}) > 1:
            return f"the outputs of {outputs['pair']} on {outputs['setting']}"
    for step in evidence["random_steps"]:
        if len({len(step[name]) for name in ("alphas", "accuracy", "loss")}) > 1:
            return f"the random step of {step['pair']} on {step['setting']}"
    return None
