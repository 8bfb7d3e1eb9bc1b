"""The pages of claims, and what is told of committed runs that came in parts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from bench_modules import ROOT, load

from lmc.claims.paper import CLAIMS
from lmc.results.file import read_results, write_results

committed = load("committed")
verdict_tables = load("verdict_tables")
pictures = load("pictures")
claim_pages = load("claim_pages")
readme = load("readme")

CLAIM = next(claim for claim in CLAIMS if claim.id == "fig9-weak-decay-raises-barrier")


def test_a_page_says_what_the_claim_asks_why_and_what_was_measured() -> None:
    text = claim_pages.page(CLAIM, {"quick": "<svg/>"})
    assert text.startswith(f"# {CLAIM.id}\n\n> {CLAIM.statement}")
    for part in (CLAIM.why, CLAIM.null.text, "### quick tier", f"]({CLAIM.id}-quick.svg)"):
        assert part in text
    (found,) = (
        judged for _, judged in committed.committed()["quick"].of_claim(CLAIM.id) if judged.name == "mlp-digits"
    )
    assert found.reason in text
    for explanation in CLAIM.explanations.values():
        assert explanation.why in text
        assert explanation.refuted_by.what in text


def test_text_is_not_taken_for_markdown() -> None:
    assert claim_pages._plain("a_b <= 2 * c [d]") == r"a\_b \<= 2 \* c \[d\]"


def test_only_claims_become_links() -> None:
    text = f"`{CLAIM.id}` and `lmc run` and [`{CLAIM.id}`](x.md)"
    assert claim_pages.linked(text, "claims/") == (
        f"[`{CLAIM.id}`](claims/{CLAIM.id}.md) and `lmc run` and [`{CLAIM.id}`](x.md)"
    )


def test_parts_of_a_tier_are_told_as_one(tmp_path: Path) -> None:
    """A part that left a setting out does not hide the part that has judged it."""
    whole = read_results(ROOT / "benchmarks" / "baselines" / "quick-cpu.json")
    claim = next(each for each in whole.claims if each.id == "control-narrow-barrier")
    for at, judged in enumerate(claim.settings):
        settings = tuple(
            each if each is judged else msgspec.structs.replace(each, verdict="not-run", values=())
            for each in claim.settings
        )
        part = msgspec.structs.replace(claim, settings=settings)
        write_results(msgspec.structs.replace(whole, claims=(part,)), tmp_path / f"laptop-{at}.json")
    run = committed.committed(tmp_path)["laptop"]
    assert [judged for _, judged in run.of_claim(claim.id)] == list(claim.settings)
    marks = [verdict_tables.mark(run, claim.id, judged.name) for judged in claim.settings]
    assert marks == ["✓" for _ in claim.settings]
    assert verdict_tables.mark(run, claim.id, "elsewhere") == ""


def test_the_readme_names_claims_that_exist() -> None:
    ids = {claim.id for claim in CLAIMS}
    assert {claim for line in verdict_tables.SUMMARY for claim in line.claims} <= ids


def test_a_mark_that_a_file_lacks_is_told() -> None:
    with pytest.raises(ValueError, match="begin: here"):
        readme.filled("<!-- begin: elsewhere -->\n<!-- end: elsewhere -->", {"here": str})
    assert readme.filled("a <!-- begin: x -->old<!-- end: x --> b", {"x": lambda: "new"}) == (
        "a <!-- begin: x -->\nnew\n<!-- end: x --> b"
    )
