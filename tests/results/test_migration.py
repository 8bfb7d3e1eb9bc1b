"""Files of the schema before are read as documents of this one, with nothing lost, or are refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from old_results import old_document
from typer.testing import CliRunner

from lmc.claims.asked import Asked
from lmc.claims.paper import CLAIMS
from lmc.commands.cli import app
from lmc.errors import StoreError
from lmc.results.document import SCHEMA, Judged
from lmc.results.file import read_results
from lmc.results.migration import migrated
from lmc.results.old_sentences import asked_from, reason_from
from lmc.results.wording import asked_in_words, measured_in_words
from lmc.tiers.seeds import PILOT_OFFSET

DOCUMENT = migrated(old_document())
JUDGED = {claim.id: claim.settings[0] for claim in DOCUMENT.claims}


def as_before(text: str) -> str:
    return text.replace("unpermuted", "none")


def test_every_sentence_reads_as_before() -> None:
    for claim, old in zip(DOCUMENT.claims, old_document()["claims"], strict=True):
        for judged, was in zip(claim.settings, old["settings"], strict=True):
            assert as_before(asked_in_words(judged.asked)) == was["threshold"]
            assert as_before(measured_in_words(judged)) == was["reason"]
        assert (claim.why, claim.history) == (old["why"], "")


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("fig2b-falls", Asked(quantity="change", high=-0.3, alpha=0.05)),
        ("fig3-rises", Asked(quantity="change", low=0.01, pooled=True, slack=0.03, alpha=0.05)),
        (
            "fig22-overlap",
            Asked(quantity="difference", low=0.01, groups=("matching", "unpermuted"), pooled=True, alpha=0.05),
        ),
        ("table1-needless", Asked(quantity="difference", high=0.2, groups=("unpermuted", "matching"), alpha=0.05)),
        ("fig4-additivity-exceeds", Asked(quantity="value", low=0.93044, at="widest", alpha=0.05)),
        (
            "fig27-alike",
            Asked(quantity="difference", low=-0.07, high=0.07, groups=("strong", "bn"), pooled=True, alpha=0.05),
        ),
        ("fig23-order", Asked(quantity="rise", low=0.05, groups=("zero", "weak", "strong"), alpha=0.05)),
        ("appC-norms", Asked(quantity="value", low=-1.25, high=-0.75, target=-1.0, at="widest", alpha=0.05)),
        ("scaling-law", Asked(quantity="exponent", low=0.25, alpha=0.05)),
        ("thm5.4-limit", Asked(quantity="deviation", low=-5e-4, high=5e-4, target=0.93044)),
    ],
)
def test_every_form_of_threshold_is_data(name: str, asked: Asked) -> None:
    assert JUDGED[name].asked == asked


OLD = ("value", "deviation", "change", "rise", "difference", "exponent")
"""What was asked of when files had sentences only."""


@pytest.mark.parametrize(
    "claim", [each for each in CLAIMS if each.expect.asked.quantity in OLD], ids=lambda claim: claim.id
)
def test_what_every_claim_asks_is_found_again_in_its_sentence(claim: Any) -> None:
    """Up to the digits that the sentence gives."""
    sentence = asked_in_words(claim.expect.asked)
    found = asked_from(sentence)
    assert found is not None
    assert (found.shape[:4], found.slack, found.alpha) == (
        claim.expect.asked.shape[:4],
        claim.expect.asked.slack,
        claim.expect.asked.alpha,
    )
    assert asked_in_words(found) == sentence


@pytest.mark.parametrize(
    ("name", "part", "mean_of", "reason"),
    [
        ("fig2b-falls", "", 0, "0.9 -> 0.2, p = 0.01"),
        (
            "fig3-rises",
            "b",
            2,
            "0.2 -> 0.3, p = 0.2; p exceeds 0.05; b goes the other way, p = 0.002: 0.9 -> 0.8",
        ),
        ("fig22-overlap", "", 2, "matching 0.5, unpermuted 0.4 at width 1, p = 0.01"),
        ("table1-needless", "", 0, "unpermuted 0.1, matching 0.05 at width 1, p = 0.01"),
        ("fig4-additivity-exceeds", "b", 0, "0.95 [0.94, 0.96] at width 1, p = 0.01"),
        ("scaling-law", "", 0, "no fit is supported: too few"),
        ("thm5.4-limit", "d = 9", 0, "the farthest of 1 values is 0.5"),
    ],
)
def test_the_part_that_decided_is_data(name: str, part: str, mean_of: int, reason: str) -> None:
    found: Judged = JUDGED[name]
    assert (found.part, found.mean_of, found.reason) == (part, mean_of, reason)


def test_a_colon_is_no_part() -> None:
    assert reason_from("pair 6-7: diverged", {"relu1"}) == ("pair 6-7: diverged", "", 0)
    assert reason_from("relu1: low", {"relu1"}) == ("low", "relu1", 0)


def test_pairs_groups_and_items_are_data() -> None:
    assert JUDGED["fig2b-falls"].values[0].seeds == (6, 7)
    assert JUDGED["thm5.4-limit"].values[0].seeds == ()
    assert {value.group for value in JUDGED["fig22-overlap"].values} == {"unpermuted"}
    assert {claim.id: claim.items for claim in DOCUMENT.claims} == {
        "fig2b-falls": ("Figure 2",),
        "fig3-rises": ("Figure 3",),
        "fig22-overlap": ("Figure 22",),
        "table1-needless": ("Table 1",),
        "fig4-additivity-exceeds": ("Figure 4", "Theorem 5.4"),
        "fig27-alike": ("Figure 27",),
        "fig23-order": ("Figure 23",),
        "appC-norms": ("Figure 11",),
        "scaling-law": (),
        "thm5.4-limit": ("Theorem 5.4",),
    }


def test_evidence_is_the_same_in_other_fields() -> None:
    old, found = old_document()["evidence"], DOCUMENT.evidence
    assert [path.alignment for path in found.paths] == ["unpermuted", "matching"]
    for rows in (found.paths, found.outputs, found.random_steps):
        assert {row.seeds for row in rows} == {(6, 7)}
    (histogram,), (family,) = found.histograms, found.families
    assert histogram.activations == {"a": (3, 4), "b": (5, 6)}
    assert (family.kind, family.arch, family.dataset) == ("vgg", "vgg", "digits")
    assert family.recipe == old["families"][0]["recipe"]
    assert msgspec.to_builtins(found.paths[0].ensemble) == old["paths"][0]["ensemble"]
    (model,) = msgspec.json.decode(msgspec.json.encode(found.models))
    assert model == old["models"][0]


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    inner = document
    for name in names[:-1]:
        inner = inner[name]
    del inner[names[-1]]
    return document


def test_what_older_files_lack_is_told_by_their_seeds() -> None:
    bare = without(without(old_document(), "evidence", "outputs"), "selection")
    found = migrated(bare)
    assert (found.selection.pilot, found.selection.claims, found.evidence.outputs) == (False, (), ())
    bare["evidence"]["families"][0]["seeds"] = [6 + PILOT_OFFSET]
    assert migrated(bare).selection.pilot


def test_a_file_is_read_the_same_before_and_after_it_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old_document()), "utf-8")
    assert read_results(path) == DOCUMENT
    moved = CliRunner().invoke(app, ["results", "migrate", str(path), "-o", str(tmp_path / "new")])
    assert moved.exit_code == 0, moved.output
    assert json.loads(path.read_text("utf-8"))["schema"] == "lmc-results/2"
    assert CliRunner().invoke(app, ["results", "migrate", str(path)]).exit_code == 0
    assert path.read_bytes() == (tmp_path / "new" / "old.json").read_bytes()
    assert json.loads(path.read_text("utf-8"))["schema"] == SCHEMA
    assert read_results(path) == DOCUMENT
    assert CliRunner().invoke(app, ["results", "migrate", str(path)]).exit_code == 0  # once more changes nothing
    assert path.read_bytes() == (tmp_path / "new" / "old.json").read_bytes()


def test_nothing_is_written_unless_all_can_be_read(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(old_document()), "utf-8")
    bad.write_text("{", "utf-8")
    before = good.read_bytes()
    found = CliRunner().invoke(app, ["results", "migrate", str(good), str(bad)])
    assert isinstance(found.exception, StoreError)
    assert good.read_bytes() == before
    same = [str(good), str(tmp_path / "elsewhere" / "good.json")]
    twice = CliRunner().invoke(app, ["results", "migrate", *same, "-o", str(tmp_path / "out")])
    assert f"would be written to {tmp_path / 'out' / 'good.json'}" in str(twice.exception)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("claims", 0, "settings", 0, "threshold"), "is as it was", "threshold 'is as it was' is of no known form"),
        (("claims", 0, "settings", 0, "threshold"), "rises by at least 1e999, p <= 0.05", "cannot be"),
        (("claims", 0, "settings", 0, "values", 0, "pair"), "6-x", "pair"),
        (("claims", 0, "settings", 0, "values", 0, "pair"), "9" * 5000, "pair"),
        (("claims", 0, "settings", 0, "odd"), 1, "unknown field `odd`"),
        (("evidence", "models", 0, "odd"), 1, "unknown field `odd`"),
        (("selection", "odd"), 1, "unknown field `odd`"),
        (("evidence", "families", 0, "recipe", "arch"), None, "lacks its arch"),
        (("evidence", "paths", 0, "lams"), [0.0], "lists of different lengths"),
        (("seconds",), 1e200, "seconds"),
        (("tier",), "a\u0000b", "tier"),
    ],
)
def test_damage_is_refused_in_one_line(place: tuple[Any, ...], value: Any, said: str, tmp_path: Path) -> None:
    document = inner = copy.deepcopy(old_document())
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    path = tmp_path / "old.json"
    path.write_text(json.dumps(document), "utf-8")
    with pytest.raises(StoreError, match=r"old\.json is .*damaged") as refused:
        read_results(path)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
