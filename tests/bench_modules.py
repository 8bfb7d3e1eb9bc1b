"""The modules of ``benchmarks/``, and files as pytest-benchmark writes them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]


def load(name: str) -> ModuleType:
    """A module of ``benchmarks/``, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Spread = tuple[float, float, float]
BEFORE: Spread = (3.6, 4.0, 4.4)


def document(**ratios: Spread) -> dict[str, Any]:
    """A file of pytest-benchmark with (least, median, largest) ratios by the test's name."""
    rows = [
        {
            "fullname": f"benchmarks/test_any.py::{name}",
            "extra_info": {"work": name, "peer": "p", "target": 2.0}
            | dict(zip(("ratio_least", "ratio", "ratio_largest"), spread, strict=True)),
            "stats": {"data": [0.125] * 1000, "median": 0.125},
        }
        for name, spread in ratios.items()
    ]
    info = {"node": "secret-host", "cores": 2, "amx": True, "device": "cpu", "cpu": {"count": 64}, "torch": "2.11"}
    return {"machine_info": info, "commit_info": {"id": "c0ffee", "author_time": "x"}, "benchmarks": rows}


def written(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path
