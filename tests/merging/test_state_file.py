"""Weights that stay in their file until they are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import lmc
from lmc.errors import MergeError
from lmc.measuring.paths import load_interpolated
from lmc.nets import build


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for seed, path in enumerate(paths):
        torch.manual_seed(seed)
        save_file(build("mlp-bn", 1 / 32, (1, 8, 8), 10).state_dict(), path)
    return paths


def test_it_is_the_state_dict(files: list[Path]) -> None:
    state = lmc.StateFile(files[0])
    torch.manual_seed(0)
    expected = build("mlp-bn", 1 / 32, (1, 8, 8), 10).state_dict()
    assert len(state) == len(expected)
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    assert "nothing" not in state
    with pytest.raises(KeyError, match="nothing"):
        state["nothing"]


def test_files_are_merged_as_states_are(files: list[Path]) -> None:
    a, b = map(lmc.StateFile, files)
    model = build("mlp-bn", 1 / 32, (1, 8, 8), 10)
    load_interpolated(model, a, b, 0.25)
    expected = lmc.interpolate(dict(a), dict(b), 0.25)
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_what_is_written_to_a_tensor_does_not_reach_the_file(files: list[Path]) -> None:
    state, before = lmc.StateFile(files[0]), files[0].read_bytes()
    state["head.weight"].zero_()
    assert state["head.weight"].abs().sum() > 0
    assert files[0].read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"no weights", b"\xff" * 100])
def test_unreadable_files_are_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MergeError, match=r"cannot read .*; name a safetensors file of weights"):
        lmc.StateFile(path)


def test_a_file_that_is_cut_short_meanwhile(files: list[Path]) -> None:
    state = lmc.StateFile(files[0])
    files[0].write_bytes(files[0].read_bytes()[:200])
    with pytest.raises(MergeError, match="cannot read"):
        state["head.weight"]
