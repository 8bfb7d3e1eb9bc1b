"""Plans: what a tier would take, from the jobs it lacks, with nothing trained or written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lmc.errors import SpecError
from lmc.executing.costs import OWN_BYTES, host_bytes, training_work
from lmc.executing.settings import Settings
from lmc.planning.plan import gpu_counts, make_plan
from lmc.planning.probe import probe
from lmc.planning.text import lines
from lmc.specs import RunSpec


def test_a_plan_simulates_any_number_of_gpus(tmp_path: Path) -> None:
    """More GPUs are never slower, none is faster than the longest chain, and nothing is trained or written."""
    settings = Settings.resolve({"LMC_HOME": str(tmp_path)}, tier="standard", arch="mlp", dataset="mnist", device="cpu")
    plan = make_plan(settings, [1, 8, 64])
    assert plan.assumed
    assert [each.devices for each in plan.schedules] == [1, 8, 64]
    assert len({each.critical_path for each in plan.schedules}) == 1
    spans = [each.makespan for each in plan.schedules]
    assert spans == sorted(spans, reverse=True)
    assert all(each.critical_path <= each.makespan for each in plan.schedules)
    assert all(0 < each.utilisation <= 1 for each in plan.schedules)
    assert sum("on 8 GPUs: " in line for line in lines(plan)) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["0", "-1", "1,,8", "many", "1.5"])
def test_a_number_of_gpus_that_is_none(text: str) -> None:
    with pytest.raises(SpecError, match="whole number of at least 1"):
        gpu_counts(text)


def test_a_plan_and_a_request_are_one_formula(tmp_path: Path) -> None:
    """A plan is what its largest jobs ask for at once, and the main process."""
    settings = Settings.resolve({"LMC_HOME": str(tmp_path)}, tier="standard", arch="mlp", dataset="mnist", device="cpu")
    of_workers = []
    for workers in (1, 2, 3):
        plan = make_plan(replace(settings, workers=workers), [1])
        of_workers.append(plan.memory_bytes)
        widest = max(plan.rows, key=lambda row: row.parameters)
        assert plan.memory_bytes >= OWN_BYTES + host_bytes([training_work([widest.spec])], "cuda")
    assert of_workers[1] - of_workers[0] == of_workers[2] - of_workers[1] > OWN_BYTES


def test_a_plan_says_how_many_labels_are_kept_and_can_probe_them(tmp_path: Path) -> None:
    """Of two classes with 5,000 images each, 20 epochs of batches of 100 are 2,000 steps."""
    named = {"tier": "laptop", "setting": "vgg-cifar10-2", "role": "weak", "device": "cpu"}
    plan = make_plan(Settings.resolve({"LMC_HOME": str(tmp_path)}, **named), [1])
    text = "\n".join(lines(plan))
    assert [row.spec.width for row in plan.rows] == [1 / 16, 1 / 8, 1 / 4, 1 / 4]
    assert text.count("cifar10/2 ") == 4
    assert training_work([plan.rows[0].spec]).steps == 2_000
    spec = RunSpec(dataset="digits", arch="mlp", width=1 / 64, classes=((1,), (6,)))
    assert probe((spec,), "cpu").step > 0
