"""The difference of two runs: what cannot be compared and how it is said, and the committed baselines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from documents import Edit, document, edited, machine, on, other_seeds, setting, top, without

from lmc.errors import StoreError
from lmc.reporting.diff import compare

BASELINES = Path(__file__).parents[1] / "benchmarks" / "baselines"


def test_what_only_one_run_judges() -> None:
    found = compare(document(), edited(without(1), without(0, 1)))
    assert found.only_old == (("a", "vgg"), ("b", ""))
    assert found.only_new == ()
    assert not found.worse
    assert found.lines()[3:5] == ["only in the old run:", "  a on vgg, b"]
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
        (machine(memory_gib=9.0), "machine, memory_gib", "verdicts and effects compare, run time can move with it"),
        (
            lambda made: made["versions"].update(torch="2.16.0"),
            "versions, torch",
            "effects where intervals do not meet",
        ),
        (lambda made: made["versions"].update(scipy="2"), "versions, scipy", "verdicts and effects compare"),
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
    """0.2 s of processor time in a process of its own, imports included."""
    script = (
        "import sys, time; from lmc.running.cli import app\n"
        "app(sys.argv[1:], standalone_mode=False); print(time.process_time())"
    )
    files = [str(BASELINES / name) for name in ("pilot-quick-cpu.json", "quick-cpu.json")]
    run = subprocess.run([sys.executable, "-c", script, "diff", *files], capture_output=True, text=True, check=True)
    *said, seconds = run.stdout.splitlines()
    documents = [json.loads(Path(name).read_text("utf-8")) for name in files]
    cases = [{(each["id"], one["name"]) for each in made["claims"] for one in each["settings"]} for made in documents]
    assert f"compared: {len(cases[0] & cases[1])} pairs of claim and setting" in said
    assert "limits:" in said  # other seeds: at least that is said
    assert float(seconds) < 1.0


@pytest.mark.parametrize("name", ["pilot-quick-cpu.json", "quick-cpu.json"])
def test_a_baseline_does_not_differ_from_itself(name: str) -> None:
    made = json.loads((BASELINES / name).read_text("utf-8"))
    assert compare(made, made).changes == ()
