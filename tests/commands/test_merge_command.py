"""``lmc merge`` and ``lmc forecast`` on checkpoints in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from diagnosed import digits, fitted, mlp
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

from lmc.commands import forecast, merge
from lmc.diagnosing.soup import greedy_soup
from lmc.errors import LmcError, MergeError, SpecError
from lmc.merging import merge as merge_states
from lmc.merging.complementary import complementary_permutations
from lmc.merging.permutation_spec import permute
from lmc.merging.strengths import norm_strengths
from lmc.merging.sums import SumParts, sum_merge
from lmc.merging.tracing import trace_permutation_spec

FACTORY = """
import torch
from torch import nn
def make():
    return nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 10))
def normed():
    return nn.Sequential(nn.Linear(64, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 10))
class halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = normed()
    def forward(self, left, right):
        return self.net(torch.cat([left, right], 1))
"""
STATES = [fitted(lambda: mlp(24), seed).state_dict() for seed in range(3)]
INPUTS, LABELS = digits()[1]
HEAD = SumParts(frozenset({"4.weight", "4.bias"}))


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 10))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module of its own name, checkpoints and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"merged_{tmp_path.name}.py").write_text(FACTORY)
    for name, state in zip("abc", STATES, strict=True):
        save_file(state, f"{name}.safetensors")
    for name in ("n", "m"):
        save_file(fitted(normed, ord(name)).state_dict(), f"{name}.safetensors")
    save_file({"inputs": INPUTS, "labels": LABELS}, "data.safetensors")
    return tmp_path


def run(folder: Path, *arguments: str, factory: str = "make") -> str:
    app = typer.Typer(callback=lambda: None)
    merge.register(app)
    forecast.register(app)
    found = CliRunner().invoke(app, [*arguments, "--model", f"merged_{folder.name}:{factory}"])
    if isinstance(found.exception, LmcError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.output


def assert_same(path: str, expected: dict[str, Any]) -> None:
    found = load_file(path)
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, msg=f"{name}: {{}}".format)


def test_files_hold_what_the_functions_give(folder: Path) -> None:
    a, b, c = STATES
    said = run(
        folder,
        "merge",
        "a.safetensors",
        "b.safetensors",
        "c.safetensors",
        "-o",
        "m.safetensors",
        "--weights",
        ".5,.3,.2",
    )
    assert_same("m.safetensors", merge_states([a, b, c], [0.5, 0.3, 0.2]))
    assert "how good the merge is cannot be known without data" in said
    assert "BatchNorm" not in said
    run(folder, "merge", "a.safetensors", "b.safetensors", "-o", "m.safetensors", "--rule", "sum", "--head", "4")
    assert_same("m.safetensors", sum_merge([a, b], HEAD))
    more = ["--rule", "sum", "--align", "complementary"]
    expected = trace_permutation_spec(mlp(24), INPUTS[:2])
    orders = complementary_permutations(expected, [norm_strengths(expected, state) for state in (a, b)])
    apart = sum_merge([a, permute(b, expected, orders[1])], HEAD)
    for example in (["--shape", "64"], ["--data", "data.safetensors"]):
        run(folder, "merge", "a.safetensors", "b.safetensors", "-o", "m.safetensors", *more, *example)
        assert_same("m.safetensors", apart)


def test_batch_norm_is_reset_with_data_and_spoken_of_without(folder: Path) -> None:
    call = ["merge", "n.safetensors", "m.safetensors", "-o", "out.safetensors"]
    said = run(folder, *call, factory="normed")
    assert "BatchNorm statistics were averaged, which is right for no layer but the first" in said
    before = load_file("out.safetensors")
    said = run(folder, *call, "--rule", "sum", "--shape", "64", factory="normed")
    assert "BatchNorm statistics were summed" in said
    torch.testing.assert_close(load_file("out.safetensors")["1.running_mean"], 2 * before["1.running_mean"])
    said = run(folder, *call, "--data", "data.safetensors", factory="normed")
    assert f"BatchNorm statistics were reset on {len(INPUTS)} of the test inputs" in said
    after = load_file("out.safetensors")
    hidden = nn.functional.linear(INPUTS, after["0.weight"], after["0.bias"])
    torch.testing.assert_close(after["1.running_mean"], hidden.mean(0), rtol=2e-2, atol=2e-2)  # a mean over batches


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["a.safetensors"], SpecError, "only a.safetensors was named"),
        (
            ["a.safetensors", "b.safetensors", "--rule", "median"],
            SpecError,
            "rule is 'median'; choose one of mean, sum",
        ),
        (["a.safetensors", "b.safetensors", "--align", "closest"], SpecError, "align is 'closest'; choose one of"),
        (["a.safetensors", "b.safetensors", "--align", "matching"], MergeError, "pass --data, or the shape of one"),
        (["a.safetensors", "b.safetensors", "--rule", "sum"], MergeError, "has to know the last layer; pass --data"),
        (
            ["a.safetensors", "b.safetensors", "--weights", "1,0", "--rule", "sum", "--head", "4"],
            MergeError,
            "leave the model",
        ),
        (["a.safetensors", "b.safetensors", "--weights", "1,-1"], MergeError, "non-negative"),
        (["a.safetensors", "b.safetensors", "--weights", "a,b"], SpecError, "--weights is 'a,b'; give one number"),
        (["a.safetensors", "b.safetensors", "--shape", "3,x"], SpecError, "--shape is '3,x'; give the sizes"),
        (["a.safetensors", "nan.safetensors"], MergeError, "0.bias of model 2 holds NaN"),
        (["a.safetensors", "wide.safetensors"], MergeError, "checkpoint 2 does not fit the model of make"),
        (["a.safetensors", "b.safetensors", "--select", "some"], SpecError, "select is 'some'; choose one of all, gr"),
        (["a.safetensors", "b.safetensors", "--select", "greedy"], SpecError, "what the models do with data; pass --d"),
        (
            ["a.safetensors", "b.safetensors", "--select", "greedy", "--rule", "sum"],
            SpecError,
            "leave out --align, --rule and --weights",
        ),
        (["a.safetensors", "b.safetensors", "--ema"], SpecError, "holds no moving average"),
        (["a.safetensors", "out.safetensors"], SpecError, "would overwrite out.safetensors"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_merged_is_one_line(
    folder: Path, arguments: list[str], error: type[Exception], message: str
) -> None:
    save_file({**STATES[0], "0.bias": torch.full((24,), torch.nan)}, "nan.safetensors")
    save_file(mlp(25).state_dict(), "wide.safetensors")
    with pytest.raises(error, match=message) as caught:
        run(folder, "merge", *arguments, "-o", "out.safetensors")
    assert "\n" not in str(caught.value)
    assert not (folder / "out.safetensors").exists()


def test_wrapped_names_and_other_precisions_are_brought_to_the_model(folder: Path) -> None:
    half = {f"module.{name}": tensor.half() for name, tensor in STATES[1].items()}
    torch.save({"state_dict": half}, "half.pt")
    said = run(folder, "merge", "a.safetensors", "half.pt", "-o", "m.safetensors")
    assert "note: checkpoint 2 is float16, its model float32: converted to that" in said
    assert_same("m.safetensors", merge_states([STATES[0], {key[7:]: each.float() for key, each in half.items()}]))


def test_models_of_two_named_inputs(folder: Path) -> None:
    """What a model reads by name is matched and reset on as a single input is."""
    named = {"left": INPUTS[:, :32].contiguous(), "right": INPUTS[:, 32:].contiguous(), "labels": LABELS}
    save_file(named, "named.safetensors")
    for name, like in (("p", "n"), ("q", "m")):
        save_file({f"net.{key}": each for key, each in load_file(f"{like}.safetensors").items()}, f"{name}.safetensors")
    for align in ("unpermuted", "matching", "complementary"):
        given = ["-o", "out.safetensors", "--align", align]
        run(folder, "merge", "n.safetensors", "m.safetensors", *given, "--data", "data.safetensors", factory="normed")
        expected = {f"net.{key}": each for key, each in load_file("out.safetensors").items()}
        run(folder, "merge", "p.safetensors", "q.safetensors", *given, "--data", "named.safetensors", factory="halves")
        assert_same("out.safetensors", expected)


def test_a_greedy_soup_holds_what_it_says(folder: Path) -> None:
    names = ["a.safetensors", "b.safetensors", "c.safetensors"]
    said = run(folder, "merge", *names, "-o", "m.safetensors", "--select", "greedy", "--data", "data.safetensors")
    nets = [mlp(24) for _ in STATES]
    for net, state in zip(nets, STATES, strict=True):
        net.load_state_dict(state)
    soup = greedy_soup(nets, (INPUTS, LABELS))
    assert f"the best mean by accuracy is that of models {', '.join(map(str, soup.members))};" in said
    assert_same("m.safetensors", merge_states([STATES[number - 1] for number in soup.members], None))


def test_a_forecast_of_a_regression_is_in_its_own_terms(folder: Path) -> None:
    wanted = nn.functional.one_hot(LABELS, 10).float() + 0.5
    save_file({"inputs": INPUTS, "labels": wanted}, "numbers.safetensors")
    said = run(folder, "forecast", "a.safetensors", "--data", "numbers.safetensors", "--draws", "3")
    assert "the model: R² " in said
    assert "R² lost" in said
    assert "calibrated" not in said
    assert "nats" not in said


def test_a_forecast_is_that_of_permutations_by_hand(folder: Path) -> None:
    found = json.loads(run(folder, "forecast", "a.safetensors", "--data", "data.safetensors", "--draws", "4", "--json"))
    assert found["draws"] == 4
    assert found["loss"]["low"] < found["loss"]["mean"] < found["loss"]["high"]
    assert found["loss"]["least"] <= found["loss"]["mean"] <= found["loss"]["most"]
    said = run(folder, "forecast", "a.safetensors", "--data", "data.safetensors", "--draws", "4")
    assert f"loss barrier             {found['loss']['mean']:.3f} (" in said
    assert "90 % of single draws" in said
    with pytest.raises(SpecError, match="draws is 1; an interval needs two or more"):
        run(folder, "forecast", "a.safetensors", "--data", "data.safetensors", "--draws", "1")


def test_a_width_is_forecast_from_checkpoints_of_several(folder: Path) -> None:
    with (folder / f"merged_{folder.name}.py").open("a") as module:
        module.write(
            "def narrow():\n    return nn.Sequential(nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), "
        )
        module.write("nn.Linear(6, 10))\n")
    save_file(fitted(lambda: mlp(6), 0).state_dict(), "narrow.safetensors")
    files = ("narrow.safetensors", "a.safetensors")
    given = ("--model", f"merged_{folder.name}:narrow", "--data", "data.safetensors", "--draws", "4")
    said = run(folder, "forecast", *files, *given, "--widths", "6,24", "--tolerance", "1.4")
    assert "calibrated loss barrier with 4 random permutations of each model" in said
    found = json.loads(run(folder, "forecast", *files, *given, "--widths", "6,24", "--tolerance", "1.4", "--json"))
    assert 6 < found["width"] < 24
    assert found["low"] <= found["width"] <= found["high"]
    assert f"it falls below 1.4 at width {found['width']:.3g} ({found['low']:.3g} to {found['high']:.3g})" in said
    refusals = {
        "2 checkpoints; give one each": (),
        "one positive number per checkpoint": ("--widths", "6,wide"),
        "all models are of width 6": ("--widths", "6,6"),
        "below 9 at every width already": ("--widths", "6,24", "--tolerance", "9"),
    }
    for message, options in refusals.items():
        with pytest.raises(LmcError, match=message):
            run(folder, "forecast", *files, *given, *options)
