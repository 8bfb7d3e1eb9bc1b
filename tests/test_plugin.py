"""The pytest plugin in a pytest of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TINY = """
import dataclasses
import pytest
from lmc import tiers
from lmc.claims import paper
from lmc.claims.claim import Claim
from lmc.claims.expectations import Level, Within
from lmc.claims.extracts import barrier
from lmc.claims.studies import computed, over_pairs
from lmc.specs import RunSpec

RECIPE = RunSpec(dataset="digits", arch="mlp", width=1 / 64, optimizer="adam", lr=1e-3,
                 schedule="constant", epochs=1, batch_size=50)
SETTING = tiers.Setting("tiny", "mlp", {"strong": tiers.Family(RECIPE, (1 / 64,))}, 0.0)
tiers._TIERS["tiny"] = lambda: tiers.Tier("tiny", (SETTING,), "for tests")
BASE = Claim(id="good", ref="Fig. 0", statement="A barrier is a number.", unit="nats",
             study=over_pairs(barrier("loss")), expect=Level(below=50.0), why="-", kinds=("mlp",))
paper.CLAIMS = (
    BASE,
    dataclasses.replace(BASE, id="bad", expect=Level(above=50.0)),
    dataclasses.replace(BASE, id="gap", expect=Level(above=50.0), known_gaps={"tiny": "too small"}),
    dataclasses.replace(BASE, id="closed-gap", known_gaps={"tiny": "too small"}),
    dataclasses.replace(BASE, id="elsewhere", kinds=("vgg",)),
    dataclasses.replace(BASE, id="theory", kinds=(), study=computed(lambda: [("", 0.0)]), expect=Within(0, 1)),
)
"""


@pytest.fixture
def tiny(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.Pytester:
    """A test folder whose tier and claims are tiny."""
    pytester.makeconftest(TINY)
    pytester.makepyfile(test_paper="from lmc.running.test_paper import test_claim\n")
    monkeypatch.setenv("LMC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LMC_DEVICE", "cpu")
    return pytester


def test_one_test_per_claim_and_setting_with_table_and_results_file(tiny: pytest.Pytester, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    arguments = ["-m", "paper", "--lmc-tier", "tiny", "--lmc-results", str(results), "-rA"]
    found = tiny.runpytest_subprocess(*arguments)
    found.assert_outcomes(passed=2, failed=2, skipped=1, xfailed=1)
    text = found.stdout.str()
    assert "lmc: tier tiny, device cpu" in text
    # a failing claim prints statement, numbers, threshold and p-value
    failure = text[text.index("_ test_claim[bad-tiny] _") : text.index("_ test_claim[closed-gap-tiny] _")]
    for part in ("A barrier is a number.", "above 50 at the widest", "p-value", "at width 0.015625", "Fig. 0"):
        assert part in failure
    assert "this known gap is closed, remove it: too small" in text
    assert "tier tiny has no vgg" in text
    found.stdout.fnmatch_lines(["*lmc verdicts*", "good *tiny *holds*", f"written: {results}"])
    assert results.exists()

    # stored: nothing is trained, and one claim can be chosen
    again = tiny.runpytest_subprocess("-m", "paper", "--lmc-tier", "tiny", "-k", "good")
    again.assert_outcomes(passed=1, deselected=5)
    assert "pieces" not in again.stderr.str()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lmc-tier", "huge"], "unknown tier 'huge'; choose one of"),
        (["--lmc-tier", "tiny", "--lmc-device", "tpu"], "unknown device 'tpu'"),
        (["--lmc-tier", "tiny", "--lmc-workers", "none"], "workers is 'none'"),
        (["--lmc-tier", "tiny", "--lmc-claims", "fig99"], "no claim's id contains fig99"),
        (["--lmc-tier", "tiny", "--lmc-max-width", "0"], "max_width is '0'"),
        (["--lmc-tier", "tiny", "--lmc-precision", "fp8"], "unknown precision 'fp8'"),
        (["--lmc-tier", "tiny", "--lmc-dataset", "mnist"], "tier tiny has nothing for arch any, dataset mnist"),
    ],
)
def test_bad_options_are_usage_errors(tiny: pytest.Pytester, arguments: list[str], message: str) -> None:
    found = tiny.runpytest_subprocess("-m", "paper", *arguments)
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    assert message in found.stderr.str()


def test_bad_options_are_usage_errors_where_pytest_is_quiet_too(tiny: pytest.Pytester) -> None:
    """With -q there is no report header, in which the settings are resolved otherwise."""
    found = tiny.runpytest_subprocess("-q", "-m", "paper", "--lmc-tier", "huge")
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    assert "unknown tier 'huge'; choose one of" in found.stderr.str()


CASES = {"good-tiny", "bad-tiny", "gap-tiny", "closed-gap-tiny", "elsewhere-not-run", "theory-theory"}


@pytest.mark.parametrize(
    ("arguments", "collected"),
    [
        ([], CASES),
        (["--lmc-claims", "gap"], {"gap-tiny", "closed-gap-tiny"}),
        (["--lmc-claims", "good, bad"], {"good-tiny", "bad-tiny"}),
        (["--lmc-claims", "core"], CASES - {"bad-tiny"}),
        (["--lmc-arch", "mlp", "--lmc-dataset", "digits", "--lmc-max-width", "1/64"], CASES),
        (["--lmc-precision", "bf16"], CASES),
    ],
)
def test_options_choose_what_is_collected(tiny: pytest.Pytester, arguments: list[str], collected: set[str]) -> None:
    """Each is also an environment variable, which the option wins over."""
    tiny.makeconftest(TINY.replace('id="bad",', 'id="bad", core=False,'))
    found = tiny.runpytest_subprocess("-m", "paper", "--lmc-tier", "tiny", "--collect-only", "-q", *arguments)
    lines = [line for line in found.stdout.lines if "::test_claim[" in line]
    assert {line.partition("[")[2].removesuffix("]") for line in lines} == collected
    assert not list(tiny.path.glob("home/store/*")), "nothing is trained to collect"


def test_options_are_environment_variables_too(tiny: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMC_TIER", "tiny")
    monkeypatch.setenv("LMC_CLAIMS", "good")
    monkeypatch.setenv("LMC_MAX_WIDTH", "1/128")
    command = ["-m", "paper", "--collect-only"]
    found = tiny.runpytest_subprocess(*command)
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    assert "widths up to 0.0078125; it has mlp on digits" in found.stderr.str()
    found = tiny.runpytest_subprocess(*command, "-q", "--lmc-max-width", "1")
    assert [line for line in found.stdout.lines if "test_claim[" in line] == ["test_paper.py::test_claim[good-tiny]"]


def test_a_store_that_cannot_be_written_stops_the_run(tiny: pytest.Pytester, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = tiny.runpytest_subprocess("-m", "paper", "--lmc-tier", "tiny", "--lmc-store", str(tmp_path / "file"))
    assert found.ret == 3
    assert "Not a directory; choose another store" in found.stdout.str() + found.stderr.str()


def test_other_projects_notice_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import sys\ndef test_it(): assert 'torch' not in sys.modules")
    found = pytester.runpytest_subprocess()
    found.assert_outcomes(passed=1)
    assert (
        "lmc"
        not in found.stdout.str().replace(str(pytester.path), "").replace("plugins: ", "plugins:").split("plugins:")[0]
    )
