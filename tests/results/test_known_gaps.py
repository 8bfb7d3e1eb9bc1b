"""Results files whose explained failures were known gaps and counted as none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from documents import claim, document, on, setting

from lmc.errors import StoreError
from lmc.results.comparing import difference_between
from lmc.results.document import SCHEMA, Explained
from lmc.results.file import read_results, write_results

BASELINE = Path(__file__).parents[2] / "benchmarks" / "baselines" / "quick-cpu.json"


def old() -> dict[str, Any]:
    """A document as it was: claims and verdicts without what has been added since."""
    ids = ("fig1-a", "table1-permutation-is-not-needed", "kmodels-b", "control-self-merge")
    made = msgspec.to_builtins(document(*(claim(each, setting("mlp"), setting("vgg")) for each in ids)))
    made["schema"] = "lmc-results/3"
    for each in made["claims"]:
        del each["null"], each["role"]
        for judged in each["settings"]:
            for name in ("explained", "p_contrary", "predicted", "by_chance"):
                del judged[name]
            judged["known_gap"] = ""
    first = made["claims"][0]["settings"][1]
    first |= {"verdict": "fails", "known_gap": "Too small."}
    return made


def read(made: dict[str, Any], folder: Path) -> Any:
    path = folder / "old.json"
    path.write_text(json.dumps(made), "utf-8")
    return read_results(path)


def test_a_known_gap_is_an_explained_failure_and_counts(tmp_path: Path) -> None:
    found = read(old(), tmp_path)
    assert found.schema == SCHEMA
    judged = found.claims[0].settings[1]
    assert (judged.verdict, judged.shown, judged.explained) == ("fails", "fails, explained", Explained("Too small."))
    assert [each.verdict for each in found.claims] == ["fails", "holds", "holds", "holds"]
    assert [each.role for each in found.claims] == ["claim", "check", "found here", "check"]
    assert {(each.p_contrary, each.predicted, each.explained) for each in found.claims[1].settings} == {(None,) * 3}


def test_everything_else_is_kept_and_can_be_written_and_compared(tmp_path: Path) -> None:
    found = read(old(), tmp_path)
    write_results(found, tmp_path / "new.json")
    assert read_results(tmp_path / "new.json") == found
    made = old()
    for before, after in zip(made["claims"], msgspec.to_builtins(found)["claims"], strict=True):
        for one, other in zip(before.pop("settings"), after.pop("settings"), strict=True):
            one.pop("known_gap")
            assert one.items() <= other.items()
        before.pop("verdict")
        assert before.items() <= after.items()
    worse = on(1, 0, verdict="fails", effect=0.5)(found)
    assert [each.claim for each in difference_between(found, worse).changes] == ["table1-permutation-is-not-needed"] * 2


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda made: made["claims"][0]["settings"][0].pop("known_gap"), "known_gap"),
        (lambda made: made["claims"][0]["settings"][0].update(odd=1), "unknown field `odd`"),
        (lambda made: made.update(claims=[3]), "claims"),
    ],
)
def test_damage_is_refused_in_one_line(damage: Any, said: str, tmp_path: Path) -> None:
    made = old()
    damage(made)
    with pytest.raises(StoreError, match=r"old\.json is .*damaged") as refused:
        read(made, tmp_path)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_committed_file_is_read() -> None:
    found = read_results(BASELINE)
    explained = [judged for _, judged in found.judged() if judged.explained]
    assert explained
    assert {judged.shown for judged in explained} <= {"fails, explained", "holds", "inconclusive"}
