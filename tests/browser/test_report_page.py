"""The report in a browser: quiet, usable with keyboard and screen reader, on phones, without script."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import report_documents
from diagnosed import digits, fitted, mlp

import lmc
from lmc.reporting.diagnosis_page import diagnosis_page
from lmc.reporting.history_page import history_page
from lmc.reporting.report import report, write_page
from lmc.results.file import read_results
from lmc.results.history import History, Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DOCUMENT = report_documents.complete()
BASELINE = read_results(Path(__file__).parents[2] / "benchmarks" / "baselines" / "quick-cpu.json")
ROWS = "#verdict-table tbody tr"


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    write_page(report(DOCUMENT), folder / "report.html")
    runs = tuple(Run(f"{at}.json", DOCUMENT) for at in range(3))
    write_page(history_page(History("quick", runs, ())), folder / "history.html")
    write_page(report(BASELINE), folder / "baseline.html")
    net = fitted(lambda: mlp(24, norm="bn"), 0, steps=40)
    found = lmc.diagnose(net, fitted(lambda: mlp(24, norm="bn"), 1, steps=40), digits()[1], train_data=digits()[0])
    write_page(diagnosis_page(found), folder / "diagnosis.html")
    return {name: (folder / f"{name}.html").as_uri() for name in ("report", "history", "baseline", "diagnosis")}


def opened(browser: Browser, address: str, **context: Any) -> Iterator[Page]:
    """The page; fails on a message in the console, an error, or a request for anything else."""
    made = browser.new_context(**context)
    page = made.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url != address else None)
    page.goto(address)
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    yield page
    made.close()
    assert [each for each in said if not each.startswith("data:")] == []


@pytest.fixture
def page(browser: Browser, addresses: dict[str, str]) -> Iterator[Page]:
    yield from opened(browser, addresses["report"])


def shown(page: Page) -> int:
    return page.locator(f"{ROWS}:visible").count()


def test_filters_and_search(page: Page) -> None:
    everything = page.locator(ROWS).count()
    assert shown(page) == everything
    page.locator("select[name=kind]").select_option("vgg")
    assert shown(page) == page.locator(f"{ROWS}[data-kind=vgg]").count() > 0
    page.locator("select[name=verdict]").select_option("holds")
    assert shown(page) == page.locator(f"{ROWS}[data-kind=vgg][data-verdict=holds]").count()
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function(f"document.querySelectorAll('{ROWS}:not([hidden])').length === {everything}")
    page.locator("select[name=setting]").select_option("theory")
    assert shown(page) == page.locator(f"{ROWS}[data-setting=theory]").count()
    page.locator("select[name=setting]").select_option("")
    page.locator("input[name=text]").fill("fig2b-calibrated  FALLS")
    assert shown(page) == 3
    assert page.locator("#filtered").inner_text() == f"3 of {everything} shown"


def test_the_matrix_shows_the_claims_that_the_filter_leaves(page: Page) -> None:
    def claims(where: str) -> set[str]:
        found = page.locator(f"{where} tr[data-claim]:visible")
        return set(found.evaluate_all("rows => rows.map((row) => row.dataset.claim)"))

    assert page.locator("#matrix tr[data-claim]:visible").count() == len(DOCUMENT.claims)
    page.locator("input[name=text]").fill("sophia")
    assert claims("#matrix") == claims("#verdict-table")
    assert 0 < len(claims("#matrix")) < len(DOCUMENT.claims)
    headed = page.locator("#matrix tbody:visible")
    assert headed.count() == headed.filter(has=page.locator("tr[data-claim]:visible")).count()


def test_a_verdict_of_the_matrix_leads_to_its_claim(page: Page) -> None:
    page.get_by_role("link", name="fig2b-calibrated-barrier-falls-with-width on vgg-digits").click()
    heading = page.locator("#claim-fig2b-calibrated-barrier-falls-with-width")
    assert abs(heading.bounding_box()["y"]) < 100  # type: ignore[index]


def test_the_matrix_scrolls_in_its_own_box_on_a_phone_and_is_whole_in_print(
    browser: Browser, addresses: dict[str, str]
) -> None:
    for page in opened(browser, addresses["baseline"], viewport={"width": 360, "height": 740}):
        box = page.locator(".matrix")
        sides = "box => [box.scrollWidth > box.clientWidth, box.scrollHeight > box.clientHeight]"
        assert box.evaluate(sides) == [True, True]
        box.evaluate("box => box.scrollTo(200, 300)")
        name = page.locator("#matrix th[scope=row]").first.bounding_box()
        assert name is not None
        assert name["x"] < 20  # the claim's name stays
        page.set_viewport_size({"width": A4, "height": 1000})
        page.emulate_media(media="print")
        assert box.evaluate(sides) == [False, False]


def test_the_filter_works_on_the_committed_run(browser: Browser, addresses: dict[str, str]) -> None:
    for page in opened(browser, addresses["baseline"]):
        everything = sum(len(claim.settings) for claim in BASELINE.claims)
        assert shown(page) == everything
        page.locator("input[name=text]").fill("fig2b")
        named = [claim for claim in BASELINE.claims if claim.id.startswith("fig2b")]
        assert 0 < shown(page) == sum(len(claim.settings) for claim in named)
        page.locator("select[name=kind]").select_option("mlp")
        assert shown(page) == len(named)


def test_without_script_the_table_is_whole_and_the_filter_hidden(browser: Browser, addresses: dict[str, str]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(addresses["report"])
    assert shown(page) == sum(len(claim.settings) for claim in DOCUMENT.claims)
    assert not page.locator("#filters").is_visible()
    context.close()


def test_the_keyboard_reaches_skip_link_and_filter(page: Page) -> None:
    def focused() -> str:
        return str(page.evaluate("document.activeElement.name || document.activeElement.className"))

    page.keyboard.press("Tab")
    assert focused() == "skip"
    page.keyboard.press("Enter")
    order = []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(focused())
    assert order == ["text", "verdict", "setting", "kind"]


def test_every_figure_has_words(page: Page) -> None:
    missing = page.evaluate(
        """() => [...document.querySelectorAll("figure")].filter((figure) =>
            !figure.querySelector("figcaption").textContent.trim()
            || [...figure.querySelectorAll("svg[role=img]")].some((svg) =>
                !svg.querySelector("title").textContent.trim() || svg.querySelector("desc").textContent.length < 20)
            || !figure.querySelector("svg[role=img]")).map((figure) => figure.id)"""
    )
    assert missing == []


A4 = 718  # pixels (1/96 inch) of 210 mm without the 10 mm that browsers leave on either side


@pytest.mark.parametrize("name", ["report", "history", "baseline", "diagnosis"])
def test_nothing_overflows_a_printed_page(name: str, browser: Browser, addresses: dict[str, str]) -> None:
    for page in opened(browser, addresses[name], viewport={"width": A4, "height": 1000}):
        page.emulate_media(media="print")
        wide = page.evaluate(
            f"""() => [...document.querySelectorAll("main *, header *")].filter((each) =>
                !each.closest("svg") && each.getBoundingClientRect().right > {A4} + 0.5)
                .map((each) => each.outerHTML.slice(0, 120)).slice(0, 5)"""
        )
        assert wide == []
        assert page.evaluate("document.documentElement.scrollWidth") <= A4
        assert page.locator("article, figure").count() > 0


@pytest.mark.parametrize("name", ["report", "history", "baseline", "diagnosis"])
def test_nothing_overflows_a_phone(name: str, browser: Browser, addresses: dict[str, str]) -> None:
    for page in opened(browser, addresses[name], viewport={"width": 360, "height": 740}):
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        wide = page.evaluate(
            """() => [...document.querySelectorAll("main *, nav *, header *")].filter((each) =>
                !each.closest(".wide") && !each.closest("svg") && each.getBoundingClientRect().right > 360.5)
                .map((each) => each.outerHTML.slice(0, 120)).slice(0, 5)"""
        )
        assert wide == []


def test_labels_stay_inside_their_diagrams(page: Page) -> None:
    outside = page.evaluate(
        """() => [...document.querySelectorAll(".panel > svg")].flatMap((svg) => {
            const box = svg.getBoundingClientRect();
            return [...svg.querySelectorAll("text")].filter((text) => {
                const at = text.getBoundingClientRect();
                return at.left < box.left - 1 || at.right > box.right + 1
                    || at.top < box.top - 1 || at.bottom > box.bottom + 1;
            }).map((text) => svg.querySelector("title").textContent + ": " + text.textContent);
        })"""
    )
    assert outside == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["report", "history", "diagnosis"])
def test_accessibility(name: str, width: int, scheme: str, browser: Browser, addresses: dict[str, str]) -> None:
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or not found.origin:
        pytest.skip("axe-playwright-python, which brings axe-core, is not installed")
    axe = (Path(found.origin).parent / "axe.min.js").read_text("utf-8")
    viewport = {"width": width, "height": 800}
    for page in opened(browser, addresses[name], viewport=viewport, color_scheme=scheme):
        page.evaluate(axe)
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        problems = {each["id"]: [node["html"][:120] for node in each["nodes"][:3]] for each in result["violations"]}
        assert problems == {}
