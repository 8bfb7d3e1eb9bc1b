"""Options, environment variables, defaults; and which claims and models they select."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lmc.architectures import architecture
from lmc.claims.cases import Case, needed
from lmc.claims.paper import CLAIMS
from lmc.errors import SpecError
from lmc.executing import session
from lmc.executing.session import selected_cases
from lmc.executing.settings import Settings
from lmc.tiers import PILOT_OFFSET, VERDICT_SEEDS


def test_a_baseline_may_come_from_the_environment() -> None:
    environ = {"LMC_BASELINE": "~/old.json"}
    assert Settings.resolve(environ, device="cpu").baseline == Path.home() / "old.json"
    assert Settings.resolve(environ, device="cpu", baseline="new.json").baseline == Path("new.json")
    assert Settings.resolve({}, device="cpu").baseline is None


def test_precedence() -> None:
    environ = {"LMC_TIER": "standard", "LMC_HOME": "/h", "LMC_WORKERS": "3"}
    assert Settings.resolve(environ).tier == "standard"
    assert Settings.resolve(environ, tier="quick").tier == "quick"
    assert Settings.resolve(environ).store == Path("/h/store")
    assert Settings.resolve(environ).workers == 3
    assert Settings.resolve({"XDG_CACHE_HOME": "/c"}).home == Path("/c/lmc")


@pytest.mark.parametrize("workers", ["0", "-1", "two", "1.5"])
def test_bad_workers(workers: str) -> None:
    with pytest.raises(SpecError, match="at least 1"):
        Settings.resolve({}, workers=workers)


def test_by_default_nothing_is_left_out() -> None:
    found = Settings.resolve({}, device="cpu")
    assert (found.claims, found.arch, found.dataset, found.max_width, found.precision) == ((), None, None, None, None)


def test_options_win_over_the_environment() -> None:
    environ = {
        "LMC_CLAIMS": "fig1,fig2",
        "LMC_ARCH": "vgg",
        "LMC_DATASET": "digits",
        "LMC_MAX_WIDTH": "1/2",
        "LMC_PRECISION": "bf16",
    }
    found = Settings.resolve(environ, device="cpu")
    expected = (("fig1", "fig2"), "vgg", "digits", 0.5, "bf16")
    assert (found.claims, found.arch, found.dataset, found.max_width, found.precision) == expected
    options: dict[str, Any] = {"claims": "fig9", "arch": "mlp", "dataset": "mnist", "max_width": 2, "precision": "fp32"}
    found = Settings.resolve(environ, device="cpu", **options)
    assert (found.claims, found.arch, found.dataset, found.max_width, found.precision) == (
        ("fig9",),
        "mlp",
        "mnist",
        2.0,
        "fp32",
    )


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("fig1", ("fig1",)),
        ("fig1,fig2b", ("fig1", "fig2b")),
        (" fig1 , fig2b ,", ("fig1", "fig2b")),
        ("", ()),
        (",", ()),
        ("core", ("core",)),
    ],
)
def test_claims_are_separated_by_commas(text: str, claims: tuple[str, ...]) -> None:
    assert Settings.resolve({}, device="cpu", claims=text).claims == claims


@pytest.mark.parametrize(
    ("value", "width"), [("2", 2.0), ("1/4", 0.25), ("0.25", 0.25), ("3/4", 0.75), (" 1 ", 1.0), (16, 16.0), (0.5, 0.5)]
)
def test_a_largest_width_may_be_a_fraction(value: Any, width: float) -> None:
    assert Settings.resolve({}, device="cpu", max_width=value).max_width == width


@pytest.mark.parametrize("value", ["0", "x", "inf", "nan", "-1", "1/0", "-1/4", "1/4/2", "0/3", "1e400"])
def test_what_is_no_width_is_refused(value: str) -> None:
    with pytest.raises(SpecError, match=r"max_width is .*; it must be a number above 0, e\.g\. 2 or 1/4"):
        Settings.resolve({}, device="cpu", max_width=value)


@pytest.mark.parametrize(("value", "precision"), [("auto", None), ("fp32", "fp32"), ("bf16", "bf16"), (None, None)])
def test_precision(value: str | None, precision: str | None) -> None:
    assert Settings.resolve({}, device="cpu", precision=value).precision == precision


@pytest.mark.parametrize("value", ["fp16", "BF16", "double"])
def test_other_precisions_are_refused(value: str) -> None:
    with pytest.raises(SpecError, match=f"unknown precision '{value}'; choose one of auto, fp32, bf16"):
        Settings.resolve({}, device="cpu", precision=value)


# -- What the settings select. --


def chosen(**options: Any) -> list[Case]:
    return selected_cases(Settings.resolve({}, device="cpu", **options))


def test_all_claims_are_selected_unless_some_are_named() -> None:
    assert [*dict.fromkeys(case.claim.id for case in chosen())] == [claim.id for claim in CLAIMS]
    assert {case.claim.id for case in chosen(claims="fig26,thm5.4-gaussian")} == {
        "fig26-batchnorm-lowers-barrier",
        "fig26-skip-connections-lower-barrier",
        "thm5.4-gaussian-limit",
    }


def test_core_stands_for_the_core_claims() -> None:
    core = [claim.id for claim in CLAIMS if claim.core]
    assert 0 < len(core) < len(CLAIMS)
    assert [*dict.fromkeys(case.claim.id for case in chosen(claims="core"))] == core
    more = {case.claim.id for case in chosen(claims="core,fig18b")}
    assert more == {*core, "fig18b-any-permutation-will-do-when-wide"}


def test_a_claim_nobody_made_is_an_error() -> None:
    with pytest.raises(SpecError, match="no claim's id contains fig99; see lmc claims"):
        chosen(claims="fig99")
    with pytest.raises(SpecError, match="no claim's id contains fig98 or fig99"):
        chosen(claims="fig98,fig99")


def test_architecture_dataset_and_width_restrict_the_models() -> None:
    specs = [spec for each in needed(chosen(arch="mlp", max_width="1/4")) for spec in each.specs]
    assert {spec.width for spec in specs} == {1 / 16, 1 / 4}
    assert all(architecture(spec.arch).kind == "mlp" for spec in specs)
    assert {case.name for case in chosen(arch="vgg") if case.setting and not case.skip} == {"vgg-digits"}
    with pytest.raises(SpecError, match="tier quick has nothing for arch any, dataset mnist"):
        chosen(dataset="mnist")
    assert {case.name for case in chosen(tier="paper", dataset="cifar100") if case.setting and not case.skip} == {
        "vgg-cifar100",
        "resnet-cifar100",
    }


@pytest.mark.parametrize(
    ("tier", "fast", "asked", "trained"),
    [
        ("quick", True, None, "fp32"),
        ("quick", True, "bf16", "bf16"),
        ("standard", True, None, "bf16"),
        ("standard", False, None, "fp32"),
        ("standard", True, "fp32", "fp32"),
        ("standard", False, "bf16", "bf16"),
        ("paper", True, "auto", "bf16"),
    ],
)
def test_precision_is_the_tiers_where_the_device_is_fast_at_it(
    tier: str, fast: bool, asked: str | None, trained: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "fast_bf16", lambda _device: fast)
    settings = [case.setting for case in chosen(tier=tier, precision=asked, claims="fig1-")]
    families = [family for setting in settings if setting for family in setting.families.values()]
    assert {family.recipe.precision for family in families} == {trained}


def test_pilot_models_are_others() -> None:
    settings = Settings.resolve({}, device="cpu", claims="fig1-")
    verdict, pilot = (
        {spec.init_seed for each in needed(selected_cases(settings, pilot=pilot)) for spec in each.specs}
        for pilot in (False, True)
    )
    assert verdict >= set(VERDICT_SEEDS)
    assert pilot == {PILOT_OFFSET + seed for seed in verdict}
    assert max(verdict) < min(pilot)


def test_every_need_is_named_once() -> None:
    wanted = needed(chosen())
    assert len({each.key for each in wanted}) == len(wanted)


# -- The command line. --


def test_command_line_errors_are_one_line_and_exit_2(tmp_path: Path) -> None:
    environ = {**os.environ, "LMC_HOME": str(tmp_path)}
    for arguments, message in [
        (["run", "--tier", "huge"], "unknown tier 'huge'"),
        (["run", "--device", "tpu"], "unknown device 'tpu'"),
        (["run", "--workers", "0"], "workers is '0'"),
        (["run", "--claims", "fig99"], "no claim's id contains fig99"),
        (["run", "--max-width", "x"], "max_width is 'x'"),
        (["run", "--precision", "fp8"], "unknown precision 'fp8'"),
        (["run", "--arch", "vit"], "tier quick has nothing for arch vit"),
        (["run", "--dataset", "mnist"], "tier quick has nothing for arch any, dataset mnist"),
        (["plan", "--claims", "fig99"], "no claim's id contains fig99"),
        (["plan", "--tier", "huge"], "unknown tier 'huge'"),
        (["plan", "--gpus", "0"], "gpus is '0'"),
        (["run", "--executor", "slurm"], "unknown executor 'slurm'"),
        (["run", "--ray-address", "head:1"], "add --executor ray"),
    ]:
        command = [sys.executable, "-m", "lmc.commands.cli", *arguments]
        found = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert found.returncode == 2, found
        assert message in found.stderr
        assert found.stderr.count("\n") == 1


def test_lmc_claims_lists_every_claim() -> None:
    command = [sys.executable, "-m", "lmc.commands.cli", "claims"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(claim.id in listed and claim.ref in listed for claim in CLAIMS)
