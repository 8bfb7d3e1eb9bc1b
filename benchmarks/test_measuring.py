"""The λ path, calibration and the BatchNorm reset against the plain way of doing each.

Targets are asserted only where ``LMC_BENCH_STRICT=1``; that both ways give the same numbers always is.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from scipy import optimize
from timing import STRICT, conclude, paired, seconds, sized
from torch import Tensor, nn
from torch.nn import functional as F

from lmc.data import Normaliser
from lmc.measuring import paths
from lmc.measuring.endpoints import Endpoint, compare
from lmc.measuring.evaluation import evaluate_all, evaluate_logits, logits_of
from lmc.measuring.first_layer import answering, find_first_layer
from lmc.measuring.inputs import HeldInputs
from lmc.measuring.records import LAYER_IMAGES
from lmc.merging import calibration_split, fit_inverse_temperature, interpolate, reset_bn_stats
from lmc.nets import build, memory_format_of

LAMS = tuple(step / 10 for step in range(11))
IMAGES = sized(10_000, 1_000)
ROUNDS = 5


def models(arch: str, width: float, shape: tuple[int, int, int]) -> list[nn.Module]:
    """Models a, b and one to overwrite, untrained: their arithmetic is that of trained ones."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [build(arch, width, shape, 10).to(memory_format=memory_format_of(arch)).eval() for _ in range(3)]


def random_inputs(shape: tuple[int, int, int], test: int, train: int) -> HeldInputs:
    generator = torch.Generator().manual_seed(0)
    images, training = (
        torch.randint(0, 256, (size, *shape), dtype=torch.uint8, generator=generator) for size in (test, train)
    )
    return HeldInputs(images, torch.randint(0, 10, (test,), generator=generator), training, Normaliser.fit(images))


def plain_path(model: nn.Module, a: Any, b: Any, inputs: HeldInputs) -> list[Tensor]:
    """Every λ with a state dict and a forward pass of its own."""
    found = []
    for lam in LAMS:
        model.load_state_dict(interpolate(a, b, lam))
        if 0 < lam < 1:
            reset_bn_stats(model, inputs.train_batches(paths.BN_IMAGES))
        found.append(logits_of(model, inputs))
    return found


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * other.abs().max().item())


@pytest.mark.parametrize(
    ("width", "target", "passes", "passes_in_all"),
    [(1.0, 1.25, 8.0, 14.0), (1 / 16, 1.25, 8.0, 14.0)],
    ids=["512", "32"],
)
def test_path(benchmark: Any, width: float, target: float, passes: float, passes_in_all: float) -> None:
    """11 points of an MLP 784-512x3-10 (and one of 32 units) on 10,000 images.

    A run measures the layers on `LAYER_IMAGES` of them; how much all of them would cost is held to the same limit.
    """
    (a, b, merged), inputs = models("mlp", width, (1, 28, 28)), random_inputs((1, 28, 28), IMAGES, 200)
    states = a.state_dict(), b.state_dict()

    def path() -> list[Tensor]:
        return paths.logits_along(merged, *states, LAMS, inputs, {})

    def everything(layer_images: int) -> None:
        paths.load_interpolated(merged, *states, 0.5)
        ends = Endpoint(a, inputs), Endpoint(b, inputs)
        _, middle = compare(ends, merged, (0.5, 0.5), inputs, layer_images)
        known = {0.0: ends[1].logits(), 0.5: middle, 1.0: ends[0].logits()}
        paths.measure_path(merged, *states, LAMS, inputs, known)

    assert_same(path(), plain_path(merged, *states, inputs))
    ratio = paired(benchmark, path, lambda: plain_path(merged, *states, inputs), rounds=ROUNDS)
    net = f"MLP of {round(512 * width)} units, {IMAGES:,} images"
    in_all = f"an 11-point path with calibration and every layer, {net}, the layers on"
    measured: dict[str, tuple[Callable[[], object], float]] = {
        f"logits of an 11-point path, {net}": (path, passes),
        f"{in_all} {LAYER_IMAGES} of them": (lambda: everything(LAYER_IMAGES), passes_in_all),
        f"{in_all} all of them": (lambda: everything(IMAGES), passes_in_all),
    }
    found: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(ROUNDS):  # in turn, as `paired` does
        one = seconds(lambda: logits_of(a, inputs))
        for name, (work, _limit) in measured.items():
            found[name].append(seconds(work) / one)
    conclude(benchmark, ratio, work=next(iter(measured)), peer="a forward pass for every λ", target=target)
    measures = [
        {"measure": f"{name}, in forward passes", "value": statistics.median(found[name]), "limit": limit}
        for name, (_work, limit) in measured.items()
    ]
    benchmark.extra_info["measures"] = measures
    assert not STRICT or all(each["value"] <= each["limit"] for each in measures), measures


