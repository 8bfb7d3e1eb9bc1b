"""Which channels vary with the input: by hand, in float32, and in models whose layers collapsed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import DIGITS, measured, pair, seeds, state_of
from torch import Tensor

from lmc.measuring.activity import VARYING_THRESHOLD, Moments, varying
from lmc.measuring.calls import ActivationCall
from lmc.measuring.measurements import ModelMeasurement, PairMeasurement
from lmc.measuring.records import measure


def moments_of(before: Tensor, *, batch: int = 7) -> Moments:
    moments = Moments()
    for part in before.split(batch):
        moments.add({"relu": ActivationCall("relu", part, part.relu(), torch.relu, 1)})
    return moments


@pytest.mark.parametrize("shape", [(20, 6), (20, 6, 3, 4)])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_spreads_are_standard_deviations_over_inputs_at_each_position(shape: tuple[int, ...], offset: float) -> None:
    before = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * torch.linspace(1, 6, 6).reshape(
        -1, *(1,) * (len(shape) - 2)
    )
    before = before + offset
    variance = before.double().numpy().var(0).reshape(6, -1).mean(1)
    np.testing.assert_allclose(moments_of(before).spreads()["relu"].numpy(), np.sqrt(variance), rtol=1e-6)


def test_a_channel_that_differs_by_position_alone_does_not_vary() -> None:
    before = torch.zeros(20, 3, 4, 4)
    before[:, 0] = torch.arange(16.0).reshape(4, 4)  # the border of every image alike
    before[:, 1] = 3.0
    before[:, 2] = torch.randn(20, 4, 4, generator=torch.Generator().manual_seed(0))
    moments = moments_of(before)
    assert varying(moments.spreads()["relu"], moments.roots()["relu"]).tolist() == [False, False, True]
    assert moments.varying_shares() == {"relu": pytest.approx(1 / 3)}


@pytest.mark.parametrize(("factor", "expected"), [(0.9, 0.5), (1.1, 1.0)])
def test_the_threshold_is_a_share_of_the_layers_scale(factor: float, expected: float) -> None:
    signs = torch.tensor([1.0, -1.0]).repeat(10).double()
    before = torch.stack([7 * signs, 100 + 7 * factor * VARYING_THRESHOLD * signs], 1)
    before[:, 1] -= 100
    for scale in (1.0, 1e-9):
        assert moments_of(scale * before).varying_shares()["relu"] == expected


def test_rounding_in_float32_is_no_variation() -> None:
    torch.manual_seed(0)
    weight = torch.randn(50, 3000)
    same = torch.randn(3000)
    answers = torch.stack([weight[:, order] @ same[order] for order in (torch.randperm(3000) for _ in range(20))])
    assert float(answers.std(0).max()) > 0, "the sums must be rounded differently"
    assert moments_of(answers).varying_shares()["relu"] == 0.0


def test_a_dead_layer_varies_nowhere() -> None:
    assert moments_of(torch.zeros(10, 4)).varying_shares()["relu"] == 0.0


def test_collapsed_layers_are_named_for_each_model() -> None:
    a, b = seeds("mlp", 2)
    dead = {key: value.clone() for key, value in state_of(b).items()}
    dead["hidden.1.linear.weight"].zero_()  # its bias still speaks, and nothing that comes after varies
    dead["hidden.1.linear.bias"].fill_(0.5)
    found = measure(PairMeasurement(a, b), [state_of(a), dead], DIGITS, "cpu")
    assert found["collapsed"] == [[], ["hidden.1.relu", "hidden.2.relu"]]
    assert measure(PairMeasurement(b, a), [dead, state_of(a)], DIGITS, "cpu")["collapsed"] == found["collapsed"][::-1]
    assert measured(pair("mlp"))["collapsed"] == [[], []]
    model = measure(ModelMeasurement(b), [dead], DIGITS, "cpu")
    shares = [each["varying_share"] for each in model["activations"].values()]
    assert shares[0] > 0.5
    assert shares[1:] == [0.0, 0.0]
