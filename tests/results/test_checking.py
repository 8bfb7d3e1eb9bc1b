"""A results file from elsewhere: where it comes from, and its verdicts judged again from its observations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from documents import claim, document, setting, value
from msgspec.structs import replace
from typer.testing import CliRunner

from lmc.claims.paper import CLAIMS
from lmc.commands.cli import app
from lmc.results.checking import check
from lmc.results.document import Document, Judged
from lmc.results.file import read_results, write_results

BASELINE = read_results(Path(__file__).parents[2] / "benchmarks" / "baselines" / "quick-cpu.json")
RISES = next(claim for claim in CLAIMS if claim.id == "fig1-accuracy-rises-with-width").expect
FACTS: dict[str, Any] = {
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "machine": {"processor": "P", "device": "cpu"},
    "versions": {"torch": "2.15.0"},
}


def risen(by: float, verdict: str = "holds", **changes: Any) -> Judged:
    """Accuracies of disjoint pairs at three widths, higher by about ``by`` at the widest."""
    pairs = [(2 * at, 2 * at + 1) for at in range(6)]
    values = [
        value(0.5 + higher + 0.001 * at * at * width, width, seeds)
        for width, higher in ((0.25, 0.0), (0.5, by / 2), (1.0, by))
        for at, seeds in enumerate(pairs)
    ]
    made: dict[str, Any] = {"asked": RISES.asked, "verdict": verdict, "values": tuple(values)} | changes
    return setting("mlp", **made)


def of(*judged: Judged, name: str = "fig1-accuracy-rises-with-width", unit: str = "share", **changes: Any) -> Document:
    return document(*(claim(name, each, unit=unit) for each in judged), **(FACTS | changes))


def test_a_verdict_that_its_observations_give_is_confirmed() -> None:
    found = check(of(risen(0.3), risen(-0.3, "fails")))
    assert (found.problems, found.confirmed, found.unchecked) == ((), 2, 0)


@pytest.mark.parametrize(("by", "said", "gives"), [(-0.3, "holds", "fails"), (0.3, "inconclusive", "holds")])
def test_a_verdict_that_they_do_not_give_is_a_problem(by: float, said: str, gives: str) -> None:
    (problem,) = check(of(risen(by, said))).problems
    start = f"fig1-accuracy-rises-with-width on mlp: says {said}, its observations give {gives} ("
    assert problem.startswith(start)


def test_what_cannot_be_judged_again_is_counted() -> None:
    nothing = risen(0.3, "not-run", values=(), asked=None)
    other = risen(0.3, asked=setting("mlp").asked)
    assert [check(of(each)).unchecked for each in (nothing, other)] == [1, 1]
    assert check(of(risen(-0.3, "holds"), unit="nats")).unchecked == 1
    unknown = check(of(risen(-0.3, "holds"), name="mine"))
    assert (unknown.problems, unknown.confirmed, unknown.unchecked) == ((), 0, 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"commit": "unknown"}, "the commit is 'unknown'; run a clean checkout"),
        ({"commit": FACTS["commit"] + "+dirty"}, "+dirty'; run a clean checkout"),
        ({"machine": {"device": "cpu"}}, "the machine is not named"),
        ({"machine": {"gpu": "G"}}, "the device is not named"),
        ({"versions": {"torch": "not installed"}}, "the version of torch is not named"),
    ],
)
def test_a_run_of_an_unknown_origin_is_a_problem(changes: dict[str, Any], said: str) -> None:
    (problem,) = check(of(risen(0.3), **changes)).problems
    assert said in problem


def test_the_committed_run_is_evidence_and_a_turned_verdict_in_it_is_found(tmp_path: Path) -> None:
    found = check(BASELINE)
    assert found.problems == ()
    assert found.confirmed > 90
    at = next(at for at, each in enumerate(BASELINE.claims) if each.id == "thm5.4-gaussian-limit")
    (judged,) = BASELINE.claims[at].settings
    turned = replace(BASELINE.claims[at], settings=(replace(judged, verdict="fails"),))
    claims = (*BASELINE.claims[:at], turned, *BASELINE.claims[at + 1 :])
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    write_results(BASELINE, good)
    write_results(replace(BASELINE, claims=claims), bad)
    run = CliRunner().invoke(app, ["results", "check", str(good), str(bad)])
    assert run.exit_code == 1
    counts = f"{found.confirmed} verdicts judged again alike, {found.unchecked} not checkable"
    first, second, problem = run.output.splitlines()
    assert first == f"{good}: ok; {counts}"
    assert second.startswith(f"{bad}: PROBLEM; {found.confirmed - 1} verdicts")
    assert problem.startswith("  thm5.4-gaussian-limit on theory: says fails, its observations give holds")
    assert CliRunner().invoke(app, ["results", "check", str(good)]).exit_code == 0
