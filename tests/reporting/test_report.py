"""The report of a run as a page: complete, escaped, the same twice, quick, light."""

from __future__ import annotations

import copy
import json
import random
import re
import shlex
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import report_documents

from lmc.claims.cases import needed
from lmc.claims.paper import CLAIMS, ITEMS
from lmc.errors import StoreError
from lmc.executing.session import selected_cases
from lmc.executing.settings import Settings
from lmc.reporting.plots import write_figures
from lmc.reporting.report import anchor, duration, kinds_of, number, report, write_page
from lmc.reporting.sections import sections
from lmc.results.file import read_results
from lmc.results.selection import command, described

BASELINES = Path(__file__).parents[2] / "benchmarks" / "baselines"
DOCUMENT = report_documents.complete()
PATH = ("lams", "accuracy", "loss", "beta", "calibrated_loss")
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
        assert f"<code>pytest -m paper --lmc-tier quick --lmc-claims {claim.id}</code>" in text


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
        path["accuracy"][0] = path["loss"][len(path["lams"]) // 2] = path["ensemble"]["loss"] = None
    text = report(document)
    Page(text)
    assert not re.findall(r"\b(?:nan|inf|infinity)\b", text, re.IGNORECASE)
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


ASKED = {
    "pilot": False,
    "claims": ["fig1", "core"],
    "arch": "mlp",
    "dataset": None,
    "max_width": 0.25,
    "precision": "bf16",
}


@pytest.mark.parametrize(
    ("selection", "options", "said"),
    [
        (None, "pytest -m paper --lmc-tier 'a b' --lmc-claims 'x;y'", "everything"),
        (
            ASKED,
            "pytest -m paper --lmc-tier 'a b' --lmc-claims 'x;y' --lmc-arch mlp --lmc-max-width 0.25 "
            "--lmc-precision bf16",
            "claims fig1, core; arch mlp; max width 0.25; precision bf16",
        ),
        (
            {"extra_claims": ["own:CLAIMS", "more:CLAIMS"]},
            "pytest -m paper --lmc-tier 'a b' --lmc-extra-claims own:CLAIMS,more:CLAIMS --lmc-claims 'x;y'",
            "with claims of own:CLAIMS, more:CLAIMS",
        ),
        (
            ASKED | {"pilot": True, "claims": [], "arch": None, "precision": None, "dataset": "d e"},
            "lmc run --pilot --tier 'a b' --claims 'x;y' --dataset 'd e' --max-width 0.25",
            "pilot seeds; dataset d e; max width 0.25",
        ),
    ],
    ids=["unrestricted", "restricted", "extended", "pilot"],
)
def test_the_command_holds_what_the_run_was_restricted_to(selection: Any, options: str, said: str) -> None:
    document = report_documents.nothing_run() | {"tier": "a b"} | ({"selection": selection} if selection else {})
    assert command(document, "x;y") == options
    assert described(document) == said
    assert f"<dd>{said}</dd>" in report(document)


def test_a_file_without_a_selection_shows_by_its_seeds_that_it_is_of_pilots() -> None:
    pilot = read_results(BASELINES / "pilot-quick-cpu.json")
    pilot.pop("selection", None)
    assert command(pilot, "fig1") == "lmc run --pilot --tier quick --claims fig1"
    assert command(read_results(BASELINES / "quick-cpu.json"), "fig1").startswith("pytest -m paper --lmc-tier quick")


def test_the_command_of_a_restricted_run_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what reads it: options that are unknown or lead to nothing are refused."""
    for name in ("LMC_CLAIMS", "LMC_ARCH", "LMC_DATASET", "LMC_MAX_WIDTH", "LMC_PRECISION"):
        monkeypatch.delenv(name, raising=False)
    asked = Settings.resolve(device="cpu", claims="fig1-", arch="mlp", max_width="1/4", precision="fp32")
    document = report_documents.nothing_run() | {"selection": asked.selection(pilot=True)}
    words = shlex.split(command(document, "fig1-accuracy-rises-with-width"))[3:]
    given: dict[str, Any] = {
        option.removeprefix("--").replace("-", "_"): value
        for option, value in zip(words[::2], words[1::2], strict=True)
    }
    again = Settings.resolve(device="cpu", **given)
    assert again.selection() == asked.selection() | {"claims": ["fig1-accuracy-rises-with-width"]}
    assert {spec.width for each in needed(selected_cases(again)) for spec in each.specs} == {1 / 16, 1 / 4}


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
        (
            lambda document: document["evidence"]["paths"][0].update({name: [] for name in PATH}),
            "of length >= 1 - at `$.evidence.paths[0].lams`",
        ),
        (
            lambda document: document["evidence"]["paths"][0]["loss"].__setitem__(1, 1e308),
            "<= 1e+100 - at `$.evidence.paths[0].loss[1]`",
        ),
        (
            lambda document: document["evidence"]["models"][0].update(loss=[-1e308]),
            " - at `$.evidence.models[0].loss[0]`",
        ),
        (
            lambda document: document["claims"][0]["settings"][0].update(effect=1e308),
            "`$.claims[0].settings[0].effect`",
        ),
        (lambda document: document["claims"][0].update(id="a\0"), " - at `$.claims[0].id`"),
        (lambda document: document["evidence"]["histograms"][0].update(relus={"a": [-1]}), "`$.evidence.histograms[0]"),
    ],
)
def test_incomplete_results_are_refused(edit: Any, message: str, tmp_path: Path) -> None:
    document = copy.deepcopy(DOCUMENT)
    edit(document)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(document))
    with pytest.raises(StoreError, match=re.escape(message)):
        read_results(path)


def far(value: Any, chance: random.Random, extremes: tuple[float, ...], key: str = "") -> Any:
    """``value`` with every number that is no whole one replaced."""
    if isinstance(value, dict):
        return {name: far(each, chance, extremes, name) for name, each in value.items()}
    if isinstance(value, list):
        return [far(each, chance, extremes, key) for each in value]
    if not isinstance(value, float):
        return value
    drawn = chance.choice(extremes)
    return max(5e-324, abs(drawn)) if key in ("width", "widths", "seconds") else drawn


@pytest.mark.parametrize(
    "extremes",
    [(-1e100, 1e100), (0.0, 5e-324), (1e-320,), (1e100, 5e-324), (1.0, 1.0 + 2**-52), (1e38, 1e38 * (1 + 2**-52))],
    ids=str,
)
def test_extreme_numbers_are_read_and_drawn(extremes: tuple[float, ...], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    document = copy.deepcopy(DOCUMENT)
    document["claims"] = [each for each in DOCUMENT["claims"] if each["id"].startswith(("fig1-", "fig4"))][:3]
    document["evidence"] = {name: rows[:4] for name, rows in DOCUMENT["evidence"].items()}
    document = far(document, random.Random(0), extremes)
    (tmp_path / "r.json").write_text(json.dumps(document))
    read = read_results(tmp_path / "r.json")
    Page(report(read))
    assert write_figures(read, tmp_path / "figures", ["svg"])


@pytest.mark.parametrize("cut", ["", "{", '{"schema":"lmc-results/2","seconds":NaN}', "[]"])
def test_half_written_results_are_refused(cut: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(cut)
    with pytest.raises(StoreError, match=re.escape(str(path))):
        read_results(path)
