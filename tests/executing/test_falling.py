"""Verdicts are said as soon as all that they rest on is measured, and are those that the run ends with."""

from __future__ import annotations

from pathlib import Path

import pytest
from serial_runs import Serial, settings_in
from tiny_claim import CLAIM, TIER

from lmc.claims.cases import cases, judge, needed
from lmc.executing.falling import Falling
from lmc.executing.session import judged, make_missing
from lmc.store.store import Store


def test_a_verdict_falls_with_the_last_measurement_that_it_rests_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    selected = cases([CLAIM], TIER)
    made = make_missing(selected, settings_in(tmp_path), Serial())
    (result,) = made.results.values()
    assert f"lmc: {result.judgement.verdict}: tiny-barrier on tiny, " in capsys.readouterr().err
    assert result == judge(selected[0], made.records)
    assert judged(selected, made) == [result]
    assert judged(selected, made)[0] is result

    again = make_missing(selected, settings_in(tmp_path), Serial())
    assert again.results == {}, "nothing was made, so nothing fell"
    assert judged(selected, again) == [result]
    assert capsys.readouterr().err == ""

    keys = [each.key for each in needed(selected)]
    said: list[str] = []
    falling = Falling(selected, keys, Store(settings_in(tmp_path).store))
    falling.made(keys[:-1], said.append)
    assert (said, falling.results) == ([], {})
    falling.made(keys[-1:], said.append)
    assert len(said) == 1
    assert all(len(line) <= 94 for line in said)
    falling.made(keys, said.append)
    assert len(said) == 1, "a verdict falls once"


def test_what_is_gone_from_the_store_is_left_to_the_end(tmp_path: Path) -> None:
    selected = cases([CLAIM], TIER)
    keys = [each.key for each in needed(selected)]
    said: list[str] = []
    falling = Falling(selected, keys, Store(tmp_path))
    falling.made(keys, said.append)
    assert (said, falling.results, falling.records) == ([], {}, {})
