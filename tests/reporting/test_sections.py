"""A run in the order of the paper, by the items that its claims name."""

from __future__ import annotations

import report_documents
from documents import claim, document, setting

from lmc.claims.paper import CLAIMS, ITEMS
from lmc.claims.verdicts import CHECK, FOUND_HERE
from lmc.reporting.report import report
from lmc.reporting.sections import BEYOND, sections
from lmc.results.document import Selection

DOCUMENT = report_documents.complete()


def test_every_item_has_a_section_with_the_claims_that_name_it() -> None:
    *items, _, _ = sections(DOCUMENT)
    assert [section.name for section in items] == [item.name for item in ITEMS]
    for section in items:
        assert list(section.claims) == [each for each in DOCUMENT.claims if section.name in each.items]
        assert section.claims


def test_claims_outside_the_paper_have_a_section() -> None:
    *_, checks, found_here = sections(DOCUMENT)
    assert [each.id for each in checks.claims] == ["control-self-merge"]
    named = [each.id for each in CLAIMS if each.role == FOUND_HERE and not each.items]
    assert [each.id for each in found_here.claims] == named
    assert "scaling-barrier-power-law" in named


def test_the_id_of_a_claim_means_nothing_and_an_item_that_there_is_not_neither() -> None:
    claims = (
        claim("fig1-mine", setting("s")),
        claim("mine", setting("s"), items=("Figure 2", "Figure 9")),
        claim("other", setting("s"), items=("Figure 99",)),
        claim("scaling-barrier-power-law", setting("s"), role="check"),
        claim("control", setting("s"), role="found here"),
    )
    selection = Selection(extra_claims=("mine:CLAIMS",))
    made = sections(document(*claims, selection=selection))
    found = {section.name: [each.id for each in section.claims] for section in made}
    assert {name: ids for name, ids in found.items() if ids} == {
        "Figure 2": ["mine"],
        "Figure 9": ["mine"],
        BEYOND[CHECK][0]: ["scaling-barrier-power-law"],
        BEYOND[FOUND_HERE][0]: ["control"],
        "Claims of mine:CLAIMS": ["fig1-mine", "other"],
    }


def test_without_claims_beyond_the_paper_there_is_no_such_section() -> None:
    assert sections(document(claim("a", setting("s"), items=("Figure 1",))))[-1].name == ITEMS[-1].name


def test_a_section_without_numbers_says_why() -> None:
    left_out = setting("vgg", None, verdict="not-run", reason="too narrow", effect=None, interval=None, values=())
    invalid = setting("mlp", None, verdict="invalid", reason="untrained", effect=None, interval=None, values=())
    made = document(claim("a", left_out, invalid, items=("Figure 1",)), claim("b", setting("s"), items=("Figure 2",)))
    missing = {section.name: section.missing for section in sections(made)}
    assert missing["Figure 1"] == "not-run: too narrow; invalid: untrained"
    assert missing["Figure 2"] == ""
    assert missing["Figure 3"] == "No claim that stands for it is in this run: it was restricted to others."
    assert report(made).count("Nothing to draw.") == len(ITEMS) - 1


def test_a_claim_of_two_items_is_drawn_once() -> None:
    made = document(claim("a", setting("s"), items=("Figure 1", "Figure 2")))
    first, second = (section for section in sections(made) if section.claims)
    assert first.of_claim["a"] is second.of_claim["a"]
