"""A diagnosis as a page: the recommendation first, path and layers in pictures, every number as text."""

from __future__ import annotations

import dataclasses
import re
from functools import cache

from diagnosed import digits, fitted, mlp, permuted_copy
from pages import Page

import lmc
from lmc.diagnosing.diagnosis import Diagnosis
from lmc.reporting.diagnosis_page import diagnosis_page


@cache
def found() -> Diagnosis:
    """A net and the same net permuted: averaged as they are they fail, permuted back they are one net."""
    net = fitted(lambda: mlp(24), 0)
    return lmc.diagnose(net, permuted_copy(net, digits()[1][0]), digits()[1])


def section(page: str, name: str) -> str:
    start = page.index(f'<h2 id="{name}">')
    return page[start : page.find("<h2", start + 1)]


def test_the_recommendation_comes_first_with_its_reasons() -> None:
    page = diagnosis_page(found())
    first = section(page, "recommendation")
    assert page.index("<h2") == page.index('<h2 id="recommendation">')
    assert found().conclusion.sentence in first
    assert "✓" in first
    assert section(page, "why").count("<li>") == len(found().conclusion.reasons) + (found().beta is not None)


def test_every_way_to_merge_has_a_row_and_one_is_recommended() -> None:
    ways = section(diagnosis_page(found()), "ways")
    assert ways.count("<tr>") == 1 + 2 + 1 + len(found().candidates)
    (recommended,) = re.findall(r"</span> (.*) \(recommended\)", ways)
    assert recommended == f"Merged {found().conclusion.candidate}"
    for each in found().candidates:
        assert f"Merged {each.name}" in ways
        assert f"{each.merged.loss:.4g}" in ways


def test_path_and_layers_are_drawn_with_their_numbers() -> None:
    page = diagnosis_page(found())
    path = section(page, "path")
    for name, way in found().paths.items():
        assert name in path
        middle = way.midpoint
        assert f"at ½ {middle.metric:.4g}" in path
        assert f"at ½ {middle.loss:.4g}" in path
    layers = section(page, "layers")
    for records in found().layers.values():
        last = list(records["outputs"].values())[-1]
        assert f"{last['lewc_cosine']:.4g}" in layers
    assert "orthogonality ratio" in layers


def test_every_number_is_there_as_text() -> None:
    text = section(diagnosis_page(found()), "numbers")
    assert "norm/LLFC" in text
    assert "barrier" in text


def test_the_page_is_sound_light_and_of_itself() -> None:
    text = diagnosis_page(found())
    page = Page(text)
    assert len(text.encode()) < 1_000_000
    assert len(page.ids) == len(set(page.ids))
    assert page.headings[0] == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert "<script" not in text
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", text)
    assert diagnosis_page(found()) == text


def test_where_nothing_is_recommended_it_says_so() -> None:
    """Nor is there a path for more than two models, and names are shown, not obeyed."""
    refused = dataclasses.replace(
        found(),
        architecture="<script>",
        conclusion=dataclasses.replace(found().conclusion, candidate=None, sentence="These models cannot be averaged."),
        paths={},
        layers={},
        merged=None,
        alignment="it was not asked for",
        notes=("A note.",),
    )
    page = diagnosis_page(refused)
    first = section(page, "recommendation")
    assert "✗" in first
    assert "cannot be averaged" in first
    assert "(recommended)" not in page
    assert "No permutation was tried: it was not asked for." in page
    assert "<li>A note.</li>" in page
    assert "<script>" not in page
    assert 'id="path"' not in page


def test_more_than_two_models() -> None:
    nets = [fitted(lambda: mlp(16), seed, steps=40) for seed in range(3)]
    page = diagnosis_page(lmc.diagnose(nets, digits()[1]))
    assert "Model 3" in section(page, "ways")
    assert 'id="path"' not in page
    assert 'id="layers"' in page
