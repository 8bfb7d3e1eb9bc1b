"""The pytest plugin in a pytest of its own."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
import report_documents
from documents import on
from msgspec.structs import replace

from lmc.results.file import read_results, write_results
from lmc.results.wording import asked_in_words, measured_in_words, remark_in_words

pytest_plugins = ["pytester"]

TINY = """
import dataclasses
from lmc import tiers
from lmc.claims.claim import Claim
from lmc.claims.explanation import Experiment, Explanation
from lmc.claims.expectations import Level, Within
from lmc.claims.extracts import barrier
from lmc.claims.null import Null
from lmc.claims.studies import computed, over_pairs
from lmc.specs import RunSpec

RECIPE = RunSpec(dataset="digits", arch="mlp", width=1 / 64, optimizer="adam", lr=1e-3,
                 schedule="constant", epochs=1, batch_size=50)
SETTING = tiers.Setting("tiny", {"strong": tiers.Family(RECIPE, (1 / 64,))}, 0.0)
TIER = tiers.Tier("tiny", (SETTING,), "for tests")
BASE = Claim(id="good", ref="Fig. 0", statement="A barrier is a number.", unit="nats",
             study=over_pairs(barrier("loss")), expect=Level(below=50.0),
             null=Null("Huge.", 99.0), why="-", kinds=("mlp",))
SMALL = {"expect": Level(above=50.0), "null": Null("Small.", 1.0)}
WHY = {"tiny": Explanation("too small", Experiment("A larger one."))}
CLAIMS = (
    BASE,
    dataclasses.replace(BASE, id="bad", **SMALL),
    dataclasses.replace(BASE, id="gap", explanations=WHY, **SMALL),
    dataclasses.replace(BASE, id="closed-gap", explanations=WHY),
    dataclasses.replace(BASE, id="elsewhere", kinds=("vgg",)),
    dataclasses.replace(BASE, id="theory", kinds=(), study=computed(lambda: [("", 0.0)]),
                        expect=Within(0, 1)),
)
"""


@pytest.fixture
def tiny(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.Pytester:
    """A test folder whose tier and claims are tiny."""
    pytester.makepyfile(own=TINY)
    pytester.makepyfile(test_paper="from lmc.commands.test_paper import test_claim\n")
    monkeypatch.setenv("LMC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LMC_DEVICE", "cpu")
    monkeypatch.setenv("LMC_EXTRA_CLAIMS", "own:CLAIMS")
    monkeypatch.setenv("LMC_CLAIMS", "good,bad,gap,elsewhere,theory")  # none of the paper's
    monkeypatch.delenv("LMC_BASELINE", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return pytester


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for tests that do not care which of them trains the models."""
    return tmp_path_factory.mktemp("store")


