"""What to compute on: a CPU, or an accelerator that torch knows by name (CUDA on NVIDIA and ROCm, MPS, XPU)."""

from __future__ import annotations

import os
import platform
import sys

from lmc import host
from lmc.errors import DeviceError, SpecError

CPU = "cpu"
KINDS = (CPU, "cuda", "mps", "xpu")
"""``cuda`` stands for AMD's GPUs too, as torch calls them."""

_DRIVERS = (
    ("proc/driver/nvidia", "an NVIDIA driver"),
    ("dev/kfd", "an AMD driver"),
    ("dev/dxg", "a GPU of Windows under WSL"),
    ("dev/dri", "a graphics driver"),
)
"""Without one of these a Linux has no accelerator, and torch need not be imported to ask."""


def parse_device(name: str) -> str:
    """The name of a device, checked: ``auto``, or one of `KINDS`, an accelerator perhaps with an index as ``cuda:1``.

    Raises:
        SpecError: it is none.
    """
    kind, colon, index = name.partition(":")
    if (kind in KINDS and not colon) or (kind in KINDS[1:] and index.isdecimal()) or name == "auto":
        return name
    raise SpecError(f"unknown device {name!r}; choose one of auto, {', '.join(KINDS)}, or one of several, e.g. cuda:1")


def kind_of(device: str) -> str:
    """One of `KINDS`."""
    return device.partition(":")[0]


def resolve_device(name: str, *, here: bool = True) -> tuple[str, str]:
    """The device that ``name`` stands for, and why; ``auto`` takes an accelerator where torch can use one.

    Args:
        name: what was asked for.
        here: whether this machine will compute; another may have the accelerator that this one lacks.

    Raises:
        SpecError: the name is unknown.
        DeviceError: an accelerator is asked for and absent.
    """
    parse_device(name)
    if name == CPU or (name != "auto" and not here):
        return name, "asked for"
    driver = _driver()
    if name == "auto" and not driver:
        return CPU, "this machine shows no driver of an accelerator"
    found = _accelerators()
    if name == "auto":
        if not found:
            return CPU, f"there is {driver}, but this build of torch can use no accelerator"
        return kind_of(found[0]), f"torch can use {len(found)} of its kind" if len(found) > 1 else "torch can use it"
    if name not in found and name != kind_of(found[0] if found else CPU):
        there = ", ".join(found) if found else "no accelerator at all"
        reason = "" if found or not driver else f" (there is {driver}: install torch's build for it)"
        raise DeviceError(f"device {name!r} was asked for, but torch sees {there}{reason}; use 'cpu' or 'auto'")
    return name, "asked for"


def device_names(device: str) -> list[str]:
    """Every device that ``device`` means, by index: all GPUs of a kind, or the one that is named."""
    if device == CPU or ":" in device:
        return [device]
    return _accelerators() or [device]


def device_memories(device: str) -> dict[str, float]:
    """Bytes of each of `device_names`; empty for the CPU. MPS shares the machine's memory."""
    if device == CPU:
        return {}
    return {each: _memory(each) for each in device_names(device)}


def describe_device(device: str) -> str:
    """Its product name, as the driver gives it."""
    import torch

    kind = kind_of(device)
    if kind in ("cuda", "xpu"):
        return str(torch.get_device_module(kind).get_device_properties(torch.device(device_names(device)[0])).name)
    return host.processor()


def fast_bf16(device: str) -> bool:
    """Whether bf16 pays: on CUDA and XPU, and on CPUs that compute in it; others take 4 to 16 times longer.

    MPS keeps to float32: nobody has measured there what bf16 does to a verdict.
    """
    return kind_of(device) in ("cuda", "xpu") or (device == CPU and host.computes_bf16())


def _memory(device: str) -> float:
    import torch

    if kind_of(device) == "mps":
        return float(torch.mps.recommended_max_memory())
    return float(torch.get_device_module(kind_of(device)).get_device_properties(torch.device(device)).total_memory)


def _driver() -> str:
    """What says that there may be an accelerator; nothing where there is none for certain."""
    if sys.platform == "win32":
        return "Windows"
    if sys.platform == "darwin":
        return "Apple's GPU" if platform.machine() == "arm64" else ""
    return next((name for path, name in _DRIVERS if (host.ROOT / path).exists()), "")


def _accelerators() -> list[str]:
    """Every accelerator that torch can use, ``kind:index``."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve on a busy machine
    import torch

    if not torch.accelerator.is_available():
        return []
    kind = torch.accelerator.current_accelerator()
    assert kind is not None
    return [f"{kind.type}:{index}" for index in range(torch.accelerator.device_count())] if kind.type in KINDS else []
