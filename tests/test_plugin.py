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
from lmc.claims.studies import barrier, computed, over_pairs
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
    found.stdout.fnmatch_lines(["*lmc verdicts*", "good *tiny *holds*", f"results: {results}"])
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
    ],
)
def test_bad_options_are_usage_errors(tiny: pytest.Pytester, arguments: list[str], message: str) -> None:
    found = tiny.runpytest_subprocess("-m", "paper", *arguments)
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    assert message in found.stderr.str()


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
        not in found.stdout.str()
        .replace(str(pytester.path), "")
        .replace("plugins: ", "plugins:")
        .split("plugins:")[0]
    )