def test_one_test_per_claim_and_setting_with_table_and_results_file(tiny: pytest.Pytester, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    arguments = ["-m", "paper", "--lmc-tier", "own:TIER", "--lmc-results", str(results), "-rA"]
    found = tiny.runpytest_subprocess(*arguments)
    found.assert_outcomes(passed=3, failed=1, skipped=1, xfailed=1)
    assert found.ret == pytest.ExitCode.TESTS_FAILED
    text = found.stdout.str()
    assert "lmc: tier own:TIER, device cpu" in text
    # a failing claim prints statement, numbers, threshold and p-value
    failure = text[text.index("_ test_claim[bad-tiny] _") : text.index("lmc verdicts")]
    for part in (
        "A barrier is a number.",
        "above 50 at the widest",
        "p-value",
        "at width 0.015625",
        "Fig. 0",
        "nothing explains it",
    ):
        assert part in failure
    assert "claims: 3 hold, 2 fail (1 explained), 1 not run" in text
    assert "  bad on tiny: fails beyond what chance does to 5 cases, and nothing explains it" in text
    assert ", though a failure is explained" in text
    assert "tier tiny has no vgg" in text
    found.stdout.fnmatch_lines(["*lmc verdicts*", "*good *✓ tiny *", f"written: {results}"])
    assert results.exists()
    page = results.with_suffix(".html")
    found.stdout.fnmatch_lines([f"written: {page}"])
    for name in ("good", "bad", "gap", "closed-gap", "elsewhere", "theory"):
        assert f'id="claim-{name}"' in page.read_text("utf-8")

    # stored: nothing is trained, and one claim can be chosen
    again = tiny.runpytest_subprocess("-m", "paper", "--lmc-tier", "own:TIER", "-k", "good")
    again.assert_outcomes(passed=1, deselected=5)
    assert "pieces" not in again.stderr.str()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lmc-tier", "huge"], "unknown tier 'huge'; choose one of"),
        (["--lmc-tier", "own:TIER", "--lmc-device", "tpu"], "unknown device 'tpu'"),
        (["--lmc-tier", "own:TIER", "--lmc-workers", "none"], "workers is 'none'"),
        (["--lmc-tier", "own:TIER", "--lmc-claims", "fig99"], "no claim's id contains fig99"),
        (["--lmc-tier", "own:TIER", "--lmc-max-width", "0"], "max_width is '0'"),
        (["--lmc-tier", "own:TIER", "--lmc-precision", "fp8"], "unknown precision 'fp8'"),
        (["--lmc-tier", "own:TIER", "--lmc-dataset", "mnist"], "tier tiny has nothing for arch any, dataset mnist"),
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


def test_junit_says_of_every_case_what_was_measured(tiny: pytest.Pytester, store: Path, tmp_path: Path) -> None:
    results, junit = tmp_path / "results.json", tmp_path / "junit.xml"
    options = ["--lmc-tier", "own:TIER", "--lmc-store", str(store), "--lmc-results", str(results)]
    found = tiny.runpytest_subprocess("-m", "paper", "-W", "error", *options, "--junitxml", str(junit))
    found.assert_outcomes(passed=3, failed=1, skipped=1, xfailed=1)
    cases = {each.attrib["name"].partition("[")[2][:-1]: each for each in ElementTree.parse(junit).iter("testcase")}
    said = {
        name: {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
        for name, case in cases.items()
    }
    assert set(said) == CASES
    document = read_results(results)
    for claim, judged in document.judged():
        properties = said[f"{claim.id}-{judged.name}"]
        assert (properties["claim"], properties["ref"]) == (claim.id, "Fig. 0")
        assert (properties["verdict"], properties["shown"]) == (judged.verdict, judged.shown)
        assert (properties["role"], properties["null"]) == ("claim", claim.null)
        assert properties.get("explained", "") == remark_in_words(judged)
        assert ("red" in properties) == (claim.id == "bad")
        assert properties["reason"] == measured_in_words(judged)
        assert properties.get("threshold", "") == asked_in_words(judged.asked)
        for name, value in (("effect", judged.effect), ("p_value", judged.p_value), ("p_contrary", judged.p_contrary)):
            assert properties.get(name) == (None if value is None else str(value))
        low, high = judged.interval or (None, None)
        assert properties.get("interval") == (f"{low:.6g} to {high:.6g}" if judged.interval else None)
    assert "interval" in said["good-tiny"]
    outcomes = {name: [(each.tag, each.get("type")) for each in case][1:] for name, case in cases.items()}
    assert outcomes == {
        "good-tiny": [],
        "theory-theory": [],
        "bad-tiny": [("failure", None)],
        "closed-gap-tiny": [],
        "gap-tiny": [("skipped", "pytest.xfail")],
        "elsewhere-not-run": [("skipped", "pytest.skip")],
    }
    assert said["gap-tiny"]["verdict"] == "fails"
    assert said["gap-tiny"]["explained"] == "too small Would be refuted by: A larger one. Not run."
    assert said["closed-gap-tiny"]["explained"].startswith("holds this time, though a failure is explained: too small")


def test_a_run_is_compared_with_its_baseline(tiny: pytest.Pytester, store: Path, tmp_path: Path) -> None:
    def run(*options: str) -> pytest.RunResult:
        asked = ["--lmc-tier", "own:TIER", "--lmc-store", str(store), "-k", "good or theory"]
        return tiny.runpytest_subprocess("-m", "paper", *asked, *options)

    baseline, new = tmp_path / "baseline.json", tmp_path / "new.json"
    assert run("--lmc-results", str(baseline)).ret == 0
    document = read_results(baseline)
    document = replace(document, seconds=0.001)  # run time is told and fails nothing
    write_results(document, baseline)
    again = run("--lmc-baseline", str(baseline), "--lmc-results", str(new))
    assert again.ret == 0
    again.stdout.fnmatch_lines(
        ["*lmc verdicts*", "claims: 2 hold, 0 fail", "*not red", "compared with the baseline", "compared: 2 pairs of*"]
    )
    again.stdout.fnmatch_lines(["  worse   0.001 -> *(not counted: *", "0 of 1 changes count as worse", "written: *"])
    assert "### Not worse than the baseline" in new.with_suffix(".md").read_text()

    write_results(on(0, 0, effect=-1.0, interval=(-1.5, -0.5))(document), baseline)  # below 50 was better by far
    worse = run("--lmc-baseline", str(baseline), "--lmc-results", str(new))
    assert worse.ret == pytest.ExitCode.TESTS_FAILED
    worse.assert_outcomes(passed=1, failed=1, deselected=4)
    worse.stdout.fnmatch_lines(["  worse   good on tiny: -1 -> *[[]-1.5, -0.5] nats*", "1 of 2 changes count as worse"])
    assert "### Worse than the baseline" in new.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no results file"),
        ("{", "cannot read the results file"),
        ('{"schema": NaN}', "it holds NaN"),
        ('{"schema": "lmc-results/1"}', "has schema 'lmc-results/1', this version reads"),
        ('{"schema": "lmc-results/2"}', "missing required field `tier`"),
        ({"tier": "standard"}, "is of tier standard, this run of tier own:TIER; choose a baseline of tier own:TIER"),
        ({}, "judges none of the claims and settings selected, only 1 others on not-run; choose another"),
    ],
    ids=["missing", "half-written", "nan", "schema", "incomplete", "tier", "nothing-in-common"],
)
def test_a_wrong_baseline_is_refused_before_anything_is_trained(
    content: object, message: str, tiny: pytest.Pytester, tmp_path: Path
) -> None:
    baseline = tmp_path / "baseline.json"
    if isinstance(content, dict):
        document = report_documents.nothing_run()
        write_results(replace(document, claims=document.claims[:1], **({"tier": "own:TIER"} | content)), baseline)
    elif isinstance(content, str):
        baseline.write_text(content)
    found = tiny.runpytest_subprocess("-m", "paper", "--lmc-tier", "own:TIER", "--lmc-baseline", str(baseline))
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    assert message in found.stderr.str()
    assert str(baseline) in found.stderr.str()
    assert "lmc verdicts" not in found.stdout.str()
    assert not (tmp_path / "home").exists()


