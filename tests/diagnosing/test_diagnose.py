"""The diagnosis of a reader's models comes to the conclusion that is known to be true of them."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from diagnosed import digits, fitted, mlp, permuted_copy, theorem_nets
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lmc.diagnosing.conclusion import (
    AFTER_CALIBRATION,
    AFTER_RESET,
    AS_THEY_ARE,
    NOT_AT_ALL,
    UNDECIDED,
    WITH_PERMUTATION,
)
from lmc.diagnosing.diagnose import diagnose, diagnose_states
from lmc.diagnosing.standard import Thresholds
from lmc.errors import MergeError, StoreError

TRAIN, TEST = digits()
NET = fitted(lambda: mlp(24), 0)
ENDS = ("midpoint", "maximum")


def test_a_model_and_itself_can_be_averaged_as_they_are() -> None:
    found = diagnose(NET, copy.deepcopy(NET), TEST)
    assert found.verdict == AS_THEY_ARE
    assert "identical" in found.conclusion.reasons[0]
    (candidate,) = found.candidates
    assert candidate.excess.metric == 0
    assert abs(candidate.excess.loss) < 1e-6
    assert found.beta is None
    assert found.merged is not None
    torch.testing.assert_close(dict(found.merged), dict(NET.state_dict()))
    assert len(found.paths["as they are"].points) == 11
    layers = found.layers["unpermuted"]
    assert all(record["additivity_cosine"] == pytest.approx(1) for record in layers["activations"].values())
    assert all(record["lewc_cosine"] == pytest.approx(1) for record in layers["outputs"].values())
    assert all(record["orthogonality_ratio"] == pytest.approx(1) for record in layers["weights"].values())


def test_a_model_and_its_permuted_copy_need_the_permutation() -> None:
    found = diagnose(NET, permuted_copy(NET, TEST[0]), TEST)
    assert found.verdict == WITH_PERMUTATION
    assert found.alignment is None
    losses = [point.loss for point in found.paths["permuted"].points]
    assert max(losses) - min(losses) < 1e-5
    assert max(point.loss for point in found.paths["as they are"].points) > 0.5 + losses[0]
    assert found.merged is not None
    torch.testing.assert_close(dict(found.merged), dict(NET.state_dict()))
    assert set(found.layers) == {"unpermuted", "permuted"}
    alike = found.layers["permuted"]["outputs"]["1"]["endpoint_cosine"]
    assert alike == pytest.approx(1)
    assert alike > found.layers["unpermuted"]["outputs"]["1"]["endpoint_cosine"] + 0.1


def test_without_permutation_the_same_two_can_not_be_averaged(tmp_path: Path) -> None:
    found = diagnose(NET, permuted_copy(NET, TEST[0]), TEST, permutation="never")
    assert found.verdict == NOT_AT_ALL
    assert found.alignment is not None
    assert found.alignment in found.conclusion.reasons[-1]
    assert found.conclusion.sentence.endswith("also after calibration by β; permutation was not tried.")
    assert found.merged is None
    with pytest.raises(MergeError, match="no merge to save"):
        found.save(tmp_path / "merged.safetensors")


def test_narrow_independent_models_can_not_be_averaged() -> None:
    a, b = (fitted(lambda: mlp(6, 3), seed, 400) for seed in (1, 2))
    found = diagnose(a, b, TEST)
    assert min(model.metric for model in found.models) > 0.6
    assert found.verdict == NOT_AT_ALL
    assert found.merged is None
    assert found.alignment is None  # permutation was tried
    assert found.conclusion.sentence.endswith("also after calibration by β and permutation.")


@pytest.mark.parametrize(("models", "layers"), [(2, 3), (2, 4), (3, 3)])
def test_nets_of_the_theorem_need_its_inverse_temperature(models: int, layers: int, tmp_path: Path) -> None:
    nets, data = theorem_nets(models, layers)
    found = diagnose(nets, data)
    assert found.verdict == AFTER_CALIBRATION
    assert found.beta is not None
    factor = float(models) ** (layers - 1)  # 2^(L-1) for two
    assert found.beta / found.ensemble.beta == pytest.approx(factor, rel=1e-3)
    outputs = found.layers["unpermuted"]["outputs"]
    assert len(outputs) == layers
    for index, record in enumerate(outputs.values()):
        assert record["lewc_cosine"] == pytest.approx(1)
        assert record["lewc_norm_ratio"] == pytest.approx(1)
        assert record["llfc_norm_ratio"] == pytest.approx(float(models) ** -index)
    if models == 2:
        later = list(found.layers["unpermuted"]["weights"].values())[1:]
        assert all(record["orthogonality_ratio"] < 1e-9 < 1 - 1e-9 < record["recovery_cosine"] for record in later)
        assert all(
            record["additivity_cosine"] == pytest.approx(1)
            for record in found.layers["unpermuted"]["activations"].values()
        )
    else:
        assert set(found.pairs) == {"1-2", "1-3", "2-3"}
        assert not found.paths

    assert found.beta_folded
    found.save(tmp_path / "merged.safetensors")
    with safe_open(tmp_path / "merged.safetensors", framework="pt") as file:
        assert float(file.metadata()["lmc.beta"]) == found.beta
        assert file.metadata()["lmc.beta_folded"] == "true"
    net = nets[0]
    net.load_state_dict(load_file(tmp_path / "merged.safetensors"))
    loss = F.cross_entropy(net(data[0]), data[1]).item()
    assert loss == pytest.approx(found.candidates[0].merged.calibrated_loss, abs=0.05)
    with pytest.raises(StoreError, match="cannot write"):
        found.save(tmp_path / "absent" / "merged.safetensors")


def test_spoilt_statistics_need_a_reset() -> None:
    a = fitted(lambda: mlp(24, norm="bn"), 0)
    b = copy.deepcopy(a)
    for module in b.children():
        if isinstance(module, nn.BatchNorm1d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean += 100
            module.running_var *= 1e4
    found = diagnose(a, b, TEST, train_data=TRAIN)
    assert found.verdict == AFTER_RESET
    plain, reset = found.candidates
    assert plain.excess.metric > 0.2
    assert reset.merged.metric > found.models[0].metric - 0.02
    assert found.reset_inputs == 300
    assert any("300 inputs of training data" in note for note in found.notes)
    assert found.merged is not None
    torch.testing.assert_close(found.merged["0.weight"], a.state_dict()["0.weight"])
    assert found.merged["1.running_mean"].abs().max() < 50
    without = diagnose(a, b, TEST)
    assert any("200 inputs of the test inputs" in note for note in without.notes)


def test_stale_statistics_of_the_models_themselves_are_pointed_out() -> None:
    a = fitted(lambda: mlp(24, norm="bn"), 0)
    fresh = diagnose(a, copy.deepcopy(a), TEST, train_data=TRAIN)
    for module in a.children():
        if isinstance(module, nn.BatchNorm1d):
            module.reset_running_stats()
    stale = diagnose(a, copy.deepcopy(a), TEST, train_data=TRAIN)
    assert any("look stale" in note for note in stale.notes)
    assert not any("look stale" in note for note in fresh.notes)


def test_models_at_chance_decide_nothing() -> None:
    untrained = [fitted(lambda: mlp(24), seed, 0) for seed in (1, 2)]
    found = diagnose(untrained[0], untrained[1], TEST)
    assert found.verdict == UNDECIDED
    assert found.merged is None
    assert "the models are not reliably better than a guess" in found.conclusion.sentence
    assert "Model 1, 2: accuracy" in found.conclusion.reasons[0]
    one = diagnose(NET, untrained[0], TEST)
    assert one.verdict == UNDECIDED
    assert "model 2 is not reliably better than a guess" in one.conclusion.sentence


def test_three_models_near_each_other_can_be_averaged_as_they_are() -> None:
    generator = torch.Generator().manual_seed(0)
    nets = [NET]
    for _ in range(2):
        other = copy.deepcopy(NET)
        for parameter in other.parameters():
            parameter.data += 0.01 * torch.randn(parameter.shape, generator=generator)
        nets.append(other)
    found = diagnose(nets, TEST)
    assert found.verdict == AS_THEY_ARE
    assert len(found.models) == 3
    assert any("defined for two models" in note for note in found.notes)
    assert found.layers["unpermuted"]["outputs"]["logits"]["lewc_cosine"] > 0.99
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == found.to_json()
    assert any("1-3" in line for line in found.lines())
    start = next(index for index, line in enumerate(found.lines()) if "stable ranks" in line)
    for line, (name, ranks) in zip(found.lines()[start + 1 :], found.ranks.items(), strict=False):
        assert line.replace(",", "").split() == [
            name,
            *(f"{rank:.1f}" for kind in ("stable_rank", "effective_rank") for rank in ranks[kind]),
        ]


def test_thresholds_decide() -> None:
    other = permuted_copy(NET, TEST[0])
    generous = Thresholds(metric=1.0, loss=100.0)
    assert diagnose(NET, other, TEST, thresholds=generous).verdict == AS_THEY_ARE


def test_lines_and_json_say_the_same() -> None:
    found = diagnose(NET, permuted_copy(NET, TEST[0]), TEST, lams=(0.5,))
    text = "\n".join(found.lines())
    assert found.conclusion.sentence in text
    document = found.to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["conclusion"]["verdict"] == WITH_PERMUTATION
    assert document["paths"]["as they are"]["lams"] == [0, 0.5, 1]
    assert all(len(line) <= 160 for line in found.lines())


def test_barriers_are_printed_at_the_midpoint_and_at_the_maximum() -> None:
    found = diagnose(NET, permuted_copy(NET, TEST[0]), TEST)
    lines = found.lines()
    start = next(index for index, line in enumerate(lines) if line.startswith("barrier"))
    for line, (name, path) in zip(lines[start + 1 :], found.paths.items(), strict=False):
        assert line.startswith(name)
        losses = [path.barriers[f"{kind}_barrier_{at}"] for kind in ("loss", "calibrated_loss") for at in ENDS]
        points = [100 * (path.barriers[f"metric_barrier_{at}"] or 0) for at in ENDS]
        printed = [float(word) for word in line.removeprefix(name).replace(" points", "").split()]
        assert printed[:4] == pytest.approx(losses, abs=6e-4)
        assert printed[4:] == pytest.approx(points, abs=0.06)
    few = diagnose(NET, permuted_copy(NET, TEST[0]), TEST, lams=(0.5,), permutation="never").lines()
    (row,) = [line for line in few if line.startswith("as they are") and "points" in line]
    assert row.split().count("-") == 3  # three points have no maximum


def test_state_dicts_and_data_loaders_do_as_well() -> None:
    loader = DataLoader(TensorDataset(*TEST), batch_size=64, shuffle=True)
    states = [NET.state_dict(), permuted_copy(NET, TEST[0]).state_dict()]
    found = diagnose_states(lambda: mlp(24), states, loader)
    assert found.verdict == WITH_PERMUTATION
    assert found.inputs == 200


def test_the_models_are_left_as_they_were() -> None:
    a = nn.Sequential(nn.ReLU(inplace=True), *fitted(lambda: mlp(12, norm="bn"), 0).children())
    b = nn.Sequential(nn.ReLU(inplace=True), *fitted(lambda: mlp(12, norm="bn"), 1).children())
    a.train()
    b.eval()
    inputs = TEST[0].clone()
    before = [copy.deepcopy(net.state_dict()) for net in (a, b)]
    found = diagnose(a, b, (inputs, TEST[1]), permutation="always")
    assert torch.equal(inputs, TEST[0])  # though the first layer works in place
    for net, state in zip((a, b), before, strict=True):
        torch.testing.assert_close(dict(net.state_dict()), dict(state), rtol=0, atol=0)
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
        assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(module.training for module in a.modules())
    assert not any(module.training for module in b.modules())
    assert any("training mode" in note for note in found.notes)
