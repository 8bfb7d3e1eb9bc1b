"""Runs to disturb, and what undisturbed ones leave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness import Calm, Runs, calm


@pytest.fixture(scope="session")
def runs() -> Iterator[Runs]:
    started = Runs()
    yield started
    started.close()


@pytest.fixture(scope="session")
def undisturbed(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Calm:
    return calm(runs, tmp_path_factory.mktemp("calm"))
