"""A look at the machine: what would slow a run down or stop it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from lmc import host
from lmc.datasets import Embedded, Torchvision, dataset_info, dataset_names
from lmc.executing.devices import CPU, describe_device, fast_bf16, kind_of
from lmc.executing.settings import Settings
from lmc.precision import has_float64

MIN_MEMORY_GIB = 2.0
MIN_DISK_GIB = 1.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what it is, whether it is fine, what was found."""

    what: str
    fine: bool
    found: str


def examine(settings: Settings) -> list[Finding]:
    """Look at threads, precision, device, memory, disk, packages and data, also what somebody's tier registers."""
    settings.modules.load()
    return [
        _threads(settings),
        _precision(),
        _device(settings),
        _memory(),
        _disk(settings.store),
        _packages(),
        *_data(settings.data),
    ]


def _threads(settings: Settings) -> Finding:
    policy = os.environ.get("OMP_WAIT_POLICY", "PASSIVE (set for workers)")
    passive = policy.upper().startswith("PASSIVE")
    advice = "" if passive else "; unset OMP_WAIT_POLICY, spinning threads starve other workers"
    return Finding(
        "threads",
        passive,
        f"{host.cores()} cores, {settings.workers} workers of one thread, OMP_WAIT_POLICY {policy}{advice}",
    )


def _precision() -> Finding:
    import torch

    rates = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = (torch.ones(512, 512, dtype=dtype) for _ in range(2))
        a @ b
        started = time.perf_counter()
        for _ in range(5):
            a @ b
        rates[name] = 5 * 2 * 512**3 / (time.perf_counter() - started) / 1e9
    faster = rates["bfloat16"] / rates["float32"]
    flushes = torch.set_flush_denormal(True)
    found = (
        f"float32 {rates['float32']:.0f} GFLOP/s, bfloat16 {faster:.1f}x that; "
        f"denormals {'can be flushed' if flushes else 'cannot be flushed: strong decay will be slow'}"
    )
    return Finding("precision", flushes, found)


def _device(settings: Settings) -> Finding:
    device = settings.device
    if device == CPU:
        return Finding("device", True, f"{device} ({settings.device_because})")
    import torch

    if kind_of(device) == "mps":
        free, total = host.memory()[1], host.memory()[0]
    else:
        free, total = torch.accelerator.get_memory_info(torch.device(device))
    dtypes = ["float32", *(["bfloat16"] if fast_bf16(device) else []), *(["float64"] if has_float64(device) else [])]
    lacks = "" if has_float64(device) else "; no float64: sums, losses and ranks are computed on the CPU"
    bf16 = "trains in bf16" if fast_bf16(device) else "trains in float32"
    found = (
        f"{device} ({settings.device_because}): {describe_device(device)}, {free / 2**30:.1f} of {total / 2**30:.1f} "
        f"GiB free, {', '.join(dtypes)}; {bf16} where a tier leaves it open{lacks}"
    )
    return Finding("device", free > 1 << 30, found)


def _memory() -> Finding:
    free = host.memory()[1] / 2**30
    advice = "" if free >= MIN_MEMORY_GIB else f"; the quick tier needs {MIN_MEMORY_GIB:g}, close something"
    return Finding("memory", free >= MIN_MEMORY_GIB, f"{free:.1f} GiB free{advice}")


def _disk(store: Path) -> Finding:
    folder = next(path for path in (store, *store.parents) if path.exists())
    free = shutil.disk_usage(folder).free / 2**30
    fine = free >= MIN_DISK_GIB and os.access(folder, os.W_OK)
    return Finding("disk", fine, f"{free:.1f} GiB free for {store}{'' if fine else '; choose another --store'}")


def _packages() -> Finding:
    torch = importlib.metadata.version("torch")
    vision = importlib.metadata.version("torchvision")
    mixed = ("+cpu" in torch) != ("+cpu" in vision)
    advice = "; install both from the same index, or torchvision fails at import" if mixed else ""
    return Finding("packages", not mixed, f"torch {torch}, torchvision {vision}{advice}")


def _data(folder: Path) -> list[Finding]:
    return [Finding("data", True, f"{name}: {_where(name, folder)}") for name in dataset_names()]


def _where(name: str, folder: Path) -> str:
    source = dataset_info(name).source
    if isinstance(source, Embedded):
        return "embedded"
    if not isinstance(source, Torchvision):
        return f"registered, from {source}"
    if (folder / f"{name}.safetensors").exists():
        return f"prepared in {folder}"
    return f"not in {folder}; downloaded when a tier needs it"
