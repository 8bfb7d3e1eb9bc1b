"""Processes where there is no fork server, as on Windows: a run trains and measures all the same."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from lmc.executing.process import starting

SPAWNED = """
import multiprocessing, sys
from pathlib import Path
from lmc import host
from tiny_claim import CLAIM, TIER
from lmc.claims.cases import cases
from lmc.executing.local import LocalExecutor
from lmc.executing.session import make_missing
from lmc.executing.settings import Settings

if __name__ == "__main__":
    sys.modules["fcntl"] = None
    multiprocessing.get_all_start_methods = lambda: ["spawn"]
    host.ROOT = Path("/nonexistent")
    home = Path(sys.argv[1])
    settings = Settings.resolve({"LMC_HOME": str(home)}, device="auto", workers="2")
    assert settings.device == "cpu"
    made = make_missing(cases([CLAIM], TIER), settings, LocalExecutor(2))
    assert made.counts["models"] > 0 and all(each["status"] == "measured" for each in made.records.values())
"""


def test_there_is_a_fork_server_where_the_system_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert starting().get_start_method() == "forkserver"
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert starting().get_start_method() == "spawn"


def test_a_run_without_fork_server_fcntl_proc_and_unicode(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(SPAWNED, "utf-8")
    environ = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "", "PYTHONIOENCODING": "cp1252"}
    subprocess.run([sys.executable, script, tmp_path / "home"], check=True, timeout=300, env=environ)
