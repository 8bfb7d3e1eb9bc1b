"""Names in somebody else's code: where their modules are looked for, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from lmc.claims.own import all_claims
from lmc.claims.paper import CLAIMS
from lmc.errors import SpecError
from lmc.executing.settings import Settings
from lmc.references import Modules, find
from lmc.tiers import load_tier

MODULE = """
from dataclasses import replace
from lmc.tiers import Setting, Tier
from tiny_claim import CLAIM, CLAIMS, SETTING, TIER

def tier():
    return TIER

def broken():
    return 1 / 0

number = 3
text = "CLAIMS"
EMPTY = Tier("empty", (), "")
TWICE = Tier("twice", (SETTING, SETTING), "")
WEAK = Tier("weak", (replace(SETTING, families={"weak": SETTING.families["strong"]}),), "")
MORE = [replace(CLAIM, id="more")]
AGAIN = [CLAIM, CLAIM]
OURS = [replace(CLAIM, id="fig1-accuracy-rises-with-width")]
VIT = [replace(CLAIM, kinds=("mlp", "rnn"))]
FIGURE = [replace(CLAIM, items=("Figure 1", "Figure 99"))]
MIXED = [CLAIM, TIER]
class Inner:
    tier = TIER
"""
BROKEN = {"failing": "1 / 0", "leaving": "raise SystemExit(0)", "asking": "import absent_package"}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current folder, which nobody has imported."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    name = f"own_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    for other, content in BROKEN.items():
        (tmp_path / f"{other}_{name}.py").write_text(content)
    return name


def found(reference: str) -> object:
    return find(reference, option="thing", example="a:b", wanted="a thing")


def test_what_a_name_leads_to(own: str) -> None:
    assert found(f"{own}:number") == 3
    assert found(f"{own}:Inner.tier").name == "tiny"  # type: ignore[attr-defined]


@pytest.mark.parametrize("reference", ["", "own", ":number", "own:"])
def test_other_forms_are_refused(reference: str) -> None:
    with pytest.raises(SpecError, match=r"thing is '.*'; write package\.module:name, e\.g\. a:b"):
        found(reference)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("absent_module:name", "cannot import 'absent_module': ModuleNotFoundError"),
        ("failing_{own}:name", "ZeroDivisionError: division by zero; it must import without running anything"),
        ("leaving_{own}:name", "SystemExit: 0"),
        ("asking_{own}:name", "No module named 'absent_package'"),
        ("{own}:absent", "has no 'absent'"),
        ("{own}:Inner.absent", "has no 'Inner.absent'"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(own: str, reference: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        found(reference.format(own=own))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_named_module_is_looked_for_in_the_folder_first_and_all_others_there_last(own: str, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('taken for the standard library')")
    assert found(f"{own}:number") == 3
    assert sys.path[-1] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_other_processes_load_each_module_once(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.resolve({}, device="cpu", tier=f"{own}:tier", extra_claims=f"{own}:CLAIMS,tiny_claim:CLAIMS")
    modules = settings.modules
    assert modules == Modules((own, "tiny_claim"), str(tmp_path))
    assert Settings.resolve({}, device="cpu").modules == Modules()
    monkeypatch.chdir("/")
    modules.load()
    first = sys.modules[own]
    modules.load()
    assert sys.modules[own] is first
    with pytest.raises(SpecError, match="cannot import 'absent_module'"):
        Modules(("absent_module",), str(tmp_path)).load()


def test_a_tier_or_what_gives_one(own: str) -> None:
    assert load_tier(f"{own}:TIER") is load_tier(f"{own}:tier")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("number", "gives a int; name a Tier, or a function that gives one"),
        (
            "broken",
            "tier {own}:broken failed: ZeroDivisionError: division by zero; it must give a Tier without arguments",
        ),
        ("EMPTY", "has no settings; give it one at least"),
        ("TWICE", "has 2 settings called 'tiny'; give each a name of its own"),
        ("WEAK", "setting 'tiny' of tier {own}:WEAK has no family 'strong', only weak; claims compare"),
    ],
)
def test_a_tier_that_is_not_sound_is_refused(own: str, name: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        load_tier(f"{own}:{name}")
    assert message.format(own=own) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_claims_of_somebody_else_come_after_ours(own: str) -> None:
    ids = [claim.id for claim in all_claims([f"{own}:CLAIMS", f"{own}:MORE"])]
    assert ids == [*(claim.id for claim in CLAIMS), "tiny-barrier", "more"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["number"], "are a int; name a sequence of Claim"),
        (["text"], "are a str; name a sequence of Claim"),
        (["MIXED"], "hold a Tier; name a sequence of Claim"),
        (["AGAIN"], "there is a claim 'tiny-barrier' already; give yours another id"),
        (["CLAIMS", "CLAIMS"], "there is a claim 'tiny-barrier' already"),
        (["OURS"], "there is a claim 'fig1-accuracy-rises-with-width' already"),
        (["FIGURE"], "tiny-barrier stands for 'Figure 99', which the paper does not have; choose of Conjecture 1.1, "),
        (
            ["VIT"],
            "tiny-barrier is for networks of kind 'rnn', which no architecture is; choose of mlp, vgg, resnet, vit",
        ),
    ],
)
def test_claims_that_are_not_sound_are_refused(own: str, names: list[str], message: Any) -> None:
    with pytest.raises(SpecError) as refused:
        all_claims([f"{own}:{name}" for name in names])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
