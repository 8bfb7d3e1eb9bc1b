"""Fixtures and profiles of the whole checkout's tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve other processes

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts jobs in the background, and runs inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Do not import the unit tests (and with them torch) when only the claims are asked for."""
    if config.getoption("markexpr") == "paper" and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        config.args[:] = [str(ROOT / "lmc" / "commands" / "test_paper.py")]


@pytest.fixture(autouse=True)
def _denormals_of_others() -> Iterator[None]:
    """A test that prepares its process for computing flushes denormals; the next test's numbers must not be."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
