"""``lmc run``: the exit status, the comparison with a baseline, and the summary of a CI job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from documents import on
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from lmc.commands.cli import app
from lmc.errors import StoreError
from lmc.reporting.markdown import summary
from lmc.reporting.verification import verification
from lmc.results.document import Selection
from lmc.results.file import read_results, write_results

Run = Callable[..., Result]
TINY = ["--tier", "tiny_claim:TIER", "--extra-claims", "tiny_claim:CLAIMS", "--claims", "tiny"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def run(store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the tiny claim; the results are in ``new.json``."""
    for name in ("LMC_BASELINE", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    options = ["run", *TINY, "--device", "cpu", "--results", str(tmp_path / "new.json")]
    return lambda *more: CliRunner().invoke(app, [*options, "--store", str(store), *more])


def test_a_run_that_got_worse_than_its_baseline_fails(run: Run, tmp_path: Path) -> None:
    new, baseline = tmp_path / "new.json", tmp_path / "baseline.json"
    assert run().exit_code == 0
    document = read_results(new)
    write_results(document, baseline)
    again = run("--baseline", str(baseline))
    assert again.exit_code == 0, again.output
    assert "compared with the baseline" in again.stdout
    write_results(on(0, 0, effect=-1.0, interval=(-1.5, -0.5))(document), baseline)
    worse = run("--baseline", str(baseline))
    assert worse.exit_code == 1
    assert "worse   tiny-barrier on tiny: -1 -> " in worse.stdout


def test_a_run_can_close_with_a_line_for_each_item(run: Run, tmp_path: Path) -> None:
    done = run("--verify")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == verification(read_results(tmp_path / "new.json"))


def test_the_results_keep_what_was_asked_for(run: Run, tmp_path: Path) -> None:
    assert run("--pilot", "--precision", "fp32", "--arch", "mlp").exit_code == 0
    kept = Selection(claims=("tiny",), extra_claims=("tiny_claim:CLAIMS",))
    asked = replace(kept, pilot=True, arch="mlp", precision="fp32")
    assert read_results(tmp_path / "new.json").selection == asked
    assert run().exit_code == 0
    assert read_results(tmp_path / "new.json").selection == kept


def test_the_results_keep_the_path_of_every_pair(run: Run, tmp_path: Path) -> None:
    run()
    document = read_results(tmp_path / "new.json")
    paths = document.evidence.paths
    (judged,) = document.claims[0].settings
    assert {path.seeds for path in paths} == {value.seeds for value in judged.values}
    assert len(paths) == len(judged.values) == 15
    assert all({0.0, 0.5, 1.0} <= set(path.lams) for path in paths)
    outputs = document.evidence.outputs
    assert len(outputs) == 3
    for row in outputs:
        assert row.layers[-1] == "logits"
        assert all(0 < merged < 2 * ends for merged, ends in zip(row.norm_merged, row.norm_endpoints, strict=True))


def test_a_wrong_baseline_is_refused_first(run: Run, tmp_path: Path) -> None:
    refused = run("--baseline", str(tmp_path / "none.json"), "--store", str(tmp_path / "empty"))
    assert isinstance(refused.exception, StoreError)
    assert "none.json" in str(refused.exception)
    assert not (tmp_path / "empty").exists()


def test_the_summary_is_beside_the_results_and_in_the_job(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, new = tmp_path / "job.md", tmp_path / "new.json"
    job.write_text("earlier\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(job))
    found = run()
    assert f"written: {new.with_suffix('.md')}" in found.stdout
    assert new.with_suffix(".md").read_text("utf-8") == summary(read_results(new))
    assert job.read_text("utf-8") == "earlier\n" + summary(read_results(new))


def test_a_summary_of_the_job_that_cannot_be_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere" / "job.md"))
    found = run()
    assert isinstance(found.exception, StoreError)
    assert "unset GITHUB_STEP_SUMMARY" in str(found.exception)
    assert (tmp_path / "new.json").exists()
