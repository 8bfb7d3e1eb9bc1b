"""The difference of two runs: what cannot be compared and how it is said, and the committed baselines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from documents import (
    EXACT,
    Edit,
    claim,
    document,
    edited,
    evidence,
    machine,
    on,
    other_seeds,
    setting,
    top,
    versions,
    without,
)
from msgspec.structs import replace

from lmc.errors import StoreError
from lmc.results.comparing import difference_between
from lmc.results.document import Document, MadeCounts
from lmc.results.file import read_results
from lmc.results.recorded import Model

BASELINES = Path(__file__).parents[2] / "benchmarks" / "baselines"


def test_two_tiers_list_what_only_one_judges_in_a_few_short_lines() -> None:
    old, new = (read_results(BASELINES / f"{name}.json") for name in ("quick-cpu", "standard-mlp-cpu"))
    found = difference_between(old, new)
    lines = found.lines()
    assert len(found.only_old) > 60
    listed = lines[lines.index("only in the old run:") + 1 :]
    assert max(map(len, listed)) < 250
    on_vgg = [claim for claim, setting in found.only_old if setting == "vgg-digits"]
    first = ", ".join(on_vgg[:3])
    assert f"  on vgg-digits: {len(on_vgg)} claim(s), {first} and {len(on_vgg) - 3} more (--json lists all)" in listed


def trained(factor: float = 1.0, first: float | None = None, **changes: Any) -> Document:
    """Six models of two recipes; the first recipe's training takes ``factor`` times as long, its first model's that."""

    def seconds(role: str, seed: int) -> float:
        return first if first is not None and (role, seed) == ("a", 1) else 2.0 * (factor if role == "a" else 1.0)

    models = tuple(
        Model(
            setting="mlp",
            role=role,
            width=1.0,
            seed=seed,
            status="trained",
            parameters=1,
            steps=1,
            decay_horizon=0.5,
            seconds=seconds(role, seed),
            loss=(),
        )
        for role in ("a", "b")
        for seed in (1, 2, 3)
    )
    made = {"made": MadeCounts(models=6, measurements=1), "evidence": evidence(models=models)}
    return edited(top(**(made | changes)))


@pytest.mark.parametrize(("factor", "direction"), [(2.1, "worse"), (1.9, None), (0.55, None), (0.45, "better")])
def test_training_time_is_compared_by_recipe(factor: float, direction: str | None) -> None:
    found = difference_between(trained(), trained(factor))
    assert [(each.what, each.setting, each.direction) for each in found.changes] == (
        [("training", "mlp", direction)] if direction else []
    )
    assert found.worse == (direction == "worse")
    if direction:
        said = f"mlp: 6 -> {6 * factor:.4g}; training of a, 3 models, {factor:.2f} times in the median"
        assert f"  {direction:<6}  {said}" in found.lines()
    assert not difference_between(trained(), trained(factor), time_counts=False).worse


def test_one_disturbed_model_is_no_slower_recipe() -> None:
    assert difference_between(trained(), trained(first=60.0)).changes == ()


@pytest.mark.parametrize(
    "changes",
    [{"made": MadeCounts(measurements=1)}, {"machine": {"cores": 4}}, {"evidence": evidence()}],
    ids=["stored", "machine", "no-models"],
)
def test_training_time_of_other_circumstances_is_not_compared(changes: dict[str, Any]) -> None:
    assert difference_between(trained(), trained(3.0, **changes)).changes == ()


def test_training_of_less_than_a_second_is_not_compared() -> None:
    old, new = trained(0.1), trained(0.3)
    assert difference_between(old, new).changes == ()


def test_what_only_one_run_judges() -> None:
    found = difference_between(document(), edited(without(1), without(0, 1)))
    assert found.only_old == (("a", "vgg"), ("b", ""))
    assert found.only_new == ()
    assert not found.worse
    assert found.lines()[4:6] == ["only in the old run:", "  on vgg: 1 claim(s), a"]
    assert difference_between(edited(without(2)), document()).only_new == (("c", ""),)
    back = difference_between(edited(without(1), without(0, 1)), document())
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
            versions(torch="2.16.0"),
            "versions, torch",
            "effects compare, as of other models",
        ),
        (versions(scipy="2"), "versions, scipy", "verdicts and effects compare"),
        (other_seeds, "models", "in 4 pairs of claim and setting"),
    ],
)
def test_limits(edit: Edit, what: str, said: str) -> None:
    found = difference_between(document(), edited(edit))
    (limit,) = found.limits
    assert limit.what == what
    assert limit.old != limit.new
    assert said in limit.so
    assert f"  {what}: {limit.old} -> {limit.new}; {limit.so}" in found.lines()
    assert not found.worse


SAME = "the same models, so what moved comes of the code or of what is asked"
OTHER = "differ), so numbers move as between seeds"


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ([on(0, 0, verdict="fails", effect=None)], f"{SAME}; 1 of 4 verdicts changed, 1 count as worse"),
        ([top(seconds=300.0)], f"{SAME}; 0 of 4 verdicts changed, 0 count as worse"),
        ([machine(memory_gib=9.0)], f"{SAME}; 0 of 4 verdicts changed, 0 count as worse"),
        (
            [machine(processor="Q"), versions(torch="2.16.0"), on(0, 0, verdict="inconclusive")],
            f"other models (processor, torch {OTHER}; 1 of 4 verdicts changed, 1 within the errors of both, "
            "0 count as worse",
        ),
        (
            [other_seeds, on(0, 0, verdict="fails", asked=EXACT), on(2, 0, verdict="fails")],
            f"other models (seeds or widths {OTHER}; 2 of 4 verdicts changed, 0 within the errors of both, "
            "1 where something else is asked, 2 count as worse",
        ),
    ],
    ids=["verdict", "time", "memory", "machine", "seeds-and-threshold"],
)
def test_the_first_line_tells_other_models_from_other_verdicts(edits: list[Edit], said: str) -> None:
    found = difference_between(document(), edited(*edits))
    assert found.lines()[0] == said
    assert found.to_json()["other_models"] == list(found.other_models)


def test_two_tiers_compare_what_they_share() -> None:
    def only_theory(made: Document) -> Document:
        return replace(made, claims=(claim("a", setting("mlp-mnist")), made.claims[2]))

    found = difference_between(document(), edited(top(tier="standard"), only_theory, on(1, 0, verdict="fails")))
    assert found.compared == 1
    assert [(each.claim, each.setting) for each in found.changes] == [("c", "theory")]
    assert found.worse
    assert found.only_old == (("a", "mlp"), ("a", "vgg"), ("b", ""))
    assert found.only_new == (("a", "mlp-mnist"),)


def test_nothing_in_common() -> None:
    with pytest.raises(StoreError, match=r"tier quick.*tier standard.*compare two runs of one tier"):
        difference_between(edited(without(2)), edited(top(tier="standard"), without(0), without(0)))


def test_json_says_the_same() -> None:
    new = edited(
        on(0, 0, verdict="fails", effect=None), on(1, 0, effect=0.3), top(seconds=300.0), machine(cores=4), without(2)
    )
    found = difference_between(document(), new)
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
        "import sys, time; from lmc.commands.cli import app\n"
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
    made = read_results(BASELINES / name)
    assert difference_between(made, made).changes == ()
