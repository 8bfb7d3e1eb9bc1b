"""The examples run as they are."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_resnet18_prints_a_diagnosis(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As small as it gets, without the weight matching, whose time does not depend on the data."""
    words = ["resnet18.py", "--side", "8", "--images", "20", "--steps", "1", "--permutation", "never"]
    monkeypatch.setattr("sys.argv", words)
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(EXAMPLES / "resnet18.py"), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    for part in ("ResNet, 20 inputs, 10 classes", "merged: BN reset", "layer4.1.conv2", "diagnosed in"):
        assert part in printed
