"""What a results file keeps besides verdicts: enough to redraw the paper's figures without the store."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from lmc.results.scalars import Count, Number, Positive, Scalar, Seeds, Text


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
