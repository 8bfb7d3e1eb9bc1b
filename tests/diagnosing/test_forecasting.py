"""The forecast of one model: against permutations by hand, and against known draws."""

from __future__ import annotations

import copy
import statistics

import pytest
import torch
from diagnosed import digits, fitted, mlp
from torch import nn

from lmc.diagnosing.forecasting import Spread, forecast
from lmc.errors import MergeError, SpecError
from lmc.measuring.evaluation import evaluate_logits
from lmc.merging import interpolate, reset_bn_stats
from lmc.merging.permutation_spec import permute, random_permutations
from lmc.merging.tracing import trace_permutation_spec

TRAIN, (INPUTS, LABELS) = digits()


@pytest.mark.parametrize("norm", ["", "bn"])
def test_a_forecast_is_the_mean_over_permuted_copies(norm: str) -> None:
    net = fitted(lambda: mlp(24, norm=norm), 0)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = forecast(net, (INPUTS, LABELS), draws=3, seed=5, train_data=TRAIN[0])
    spare, axes = copy.deepcopy(net), trace_permutation_spec(net, INPUTS[:2])
    own = evaluate_logits(net(INPUTS).detach(), LABELS)
    losses, calibrated, accuracies = [], [], []
    for seed in (5, 6, 7):
        spare.load_state_dict(interpolate(state, permute(state, axes, random_permutations(axes, seed)), 0.5))
        reset_bn_stats(spare, TRAIN[0].split(200))
        each = evaluate_logits(spare(INPUTS).detach(), LABELS)
        losses.append(each.loss - own.loss)
        calibrated.append(each.calibrated_loss - own.calibrated_loss)
        accuracies.append(own.accuracy - each.accuracy)
    assert found.loss.mean == pytest.approx(statistics.mean(losses), rel=1e-4)
    assert found.calibrated_loss is not None
    assert found.calibrated_loss.mean == pytest.approx(statistics.mean(calibrated), rel=1e-3)
    assert found.metric.mean == pytest.approx(statistics.mean(accuracies), abs=1e-6)
    assert found.model.loss == pytest.approx(own.loss, rel=1e-6)
    half = 4.302653 * statistics.stdev(losses) / 3**0.5  # Student's t of two degrees of freedom
    assert found.loss.high - found.loss.mean == pytest.approx(half, rel=1e-3)
    assert all(torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items())


def test_a_spread_of_known_draws() -> None:
    found = Spread.of([float(value) for value in range(21)])
    assert (found.mean, found.least, found.most) == (10.0, 1.0, 19.0)
    assert found.high - 10 == pytest.approx(2.085963 * 6.2048368 / 21**0.5, rel=1e-5)
    assert 10 - found.low == pytest.approx(found.high - 10)


def test_what_has_no_forecast() -> None:
    with pytest.raises(SpecError, match="draws is 1; an interval needs two or more"):
        forecast(mlp(24), (INPUTS, LABELS), 1)
    with pytest.raises(MergeError, match="no channels of this architecture can be reordered"):
        forecast(nn.Linear(64, 10), (INPUTS, LABELS), 2)
