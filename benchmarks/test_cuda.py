"""Training on a GPU: against Lightning, against bare matrix products, with and without recorded steps.

Skipped where torch sees no CUDA device; ``LMC_BENCH_SMOKE=1`` runs tiny sizes on the CPU there, to see that it works.
Rows say ``ratio`` as everywhere; that against matrix products of as many FLOP is the share of their rate.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cuda_cases import AGAINST_LIGHTNING, AGAINST_PRODUCTS, HOST_SHARE, LIGHTNING, PRODUCTS, RECORDED, Case, label
from random_images import random_dataset
from timing import SMOKE, STRICT, conclude, paired, seconds, sized

from lmc.data import Dataset
from lmc.nets.costs import net_cost
from lmc.specs import RunSpec
from lmc.training.engine import TrainedModel, train

pytest.importorskip("lightning")

from peers import train_lightning

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.skipif(DEVICE == "cpu" and not SMOKE, reason="torch sees no CUDA device")


@pytest.fixture(scope="module")
def images() -> dict[str, Dataset]:
    """By name, as many images as an epoch of seconds takes."""
    count = sized(50_000, 1_000)
    shapes = {"mnist-like": (1, 28, 28), "cifar10-like": (3, 32, 32)}
    return {name: random_dataset(name, shape, count) for name, shape in shapes.items()}


def parametrised(cases: tuple[Case, ...]) -> pytest.MarkDecorator:
    """By recipe and target; a smoke run takes narrow nets only."""
    return pytest.mark.parametrize(
        ("spec", "target"),
        [
            pytest.param(dataclasses.replace(case.spec, width=sized(case.spec.width, 1 / 8)), case.target, id=case.name)
            for case in cases
        ],
    )


def trainer(spec: RunSpec, images: dict[str, Dataset], *, recorded: bool = True) -> Callable[[], TrainedModel]:
    def run() -> TrainedModel:
        trained = train(spec, images[spec.dataset], DEVICE, recorded=recorded)
        assert trained.log["status"] == "trained"
        return trained

    return run


def peak_memory_mib(run: Callable[[], object]) -> float:
    """Of the device, in one run."""
    if DEVICE == "cpu":
        return 0.0
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() / 2**20


def busy_seconds(run: Callable[[], object]) -> float:
    """How long kernels ran in one run of ``run``."""
    kind = torch.profiler.ProfilerActivity.CUDA if DEVICE == "cuda" else torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[kind]) as profile:
        run()
    averages = profile.key_averages()
    return sum(each.self_device_time_total if DEVICE == "cuda" else each.self_cpu_time_total for each in averages) / 1e6


@parametrised(AGAINST_LIGHTNING)
def test_against_lightning(benchmark: Any, images: dict[str, Dataset], spec: RunSpec, target: float) -> None:
    """Both in bf16; an epoch each, without what starting a trainer costs being taken off."""
    ours, dataset = trainer(spec, images), images[spec.dataset]

    def peer() -> None:
        made = train_lightning([spec], dataset, precision="bf16-mixed", accelerator=sized("gpu", "auto"))
        assert made[0].steps == spec.steps(len(dataset.train_images))

    ratio = paired(benchmark, ours, peer, rounds=sized(3, 1))
    taken = statistics.median(benchmark.stats.stats.data)
    facts = {
        "images_per_second": len(dataset.train_images) / taken,
        "peak_gpu_memory_mib": peak_memory_mib(ours),
    }
    conclude(benchmark, ratio, work=label(spec), peer=LIGHTNING, target=target, **facts)


@parametrised(AGAINST_PRODUCTS)
def test_share_of_the_matmul_rate(benchmark: Any, images: dict[str, Dataset], spec: RunSpec, target: float) -> None:
    dataset, side = images[spec.dataset], sized(8192, 256)
    flops = net_cost(spec.arch, spec.width, dataset.shape, 10).training_flops
    total = flops * spec.batch_size * spec.steps(len(dataset.train_images))
    one, other = (torch.randn(side, side, dtype=torch.bfloat16, device=DEVICE) for _ in range(2))
    product = torch.empty_like(one)
    times = max(1, round(total / (2 * side**3)))

    def products() -> None:
        for _ in range(times):
            torch.mm(one, other, out=product)
        product[0, 0].item()  # wait for the device

    ratio = paired(benchmark, trainer(spec, images), products, rounds=sized(3, 1))
    rate = total / benchmark.extra_info["peer_seconds"] / 1e12
    facts = {"tflop": total / 1e12, "matmul_tflops": rate}
    conclude(benchmark, ratio, work=label(spec), peer=PRODUCTS, target=target, **facts)


@parametrised(RECORDED)
def test_recorded_steps(benchmark: Any, images: dict[str, Dataset], spec: RunSpec, target: float) -> None:
    """With a CUDA graph and without, and how much of an epoch no kernel runs."""
    ours = trainer(spec, images)
    ratio = paired(benchmark, ours, trainer(spec, images, recorded=False), rounds=sized(3, 1))
    waiting = 1 - busy_seconds(ours) / min(seconds(ours) for _ in range(sized(3, 1)))
    assert DEVICE == "cpu" or waiting > -HOST_SHARE, f"kernels cannot run {1 - waiting:.2f} times the time of an epoch"
    measure = f"{label(spec)}, share of an epoch on the host"
    benchmark.extra_info["measures"] = [{"measure": measure, "value": max(0.0, waiting), "limit": HOST_SHARE}]
    conclude(benchmark, ratio, work=label(spec), peer="the same, step by step", target=target)
    assert not STRICT or waiting <= HOST_SHARE
