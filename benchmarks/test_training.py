"""Training against the paper's own stack (Lightning, torchvision) and against the common tutorial loop.

``pytest benchmarks/test_training.py --benchmark-json FILE`` writes one row per comparison: ``work``, ``peer``,
``ratio`` (the peer's seconds over ours), ``target``, and ``textbook_ratio``. Times of shared machines vary, so
a ratio below its target fails only where ``LMC_BENCH_STRICT=1``; the same steps and finite losses are always
required. Both sides run in this process with ``LMC_BENCH_THREADS`` threads (2 by default) and with denormals
flushed, which favours the peer: Lightning alone would not flush them.
"""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import statistics
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from timing import THREADS, conclude, paired, seconds
from torch import nn

from lmc.data import Dataset
from lmc.executing.making import training_block
from lmc.executing.process import prepare_arithmetic, prepare_process
from lmc.specs import RunSpec
from lmc.tiers import load_tier
from lmc.training import engine
from lmc.training.engine import TrainedModel, train, train_stack

pytest.importorskip("lightning")

from peers import PeerModel, train_lightning, train_textbook

SEEDS = range(6)

MLP = RunSpec(
    dataset="mnist-like",
    arch="mlp",
    width=1,
    optimizer="adam",
    lr=1e-3,
    weight_decay=1e-4,
    batch_size=512,
)
RESNET = RunSpec(dataset="cifar10-like", arch="resnet20", width=1, weight_decay=1e-3, batch_size=128, augment=True)


@pytest.fixture(autouse=True)
def _arithmetic() -> None:
    prepare_arithmetic(THREADS)


def six(recipe: RunSpec, **changes: Any) -> list[RunSpec]:
    """``recipe`` from six seeds."""
    return [dataclasses.replace(recipe, **changes).with_seed(seed) for seed in SEEDS]


def quick_specs(setting: str) -> list[RunSpec]:
    """The first six seeds of a quick-tier setting's strong family at all its widths, for one epoch of 20 steps.

    A run trains more seeds of them, but in the same blocks: `train_in_blocks` lets none reach beyond the six.
    """
    families = {each.name: each.families["strong"] for each in load_tier("quick").settings}
    family = families[setting]
    specs = [family.spec(width, seed) for width in family.widths for seed in family.seeds[: len(SEEDS)]]
    return [dataclasses.replace(spec, epochs=1, train_size=320) for spec in specs]


def train_in_blocks(specs: Sequence[RunSpec], dataset: Dataset) -> list[TrainedModel]:
    """Train ``specs`` side by side in the blocks that a run on a CPU would make."""
    made: dict[RunSpec, TrainedModel] = {}
    for block in dict.fromkeys(training_block(spec, "cpu") for spec in specs):
        models = train_stack(block, dataset) if len(block) > 1 else [train(block[0], dataset)]
        made |= zip(block, models, strict=True)
    assert made.keys() == set(specs)  # a block that reached beyond them would be more work than the peer's
    return [made[spec] for spec in specs]


