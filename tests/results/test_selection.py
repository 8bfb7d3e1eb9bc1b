"""What a run was restricted to, as text and in the command that makes its numbers again."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from documents import document

from lmc.claims.cases import needed
from lmc.executing.session import selected_cases
from lmc.executing.settings import Settings
from lmc.results.document import Selection
from lmc.results.selection import command, described, series

RESTRICTED = Selection(claims=("fig1", "core"), arch="mlp", max_width=0.25, precision="bf16")
PILOT = Selection(pilot=True, dataset="d e", max_width=0.25)


@pytest.mark.parametrize(
    ("selection", "options", "said"),
    [
        (Selection(), "pytest -m paper --lmc-tier 'a b' --lmc-claims 'x;y'", "everything"),
        (
            RESTRICTED,
            "pytest -m paper --lmc-tier 'a b' --lmc-claims 'x;y' --lmc-arch mlp --lmc-max-width 0.25 "
            "--lmc-precision bf16",
            "claims fig1, core; arch mlp; max width 0.25; precision bf16",
        ),
        (
            PILOT,
            "lmc run --pilot --tier 'a b' --claims 'x;y' --dataset 'd e' --max-width 0.25",
            "pilot seeds; dataset d e; max width 0.25",
        ),
        (
            Selection(extra_claims=("mine.claims:CLAIMS",)),
            "pytest -m paper --lmc-tier 'a b' --lmc-extra-claims mine.claims:CLAIMS --lmc-claims 'x;y'",
            "with claims of mine.claims:CLAIMS",
        ),
    ],
    ids=["unrestricted", "restricted", "pilot", "extra-claims"],
)
def test_the_command_holds_what_the_run_was_restricted_to(selection: Selection, options: str, said: str) -> None:
    made = document(tier="a b", selection=selection)
    assert command(made, "x;y") == options
    assert described(made) == said


def test_only_widths_and_precision_make_another_series() -> None:
    assert series(document(selection=RESTRICTED)) == "max width 0.25; precision bf16"
    assert series(document(selection=PILOT)) == "max width 0.25"
    assert series(document(selection=Selection(claims=("fig1",), arch="mlp", dataset="d"))) == ""


def test_the_command_of_a_restricted_run_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what reads it: options that are unknown or lead to nothing are refused."""
    for name in ("LMC_CLAIMS", "LMC_ARCH", "LMC_DATASET", "LMC_MAX_WIDTH", "LMC_PRECISION"):
        monkeypatch.delenv(name, raising=False)
    asked = Settings.resolve(device="cpu", claims="fig1-", arch="mlp", max_width="1/4", precision="fp32")
    made = document(selection=asked.selection(pilot=True))
    words = shlex.split(command(made, "fig1-accuracy-rises-with-width"))[3:]
    given: dict[str, Any] = {
        option.removeprefix("--").replace("-", "_"): value
        for option, value in zip(words[::2], words[1::2], strict=True)
    }
    again = Settings.resolve(device="cpu", **given)
    assert again.selection().claims == ("fig1-accuracy-rises-with-width",)
    assert described(document(selection=again.selection())) == (
        "claims fig1-accuracy-rises-with-width; arch mlp; max width 0.25; precision fp32"
    )
    assert {spec.width for each in needed(selected_cases(again)) for spec in each.specs} == {1 / 16, 1 / 4}