@pytest.mark.parametrize("images", [159, 10_000])
def test_calibration(benchmark: Any, images: int) -> None:
    """β of 11 points at once."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (images,), generator=generator)
    signal = torch.linspace(0.5, 3, len(LAMS))[:, None, None] * F.one_hot(labels, 10)
    logits = 2 * (torch.randn(len(LAMS), images, 10, generator=generator) + signal)
    fitted, _ = calibration_split(images)
    part, truth, smoothing = logits[:, fitted].double(), labels[fitted], 1 / (len(fitted) + 2)

    def with_scipy() -> list[float]:
        found = []
        for each in part:

            def loss(log_beta: float, each: Tensor = each) -> float:
                return F.cross_entropy(math.exp(log_beta) * each, truth, label_smoothing=smoothing).item()

            options = {"xatol": 1e-9}
            found.append(math.exp(optimize.minimize_scalar(loss, bounds=(-6.9, 9.2), options=options).x))
        return found

    def ours() -> list[float]:
        return fit_inverse_temperature(part, truth, smoothing=smoothing).tolist()

    assert ours() == pytest.approx(with_scipy(), rel=1e-5)  # a minimum is known to the root of the precision
    assert evaluate_all(logits, labels) == [evaluate_logits(each, labels) for each in logits]
    ratio = paired(benchmark, ours, with_scipy, rounds=ROUNDS)
    work = f"β of 11 points, {len(fitted)} images, 10 classes"
    conclude(benchmark, ratio, work=work, peer="scipy.optimize.minimize_scalar for each point", target=3.0)


@pytest.mark.parametrize(("arch", "side"), [("vgg-small", 8), ("mlp-bn", 28)])
def test_batchnorm_reset(benchmark: Any, arch: str, side: int) -> None:
    """The reset at one λ on 1,000 images of digits' or MNIST's shape, the endpoints' first layer at hand.

    For the convolution it is a record of why the path does not do so: a first layer that reads one channel is
    as fast as interpolating what it gives.
    """
    shape = (1, side, side)
    (a, b, merged), inputs = models(arch, 0.5, shape), random_inputs(shape, 200, 1000)
    layer = find_first_layer(merged, inputs.examples(200))
    assert layer is not None
    states = a.state_dict(), b.state_dict()
    with torch.no_grad():
        ends = []
        for state in (states[1], states[0]):
            merged.load_state_dict(state)
            ends.append([layer.respond(batch) for batch in inputs.train_batches(1000)])
    paths.load_interpolated(merged, *states, 0.3)

    def replayed() -> None:
        with answering(layer.module) as replay:
            reset_bn_stats(merged, replay(paths._between(ends, 0.3), shape))

    def plain() -> None:
        reset_bn_stats(merged, inputs.train_batches(1000))

    replayed()
    found = [buffer.clone() for buffer in merged.buffers()]
    plain()
    assert_same(found, list(merged.buffers()))
    ratio = paired(benchmark, replayed, plain, rounds=4 * ROUNDS)
    wanted = paths._ReplayedPath(merged, *states, inputs, layer, LAMS).pays
    work = f"BatchNorm reset of {arch}, 1,000 images of {side}x{side}"
    facts = {"chosen": wanted, "passes": ratio**-1}
    conclude(benchmark, ratio, work=work, peer="the net in full", target=1.2 if wanted else 0.0, **facts)


PATH_MEMORY = """
import json, pathlib, torch, lmc
from lmc.data import Normaliser
from lmc.measuring.inputs import HeldInputs
from lmc.nets import build

def peak():  # getrusage would count the memory of the process that started this one
    (line,) = [line for line in pathlib.Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
    return int(line.split()[1])

torch.set_num_threads(2)
generator = torch.Generator().manual_seed(0)
images = torch.randint(0, 256, (512, 1, 28, 28), dtype=torch.uint8, generator=generator)
labels = torch.randint(0, 10, (512,), generator=generator)
inputs = HeldInputs(images, labels, images, Normaliser.fit(images), batch=128)
small, a, b = (build("mlp", 1 / 32, (1, 28, 28), 10) for _ in range(3))
lmc.interpolation_path(small, a.state_dict(), b.state_dict(), {lams}, inputs)  # imports and buffers
before = peak()
model = build("mlp", {width}, (1, 28, 28), 10)
lmc.interpolation_path(model, lmc.StateFile({a!r}), lmc.StateFile({b!r}), {lams}, inputs)
after = peak()
sizes = [value.numel() * 4 for value in model.state_dict().values()]
print(json.dumps({{"models": (after - before) * 1024 / sum(sizes), "layer": max(sizes) / sum(sizes)}}))
"""


def test_path_memory(benchmark: Any, tmp_path: Path) -> None:
    """A path between two files takes the memory of at most two models and a layer, its process left out."""
    width = sized(16.0, 1.0)
    files = [str(tmp_path / f"{name}.safetensors") for name in "ab"]
    for file, model in zip(files, models("mlp", width, (1, 28, 28)), strict=False):
        save_file(model.state_dict(), file)
    script = PATH_MEMORY.format(width=width, a=files[0], b=files[1], lams=LAMS)
    found: list[dict[str, float]] = []

    def run() -> None:
        done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout))

    benchmark.pedantic(run, rounds=1)
    (facts,) = found
    assert facts["models"] >= 1, "the model that is overwritten counts"
    limit = 2 + facts["layer"]
    measure = f"peak memory of an 11-point path, MLP of {round(512 * width):,} units in files, in models"
    benchmark.extra_info["measures"] = [{"measure": measure, "value": facts["models"], "limit": limit}]
    assert not STRICT or facts["models"] <= limit, facts
