"""The order of work: dependencies, shares of devices, and bounds that every schedule keeps."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_claim import RECIPE

from lmc.executing.jobs import Job, MeasuringJob, TrainingJob
from lmc.executing.local import assigned
from lmc.executing.schedule import Queue, simulate
from lmc.measuring.measurements import ModelMeasurement, PairMeasurement

SPECS = [RECIPE.with_seed(seed) for seed in range(8)]


def training(seed: int, cost: float = 1.0) -> Job:
    return TrainingJob((SPECS[seed],), cost)


def pair(first: int, second: int, cost: float = 0.1) -> Job:
    return MeasuringJob((PairMeasurement(SPECS[first], SPECS[second]),), (cost,))


def whole(_: Job) -> float:
    return 1.0


def taken(queue: Queue) -> dict[int, Job]:
    while queue.take() is not None:
        pass
    return queue.running


def test_costly_jobs_come_first_and_measurements_once_their_models_are_made() -> None:
    jobs = [pair(0, 1, cost=9), training(0, cost=1), training(1, cost=3), training(2, cost=2)]
    queue = Queue(jobs, [0, 1], whole)
    assert taken(queue) == {0: jobs[2], 1: jobs[3]}
    assert queue.done(0) == jobs[2]
    assert taken(queue)[0] == jobs[1]
    queue.done(1)
    assert taken(queue) == {0: jobs[1]}, "one model of the pair is not made yet"
    queue.done(0)
    assert list(taken(queue).values()) == [jobs[0]]


def test_models_that_are_in_the_store_already_are_not_waited_for() -> None:
    assert list(taken(Queue([pair(0, 1)], [0], whole)).values()) == [pair(0, 1)]


def test_jobs_share_a_device_up_to_the_whole() -> None:
    jobs = [training(seed) for seed in range(6)]
    queue = Queue(jobs, [0, 1] * 4, lambda _: 0.4)
    assert Counter(number % 2 for number in taken(queue)) == {0: 2, 1: 2}
    thirds = Queue(jobs, [0] * 8, lambda _: 1 / 3)
    assert len(taken(thirds)) == 3, "rounding does not keep the third one out"


def test_a_large_job_is_not_starved_by_small_ones() -> None:
    large, small = training(0, cost=5), [training(seed) for seed in range(1, 6)]
    queue = Queue([large, *small], [0, 0, 0], lambda job: 1.0 if job.cost == 5 else 0.5)
    assert taken(queue) == {0: large}
    queue.put_back(0)
    first = Queue([training(7, cost=9), large, *small], [0, 0, 0], lambda job: 1.0 if job.cost == 5 else 0.5)
    assert [each.cost for each in taken(first).values()] == [9], "the other half is kept for the large one"
    first.done(0)
    assert [each.cost for each in taken(first).values()] == [5]


def test_a_job_that_was_put_back_gets_a_device_of_its_own() -> None:
    jobs = [training(0, cost=2), training(1)]
    queue = Queue(jobs, [0, 0], lambda _: 0.5)
    taken(queue)
    assert queue.put_back(0) == jobs[0]
    assert taken(queue) == {1: jobs[1]}
    queue.done(1)
    assert list(taken(queue).values()) == [jobs[0]]
    assert queue.take() is None


@pytest.mark.parametrize(
    ("workers", "gpus", "devices"),
    [(3, 0, [0, 1, 2]), (5, 2, [0, 1, 0, 1, 0]), (1, 8, [0]), (16, 2, [0, 1] * 4), (16, 1, [0] * 4)],
)
def test_workers_are_assigned_to_gpus_in_turn(workers: int, gpus: int, devices: list[int]) -> None:
    assert assigned(workers, gpus) == devices


costs = st.floats(0.01, 100)
graphs = st.tuples(st.lists(costs, min_size=1, max_size=8), st.lists(st.tuples(costs, st.sets(st.integers(0, 7)))))


@given(graphs, st.integers(1, 5), st.integers(1, 4), st.lists(st.floats(0.25, 1), min_size=3, max_size=3))
def test_bounds_of_every_schedule(
    graph: tuple[list[float], list[tuple[float, set[int]]]], devices: int, per_device: int, shares: list[float]
) -> None:
    """No schedule beats its longest chain or all devices in full use; none is worse than one job at a time."""
    models, measurements = graph
    jobs: list[Job] = [training(seed, cost) for seed, cost in enumerate(models)]
    for number, (cost, needs) in enumerate(measurements):
        spec = dataclasses.replace(SPECS[0], lr=1.0 + number)
        chosen = [SPECS[each % len(models)] for each in needs] or [spec]
        measurement = PairMeasurement(
            chosen[0], chosen[-1], lams=(0.0, 0.5, (number + 1) / (number + 2) / 2 + 0.5, 1.0)
        )
        jobs.append(MeasuringJob((measurement if needs else ModelMeasurement(spec),), (cost,)))
    share = {job.makes[0]: shares[number % 3] for number, job in enumerate(jobs)}
    found = simulate(jobs, list(range(devices)) * per_device, lambda job: share[job.makes[0]])
    work = sum(job.cost * share[job.makes[0]] for job in jobs)
    assert found.devices == devices
    assert found.makespan >= found.critical_path * (1 - 1e-9)
    assert found.makespan >= work / devices * (1 - 1e-9)
    assert found.makespan <= sum(job.cost for job in jobs) * (1 + 1e-9)
    assert found.utilisation == pytest.approx(work / devices / found.makespan)
    assert found.utilisation <= 1 + 1e-9
    chains = [
        job.cost + max([0.0, *(models[SPECS.index(s)] for s in job.specs if s in SPECS[: len(models)])])
        for job in jobs
        if job.needs
    ]
    assert found.critical_path == pytest.approx(max([*models, *chains]))


def test_one_device_of_whole_shares_takes_the_sum_and_many_the_longest_chain() -> None:
    jobs = [training(0, 3), training(1, 2), pair(0, 1, 1), pair(1, 0, 1)]
    one = simulate(jobs, [0], whole)
    assert (one.makespan, one.utilisation, one.critical_path) == (7, 1, 4)
    many = simulate(jobs, range(8), whole)
    assert (many.makespan, many.critical_path) == (4, 4)
    assert many.utilisation == pytest.approx(7 / 32)
    assert simulate([], [0], whole).makespan == 0
