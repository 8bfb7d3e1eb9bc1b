"""Numbers taken from records made by hand: the value that the formula gives."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lmc.claims.extracts import (
    activity,
    additivity_null,
    barrier,
    beta_over_prediction,
    endpoint,
    endpoint_cosine,
    foreign_share,
    layer_mean,
    layers,
    leftmost_share,
    merge_barrier,
    merged_accuracy,
    merged_accuracy_loss,
    merged_last_lewc,
    merged_lewc,
    midpoint,
    norm_decay,
    perturbation_cosine,
    perturbed,
    ranks,
)
from lmc.claims.studies import Imprecise


def record(depth: int, merged: float, ensemble: float) -> dict[str, Any]:
    """A pair whose merged model and ensemble need these inverse temperatures."""
    points = [{"beta": beta} for beta in (1.0, merged, 1.0)]
    return {
        "path": {"lams": [0.0, 0.5, 1.0], "points": points, "ensemble": {"beta": ensemble}},
        "layers": {"outputs": {str(layer): {} for layer in range(depth)}},
    }


@pytest.mark.parametrize(("depth", "merged", "share"), [(4, 8.0, 1.0), (4, 2.0, 1 / 3), (3, 4.0, 1.0), (2, 1.0, 0.0)])
def test_beta_over_what_lewc_predicts(depth: int, merged: float, share: float) -> None:
    """Merged logits 2^-L (f_a + f_b), mean logits (f_a + f_b) / 2: a net of four layers needs eight times the β."""
    for ensemble in (1.0, 1.7):
        found = beta_over_prediction(record(depth, merged * ensemble, ensemble))
        assert found == {f"{depth} layers": pytest.approx(share)}


@pytest.mark.parametrize(("ratio", "share"), [(0.0, 0.0), (1.0, 0.5), (3.0, 0.75), (0.25, 0.2)])
def test_the_foreign_share_of_an_orthogonality_ratio(ratio: float, share: float) -> None:
    weights = {"first": {"orthogonality_ratio": 9.0}, "second": {"orthogonality_ratio": ratio}}
    found = foreign_share({"layers": {"weights": weights}})
    assert found == {"second": pytest.approx(share)}
    assert math.isfinite(share)
    undefined = {"layers": {"weights": {**weights, "third": {"orthogonality_ratio": None}}}}
    assert foreign_share(undefined)["third"] is None


# -- Records of which every number is another. --


def path_of(*accuracies: float) -> dict[str, Any]:
    points = [{"accuracy": each, "beta": 10 * each} for each in accuracies]
    return {"path": {"lams": [0.0, 0.25, 0.5, 1.0], "points": points}}


def test_numbers_of_the_path() -> None:
    record = path_of(0.9, 0.2, 0.7, 0.8)
    record["path"] |= {
        "barriers": {"loss_barrier_midpoint": 0.3, "accuracy_barrier_midpoint": 0.1},
        "errors": {"loss_barrier_midpoint": 0.05, "accuracy_barrier_midpoint": None},
    }
    for name, value, error in (("loss", 0.3, 0.05), ("accuracy", 0.1, 0.0)):
        found = barrier(name)
        assert isinstance(found, Imprecise)
        assert (found(record), found.error(record)) == ({"": value}, error)
    assert midpoint("beta")(record) == {"": 7.0}
    assert endpoint("accuracy")(record) == {"": pytest.approx(0.85)}


LAYERS = {"one": {"q": 0.1, "r": 1.0}, "two": {"q": 0.2, "r": 2.0}, "three": {"q": 0.6, "r": 3.0}}


def test_layers_are_those_asked_for() -> None:
    record = {"layers": {"outputs": LAYERS, "weights": {"other": {"q": 9.0}}}}
    assert layers("outputs", "q")(record) == {"one": 0.1, "two": 0.2, "three": 0.6}
    assert layers("outputs", "r", skip=1)(record) == {"two": 2.0, "three": 3.0}
    assert layers("outputs", "q", only_last=True)(record) == {"three": 0.6}
    assert layers("weights", "q")(record) == {"other": 9.0}
    assert layer_mean(layers("outputs", "q"))(record) == {"": pytest.approx(0.3)}
    assert layer_mean(layers("outputs", "q", skip=1))(record) == {"": pytest.approx(0.4)}


def test_a_mean_over_layers_is_undefined_where_one_is_or_there_is_none() -> None:
    assert layer_mean(lambda _: {"one": 0.1, "two": None})({}) == {"": None}
    assert layer_mean(lambda _: {})({}) == {"": None}


def test_what_additivity_has_to_exceed_is_the_larger_of_two_nulls() -> None:
    cosines = {"low": 0.9, "high": 0.95, "undefined": None}
    record = {"layers": {"activations": {name: {"additivity_cosine": each} for name, each in cosines.items()}}}
    assert additivity_null(record) == {
        "low": pytest.approx((3 / 4 + 1 / math.pi) / math.sqrt(1 + 1 / math.pi)),
        "high": 0.95,
        "undefined": None,
    }


@pytest.mark.parametrize(("quantity", "value"), [("loss", 0.7 - 0.2), ("accuracy", 0.9 - 0.6)])
def test_the_barrier_of_a_merge_is_above_its_models_mean(quantity: str, value: float) -> None:
    models = [{"loss": 0.1, "accuracy": 0.95}, {"loss": 0.3, "accuracy": 0.85}]
    record = {"models": models, "merged": {"loss": 0.7, "accuracy": 0.6}}
    assert merge_barrier(quantity)(record) == {"": pytest.approx(value)}


@pytest.mark.parametrize("law", [-1.0, -0.5, 0.0, 0.25])
def test_the_slope_of_norms_by_depth(law: float) -> None:
    def outputs(*dead: str) -> dict[str, Any]:
        found: dict[str, dict[str, float | None]] = {
            str(depth): {
                "llfc_norm_ratio": 0.7 * 2 ** (law * depth),
                "norm_merged": 3 * 2 ** (2 * law * depth),
                "norm_endpoints": 5.0,
            }
            for depth in range(4)
        }
        found |= {name: {"llfc_norm_ratio": None, "norm_merged": 0.0, "norm_endpoints": 0.0} for name in dead}
        return {"layers": {"outputs": found}}

    assert norm_decay("average")(outputs()) == {"": pytest.approx(law, abs=1e-12)}
    assert norm_decay("endpoints")(outputs()) == {"": pytest.approx(2 * law, abs=1e-12)}
    assert norm_decay("average")(outputs("last")) == {"": pytest.approx(law, abs=1e-12)}, "a dead branch has no norm"


def test_numbers_of_one_model() -> None:
    record = {
        "ranks": {name: {"q": at} for at, name in enumerate(("first", "second", "third", "head"))},
        "activations": {
            name: {
                "active_share": 0.1 * at,
                "histogram": {"leftmost_share": 0.2 * at},
                "perturbation_cosine": 0.3 * at,
            }
            for at, name in enumerate(("first", "second"), start=1)
        },
    }
    assert ranks("q")(record) == {"first": 0, "second": 1, "third": 2}
    assert ranks("q", skip=1)(record) == {"second": 1, "third": 2}
    assert activity("active_share")(record) == {"first": 0.1, "second": 0.2}
    assert leftmost_share(record) == {"first": 0.2, "second": 0.4}
    assert perturbation_cosine(record) == {"first": 0.3, "second": 0.6}


@pytest.mark.parametrize(("quantity", "value"), [("loss", 1.5), ("accuracy", 0.6)])
def test_what_a_random_step_costs(quantity: str, value: float) -> None:
    points = [{"loss": 0.5, "accuracy": 0.9}, {"loss": 9.0, "accuracy": 0.1}, {"loss": 2.0, "accuracy": 0.3}]
    assert perturbed(quantity)({"points": points}) == {"": pytest.approx(value)}


def test_cosines_of_two_models_are_of_their_activations_alone() -> None:
    outputs = {name: {"endpoint_cosine": at} for at, name in enumerate(("first", "second", "logits"))}
    assert endpoint_cosine({"layers": {"outputs": outputs}}) == {"first": 0, "second": 1}


def test_numbers_of_averages_of_several_models() -> None:
    record = {
        "accuracies": [0.9, 0.8, 0.7],
        "merged": {"accuracy": 0.5},
        "outputs": {"first": {"lewc_cosine": 0.1}, "logits": {"lewc_cosine": 0.9}},
    }
    assert merged_accuracy_loss(record) == {"": pytest.approx(0.3)}
    assert merged_accuracy(record) == {"3 models": 0.5}
    assert merged_lewc(record) == {"3 models": 0.9}
    assert merged_last_lewc(record) == {"": 0.9}