def test_the_baseline_must_share_what_is_chosen_with_k(
    tiny: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = report_documents.nothing_run()
    claims = (replace(document.claims[0], id="elsewhere"),)
    write_results(replace(document, tier="own:TIER", claims=claims), tmp_path / "baseline.json")
    monkeypatch.setenv("LMC_BASELINE", str(tmp_path / "baseline.json"))
    found = tiny.runpytest_subprocess("-m", "paper", "--lmc-tier", "own:TIER", "-k", "theory")
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    assert "judges none of the claims" in found.stderr.str()
    assert tiny.runpytest_subprocess("-m", "paper", "--lmc-tier", "own:TIER", "-k", "theory or elsewhere").ret == 0


INVALID = TINY.replace(
    '{"strong": tiers.Family(RECIPE, (1 / 64,))}, 0.0)', '{"strong": tiers.Family(RECIPE, (1 / 64,))}, 1.0)'
)


def test_an_invalid_case_is_red_and_an_inconclusive_one_is_not(
    tiny: pytest.Pytester, store: Path, tmp_path: Path
) -> None:
    """The bound of a barrier that cannot be told from it: the mean that the other cases measured."""
    options = ["-m", "paper", "--lmc-tier", "own:TIER", "--lmc-store", str(store)]
    measured = tmp_path / "measured.json"
    assert tiny.runpytest_subprocess(*options, "-k", "good", "--lmc-results", str(measured)).ret == 0
    mean = read_results(measured).claims[0].settings[0].effect
    tiny.makepyfile(own=TINY.replace("below=50.0", f"below={mean}"))
    found = tiny.runpytest_subprocess(*options, "-k", "good", "-rx")
    assert found.ret == 0
    found.assert_outcomes(xfailed=1, deselected=5)
    found.stdout.fnmatch_lines(["claims: 0 hold, 1 inconclusive, 0 fail", "*not red"])
    tiny.makepyfile(own=INVALID)
    invalid = tiny.runpytest_subprocess(*options, "-k", "good")
    assert invalid.ret == pytest.ExitCode.TESTS_FAILED
    invalid.assert_outcomes(failed=1, deselected=5)
    invalid.stdout.fnmatch_lines(
        ["*red        invalid*", "claims: 0 hold, 0 fail, 1 invalid", "  good on tiny: invalid"]
    )


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
    tiny.makepyfile(own=TINY.replace('id="bad",', 'id="bad", core=False,'))
    found = tiny.runpytest_subprocess("-m", "paper", "--lmc-tier", "own:TIER", "--collect-only", "-q", *arguments)
    lines = [line for line in found.stdout.lines if "::test_claim[" in line]
    assert {line.partition("[")[2].removesuffix("]") for line in lines} & CASES == collected  # core are the paper's too
    assert not list(tiny.path.glob("home/store/*")), "nothing is trained to collect"


def test_options_are_environment_variables_too(tiny: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMC_TIER", "own:TIER")
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
    found = tiny.runpytest_subprocess("-m", "paper", "--lmc-tier", "own:TIER", "--lmc-store", str(tmp_path / "file"))
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
