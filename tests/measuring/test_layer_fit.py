"""What a merged layer is made of: the fit against least squares on the outputs themselves, and records by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy_nets import (
    NETS,
    Array,
    every_net,
    images,
    merged_state,
    numpy_state,
    random_net,
    run,
    setting,
)
from tiny import DIGITS, inputs_of, network, seeds, state_of
from torch import Tensor

from lmc.errors import MergeError
from lmc.measuring import grams
from lmc.measuring.endpoints import Endpoint
from lmc.measuring.grams import Gram, measure_layer_fit
from lmc.measuring.layer_fit import MEMBERS, gram_cosine, gram_matrix, layer_fit
from lmc.measuring.measurements import LayerFitMeasurement
from lmc.measuring.records import measure
from lmc.merging.permutation_spec import permute, random_permutations
from lmc.merging.tracing import trace_permutation_spec


def kept(vectors: Array) -> list[float]:
    """The ten numbers of four rows."""
    return [float(vectors[i] @ vectors[j]) for i in range(4) for j in range(i, 4)]


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_fit_is_least_squares_on_raw_data(scale: float) -> None:
    rng = np.random.default_rng(0)
    common = rng.standard_normal(500)
    a, b, c = (scale * (common + each * rng.standard_normal(500)) for each in (0.5, 1.0, 2.0))
    merged = 0.3 * a + 0.6 * b + 0.05 * c + 0.2 * scale * rng.standard_normal(500)
    found = layer_fit(kept(np.array([merged, a, b, c])))
    expected, residual, *_ = np.linalg.lstsq(np.stack([a, b, c], 1), merged, rcond=None)
    assert found is not None
    assert found[:3] == pytest.approx(expected, rel=1e-9)
    assert found.residual_share == pytest.approx(float(residual[0] / (merged @ merged)), rel=1e-9)
    assert 0.01 < found.residual_share < 0.1
    assert found.delta == pytest.approx(0.05, abs=0.02)


def test_members_of_very_different_size_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    a, b, c = (size * rng.standard_normal(50) for size in (1e-9, 1.0, 1e6))
    found = layer_fit(kept(np.array([2 * a + 3 * b, a, b, c])))
    assert found is not None
    assert found[1:3] == pytest.approx((3.0, 0.0), abs=1e-9)
    (alone, *_) = np.linalg.lstsq(np.stack([a, b, c], 1) / [1e-9, 1, 1e6], a, rcond=None)
    fit = layer_fit(kept(np.array([a, a, b, c])))
    assert fit is not None
    assert fit.alpha == pytest.approx(alone[0] / 1e-9)


def test_where_the_fit_is_not_unique_there_is_none() -> None:
    rng = np.random.default_rng(2)
    a, b, c = rng.standard_normal((3, 20))
    zero = np.zeros(20)
    assert layer_fit(kept(np.array([a, a, b, c]))) is not None
    for vectors in (
        (zero, a, b, c),
        (a, zero, b, c),
        (a, a, zero, c),
        (a, a, b, zero),
        (a, a, b, -2 * b),
        (a, b, b, c),
    ):
        assert layer_fit(kept(np.array(vectors))) is None
    assert layer_fit([float("nan")] * 10) is None
    assert layer_fit([float("inf"), *kept(np.array([a, a, b, c]))[1:]]) is None


def test_cosines_of_combinations_are_those_of_the_vectors() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((4, 30))
    gram = kept(vectors)
    np.testing.assert_allclose(gram_matrix(gram), vectors @ vectors.T)
    merged, a, b, c = vectors
    for one, other, x, y in (
        ((1, 0, 0, 0), (0, 1, 1, 0), merged, a + b),
        ((0, 0, 0, 1), (0, 0.25, 0.75, 0), c, a / 4 + 3 * b / 4),
    ):
        expected = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
        assert gram_cosine(gram, one, other) == pytest.approx(expected)
    assert gram_cosine(gram, (0, 0, 0, 0), (1, 0, 0, 0)) is None
    assert MEMBERS == ("merged", "a", "b", "c")


@pytest.mark.parametrize("parts", [[40], [13, 27], [1] * 40])
@pytest.mark.parametrize("at_once", [1, 64, 2**21])
def test_gram_matrices_do_not_depend_on_batches(
    parts: list[int], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grams, "_AT_ONCE", at_once)
    generator = torch.Generator().manual_seed(0)
    outputs = [torch.randn(40, 3, 2, generator=generator) + 5 for _ in range(4)]
    logits = [torch.randn(40, 7, generator=generator) - 2 for _ in range(4)]
    hidden, last = Gram(), Gram()
    for batch in zip(*(each.split(parts) for each in outputs), strict=True):
        hidden.add(batch)
    for batch in zip(*(each.split(parts) for each in logits), strict=True):
        last.add(batch, over_classes=True)

    def products(tensors: list[Tensor]) -> Tensor:
        rows = torch.stack([each.flatten() for each in tensors]).double()
        return rows @ rows.T / 40

    double, said = [each.double() for each in outputs], [each.double() for each in logits]
    centred = [each - each.mean(1, keepdim=True) for each in said]
    torch.testing.assert_close(hidden.raw, products(double))
    torch.testing.assert_close(hidden.centred, products([each - each.mean(0) for each in double]))
    torch.testing.assert_close(last.raw, products(said))
    torch.testing.assert_close(last.centred, products([each - each.mean(0) for each in centred]))


@every_net
@pytest.mark.parametrize("lam", [0.25, 0.5])
def test_records_agree_with_plain_numpy(name: str, lam: float) -> None:
    a, b, spare, inputs = setting(name)
    models = [a, b, random_net(NETS[name][0], 5)]
    found = measure_layer_fit([Endpoint(model, inputs) for model in models], spare, lam, inputs)
    forward, states = NETS[name][1], [numpy_state(model) for model in models]
    batches = [images(inputs.train[:40]), images(inputs.train[40:80])]
    merged = merged_state(forward, states[0], states[1], lam, batches)
    traces = [run(forward, state, images(inputs.test)) for state in (merged, *states)]
    assert list(found["grams"]) == list(traces[0].activations)
    for layer, both in found["grams"].items():
        outputs = [trace.activations[layer].reshape(len(inputs.labels), -1) for trace in traces]
        raw = np.array([each.ravel() for each in outputs]) / np.sqrt(len(inputs.labels))
        assert both["raw"] == pytest.approx(kept(raw), rel=1e-5)
        if layer == "logits":
            outputs = [each - each.mean(1, keepdims=True) for each in outputs]
        centred = np.array([(each - each.mean(0)).ravel() for each in outputs]) / np.sqrt(len(inputs.labels))
        assert both["centred"] == pytest.approx(kept(centred), rel=1e-4, abs=1e-6 * max(both["raw"]))
    assert found["lam"] == lam


def test_a_merge_of_linear_nets_has_nothing_of_a_third() -> None:
    """Where every layer is linear in the weights, f_merged = λ f_a + (1-λ) f_b, exactly."""
    torch.manual_seed(0)
    nets = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(128, 5)).double().eval() for _ in range(4)]
    *_, inputs = setting("mlp")
    found = measure_layer_fit([Endpoint(net, inputs) for net in nets[:3]], nets[3], 0.3, inputs)
    for kind in ("raw", "centred"):
        fit = layer_fit(found["grams"]["logits"][kind])
        assert fit is not None
        assert fit == pytest.approx((0.3, 0.7, 0.0, 0.0), abs=1e-5)


def test_matching_brings_b_and_c_into_the_order_of_a() -> None:
    a, b, c = seeds("mlp", 3)
    state = state_of(a)
    net = network(a, state)
    spec = trace_permutation_spec(net, inputs_of().examples(2))
    others = [permute(state, spec, random_permutations(spec, seed)) for seed in (1, 2)]
    plain, matched = (
        measure(LayerFitMeasurement(a, b, c, alignment=how), [state, *others], DIGITS, "cpu")
        for how in ("unpermuted", "matching")
    )
    hidden = next(iter(matched["grams"]))
    assert np.ptp(matched["grams"][hidden]["raw"]) == pytest.approx(0.0, abs=1e-3), "all four are one function"
    assert np.ptp(plain["grams"][hidden]["raw"]) > 0.1
    assert matched["accuracies"] == plain["accuracies"]


def test_models_that_are_not_finite_are_refused() -> None:
    a, b, spare, inputs = setting("mlp")
    broken = random_net(NETS["mlp"][0], 5)
    next(iter(broken.parameters())).data.fill_(float("nan"))
    with pytest.raises(MergeError, match="NaN or infinite"):
        measure_layer_fit([Endpoint(each, inputs) for each in (a, b, broken)], spare, 0.5, inputs)