def compare(
    benchmark: Any,
    work: str,
    target: float,
    ours: Callable[[], list[TrainedModel]],
    specs: Sequence[RunSpec],
    dataset: Dataset,
    *,
    rounds: int = 5,
    here: bool = True,
) -> None:
    """Time ``ours`` against Lightning and the textbook loop training ``specs``, and check that all three did."""
    mine: list[TrainedModel] = []
    theirs: list[PeerModel] = []

    def run_ours() -> None:
        mine[:] = ours()

    def run_peer() -> None:
        theirs[:] = train_lightning(specs, dataset)

    ratio = paired(benchmark, run_ours, run_peer, rounds=rounds, here=here)
    check_same_work(mine, theirs)
    textbook = paired_textbook(run_ours, specs, dataset, rounds=rounds // 2)
    conclude(benchmark, ratio, work=work, peer="Lightning, fp32", target=target, textbook_ratio=textbook)


def check_same_work(mine: Sequence[TrainedModel], theirs: Sequence[PeerModel]) -> None:
    """Both sides made as many steps for every model, and every loss is finite."""
    assert [model.log["steps"] for model in mine] == [model.steps for model in theirs]
    assert all(model.log["status"] == "trained" for model in mine)
    assert all(math.isfinite(model.loss) for model in theirs)


def paired_textbook(ours: Callable[[], None], specs: Sequence[RunSpec], dataset: Dataset, *, rounds: int) -> float:
    """Median over ``rounds`` of the textbook loop's seconds over ours; it runs once before, unmeasured."""

    def textbook() -> None:
        train_textbook(specs, dataset)

    textbook()
    return statistics.median(seconds(textbook) / seconds(ours) for _ in range(rounds))


def test_wide_mlp(benchmark: Any, mnist_like: Dataset, precision: str) -> None:
    spec = dataclasses.replace(MLP, precision=precision)
    compare(
        benchmark,
        f"MLP 784-512-512-512-10, batch 512, ours {precision}",
        3.0,
        lambda: [train(spec, mnist_like)],
        [MLP],
        mnist_like,
    )


@pytest.mark.parametrize("batch", [50, 128])
def test_narrow_mlps(benchmark: Any, mnist_like: Dataset, batch: int) -> None:
    """As a run trains them: side by side in one worker, which has one thread; the other cores have other workers."""
    specs = six(MLP, width=1 / 16, batch_size=batch, train_size=3000)

    def on_one_thread() -> list[TrainedModel]:
        torch.set_num_threads(1)
        try:
            return train_stack(specs, mnist_like)
        finally:
            torch.set_num_threads(THREADS)

    compare(
        benchmark,
        f"six MLPs of 32 units, batch {batch}, ours on one thread",
        8.0,
        on_one_thread,
        specs,
        mnist_like,
        rounds=3,
    )


@pytest.mark.parametrize("setting", ["vgg-digits", "resnet-digits"])
def test_quick_tier(benchmark: Any, digits: Dataset, setting: str) -> None:
    specs = quick_specs(setting)
    compare(
        benchmark,
        f"{setting} of the quick tier, six models at every width",
        2.0,
        lambda: train_in_blocks(specs, digits),
        specs,
        digits,
        rounds=3,
    )


def test_resnet20(benchmark: Any, cifar_like: Dataset, precision: str) -> None:
    spec = dataclasses.replace(RESNET, precision=precision)
    compare(
        benchmark,
        f"ResNet-20, batch 128, augmented random images of 32x32, ours {precision}",
        2.5,
        lambda: [train(spec, cifar_like)],
        [RESNET],
        cifar_like,
    )


def test_two_resnet20(benchmark: Any, cifar_like: Dataset, precision: str) -> None:
    """As a run trains them: in a worker process each, with one thread; Lightning has both threads for one at a time."""
    specs = [dataclasses.replace(RESNET, precision=precision).with_seed(seed) for seed in range(THREADS)]
    context = multiprocessing.get_context("forkserver")
    with context.Pool(THREADS, _become_worker, (cifar_like,)) as workers:
        compare(
            benchmark,
            f"ResNet-20, batch 128, augmented random images of 32x32, ours {precision}, a model per worker",
            2.5,
            lambda: workers.map(_train_in_worker, specs, chunksize=1),
            [RESNET.with_seed(seed) for seed in range(THREADS)],
            cifar_like,
            rounds=3,
            here=False,
        )


_data: list[Dataset] = []


def _become_worker(dataset: Dataset) -> None:
    prepare_process(1)
    _data.append(dataset)


def _train_in_worker(spec: RunSpec) -> TrainedModel:
    return train(spec, _data[0])


DECAYING = RunSpec(
    dataset="mnist-like",
    arch="mlp",
    width=1 / 4,
    momentum=0.0,
    schedule="constant",
    batch_size=128,
    epochs=2,
    weight_decay=0.5,  # a factor of 0.95 per step, 0.01 over the 92 steps and less over the convolutions' 124
)


@pytest.mark.parametrize(
    ("strong", "net"),
    [
        pytest.param(DECAYING, "MLP of 128 units", id="mlp"),
        pytest.param(
            dataclasses.replace(DECAYING, dataset="digits", arch="vgg-small", width=1 / 2, batch_size=16),
            "vgg-small of width 0.5 on digits",
            id="vgg-small",
        ),
    ],
)
def test_strong_decay(
    benchmark: Any, mnist_like: Dataset, digits: Dataset, monkeypatch: pytest.MonkeyPatch, strong: RunSpec, net: str
) -> None:
    """Weights that decay through the denormals cost at most a tenth more time than ones that do not decay."""
    plain = dataclasses.replace(strong, weight_decay=0.0)
    dataset = {"mnist-like": mnist_like, "digits": digits}[strong.dataset]
    original = engine.initial_model

    def shrunk(spec: RunSpec, dataset: Dataset) -> nn.Module:
        model = original(spec, dataset)
        with torch.no_grad():
            for value in model.parameters():
                value.mul_(1e-36 if spec.weight_decay else 1.0)  # float32 is denormal below 1.2e-38
        return model

    monkeypatch.setattr(engine, "initial_model", shrunk)
    made: dict[RunSpec, TrainedModel] = {}

    def run(spec: RunSpec) -> None:
        made[spec] = train(spec, dataset)

    ratio = paired(benchmark, lambda: run(strong), lambda: run(plain), rounds=7)
    assert made[strong].log["steps"] == made[plain].log["steps"]
    assert all(model.log["status"] == "trained" for model in made.values())
    unflushed = in_unflushed_thread(lambda: seconds(lambda: run(strong)) / seconds(lambda: run(plain)))
    conclude(
        benchmark,
        ratio,
        work=f"{net} whose weights decay through the denormals",
        peer="the same without decay",
        target=1 / 1.1,
        time_ratio=1 / ratio,
        unflushed_time_ratio=unflushed,
    )


def in_unflushed_thread(measure: Callable[[], float]) -> float:
    """What ``measure`` gives in a thread that keeps denormals, and whose OpenMP workers inherit that."""
    found: list[float] = []

    def keep_denormals() -> None:
        torch.set_flush_denormal(False)
        found.append(measure())

    thread = threading.Thread(target=keep_denormals)
    thread.start()
    thread.join()
    return found[0]
