"""Jobs: what one makes, how often it reads a model, what is left of one that is interrupted, how it is divided."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
from serial_runs import settings_in
from tiny_claim import CLAIM, RECIPE, TIER

from lmc.claims.cases import cases, needed
from lmc.executing.costs import assumed_pace
from lmc.executing.jobs import MEASURED_AT_ONCE, Job, MeasuringJob, Missing, TrainingJob, missing_jobs
from lmc.executing.making import Workplace
from lmc.executing.measuring_costs import measuring_seconds
from lmc.executing.schedule import TAIL, shared_out
from lmc.measuring import records
from lmc.measuring.measurements import ModelMeasurement, PairMeasurement
from lmc.store.leases import Leases
from lmc.store.store import Store


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    settings = settings_in(tmp_path)
    return Workplace(settings.store, settings.data, "cpu")


def missing(place: Workplace) -> Missing:
    return missing_jobs(needed(cases([CLAIM], TIER)), Store(place.store), "cpu")


@pytest.fixture
def measuring(place: Workplace) -> MeasuringJob:
    """All fifteen pairs of six models, which are trained."""
    found = missing(place)
    (training,), (measuring,) = found.trainings, found.measurings
    training.make(place)
    return measuring


def test_a_job_reads_every_model_once(
    place: Workplace, measuring: MeasuringJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: Counter[str] = Counter()
    load_model = Store.load_model

    def counted(store: Store, key: str, kind: str = "models") -> Any:
        loads[key] += 1
        return load_model(store, key, kind)

    monkeypatch.setattr(Store, "load_model", counted)
    assert len(measuring.measurements) == 15
    measuring.make(place)
    assert loads == dict.fromkeys(measuring.needs, 1)
    assert missing(place).pieces == 0


def test_what_an_interrupted_job_has_measured_stays(
    place: Workplace, measuring: MeasuringJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure_all, asked = records.measure_all, list[int]()

    def interrupted(measurements: Any, *arguments: Any) -> Iterator[Any]:
        asked.append(len(measurements))
        for done, found in enumerate(measure_all(measurements, *arguments)):
            if done == 3 and len(asked) == 1:
                raise KeyboardInterrupt
            yield found

    monkeypatch.setattr(records, "measure_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measuring.make(place)
    assert len(Store(place.store).keys("measurements")) == 3
    assert not list((place.store / "leases").iterdir())
    measuring.make(place)
    assert asked == [15, 12]
    assert missing(place).pieces == 0


def test_what_another_run_measures_is_left_to_it(place: Workplace, measuring: MeasuringJob) -> None:
    with Leases(place.store).claim(measuring.makes[3:5]):
        measuring.make(place)
    assert [each.key for each in missing(place).measurements] == list(measuring.makes[3:5])


def test_a_damaged_model_is_trained_again_and_all_measured(place: Workplace, measuring: MeasuringJob) -> None:
    weights = Store(place.store).weights_path(measuring.needs[2])
    before = weights.read_bytes()
    weights.write_bytes(before[:-1])
    measuring.make(place)
    assert weights.read_bytes() == before
    assert missing(place).pieces == 0


def test_a_model_that_diverged_spoils_its_own_measurements_only(place: Workplace, measuring: MeasuringJob) -> None:
    store = Store(place.store)
    key = measuring.needs[0]
    record = store.read("models", key)
    assert record is not None
    store.write("models", key, {**record, "status": "diverged"})
    measuring.make(place)
    found = {each: store.read("measurements", each.key) or {} for each in measuring.measurements}
    said = {each: record["status"] for each, record in found.items()}
    spoilt = [each for each in said if key in [spec.key for spec in each.specs]]
    assert len(spoilt) == 5
    assert all(said[each].endswith("diverged") for each in spoilt)
    assert all(said[each] == "measured" for each in said if each not in spoilt)


def family(pairs: int, cost: float) -> MeasuringJob:
    specs = [RECIPE.with_seed(seed) for seed in range(pairs + 1)]
    return MeasuringJob(tuple(PairMeasurement(specs[0], each) for each in specs[1:]), (cost / pairs,) * pairs)


def test_a_family_is_divided_evenly_and_nothing_is_lost() -> None:
    whole = family(15, 30.0)
    assert whole.parts(1) == [whole]
    for most in (2, 3, 8, 15, 100):
        parts = whole.parts(most)
        assert len(parts) == min(most, 15)
        assert list(chain.from_iterable(part.makes for part in parts)) == list(whole.makes)
        assert sum(part.cost for part in parts) == pytest.approx(30.0)
        sizes = {len(part.makes) for part in parts}
        assert max(sizes) - min(sizes) <= 1
    assert len(MeasuringJob((ModelMeasurement(RECIPE),), (9.0,)).parts(8)) == 1


def priced(job: MeasuringJob) -> float:
    """Its models once each, and every measurement."""
    model, each = measuring_seconds(job.measurements, assumed_pace("cpu")(RECIPE))
    return len(job.specs) * model + sum(each)


def test_no_job_claims_more_than_a_process_may_open(place: Workplace) -> None:
    pairs = [PairMeasurement(a, b) for a, b in combinations([RECIPE.with_seed(seed) for seed in range(30)], 2)]
    found = missing_jobs(pairs, Store(place.store), "cpu")
    assert [len(job.makes) for job in found.measurings] == [MEASURED_AT_ONCE] * 2 + [435 - 2 * MEASURED_AT_ONCE]
    assert found.measurements == pairs
    assert [job.cost for job in found.measurings] == pytest.approx([priced(job) for job in found.measurings])


def test_a_part_is_priced_as_a_job_of_its_own(place: Workplace) -> None:
    """All pairs of six models: each part evaluates its own models again."""
    (whole,) = missing(place).measurings
    for most in (1, 2, 4, 15):
        parts = [part for part in whole.parts(most) if isinstance(part, MeasuringJob)]
        assert [part.cost for part in parts] == pytest.approx([priced(part) for part in parts])
    assert sum(part.cost for part in whole.parts(15)) > 1.01 * whole.cost


def test_models_that_are_trained_side_by_side_stay_together() -> None:
    job = TrainingJob(tuple(RECIPE.with_seed(seed) for seed in range(6)), 100.0)
    assert job.parts(8) == [job]


def test_no_part_takes_long_of_a_workers_share_and_no_family_is_cut_for_more_than_there_are() -> None:
    """On few workers a small family stays whole, on many it is divided as far as it must be."""
    small, large = family(4, 2.0), family(15, 60.0)
    training = TrainingJob((replace(RECIPE, epochs=9),), 98.0)
    jobs: list[Job] = [training, small, large]
    for workers in (1, 2, 16, 1000):
        parts = shared_out(jobs, workers)
        assert sum(part.cost for part in parts) == pytest.approx(160.0)
        measured = [part for part in parts if part.needs]
        longest = max(TAIL * 160 / workers, 60 / workers)
        assert all(part.cost <= 1.2 * longest or len(part.makes) == 1 for part in measured)
    assert shared_out(jobs, 1) == jobs, "one worker has nobody to share with"
    assert [len(job.makes) for job in shared_out(jobs, 2)] == [1, 4, 7, 8]
    assert len(shared_out(jobs, 1000)) == 1 + 4 + 15
    assert shared_out([], 2) == []


def test_jobs_that_wait_for_others() -> None:
    job = family(2, 1.0)
    first, second = job.measurements
    assert not job.waits([])
    assert not job.waits([first.key]), "the other one can be made"
    assert job.waits([first.key, second.key])
    assert job.waits([job.specs[0].key]), "both need that model"
    assert not job.waits([job.specs[1].key]), "only one does"
    training = TrainingJob(job.specs, 1.0)
    assert not training.waits(job.makes)
    assert training.waits([job.specs[1].key])


ASIDE = """
import os, signal, sys
from lmc.errors import LmcError, SpecError
from lmc.executing.process import aside

if __name__ == "__main__":
    from operator import add, truediv
    from lmc.specs import content_key
    assert aside(add, 2, 3) == 5
    for function, arguments, kind in (
        (content_key, (float("nan"),), SpecError),
        (os.abort, (), LmcError),
        (bytes, (1 << 62,), LmcError),
        (truediv, (1, 0), RuntimeError),
    ):
        try:
            aside(function, *arguments)
        except kind as error:
            print(error)
    assert "torch" not in sys.modules
"""


def test_what_is_computed_aside_comes_back_and_leaves_no_torch_here() -> None:
    run = subprocess.run([sys.executable, "-c", ASIDE], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    refused, killed, crowded, failed, *traceback = run.stdout.splitlines()
    assert "cannot derive a key from nan" in refused
    assert "was killed" in killed
    assert "memory ran out" in crowded
    assert "failed while looking at what is missing" in failed
    assert "ZeroDivisionError: division by zero" in traceback
