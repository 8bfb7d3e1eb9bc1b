"""What stands where in a results file, as types that a file is checked against before anything is made of it."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
Scalar = str | int | float | bool | None
Verdict = Literal["holds", "fails", "inconclusive", "invalid", "not-run"]


class Value(TypedDict):
    """One observation of a claim; what rests on no model has width 0."""

    width: Annotated[float, Meta(ge=0)]
    pair: str
    value: float | None
    part: str
    group: str
    independent: bool


class Setting(TypedDict):
    """A claim judged on one setting."""

    name: str
    verdict: Verdict
    reason: str
    known_gap: str
    effect: float | None
    interval: tuple[float | None, float | None] | None
    p_value: float | None
    threshold: str
    values: list[Value]


class Claim(TypedDict):
    """A claim with its verdicts."""

    id: str
    ref: str
    statement: str
    verdict: Verdict
    reason: str
    unit: str
    why: str
    settings: Annotated[list[Setting], Meta(min_length=1)]


class Recipe(TypedDict):
    """What of a recipe is read; the rest is only shown."""

    dataset: str
    arch: str


class Family(TypedDict):
    """Models of one recipe."""

    setting: str
    role: str
    recipe: Recipe
    widths: list[Positive]
    seeds: list[int]


class Home(TypedDict):
    """Whose numbers these are."""

    setting: str
    role: str
    width: Positive


class Model(Home):
    """The training log of one model."""

    seed: int
    status: str
    parameters: int
    steps: int
    decay_horizon: float
    seconds: float
    loss: list[float | None]


class Ensemble(TypedDict):
    """The mean of two models' logits."""

    accuracy: float
    loss: float
    beta: float | None
    calibrated_loss: float | None


class Path(Home):
    """What lies between two models."""

    pair: str
    alignment: str
    lams: list[float]
    accuracy: list[float]
    loss: list[float]
    beta: list[float | None]
    calibrated_loss: list[float | None]
    ensemble: Ensemble


class RandomStep(Home):
    """What lies in a random direction from a model."""

    pair: str
    alphas: list[float]
    accuracy: list[float]
    loss: list[float]


class Histogram(Home):
    """Counts of root second moments of one model, by ReLU."""

    seed: int
    relus: dict[str, list[int]]


class Evidence(TypedDict):
    """See `lmc.reporting.evidence.evidence`."""

    families: list[Family]
    models: list[Model]
    paths: list[Path]
    random_steps: list[RandomStep]
    histograms: list[Histogram]


class Document(TypedDict):
    """See `lmc.reporting.results.results_document`."""

    schema: str
    tier: str
    started: str
    seconds: Annotated[float, Meta(ge=0)]
    commit: str
    machine: dict[str, Scalar]
    versions: dict[str, str]
    made: dict[str, int]
    claims: list[Claim]
    evidence: Evidence


def ragged(evidence: Evidence) -> str | None:
    """Which row has lists that should be equally long and are not."""
    for row in evidence["paths"]:
        if len({len(row[name]) for name in ("lams", "accuracy", "loss", "beta", "calibrated_loss")}) > 1:
            return f"the path of {row['pair']} on {row['setting']}"
    for step in evidence["random_steps"]:
        if len({len(step[name]) for name in ("alphas", "accuracy", "loss")}) > 1:
            return f"the random step of {step['pair']} on {step['setting']}"
    return None
