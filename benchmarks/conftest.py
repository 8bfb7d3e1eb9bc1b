"""The machine's facts in every benchmark file, and data that need no download."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from random_images import random_dataset
from timing import THREADS, sized

from lmc.data import Dataset, load_dataset
from lmc.executing.devices import fast_bf16
from lmc.executing.process import prepare_arithmetic
from lmc.host import cores


def has_amx() -> bool:
    """Whether the processor multiplies bfloat16 matrices in tiles."""
    return bool(torch.cpu._is_amx_tile_supported())


def pytest_configure() -> None:
    """Flush denormals before torch makes its threads: those made earlier never do."""
    prepare_arithmetic(THREADS)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Add what the times of a training depend on."""
    machine_info |= {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "amx": has_amx(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "unset"),
    }


@pytest.fixture(scope="session")
def precision() -> str:
    """The faster precision of `RunSpec` for networks large enough to be bound by their arithmetic."""
    return "bf16" if fast_bf16("cpu") else "fp32"


@pytest.fixture(scope="session")
def mnist_like() -> Dataset:
    """6,000 images of MNIST's shape."""
    return random_dataset("mnist-like", (1, 28, 28), 6000)


@pytest.fixture(scope="session")
def cifar_like() -> Dataset:
    """1,024 images of CIFAR-10's shape."""
    return random_dataset("cifar10-like", (3, 32, 32), sized(1024, 128))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """scikit-learn's digits, which come with the package."""
    return load_dataset("digits", tmp_path_factory.mktemp("data"), download=False)
