"""How much of its width a model needs, against pruning by hand."""

from __future__ import annotations

import pytest
import torch
from tiny import DIGITS, SPECS, inputs_of, measured, network, seeds, state_of

from lmc.errors import MergeError
from lmc.measuring.endpoints import Endpoint
from lmc.measuring.evaluation import evaluate_logits, logits_of
from lmc.measuring.measurements import PruneMeasurement
from lmc.measuring.pruning import measure_pruning
from lmc.measuring.records import measure
from lmc.merging import reset_bn_stats
from lmc.merging.tracing import trace_permutation_spec

KEEPS = (0.25, 0.5, 1.0)


@pytest.mark.parametrize("name", ["mlp", "mlp-bn", "vgg", "resnet"])
def test_all_channels_are_the_model_and_fewer_are_not(name: str) -> None:
    spec = seeds(name, 1)[0]
    found = measured(PruneMeasurement(spec, KEEPS))
    assert [point["keep"] for point in found["points"]] == [1.0, 0.5, 0.25]
    net = network(spec, state_of(spec))
    reset_bn_stats(net, inputs_of().train_batches(5000))
    expected = evaluate_logits(logits_of(net, inputs_of()), inputs_of().labels)
    assert found["points"][0]["loss"] == pytest.approx(expected.loss, rel=1e-4)
    assert len({point["loss"] for point in found["points"]}) == 3
    assert found["accuracies"] == [found["model"]["accuracy"]]
    assert all(0 < share <= 1 for share in found["occupancy"]["groups"].values())


def test_a_model_that_uses_half_of_its_units_needs_half_of_them() -> None:
    """The units that are cut off count nothing by norm nor by function; all of the others are needed by norm."""
    spec = SPECS["mlp"]
    state = {key: tensor.clone() for key, tensor in state_of(spec).items()}
    units = state["head.weight"].shape[1]
    for key in state:
        if state[key].ndim == 2 and state[key].shape[1] == units:
            state[key][:, ::2] = 0
            state[key] += (torch.arange(units) % 2) * torch.randn(state[key].shape, generator=torch.manual_seed(0))
    found = measure(PruneMeasurement(spec, KEEPS), [state], DIGITS, "cpu")
    occupancy = found["occupancy"]
    assert occupancy["groups"] == {group: pytest.approx(0.5, abs=0.1) for group in occupancy["groups"]}
    assert occupancy["norm"] == pytest.approx(0.5, abs=0.1)
    whole, half, quarter = found["points"]
    assert half["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert abs(quarter["loss"] - whole["loss"]) > 0.01


def test_function_is_the_smallest_share_down_to_which_accuracy_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPECS["mlp"]
    found = measured(PruneMeasurement(spec, (0.1, 0.25, 0.5, 0.75, 1.0)))
    own, kept = found["model"]["accuracy"], None
    for point in found["points"]:
        if point["accuracy"] < own - 0.01:
            break
        kept = point["keep"]
    assert found["occupancy"]["function"] == kept
    monkeypatch.setattr("lmc.measuring.pruning.WITHIN", -1.0)  # no share can be that good
    assert measured(PruneMeasurement(spec, (1.0,)))["occupancy"]["function"] is None


def test_shares_out_of_range_are_refused() -> None:
    spec = SPECS["mlp"]
    net = network(spec, state_of(spec))
    order = trace_permutation_spec(net, inputs_of().examples(2))
    with pytest.raises(MergeError, match=r"keep is 1\.5; it must be a share"):
        measure_pruning(Endpoint(net, inputs_of()), network(spec, state_of(spec)), (1.5,), inputs_of(), order)
