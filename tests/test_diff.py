"""The difference of two runs, on documents small enough to read, and on the committed baselines."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lmc.claims import expectations
from lmc.errors import SpecError, StoreError
from lmc.reporting import diff
from lmc.reporting.diff import compare

BASELINES = Path(__file__).parents[1] / "benchmarks" / "baselines"
PAIRS = ("6-7", "8-9", "10-11")
Edit = Callable[[dict[str, Any]], None]


def setting(
    name: str, threshold: str = "below 0.2 at the widest width, p <= 0.05", **changes: Any
) -> dict[str, Any]:
    values = [
        {"width": 1.0, "pair": pair, "value": 0.1, "part": "", "group": "strong", "independent": True}
        for pair in PAIRS
    ]
    base = {
        "name": name,
        "verdict": "holds",
        "reason": "0.1 [0.05, 0.15] at width 1, p = 0.01",
        "known_gap": "",
        "effect": 0.1,
        "interval": [0.05, 0.15],
        "p_value": 0.01,
        "threshold": threshold,
        "values": values,
    }
    return base | changes


def claim(name: str, *settings: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "unit": "nats", "verdict": "holds", "settings": list(settings)}


def document() -> dict[str, Any]:
    """Claim ``a`` on two settings, claim ``b`` on one, claim ``c`` exact and without an interval."""
    return {
        "schema": "lmc-results/1",
        "tier": "quick",
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 100.0,
        "commit": "abc",
        "machine": {"processor": "P", "cores": 2, "memory_gib": 8.0, "device": "cpu", "workers": 2},
        "versions": {"python": "3.11.7", "torch": "2.15.0"},
        "claims": [
            claim("a", setting("mlp"), setting("vgg")),
            claim("b", setting("mlp", "rises by at least 0.1, p <= 0.05")),
            claim("c", setting("theory", "within 0.1 of 0", effect=0.01, interval=None)),
        ],
    }


def edited(*edits: Edit) -> dict[str, Any]:
    made = copy.deepcopy(document())
    for edit in edits:
        edit(made)
    return made


def on(claim_at: int, setting_at: int, **changes: Any) -> Edit:
    return lambda made: made["claims"][claim_at]["settings"][setting_at].update(changes)


def top(**changes: Any) -> Edit:
    return lambda made: made.update(changes)


def machine(**changes: Any) -> Edit:
    return lambda made: made["machine"].update(changes)


def other_seeds(made: dict[str, Any]) -> None:
    for each in made["claims"]:
        for one in each["settings"]:
            one["values"] = [{**value, "pair": f"1{value['pair']}"} for value in one["values"]]


def without(claim_at: int, setting_at: int | None = None) -> Edit:
    def edit(made: dict[str, Any]) -> None:
        if setting_at is None:
            del made["claims"][claim_at]
        else:
            del made["claims"][claim_at]["settings"][setting_at]

    return edit


def test_unchanged_runs_give_nothing() -> None:
    found = compare(document(), edited(top(started="later", commit="def")))
    assert found.lines() == []
    assert not found.worse
    assert found.compared == 4
    assert (found.changes, found.only_old, found.only_new, found.limits) == ((), (), (), ())


def test_the_order_of_verdicts_is_that_of_the_claims() -> None:
    assert diff.SEVERITY == expectations.SEVERITY


@pytest.mark.parametrize("was", diff.SEVERITY)
@pytest.mark.parametrize("is_", diff.SEVERITY)
def test_verdicts(was: str, is_: str) -> None:
    found = compare(edited(on(0, 1, verdict=was)), edited(on(0, 1, verdict=is_)))
    if was == is_:
        assert found.lines() == []
        return
    (change,) = found.changes
    assert (change.what, change.claim, change.setting, change.old, change.new) == ("verdict", "a", "vgg", was, is_)
    assert change.direction == ("worse" if diff.SEVERITY.index(is_) > diff.SEVERITY.index(was) else "better")
    assert found.worse == (change.direction == "worse")
    assert any(f"{change.direction:<6}  a on vgg: {was} -> {is_}" in line for line in found.lines())


def test_a_known_gap_is_shown_and_does_not_count() -> None:
    gap = on(0, 0, verdict="fails", effect=0.5, known_gap="known")
    found = compare(document(), edited(gap))
    assert [change.direction for change in found.changes] == ["worse", "worse"]
    assert [change.uncounted for change in found.changes] == ["a known gap", "a known gap"]
    assert not found.worse
    assert compare(document(), edited(gap, on(0, 0, known_gap=""))).worse


BELOW, ABOVE = "below 0.2 at the widest width, p <= 0.05", "above 0.3 at the narrowest width, p <= 0.05"
RISES, FALLS = "rises by at least 0.1, p <= 0.05", "falls by at least 0.3 at every layer, p <= 0.05"
LARGER = "weak exceeds strong by at least 0.02, p <= 0.05"


@pytest.mark.parametrize(
    ("threshold", "effect", "direction"),
    [
        (BELOW, 0.16, "worse"),
        (BELOW, 0.04, "better"),
        (ABOVE, 0.04, "worse"),
        (ABOVE, 0.16, "better"),
        (RISES, 0.04, "worse"),
        (RISES, 0.16, "better"),
        (FALLS, 0.16, "worse"),
        (FALLS, 0.04, "better"),
        (LARGER, 0.04, "worse"),
        (LARGER, 0.16, "better"),
        ("something else of 3", 0.16, "moved"),
        (BELOW, 0.149, None),
        (BELOW, 0.051, None),
        (BELOW, 0.15 + 1e-12, None),
        (BELOW, None, None),
    ],
)
def test_effects(threshold: str, effect: float | None, direction: str | None) -> None:
    old, new = edited(on(0, 0, threshold=threshold)), edited(on(0, 0, threshold=threshold, effect=effect))
    found = compare(old, new)
    if direction is None:
        assert found.lines() == []
        return
    (change,) = found.changes
    assert (change.what, change.old, change.new, change.direction) == ("effect", 0.1, effect, direction)
    assert found.worse == (direction == "worse")
    assert any(
        f"{direction:<6}  a on mlp: 0.1 -> {effect:.4g}; [0.05, 0.15] nats" in line for line in found.lines()
    )


@pytest.mark.parametrize(
    ("expectation", "direction"),
    [
        (expectations.Level(above=0.05), "better"),
        (expectations.Level(below=0.2, at="narrowest"), "worse"),
        (expectations.Trend(increasing=True, by=0.1), "better"),
        (expectations.Trend(increasing=True, by=-0.03, pooled=True), "better"),
        (expectations.Trend(increasing=False, by=0.1, pooled=True), "worse"),
        (expectations.Trend(increasing=False, by=-0.03), "worse"),
        (expectations.Contrast("weak", "strong", by=0.02), "better"),
        (expectations.Within(0.0, 0.1), "moved"),
    ],
    ids=str,
)
def test_the_direction_follows_the_words_of_every_expectation(
    expectation: expectations.Expectation, direction: str
) -> None:
    """An effect above its interval; a reworded threshold would end as ``moved`` here."""
    old = edited(on(0, 0, threshold=expectation.threshold))
    new = edited(on(0, 0, threshold=expectation.threshold, effect=0.3))
    assert [change.direction for change in compare(old, new).changes] == [direction]


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ([other_seeds], "other models"),
        ([top(tier="standard")], "another tier"),
        ([on(0, 0, reason="relu1: 0.5 [0.4, 0.6] at width 1, p = 1")], "of relu1, was of all layers"),
    ],
    ids=["seeds", "tier", "layer"],
)
def test_an_effect_that_does_not_count_is_shown(edits: list[Edit], why: str) -> None:
    found = compare(document(), edited(on(0, 0, effect=0.5), *edits))
    (change,) = found.changes
    assert (change.direction, change.uncounted) == ("worse", why)
    assert not found.worse
    assert any(line.endswith(f"(not counted: {why})") for line in found.lines())


def test_an_effect_without_an_interval_is_left_to_its_verdict() -> None:
    assert compare(document(), edited(on(2, 0, effect=0.09))).lines() == []


@pytest.mark.parametrize(("interval", "directions"), [([None, 0.15], ["worse"]), ([0.05, None], [])])
def test_an_open_interval(interval: list[float | None], directions: list[str]) -> None:
    found = compare(edited(on(0, 0, interval=interval)), edited(on(0, 0, effect=0.5)))
    assert [change.direction for change in found.changes] == directions


def test_a_moved_threshold_is_said_and_the_effect_compares() -> None:
    found = compare(document(), edited(on(0, 0, threshold=BELOW.replace("0.2", "0.3"), effect=0.5)))
    assert found.worse
    (limit,) = found.limits
    assert limit.what == "threshold of a on mlp"
    assert limit.so.endswith("the effect compares")


def test_an_invalid_setting_has_no_threshold_to_compare() -> None:
    found = compare(document(), edited(on(0, 0, verdict="invalid", threshold="", effect=None, values=[])))
    assert found.limits == ()
    assert [each.new for each in found.changes] == ["invalid"]


def test_another_expectation_has_another_effect() -> None:
    found = compare(document(), edited(on(0, 0, threshold=RISES, effect=0.5)))
    assert found.changes == ()
    assert found.limits[0].so.endswith("the effect does not compare")


@pytest.mark.parametrize(
    ("seconds", "tolerance", "edits", "direction", "worse"),
    [
        (125.0, 0.25, [], None, False),
        (126.0, 0.25, [], "worse", True),
        (126.0, 0.5, [], None, False),
        (101.0, 0.0, [], "worse", True),
        (79.0, 0.25, [], "better", False),
        (81.0, 0.25, [], None, False),
        (126.0, 0.25, [machine(memory_gib=9.0)], "worse", True),
        (126.0, 0.25, [machine(cores=4)], "worse", False),
        (126.0, 0.25, [machine(device="cuda")], "worse", False),
        (126.0, 0.25, [machine(gpu="G")], "worse", False),
        (126.0, 0.25, [top(tier="standard")], "worse", False),
        (126.0, 0.25, [without(2)], "worse", False),
    ],
)
def test_run_time(seconds: float, tolerance: float, edits: list[Edit], direction: str | None, worse: bool) -> None:
    found = compare(document(), edited(top(seconds=seconds), *edits), tolerance=tolerance)
    assert [change.direction for change in found.changes] == ([direction] if direction else [])
    assert found.worse == worse
    assert [bool(change.uncounted) for change in found.changes] == [direction == "worse" and not worse] * bool(
        direction
    )


def test_run_time_of_nothing() -> None:
    """A run without a measured duration neither divides by zero nor counts as fast."""
    assert [each.direction for each in compare(edited(top(seconds=0.0)), document()).changes] == ["worse"]


@pytest.mark.parametrize("tolerance", [-0.1, math.nan])
def test_a_tolerance_is_a_share(tolerance: float) -> None:
    with pytest.raises(SpecError, match="tolerance of run time"):
        compare(document(), document(), tolerance=tolerance)


def test_what_only_one_run_judges() -> None:
    found = compare(document(), edited(without(1), without(0, 1)))
    assert found.only_old == (("a", "vgg"), ("b", ""))
    assert found.only_new == ()
    assert not found.worse
    assert found.lines()[3:6] == ["only in the old run:", "  a on vgg", "  b"]
    assert compare(edited(without(2)), document()).only_new == (("c", ""),)
    back = compare(edited(without(1), without(0, 1)), document())
    assert (back.only_old, back.only_new) == ((), (("a", "vgg"), ("b", "")))


@pytest.mark.parametrize(
    ("edit", "what", "said"),
    [
        (top(tier="standard"), "tier", "only the 4 pairs"),
        (machine(device="cuda"), "machine, device", "run time does not count"),
        (machine(gpu="G"), "machine, gpu", "run time does not count"),
        (machine(workers=1), "machine, workers", "run time does not count"),
        (machine(memory_gib=9.0), "machine, memory_gib", "run time may differ"),
        (lambda made: made["versions"].update(torch="2.16.0"), "versions, torch", "effects and run time can move"),
        (other_seeds, "models", "in 4 pairs of claim and setting"),
    ],
)
def test_limits(edit: Edit, what: str, said: str) -> None:
    found = compare(document(), edited(edit))
    (limit,) = found.limits
    assert limit.what == what
    assert limit.old != limit.new
    assert said in limit.so
    assert f"  {what}: {limit.old} -> {limit.new}; {limit.so}" in found.lines()
    assert not found.worse


def test_two_tiers_compare_what_they_share() -> None:
    def only_theory(made: dict[str, Any]) -> None:
        made["claims"][0]["settings"] = [setting("mlp-mnist")]
        made["claims"] = [made["claims"][0], made["claims"][2]]

    found = compare(document(), edited(top(tier="standard"), only_theory, on(1, 0, verdict="fails")))
    assert found.compared == 1
    assert [(each.claim, each.setting) for each in found.changes] == [("c", "theory")]
    assert found.worse
    assert found.only_old == (("a", "mlp"), ("a", "vgg"), ("b", ""))
    assert found.only_new == (("a", "mlp-mnist"),)


def test_nothing_in_common() -> None:
    with pytest.raises(StoreError, match=r"tier quick.*tier standard.*compare two runs of one tier"):
        compare(edited(without(2)), edited(top(tier="standard"), without(0), without(0)))


def test_json_says_the_same() -> None:
    new = edited(on(0, 0, verdict="fails"), on(1, 0, effect=0.3), top(seconds=300.0), machine(cores=4), without(2))
    found = compare(document(), new)
    read = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert read["worse"] is True
    assert read["compared"] == 3
    assert [(each["what"], each["direction"], each["counted"]) for each in read["changes"]] == [
        ("verdict", "worse", True),
        ("effect", "better", False),
        ("seconds", "worse", False),
    ]
    assert read["only_old"] == [{"claim": "c", "setting": None}]
    assert [each["what"] for each in read["limits"]] == ["machine, cores"]
    assert found.lines()[-1] == "1 of 3 changes count as worse"


def test_the_committed_baselines_compare_at_once() -> None:
    """0.1 s in a process of its own (two cores, busy); 5 s leaves room for a noisy machine."""
    script = (
        "import json, sys; from pathlib import Path; from lmc.reporting.diff import compare\n"
        "old, new = (json.loads(Path(name).read_text('utf-8')) for name in sys.argv[1:])\n"
        "found = compare(old, new)\n"
        "heavy = sorted({'torch', 'scipy', 'numpy'} & set(sys.modules))\n"
        "print(json.dumps([found.compared, len(found.lines()), heavy]))"
    )
    files = [str(BASELINES / name) for name in ("pilot-quick-cpu.json", "quick-cpu.json")]
    started = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", script, *files], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    compared, lines, heavy = json.loads(run.stdout)
    documents = [json.loads(Path(name).read_text("utf-8")) for name in files]
    cases = [
        {(each["id"], one["name"]) for each in made["claims"] for one in each["settings"]} for made in documents
    ]
    assert compared == len(cases[0] & cases[1]) > 0
    assert lines > 3  # other seeds: at least that is said
    assert heavy == []
    assert seconds < 5.0, f"{seconds:.2f} s"


@pytest.mark.parametrize("name", ["pilot-quick-cpu.json", "quick-cpu.json"])
def test_a_baseline_does_not_differ_from_itself(name: str) -> None:
    made = json.loads((BASELINES / name).read_text("utf-8"))
    assert compare(made, made).lines() == []
