"""Results files that lack a part, or have a wrong one, are refused with the place of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import report_documents

from lmc.errors import StoreError
from lmc.results.file import read_results

FEW = report_documents.few("fig1-accuracy-reaches-endpoints")
PATH = ("lams", "accuracy", "loss", "beta", "calibrated_loss")


def first(found: Any, *places: str) -> Any:
    """The first row of a list in the document, at any depth."""
    for place in places:
        found = found[place][0]
    return found


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda made: made.pop("evidence"), "missing required field `evidence`"),
        (lambda made: made["evidence"].pop("paths"), "missing required field `paths` - at `$.evidence`"),
        (lambda made: first(made, "claims").pop("why"), "missing required field `why` - at `$.claims[0]`"),
        (
            lambda made: first(made, "claims", "settings").pop("values"),
            "field `values` - at `$.claims[0].settings[0]`",
        ),
        (lambda made: made.update(claims={"a": 1}), "Expected `array`, got `object` - at `$.claims`"),
        (lambda made: first(made, "claims").update(settings=None), "got `null` - at `$.claims[0].settings`"),
        (lambda made: first(made, "claims").update(settings=[]), "of length >= 1 - at `$.claims[0].settings`"),
        (lambda made: first(made, "claims").update(verdict="perfect"), "Invalid enum value 'perfect'"),
        (
            lambda made: first(made, "claims", "settings").update(asked={"quantity": "value"}),
            "asks nothing of a value",
        ),
        (
            lambda made: first(made, "claims", "settings", "values").update(seeds="6-7"),
            "Expected `array`, got `str` - at `$.claims[0].settings[0].values[0].seeds`",
        ),
        (lambda made: first(made["evidence"], "paths")["lams"].pop(), "has lists of different lengths"),
        (lambda made: made.update(schema="lmc-results/1"), "has schema 'lmc-results/1'"),
        (
            lambda made: first(made["evidence"], "paths").update({name: [] for name in PATH}),
            "of length >= 1 - at `$.evidence.paths[0].lams`",
        ),
        (
            lambda made: first(made["evidence"], "paths")["loss"].__setitem__(1, 1e308),
            "<= 1e+100 - at `$.evidence.paths[0].loss[1]`",
        ),
        (lambda made: first(made["evidence"], "models").update(loss=[-1e308]), " - at `$.evidence.models[0].loss[0]`"),
        (lambda made: first(made, "claims", "settings").update(effect=1e308), "`$.claims[0].settings[0].effect`"),
        (lambda made: first(made, "claims").update(id="a\0"), " - at `$.claims[0].id`"),
        (
            lambda made: first(made["evidence"], "histograms").update(activations={"a": [-1]}),
            "`$.evidence.histograms[0]",
        ),
    ],
)
def test_incomplete_results_are_refused(edit: Callable[[Any], Any], message: str, tmp_path: Path) -> None:
    made = msgspec.json.decode(msgspec.json.encode(FEW))
    edit(made)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(made), "utf-8")
    with pytest.raises(StoreError, match=re.escape(message)):
        read_results(path)


@pytest.mark.parametrize("cut", ["", "{", '{"schema":"lmc-results/3","seconds":NaN}', "[]"])
def test_half_written_results_are_refused(cut: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(cut)
    with pytest.raises(StoreError, match=re.escape(str(path))):
        read_results(path)
