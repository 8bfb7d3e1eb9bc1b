"""Devices by name: what auto takes and why, and what happens where one is absent."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest
import torch

from lmc import host
from lmc.errors import DeviceError, SpecError
from lmc.executing.devices import device_names, fast_bf16, parse_device, resolve_device
from lmc.precision import has_float64


def pretend(monkeypatch: pytest.MonkeyPatch, root: Path, *found: str, driver: str = "proc/driver/nvidia") -> None:
    """A machine whose torch can use the accelerators ``found``."""
    monkeypatch.setattr(host, "ROOT", root)
    if driver:
        (root / driver).mkdir(parents=True)
    kind = found[0].partition(":")[0] if found else "cpu"
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: bool(found))
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: len(found))


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "mps", "xpu", "cuda:0", "xpu:12"])
def test_names(name: str) -> None:
    assert parse_device(name) == name


@pytest.mark.parametrize("name", ["tpu", "cpu:0", "auto:1", "cuda:", "cuda:x", "cuda:-1", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match="choose one of auto, cpu, cuda, mps, xpu"):
        parse_device(name)


@pytest.mark.parametrize(
    ("driver", "found", "taken"),
    [
        ("", (), "cpu"),
        ("proc/driver/nvidia", (), "cpu"),
        ("proc/driver/nvidia", ("cuda:0",), "cuda"),
        ("dev/kfd", ("cuda:0", "cuda:1"), "cuda"),
        ("dev/dxg", ("cuda:0",), "cuda"),
        ("dev/dri", ("xpu:0",), "xpu"),
    ],
)
def test_auto_takes_what_torch_can_use_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, found: tuple[str, ...], taken: str
) -> None:
    pretend(monkeypatch, tmp_path, *found, driver=driver)
    device, because = resolve_device("auto")
    assert device == taken
    expected = "torch can use" if found else "can use no accelerator" if driver else "no driver"
    assert expected in because


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("win32", "AMD64")])
def test_auto_on_other_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    kind = "mps" if system == "darwin" else "cuda"
    pretend(monkeypatch, tmp_path, f"{kind}:0", driver="")
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert resolve_device("auto")[0] == kind


def test_a_device_that_is_absent_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, tmp_path)
    with pytest.raises(DeviceError, match=r"'cuda' was asked for, but torch sees no accelerator at all \(there is an"):
        resolve_device("cuda")
    assert resolve_device("cuda", here=False)[0] == "cuda"


def test_an_index_that_is_absent_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, tmp_path, "cuda:0", "cuda:1")
    assert resolve_device("cuda:1")[0] == "cuda:1"
    with pytest.raises(DeviceError, match=r"'cuda:2' was asked for, but torch sees cuda:0, cuda:1"):
        resolve_device("cuda:2")
    with pytest.raises(DeviceError, match=r"'xpu' was asked for, but torch sees cuda:0, cuda:1"):
        resolve_device("xpu")


def test_a_kind_means_all_of_its_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, tmp_path, "cuda:0", "cuda:1")
    assert device_names("cuda") == ["cuda:0", "cuda:1"]
    assert device_names("cuda:1") == ["cuda:1"]
    assert device_names("cpu") == ["cpu"]


def test_what_devices_lack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "ROOT", tmp_path)
    assert [has_float64(each) for each in ("cpu", "cuda:1", "mps", "xpu")] == [True, True, False, True]
    assert [fast_bf16(each) for each in ("cpu", "cuda:1", "mps", "xpu")] == [False, True, False, True]
