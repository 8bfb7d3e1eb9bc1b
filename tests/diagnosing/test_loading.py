"""Checkpoints as trainers write them are brought to the names of the model; the weights are those that were trained."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from diagnosed import digits, fitted, mlp
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel

from lmc.diagnosing.checkpoints import read_checkpoint
from lmc.diagnosing.conclusion import AS_THEY_ARE
from lmc.diagnosing.diagnose import diagnose, diagnose_states
from lmc.diagnosing.loading import fit_names
from lmc.errors import LmcError, MergeError, SpecError

TEST = digits()[1]
NET = fitted(lambda: mlp(24), 0)
STATE = NET.state_dict()


def prefixed(*prefixes: str) -> dict[str, Tensor]:
    return {"".join(prefixes) + name: value for name, value in STATE.items()}


@pytest.mark.parametrize(
    "state",
    [
        prefixed("module._orig_mod."),
        prefixed("_orig_mod.module."),
        prefixed("_orig_mod.module._orig_mod.model."),
        prefixed("encoder.backbone."),
        {name.replace("0.", "0._orig_mod.", 1): value for name, value in STATE.items()},
        AveragedModel(NET).state_dict(),
        nn.DataParallel(AveragedModel(nn.DataParallel(NET))).state_dict(),
        {**prefixed("model."), "loss.weight": torch.ones(10)},
    ],
    ids=[
        "module, compiled",
        "compiled, module",
        "three",
        "two words",
        "inside",
        "averaged",
        "wrapped twice",
        "Lightning",
    ],
)
def test_prefixes_of_any_order_and_depth(state: dict[str, Tensor]) -> None:
    fitted_state = fit_names(state, mlp(24)).state
    assert fitted_state.keys() == STATE.keys()
    assert all(torch.equal(fitted_state[name], value) for name, value in STATE.items())  # type: ignore[arg-type]
    assert diagnose_states(lambda: mlp(24), [STATE, state], TEST, lams=(0.5,)).verdict == AS_THEY_ARE


def test_a_prefix_that_the_model_has_and_the_checkpoint_lacks() -> None:
    model = nn.Sequential()
    model.add_module("backbone", mlp(24))
    assert fit_names(STATE, model).state.keys() == model.state_dict().keys()


def test_averages_beside_raw_weights(tmp_path: Path) -> None:
    average = {name: value + 1 for name, value in STATE.items()}
    path = tmp_path / "both.pt"
    for contents in ({"state_dict": STATE, "ema_state_dict": average}, {"model": STATE, "ema": {"shadow": average}}):
        torch.save({**contents, "epoch": 3}, path)
        raw, ema = read_checkpoint(path), read_checkpoint(path, ema=True)
        assert torch.equal(raw.state["0.bias"], STATE["0.bias"])
        assert torch.equal(ema.state["0.bias"], STATE["0.bias"] + 1)
        assert "(--ema takes that)" in raw.notes[0]
        assert "took its average" in ema.notes[0]
    torch.save({"ema": average}, path)
    assert torch.equal(read_checkpoint(path).state["0.bias"], STATE["0.bias"] + 1)
    torch.save({"state_dict": STATE}, path)
    with pytest.raises(SpecError, match="holds no moving average"):
        read_checkpoint(path, ema=True)
    flat = {**prefixed("model."), **{f"ema_model.{name}": value for name, value in average.items()}}
    for asked, shift in ((False, 0), (True, 1)):
        found = fit_names(flat, mlp(24), ema=asked)
        assert torch.equal(found.state["0.bias"], STATE["0.bias"] + shift)  # type: ignore[arg-type]
        assert "took the tensors under" in found.notes[0]


class Tied(nn.Module):
    """Reads and writes tokens by one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.hidden = nn.Embedding(7, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.hidden(self.embedding(tokens)).mean(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("absent", ["head.weight", "embedding.weight"])
def test_tied_weights_saved_once(absent: str) -> None:
    torch.manual_seed(0)
    net = Tied()
    tokens = torch.randint(7, (60, 6))
    once = {name: value for name, value in net.state_dict().items() if name != absent}
    data = tokens, net(tokens).argmax(1)
    found = diagnose_states(Tied, [once, net.state_dict()], data, lams=(0.5,))
    assert found.verdict in (AS_THEY_ARE, "undecided")
    assert found.models[0] == found.models[1]


def test_factors_of_pruning_in_a_checkpoint_of_a_plain_model() -> None:
    net = copy.deepcopy(NET)
    prune.random_unstructured(net.get_submodule("0"), "weight", 0.5)
    found = fit_names(net.state_dict(), mlp(24)).state
    assert torch.equal(found["0.weight"], net.get_submodule("0").weight)  # type: ignore[arg-type]


class Counting(nn.Linear):
    """Keeps what is no tensor in its state dict."""

    def __init__(self) -> None:
        super().__init__(64, 10)

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": 3}

    def set_extra_state(self, state: Any) -> None:
        assert state["steps"] == 3


def test_extra_state_stays_where_it_is() -> None:
    def made() -> nn.Module:
        return nn.Sequential(Counting())

    torch.manual_seed(0)
    states = [made().state_dict() for _ in range(2)]
    found = diagnose_states(made, states, TEST, lams=(0.5,), permutation="never")
    assert "state that is no tensor is each model's own: 0" in found.notes
    without = {name: value for name, value in states[0].items() if isinstance(value, Tensor)}
    assert diagnose_states(made, [without, states[1]], TEST, lams=(0.5,), permutation="never").models == found.models


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float16, torch.bfloat16, torch.float64])
def test_narrow_and_wide_types_are_converted_and_named(dtype: torch.dtype) -> None:
    other = {name: value.to(dtype) for name, value in STATE.items()}
    found = diagnose_states(lambda: mlp(24), [STATE, other], TEST, lams=(0.5,), permutation="never")
    assert f"checkpoint 2 is {str(dtype)[6:]}, its model float32: converted to that" in found.notes
    assert found.models[0].metric > 0.9


