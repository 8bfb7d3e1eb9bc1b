"""Models are matched where their architecture can be traced or is specified, and only where that changes nothing."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from diagnosed import digits, fitted, mlp, permuted_copy
from torch import Tensor, nn

from lmc.diagnosing import alignment
from lmc.diagnosing.conclusion import NOT_AT_ALL, WITH_PERMUTATION
from lmc.diagnosing.diagnose import diagnose
from lmc.errors import MergeError
from lmc.measuring.measurements import MATCHING_STARTS
from lmc.merging.channel_groups import Axis
from lmc.merging.permutation_spec import PermutationSpec, permute, random_permutations
from lmc.merging.tracing import trace_permutation_spec
from lmc.merging.weight_matching import weight_matching

TEST = digits()[1]
NET = fitted(lambda: mlp(24), 0)


class Sorted(nn.Module):
    """A net whose units tracing fixes: it sorts a copy of them, to no end."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(24, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.net[1](self.net[0](x))
        return self.net[2](hidden) + 0 * torch.sort(hidden).values.sum(1, keepdim=True)  # type: ignore[no-any-return]


def test_a_specification_written_by_hand_is_verified_and_used() -> None:
    net = fitted(Sorted, 0)
    spec = PermutationSpec(
        {
            "net.0.weight": (Axis("hidden"), None),
            "net.0.bias": (Axis("hidden"),),
            "net.2.weight": (None, Axis("hidden")),
            "net.2.bias": (None,),
        },
        {"hidden": 24},
    )
    other = copy.deepcopy(net)
    other.load_state_dict(permute(net.state_dict(), spec, random_permutations(spec, 3)))
    refused = diagnose(net, other, TEST)
    assert refused.verdict == NOT_AT_ALL
    assert refused.alignment is not None
    assert "diagnose takes it as permutation=spec" in refused.alignment
    assert "what sort do to their order" in refused.alignment
    found = diagnose(net, other, TEST, permutation=spec)
    assert found.verdict == WITH_PERMUTATION
    torch.testing.assert_close(dict(found.merged or {}), dict(net.state_dict()))

    half = PermutationSpec({**spec.axes, "net.2.weight": (None, None)}, spec.groups)
    with pytest.raises(MergeError, match="permuting Sorted changes its outputs"):
        diagnose(net, other, TEST, permutation=half)
    with pytest.raises(MergeError, match=r"axes of \['hidden'\] and groups \[\]"):
        diagnose(net, other, TEST, permutation=PermutationSpec(spec.axes, {}))


def test_matching_takes_the_best_of_as_many_starts_as_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []

    def counted(*arguments: Any, restarts: int = 1) -> Any:
        starts.append(restarts)
        return weight_matching(*arguments, restarts=restarts)

    monkeypatch.setattr(alignment, "weight_matching", counted)
    diagnose(NET, permuted_copy(NET, TEST[0]), TEST, lams=(0.5,))
    assert starts == [MATCHING_STARTS]


def skewed_where_biases_are_negative(layer: nn.Module, _: object, output: Tensor) -> None:
    """Tells channels apart, but not for the positive biases that tracing tries; NumPy does it, which tracing misses."""
    assert isinstance(layer, nn.Linear)
    values = output.detach().numpy()
    values += np.maximum(-layer.bias.detach().numpy(), 0).sum() * np.arange(output.shape[1], dtype=values.dtype)


def test_a_permutation_that_would_change_this_models_function_is_not_used() -> None:
    nets = [fitted(lambda: mlp(24), seed) for seed in (0, 1)]
    for net in nets:
        net.get_submodule("0").register_forward_hook(skewed_where_biases_are_negative)
    trace_permutation_spec(nets[0], TEST[0][:2])  # finds nothing wrong
    states, reason = alignment.matched(nets[0], [net.state_dict() for net in nets], TEST[0][:2])
    assert states == []
    assert "permuting Sequential changes its outputs by up to" in str(reason)
    found = diagnose(nets[0], nets[1], TEST, lams=(0.5,), permutation="always")
    assert [each.name for each in found.candidates] == ["as they are", "sum"]
    assert found.alignment == reason


def in_halves(seed: int, first: bool) -> nn.Module:
    """A trained net of 12 units a layer in one half of a net of 24."""
    small, wide = fitted(lambda: mlp(12), seed), mlp(24)
    mine = slice(0, 12) if first else slice(12, 24)
    with torch.no_grad():
        for number, (source, target) in enumerate(zip(small.children(), wide.children(), strict=True)):
            if not isinstance(source, nn.Linear) or not isinstance(target, nn.Linear):
                continue
            assert source.bias is not None
            assert target.bias is not None
            rows, columns = (slice(None) if number == 4 else mine), (slice(None) if number == 0 else mine)
            target.weight.zero_()[rows, columns] = source.weight
            target.bias.zero_()[rows] = source.bias
    return wide.eval()


@pytest.mark.parametrize("apart", [True, False])
def test_a_sum_of_nets_that_share_no_unit_is_their_ensemble(apart: bool) -> None:
    nets = [in_halves(0, first=True), in_halves(1, first=not apart)]
    found = diagnose(nets, TEST, lams=(0.5,), permutation="always")
    candidates = {each.name: each.merged for each in found.candidates}
    exact = [candidates["complementary, sum"], *([candidates["sum"]] if apart else [])]
    for merged in exact:
        assert (merged.metric, merged.loss) == (found.ensemble.metric, pytest.approx(found.ensemble.loss, rel=1e-5))
    if apart:
        assert found.verdict == "after calibration"  # a mean comes before a sum
    else:
        assert candidates["sum"].loss > 2 * found.ensemble.loss


def test_a_recommended_sum_is_what_is_saved() -> None:
    """Numbers know no inverse temperature, so that a mean of nets that share no unit is too small."""
    nets = [in_halves(0, first=True), in_halves(1, first=False)]
    inputs = TEST[0]
    with torch.no_grad():
        mean = (nets[0](inputs) + nets[1](inputs)) / 2
    found = diagnose(nets, (inputs, mean), lams=(0.5,))
    assert (found.verdict, found.conclusion.candidate) == ("as a sum", "sum")
    assert found.merged is not None
    nets[0].load_state_dict(found.merged)
    torch.testing.assert_close(nets[0](inputs), mean, rtol=1e-4, atol=1e-4)
