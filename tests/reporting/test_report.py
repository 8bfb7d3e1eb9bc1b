"""The report of a run as a page: complete, escaped, the same twice, quick, light."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import report_documents
from documents import claim, document, setting
from msgspec.structs import replace
from pages import Page

from lmc.claims.paper import CLAIMS, ITEMS
from lmc.errors import StoreError
from lmc.reporting.plots import write_figures
from lmc.reporting.report import anchor, duration, kinds_of, number, plain, report, spans, write_page
from lmc.results.document import Claim, Document, MadeCounts, Selection
from lmc.results.file import read_results

DOCUMENT = report_documents.complete()


@pytest.fixture(scope="module")
def text() -> str:
    return report(DOCUMENT)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_every_item_and_claim_is_there(text: str, page: Page) -> None:
    assert {anchor(item.name) for item in ITEMS} <= set(page.ids)
    assert {f"claim-{anchor(each.id)}" for each in CLAIMS} <= set(page.ids)
    for each in CLAIMS:
        assert f"<code>pytest -m paper --lmc-tier quick --lmc-claims {each.id}</code>" in text


def test_every_case_has_a_row(text: str) -> None:
    assert text.count("<tr data-verdict=") == len(list(DOCUMENT.judged()))


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


@pytest.mark.parametrize("tier", ["quick", "standard", "paper"])
def test_size(tier: str) -> None:
    assert len(report(report_documents.complete(tier)).encode()) < 5_000_000


def test_two_makes_are_identical(text: str) -> None:
    assert report(msgspec.json.decode(msgspec.json.encode(DOCUMENT), type=Document)) == text


def test_takes_less_than_ten_seconds() -> None:
    started = time.process_time()
    report(DOCUMENT)
    assert time.process_time() - started < 10


EVIL = '<script>alert("1")</script>&\'{{7*7}}'
LOOKED_UP = ("verdict", "dataset", "arch", "kind", "id", "items", "alignment", "role", "quantity", "at")


def poisoned(value: Any, key: str = "") -> Any:
    """``value`` with markup in every text but those that are looked up."""
    if isinstance(value, dict):
        return {name: poisoned(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each, key) for each in value]
    return EVIL + value if isinstance(value, str) and key not in LOOKED_UP else value


def test_markup_in_the_document_is_shown_not_obeyed() -> None:
    made = poisoned(msgspec.json.decode(msgspec.json.encode(replace(DOCUMENT, claims=DOCUMENT.claims[::4]))))
    made["claims"][0]["id"] += EVIL
    made["claims"][0]["history"] = EVIL
    made["machine"][EVIL] = EVIL
    made["versions"][EVIL] = EVIL
    text = report(msgspec.convert(made, Document))
    page = Page(text)
    assert page.seen["script"] == 1
    assert "<script>alert" not in text
    assert "{{7*7}}" in text
    assert len(page.ids) == len(set(page.ids))


def test_a_run_of_nothing_is_shown() -> None:
    text = report(report_documents.nothing_run())
    page = Page(text)
    assert text.count("Nothing to draw.") == len(ITEMS) + 2  # checks, and what was found here
    assert "figure" not in page.seen
    assert "This run has no models." in text


def test_a_run_without_claims_is_shown() -> None:
    nothing = replace(report_documents.nothing_run(), claims=(), made=MadeCounts(), machine={}, versions={})
    text = report(nothing)
    assert "No claim that stands for it is in this run" in text
    assert "nothing; all was stored" in text
    Page(text)


def test_missing_numbers_are_tolerated() -> None:
    def without(one: Claim) -> Claim:
        settings = (
            replace(
                judged,
                effect=None,
                p_value=None,
                interval=judged.interval and (None, None),
                values=tuple(
                    replace(each, value=None) if at % 2 else each for at, each in enumerate(judged.values, start=1)
                ),
            )
            for judged in one.settings
        )
        return replace(one, settings=tuple(settings))

    rows = DOCUMENT.evidence
    models = tuple(replace(model, loss=(None,) * len(model.loss)) for model in rows.models)
    paths = tuple(
        replace(path, beta=(None, *path.beta[1:]), ensemble=replace(path.ensemble, beta=None)) for path in rows.paths
    )
    claims = tuple(map(without, DOCUMENT.claims))
    text = report(replace(DOCUMENT, claims=claims, evidence=replace(rows, models=models, paths=paths)))
    Page(text)
    assert not re.findall(r"\b(?:nan|inf|infinity)\b", text, re.IGNORECASE)
    assert ">None<" not in text.replace("<td>None</td>", "")


def test_kinds_are_those_of_the_models_whatever_a_setting_is_called() -> None:
    assert kinds_of(DOCUMENT) == {
        "mlp-digits": "mlp",
        "not-run": "not-run",
        "resnet-digits": "resnet",
        "theory": "theory",
        "vgg-digits": "vgg",
    }
    own = document(claim("a", setting("mlp-mine", kind="gelu"), setting("vgg-x")))
    assert kinds_of(own) == {"mlp-mine": "gelu", "vgg-x": "vgg-x"}
    assert 'data-setting="mlp-mine" data-kind="gelu"' in report(own)


def test_the_part_that_decided_and_what_was_asked_stand_in_both_tables() -> None:
    one = claim("a", setting("s", part="relu1"), setting("t", mean_of=3), items=("Figure 1",), history="It was 0.3.")
    text = report(document(one))
    for said in ("relu1: 0.1 [0.05", "mean of 3 layers: 0.1 [0.05"):
        assert text.count(said) == 3  # and in the matrix
    assert text.count("below 0.2 at the widest width, p &lt;= 0.05") == 4
    assert "<dt>Before</dt><dd>It was 0.3.</dd>" in text
    assert "<dt>Before</dt>" not in report(document())


@pytest.mark.parametrize(
    ("selection", "said"),
    [(Selection(), "everything"), (Selection(claims=("fig1", "core"), arch="mlp"), "claims fig1, core; arch mlp")],
    ids=["unrestricted", "restricted"],
)
def test_what_the_run_was_restricted_to_is_said(selection: Selection, said: str) -> None:
    assert f"<dd>{said}</dd>" in report(document(selection=selection))


def test_small_texts() -> None:
    assert [duration(each) for each in (None, 0.25, 59.6, 3661)] == ["–", "0.25 s", "1 min", "1 h 1 min 1 s"]
    assert [number(each) for each in (None, -0.12345, 1e-12)] == ["–", "−0.1235", "1e−12"]
    assert anchor("Figure 1: <a>") == "figure-1---a-"
    assert [plain(each) for each in (None, True, False, 0.5, "adam")] == ["–", "yes", "no", "0.5", "adam"]
    assert spans((6, 7, 8, 11, 20, 21)) == "6–8, 11, 20–21"


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write .*report.html: .*; choose another file with -o"):
        write_page("", tmp_path / "file" / "report.html")


def far(value: Any, chance: random.Random, extremes: tuple[float, ...], key: str = "") -> Any:
    """``value`` with every number replaced that is no whole one, but for what is asked: its ends must fit together."""
    if isinstance(value, dict):
        return {name: each if name == "asked" else far(each, chance, extremes, name) for name, each in value.items()}
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
    few = report_documents.few("fig2b-calibrated-barrier-falls-with-width")
    few = replace(few, claims=(replace(few.claims[0], settings=few.claims[0].settings[:1]),))
    made = far(msgspec.json.decode(msgspec.json.encode(few)), random.Random(0), extremes)
    (tmp_path / "r.json").write_bytes(msgspec.json.encode(made))
    read = read_results(tmp_path / "r.json")
    Page(report(read))
    for only in ("fig2b", "figure-2-", "figure-20"):  # by width, along paths, on a logarithmic axis: all take long
        assert write_figures(read, tmp_path / "figures", ["svg"], only)