def test_models_of_two_precisions_are_brought_to_the_wider_one() -> None:
    found = diagnose(NET, copy.deepcopy(NET).double(), TEST, lams=(0.5,))
    assert any(
        "(model 1 is float32, model 2 is float64); all were converted to float64" in note for note in found.notes
    )
    assert found.verdict == AS_THEY_ARE


def test_a_class_defined_twice_as_in_a_notebook() -> None:
    source = "class Net(torch.nn.Linear):\n    def __init__(self):\n        super().__init__(64, 10)\n"
    kinds = []
    for _ in range(2):
        space: dict[str, Any] = {"torch": torch, "__name__": "__main__"}
        exec(source, space)
        kinds.append(space["Net"])
    torch.manual_seed(0)
    found = diagnose(kinds[0](), kinds[1](), TEST, lams=(0.5,), permutation="never")
    assert found.architecture == "Net"


def sharded(folder: Path) -> None:
    names = list(STATE)
    files = {name: f"model-{number}.safetensors" for number, part in enumerate((names[:3], names[3:])) for name in part}
    for file in set(files.values()):
        save_file({name: STATE[name] for name in names if files[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))


def test_shards_with_an_index_and_folders_of_one_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "sharded").mkdir()
    sharded(tmp_path / "sharded")
    (tmp_path / "one").mkdir()
    torch.save(STATE, tmp_path / "one" / "last.pt")
    (tmp_path / "one" / "config.json").write_text("{}")
    for path in ("sharded", "sharded/model.safetensors.index.json", "one"):
        found = read_checkpoint(tmp_path / path).state
        assert found.keys() == STATE.keys()
        assert all(torch.equal(found[name], value) for name, value in STATE.items())


def test_folders_and_indices_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MergeError, match="holds no checkpoint; name one file of weights"):
        read_checkpoint(tmp_path)
    for name in ("a.pt", "b.pt"):
        torch.save(STATE, tmp_path / name)
    with pytest.raises(MergeError, match=r"holds 2 checkpoints \(a.pt, b.pt\); name one"):
        read_checkpoint(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    for text, message in [
        ("no", "must list the files under weight_map"),
        ('{"weight_map": {"w": "../a.pt"}}', "its files must lie beside it"),
        ('{"weight_map": {"w": "a.pt"}}', "lists 'w', which its files do not hold"),
        ('{"weight_map": {"w": "absent.pt"}}', "cannot read .*absent.pt"),
    ]:
        index.write_text(text)
        with pytest.raises(MergeError, match=message):
            read_checkpoint(index)


def test_no_warning_comes_before_a_message(tmp_path: Path) -> None:
    path = tmp_path / "odd.pt"
    torch.save(NET, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MergeError, match="pickled objects"):
            read_checkpoint(path)
        with pytest.raises(LmcError, match="does not fit"):
            diagnose_states(lambda: mlp(24), [STATE, {"other": torch.ones(3)}], TEST)
