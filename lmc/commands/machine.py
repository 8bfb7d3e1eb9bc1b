"""Facts of the machine, the software and the commit, for every results file. Imports no torch."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from lmc import host
from lmc.executing.devices import CPU, describe_device, device_memories
from lmc.executing.settings import Settings

_PACKAGES = ("lmc", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "safetensors", "pytest")


def machine_facts(settings: Settings) -> dict[str, Any]:
    """Processor, cores, memory, operating system, device and workers."""
    facts: dict[str, Any] = {
        "processor": host.processor(),
        "cores": host.cores(),
        "memory_gib": round(host.memory()[0] / 2**30, 1),
        "system": platform.platform(),
        "device": settings.device,
        "workers": settings.workers,
        "executor": settings.executor,
    }
    if settings.device != CPU and settings.executor == "local":  # a cluster's nodes have theirs
        memories = device_memories(settings.device)
        facts["gpu"] = describe_device(settings.device)
        facts["gpus"] = len(memories)
        facts["gpu_memory_gib"] = round(min(memories.values()) / 2**30, 1)
    return facts


def version_facts() -> dict[str, str]:
    """Python's version and that of every package a number may depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> str:
    """The commit of the checkout this package runs from, ``+dirty`` with local changes; else ``unknown``."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return "unknown"

    def git(*arguments: str) -> str:
        command = ["git", "-C", os.fspath(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+dirty" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
