"""A greedy soup holds the models whose mean is best, and none that spoils it."""

from __future__ import annotations

import copy

import pytest
import torch
from diagnosed import digits, fitted, mlp, permuted_copy
from torch import nn

from lmc.diagnosing.soup import greedy_soup
from lmc.errors import SpecError
from lmc.merging import merge

TEST = digits()[1]
NET = fitted(lambda: mlp(24), 0)


def test_a_permuted_copy_stays_out_and_what_is_near_gets_in() -> None:
    near = copy.deepcopy(NET)
    for parameter in near.parameters():
        parameter.data += 1e-4
    spoilt = permuted_copy(NET, TEST[0])
    found = greedy_soup([spoilt, NET, near], TEST)
    assert set(found.members) == {2, 3} or found.members == (1,)
    scores = [each.metric for each in found.steps]
    assert scores == sorted(scores)
    nets = [spoilt, NET, near]
    expected = merge([nets[number - 1].state_dict() for number in found.members])
    torch.testing.assert_close(dict(found.merged), expected)


def test_a_worse_model_that_helps_gets_in() -> None:
    """Of y = x, two linear models err to opposite sides, and their mean is right; a third errs far to one side."""

    def line(slope: float) -> nn.Module:
        net = nn.Linear(1, 1, bias=False)
        net.weight.data.fill_(slope)
        return net

    inputs = torch.linspace(-1, 1, 21)[:, None]
    found = greedy_soup([line(1.3), line(9.0), line(0.8)], (inputs, inputs))
    assert found.members == (3, 1)
    assert found.metric_name == "R²"
    assert found.merged["weight"].item() == pytest.approx(1.05)
    assert [step.metric for step in found.steps] == pytest.approx([1 - 0.04, 1 - 0.0025], abs=1e-6)


def test_one_model_is_no_soup() -> None:
    with pytest.raises(SpecError, match="1 models make no soup"):
        greedy_soup([NET], TEST)
