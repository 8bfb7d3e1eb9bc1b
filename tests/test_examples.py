"""The examples run as they are."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[1] / "examples"


def printed_by(name: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr("sys.argv", [name, *words])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_segmentation_is_judged_by_its_overlap(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = printed_by("segmentation.py", ["--steps", "20"], monkeypatch, capsys)
    for part in ("Judged by mean IoU, at most 2 points less", "Segmenter, 100 inputs, 3 classes", "body.5"):
        assert part in printed


def test_a_language_model_of_transformers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers", reason="tox -e transformers has it")
    printed = printed_by("language_model.py", ["--steps", "10"], monkeypatch, capsys)
    for part in ("Judged by accuracy", "GPT2LMHeadModel, 100 inputs, 128 classes", "merged: as they are"):
        assert part in printed


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
