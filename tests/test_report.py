"""The report of a run as a page: complete, escaped, the same twice, quick, light."""

from __future__ import annotations

import copy
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import report_documents

from lmc.claims.paper import CLAIMS, ITEMS
from lmc.errors import StoreError
from lmc.reporting.report import anchor, command, duration, kinds_of, number, report, write_page
from lmc.reporting.results import read_results
from lmc.reporting.sections import sections

DOCUMENT = report_documents.complete()
VOID = {"meta", "link", "input", "br"}


class Page(HTMLParser):
    """What a page consists of; complains where elements do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.headings: list[int] = []
        self.seen: dict[str, int] = {}
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.attributes.append((tag, found))
        self.seen[tag] = self.seen.get(tag, 0) + 1
        self.ids += [found["id"]] if found.get("id") else []  # type: ignore[list-item]
        self.targets += [found["href"][1:]] if (found.get("href") or "").startswith("#") else []  # type: ignore[index]
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())


@pytest.fixture(scope="module")
def text() -> str:
    return report(DOCUMENT)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_every_item_and_claim_is_there(text: str, page: Page) -> None:
    assert {anchor(item.name) for item in ITEMS} <= set(page.ids)
    assert {f"claim-{anchor(claim.id)}" for claim in CLAIMS} <= set(page.ids)
    for claim in CLAIMS:
        assert command("quick", claim.id) in text


def test_every_case_has_a_row(text: str) -> None:
    cases = sum(len(claim["settings"]) for claim in DOCUMENT["claims"])
    assert text.count("<tr data-verdict=") == cases


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert set(page.targets) <= set(page.ids)
    for tag, attributes in page.attributes:
        named = (attributes.get("aria-labelledby") or "").split()
        assert set(named) <= set(page.ids), (tag, named)


def test_headings_are_in_order(page: Page) -> None:
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))


def test_figures_and_tables_are_accessible(page: Page) -> None:
    assert page.seen["figure"] == page.seen["figcaption"] > 60
    drawings = [attributes for tag, attributes in page.attributes if tag == "svg"]
    assert all(each.get("role") == "img" or each.get("aria-hidden") == "true" for each in drawings)
    assert page.seen["title"] == page.seen["desc"] + 1  # and the page's own
    assert all("scope" in attributes for tag, attributes in page.attributes if tag == "th")


def test_nothing_comes_from_elsewhere(text: str, page: Page) -> None:
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", text)
    assert "url(" not in text
    assert "@import" not in text
    assert "http://" not in text
    assert "https://" not in text


def test_a_section_without_numbers_says_why(text: str) -> None:
    (fifteen,) = [section for section in sections(DOCUMENT) if section.name == "Figure 15"]
    assert fifteen.missing == "not-run: the tier has no models for it"
    assert text.count("Nothing to draw.") == sum(bool(section.missing) for section in sections(DOCUMENT))


def test_claims_outside_the_paper_have_a_section() -> None:
    *_, beyond = sections(DOCUMENT)
    assert [claim["id"] for claim in beyond.claims] == ["control-self-merge", "scaling-barrier-power-law"]


@pytest.mark.parametrize("tier", ["quick", "standard", "paper"])
def test_size(tier: str) -> None:
    assert len(report(report_documents.complete(tier)).encode()) < 5_000_000


def test_two_makes_are_identical(text: str) -> None:
    assert report(json.loads(json.dumps(DOCUMENT))) == text


def test_takes_less_than_ten_seconds() -> None:
    started = time.process_time()
    report(DOCUMENT)
    assert time.process_time() - started < 10


EVIL = '<script>alert("1")</script>&\'{{7*7}}'


def poisoned(value: Any, key: str = "") -> Any:
    """``value`` with markup in every text but those that are looked up."""
    if isinstance(value, dict):
        return {name: poisoned(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each, key) for each in value]
    if isinstance(value, str) and key not in ("verdict", "pair", "dataset", "arch", "id", "alignment", "role"):
        return EVIL + value
    return value


def test_markup_in_the_document_is_shown_not_obeyed() -> None:
    document = poisoned(DOCUMENT)
    document["claims"][0]["id"] += EVIL
    document["machine"][EVIL] = EVIL
    document["versions"][EVIL] = EVIL
    text = report(document)
    page = Page(text)
    assert page.seen["script"] == 1
    assert "<script>alert" not in text
    assert "{{7*7}}" in text
    assert len(page.ids) == len(set(page.ids))


def test_a_run_of_nothing_is_shown() -> None:
    text = report(report_documents.nothing_run())
    page = Page(text)
    assert text.count("Nothing to draw.") == len(ITEMS) + 1
    assert "figure" not in page.seen
    assert "This run has no models." in text


def test_a_run_without_claims_is_shown() -> None:
    document = report_documents.nothing_run() | {"claims": [], "made": {}, "machine": {}, "versions": {}}
    text = report(document)
    assert "No claim that stands for it is in this run" in text
    assert "nothing; all was stored" in text
    Page(text)


def test_missing_numbers_are_tolerated() -> None:
    document = copy.deepcopy(DOCUMENT)
    for claim in document["claims"]:
        for setting in claim["settings"]:
            setting.update(effect=None, p_value=None, interval=setting["interval"] and [None, None])
            for value in setting["values"][::2]:
                value["value"] = None
    for model in document["evidence"]["models"]:
        model.update(seconds=None, loss=[None] * len(model["loss"]), decay_horizon=None)
    for path in document["evidence"]["paths"]:
        path["accuracy"][0] = path["loss"][5] = path["ensemble"]["loss"] = None
    text = report(document)
    Page(text)
    assert "nan" not in re.sub(r"[Nn]an[a-z]", "", text).lower().split()
    assert ">None<" not in text.replace("<td>None</td>", "")


def test_kinds() -> None:
    assert kinds_of(DOCUMENT) == {
        "mlp-digits": "mlp",
        "not-run": "not-run",
        "resnet-digits": "resnet",
        "theory": "theory",
        "vgg-digits": "vgg",
    }


def test_small_texts() -> None:
    assert [duration(each) for each in (None, 0.25, 59.6, 3661)] == ["–", "0.25 s", "1 min", "1 h 1 min 1 s"]
    assert [number(each) for each in (None, -0.12345, 1e-12)] == ["–", "−0.1235", "1e−12"]
    assert anchor("Figure 1: <a>") == "figure-1---a-"
    assert command("a b", "x;y") == "pytest -m paper --lmc-tier 'a b' --lmc-claims 'x;y'"


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write .*report.html: .*; choose another file with -o"):
        write_page("", tmp_path / "file" / "report.html")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda document: document.pop("evidence"), "missing required field `evidence`"),
        (lambda document: document["evidence"].pop("paths"), "missing required field `paths` - at `$.evidence`"),
        (lambda document: document["claims"][0].pop("why"), "missing required field `why` - at `$.claims[0]`"),
        (
            lambda document: document["claims"][0]["settings"][0].pop("values"),
            "field `values` - at `$.claims[0].settings[0]`",
        ),
        (lambda document: document.update(claims={"a": 1}), "Expected `array`, got `object` - at `$.claims`"),
        (
            lambda document: document["claims"][0].update(settings=None),
            "got `null` - at `$.claims[0].settings`",
        ),
        (lambda document: document["claims"][0].update(verdict="perfect"), "Invalid enum value 'perfect'"),
        (lambda document: document["evidence"]["paths"][0]["lams"].pop(), "has lists of different lengths"),
        (lambda document: document.update(schema="lmc-results/1"), "has schema 'lmc-results/1'"),
    ],
)
def test_incomplete_results_are_refused(edit: Any, message: str, tmp_path: Path) -> None:
    document = copy.deepcopy(DOCUMENT)
    edit(document)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(document))
    with pytest.raises(StoreError, match=re.escape(message)):
        read_results(path)


@pytest.mark.parametrize("cut", ["", "{", '{"schema":"lmc-results/2","seconds":NaN}', "[]"])
def test_half_written_results_are_refused(cut: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(cut)
    with pytest.raises(StoreError, match=re.escape(str(path))):
        read_results(path)
