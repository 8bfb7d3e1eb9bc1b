"""Changed files of every kind the package reads: it refuses with an error of its own, or reads; nothing else happens."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = int(os.environ.get("LMC_FUZZ_EXAMPLES") or 60)
Target = Callable[[random.Random, Path], None]
TARGETS: dict[str, Target] = {}
KEY = "0" * 19 + "1"


def target(function: Target) -> Target:
    TARGETS[function.__name__] = function
    return function


@pytest.mark.parametrize("name", TARGETS_NAMES) if False else lambda f: f
def _unused() -> None: ...
