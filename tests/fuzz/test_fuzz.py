"""Changed files of every kind the package reads: it refuses with an error of its own, or reads; nothing else happens."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import report_documents
import torch
from guard import reading
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import bytes_of, json_of, safetensors_of, text_of
from safetensors.torch import load, save
from test_archive import content, filled
from test_engine import DATASET, MLP
from tiny_claim import CLAIM, TIER

from lmc.claims.judging import cases, judge, needed
from lmc.data.sources import read_prepared, write_prepared
from lmc.diagnosing.checkpoints import read_checkpoint, read_data
from lmc.errors import LmcError
from lmc.reporting.diff import compare
from lmc.reporting.evidence import evidence
from lmc.reporting.history import read_history
from lmc.reporting.markdown import summary
from lmc.reporting.report import report
from lmc.reporting.results import read_results
from lmc.training import checkpoints
from lmc.training.archive import export_cells, import_cells
from lmc.training.checkpoints import Checkpoint
from lmc.training.engine import train
from lmc.training.leases import Leases, describe
from lmc.training.store import Store, cell_of, record_bytes
from lmc.training.upkeep import verify

EXAMPLES = int(os.environ.get("LMC_FUZZ_EXAMPLES") or 60)
Target = Callable[[random.Random, Path], None]
TARGETS: dict[str, Target] = {}
KEY = "0" * 19 + "1"


def target(function: Target) -> Target:
    TARGETS[function.__name__] = function
    return function


@pytest.mark.parametrize("name", TARGETS_NAMES) if False else lambda f: f
def _unused() -> None: ...
