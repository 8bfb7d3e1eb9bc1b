"""The one table of options, and that pytest, the command line, the environment and the README follow it."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lmc.commands.cli import app
from lmc.errors import LmcError
from lmc.executing.options import OPTION_NAMED, OPTIONS, Option
from lmc.executing.settings import Settings

ROOT = Path(__file__).parents[2]
SAMPLES = {
    "tier": "paper",
    "extra-claims": "own:CLAIMS,more:CLAIMS",
    "store": "/s",
    "data": "/d",
    "device": "cpu",
    "workers": "3",
    "executor": "ray",
    "ray-address": "head:1",
    "claims": "fig1,fig2",
    "setting": "vgg-digits,mlp-digits",
    "role": "weak,zero",
    "arch": "vgg",
    "dataset": "digits",
    "max-width": "1/2",
    "precision": "bf16",
    "results": "r.json",
    "baseline": "b.json",
}
every_option = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)


def told(text: str) -> str:
    return " ".join(text.split())


def test_every_setting_but_the_home_has_an_option() -> None:
    fields = [field.name for field in dataclasses.fields(Settings) if field.name not in ("home", "device_because")]
    assert sorted(option.field for option in OPTIONS) == sorted(fields)
    assert [option.name for option in OPTIONS] == list(SAMPLES)


@every_option
def test_the_environment_says_the_same_as_the_option(option: Option) -> None:
    more = {"executor": "ray"} if option.name == "ray-address" else {}
    by_option = Settings.resolve({}, **({"device": "cpu"} | more | {option.field: SAMPLES[option.name]}))
    by_variable = Settings.resolve({option.variable: SAMPLES[option.name], "LMC_DEVICE": "cpu"}, **more)
    assert by_option == by_variable
    if option.name != "device":  # here there is no other device
        assert by_option != Settings.resolve({}, device="cpu", **more)


@every_option
def test_a_default_can_be_given_too(option: Option) -> None:
    environ = {"LMC_HOME": "/h", "LMC_DEVICE": "cpu"}
    if option.default:
        given = option.default.replace("$LMC_HOME", "/h")
        assert Settings.resolve(environ | {option.variable: given}) == Settings.resolve(environ)
    assert bool(option.default) != bool(option.otherwise), "the help has one thing to say"


def test_pytest_and_lmc_run_say_of_every_option_what_the_table_says() -> None:
    command = [sys.executable, "-m", "pytest", "--help"]
    pytest_help = told(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)
    run_help = told(CliRunner().invoke(app, ["run", "--help"]).output)
    for option in OPTIONS:
        said = re.sub(r"([/:-]) ", r"\1", told(option.text))  # lines break after these
        for prefix, text, gap in (("--lmc-", pytest_help, "="), ("--", run_help, " ")):
            assert f"{prefix}{option.name}{gap}{option.metavar} " in text
            assert said in re.sub(r"([/:-]) ", r"\1", text), option.name


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (
            ["plan"],
            ["tier", "extra-claims", "claims", "setting", "role", "arch", "dataset", "max-width", "precision", "store"],
        ),
        (["doctor"], ["store", "data", "device"]),
        (["claims"], ["extra-claims"]),
        (["store", "verify"], ["store"]),
        (["store", "prune"], ["store", "extra-claims"]),
        (["store", "export"], ["store", "extra-claims"]),
        (["store", "import"], ["store"]),
        (["diagnose"], ["device"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_other_commands_take_theirs_from_the_table(command: list[str], names: list[str]) -> None:
    listed = told(CliRunner().invoke(app, [*command, "--help"]).output)
    for name in names:
        assert f"--{name} {OPTION_NAMED[name].metavar} " in listed
        assert f"also {OPTION_NAMED[name].variable})" in listed


@every_option
def test_what_is_wrong_is_one_line_with_the_value(option: Option) -> None:
    wrong = {"device": "tpu", "workers": "0", "executor": "slurm", "max-width": "x", "precision": "fp8"}
    if option.name in wrong:
        with pytest.raises(LmcError) as refused:
            option.parse(wrong[option.name])
        assert repr(wrong[option.name]) in str(refused.value)
        assert "\n" not in str(refused.value)
    else:
        option.parse(SAMPLES[option.name])
