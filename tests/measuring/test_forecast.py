"""The forecast of one model: against permutations by hand, and against known draws."""

from __future__ import annotations

import statistics

import pytest
import torch
from tiny import inputs_of, network, seeds, state_of

from lmc.measuring.evaluation import evaluate_logits, logits_of
from lmc.measuring.forecast import Spread, forecast
from lmc.merging import interpolate, reset_bn_stats
from lmc.merging.permutation_spec import permute, random_permutations
from lmc.merging.tracing import trace_permutation_spec


@pytest.mark.parametrize("name", ["mlp", "vgg"])
def test_a_forecast_is_the_mean_over_permuted_copies(name: str) -> None:
    spec, inputs = seeds(name, 1)[0], inputs_of()
    net, spare = (network(spec, state_of(spec)) for _ in range(2))
    found = forecast(net, spare, inputs, draws=3, seed=5)
    own = evaluate_logits(logits_of(net, inputs), inputs.labels)
    axes, losses, accuracies = trace_permutation_spec(net, inputs.examples(2)), [], []
    for seed in (5, 6, 7):
        twin = permute(state_of(spec), axes, random_permutations(axes, seed))
        spare.load_state_dict(interpolate(state_of(spec), twin, 0.5))
        reset_bn_stats(spare, inputs.train_batches(5000))
        each = evaluate_logits(logits_of(spare, inputs), inputs.labels)
        losses.append(each.loss - own.loss)
        accuracies.append(own.accuracy - each.accuracy)
    assert found.loss.mean == pytest.approx(statistics.mean(losses), rel=1e-4)
    assert found.accuracy.mean == pytest.approx(statistics.mean(accuracies), abs=1e-6)
    assert found.model.loss == pytest.approx(own.loss, rel=1e-6)
    half = 4.302653 * statistics.stdev(losses) / 3**0.5  # Student's t of two degrees of freedom
    assert found.loss.high - found.loss.mean == pytest.approx(half, rel=1e-3)
    assert all(torch.equal(tensor, state_of(spec)[key]) for key, tensor in net.state_dict().items())


def test_a_spread_of_known_draws() -> None:
    found = Spread.of([float(value) for value in range(21)])
    assert (found.mean, found.least, found.most) == (10.0, 1.0, 19.0)
    assert found.high - 10 == pytest.approx(2.085963 * 6.2048368 / 21**0.5, rel=1e-5)
    assert 10 - found.low == pytest.approx(found.high - 10)
