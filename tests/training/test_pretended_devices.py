"""Training, measuring, matching and diagnosing on devices that are not there, see `pretended`.

One has no float64, as Apple's GPUs; on another the host's waits are counted. All give what the CPU gives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from numpy_nets import differences
from pretended import Pretended
from test_engine import ADAM, DATASET, MLP, RESNET, SGD, VGG
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import lmc
from lmc.architectures import architecture_names
from lmc.data import Normaliser, augment
from lmc.executing.process import prepare_arithmetic
from lmc.measuring import measurements
from lmc.measuring.measurements import (
    FULL_PATH,
    FlatnessMeasurement,
    LayerFitMeasurement,
    Measurement,
    MergeMeasurement,
    ModelMeasurement,
    PairMeasurement,
    PruneMeasurement,
)
from lmc.measuring.records import measure
from lmc.nets import build, memory_format_of
from lmc.precision import double, where_float64
from lmc.specs import RunSpec
from lmc.training.engine import initial_model, train

ROUNDING: dict[str, float] = {"rel": 1e-12, "abs": 1e-12}
"""Of float64; an eigenvalue's last bits depend on where in memory a matrix lies."""


def mps() -> Pretended:
    return Pretended("mps", float64=False)


def cuda() -> Pretended:
    return Pretended("cuda")


# -- The pretended device itself. --


def test_the_pretended_device_refuses_what_a_real_one_refuses() -> None:
    here = torch.ones(3)
    with mps() as device:
        there = here.to("mps")
        assert (there.device, here.device) == (torch.device("mps:0"), torch.device("cpu"))
        assert device.holds((2 * there).sum())
        assert not device.holds(there.cpu())
        for refused in (there.double, lambda: there.sum(dtype=torch.float64), lambda: there.to("cpu", torch.float64)):
            with pytest.raises(TypeError, match="float64"):
                refused()
        with pytest.raises(TypeError, match="float64"):
            torch.zeros(1, dtype=torch.float64, device="mps")
        with pytest.raises(RuntimeError, match="add of tensors on mps:0 and others on cpu"):
            there + here
        with pytest.raises(TypeError, match="array"):
            there.numpy()


def test_the_pretended_device_counts_kernels_and_waits() -> None:
    with cuda() as device:
        there = torch.arange(6.0, device="cuda").view(2, 3)
        assert (device.kernels, device.waits.total()) == (0, 0)
        total = (there * there).sum()
        assert (device.kernels, device.waits.total()) == (2, 0)
        assert float(total) == 55.0
        there[there > 3].tolist()
        assert sorted(each.split(",")[0] for each in device.waits.elements()) == [
            "_local_scalar_dense",
            "index",
            "tolist",
        ]


def test_float64_goes_to_the_cpu_and_nowhere_else() -> None:
    third = torch.tensor([1.0]) / 3
    assert double(third).item() == third.item()
    assert where_float64(third) is third
    with mps() as device:
        there = third.to("mps")
        wide = double(there)
        assert (wide.dtype, device.holds(wide)) == (torch.float64, False)
    with cuda() as device:
        assert device.holds(double(third.to("cuda")))


# -- Training. --

TRAININGS = [
    pytest.param(MLP, ADAM, id="mlp-adam"),
    pytest.param(VGG, SGD | {"augment": True}, id="vgg-augmented"),
    pytest.param(RESNET, SGD, id="resnet-sgd"),
]


@pytest.mark.parametrize("device", [mps, cuda])
@pytest.mark.parametrize(("spec", "changes"), TRAININGS)
def test_models_train_as_on_the_cpu(spec: RunSpec, changes: dict[str, Any], device: Callable[[], Pretended]) -> None:
    spec = dataclasses.replace(spec, **changes)
    with device() as pretended:
        found = train(spec, DATASET, pretended.device.type, recorded=False)
    expected = train(spec, DATASET)
    torch.testing.assert_close(found.state, expected.state, rtol=0, atol=0)
    assert found.log["loss"] == expected.log["loss"]


@pytest.mark.parametrize(
    ("spec", "changes", "kernels"), [(MLP, ADAM, 40), (VGG, SGD | {"augment": True}, 72), (RESNET, SGD, 99)]
)
def test_no_training_step_waits(spec: RunSpec, changes: dict[str, Any], kernels: int) -> None:
    """Within an epoch: its start draws batches on the host, its end reads the losses."""
    spec = dataclasses.replace(spec, **changes, epochs=1)
    counts = []
    for steps in (2, 4):
        images = dataclasses.replace(
            DATASET,
            train_images=DATASET.train_images[: steps * spec.batch_size],
            train_labels=DATASET.train_labels[: steps * spec.batch_size],
        )
        with cuda() as device:
            train(spec, images, "cuda", recorded=False)
        counts.append((device.kernels, device.waits))
    (few, waits), (more, more_waits) = counts
    assert more_waits == waits
    assert (more - few) / 2 <= kernels


@pytest.mark.parametrize("arch", architecture_names())
def test_a_step_forward_on_a_fake_gpu(arch: str) -> None:
    """Torch's own rules of which device and dtype an operation gives, up to the loss; no fake GPU goes back."""
    images, labels = torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)
    with FakeTensorMode() as mode, torch.device("cuda"):
        net = build(arch, 1 / 8, (3, 32, 32), 10).train()
        on_gpu = [mode.from_tensor(each).to("cuda") for each in (images, labels)]
        picked = augment(on_gpu[0], torch.zeros(4, 3, dtype=torch.uint8))
        normalise = Normaliser(torch.ones(3, 1, 1), torch.zeros(3, 1, 1))
        logits = net(normalise(picked).contiguous(memory_format=memory_format_of(arch)))
        loss = nn.functional.cross_entropy(logits, on_gpu[1])
    assert (loss.device.type, loss.dtype, logits.shape) == ("cuda", torch.float32, (4, 10))


def test_a_worker_computes_on_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded, or allocated without naming a device, belongs to the current one."""
    taken: list[int] = []
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "set_device_index", taken.append)
    for device in ("cuda:1", "cpu", "xpu:3"):
        prepare_arithmetic(1, device)
    assert taken == [1, 3]


# -- Measuring. --


def specs(recipe: RunSpec) -> list[RunSpec]:
    return [dataclasses.replace(recipe, init_seed=seed, data_seed=seed) for seed in range(3)]


def pair(recipe: RunSpec, **how: Any) -> PairMeasurement:
    a, b, _ = specs(recipe)
    return PairMeasurement(a, b, **how)


def kinds(recipe: RunSpec) -> list[Measurement]:
    a, b, c = specs(recipe)
    return [
        ModelMeasurement(a),
        PairMeasurement(a, b, FULL_PATH),
        PairMeasurement(a, b, draw=1),
        PairMeasurement(a, b, alignment="matching"),
        PairMeasurement(a, b, alignment="complementary"),
        FlatnessMeasurement(a, b),
        MergeMeasurement((a, b)),
        MergeMeasurement((a, b), rule="sum"),
        MergeMeasurement((a, b, c), rule="transplant"),
        PruneMeasurement(a, (0.5, 1.0)),
        LayerFitMeasurement(a, b, c),
    ]


MLP_BN = dataclasses.replace(MLP, arch="mlp-bn")
MEASUREMENTS = [*kinds(MLP_BN), pair(RESNET, alignment="matching")]


def states(measurement: Measurement) -> list[dict[str, Tensor]]:
    """Weights and statistics without symmetry."""
    found = []
    for spec in measurement.specs:
        generator = torch.Generator().manual_seed(spec.init_seed)
        state = initial_model(spec, DATASET).state_dict()
        found.append({name: _moved(value, generator) for name, value in state.items()})
    return found


def _moved(value: Tensor, generator: torch.Generator) -> Tensor:
    return value * (0.5 + torch.rand(value.shape, generator=generator)) if value.is_floating_point() else value


def measured_on(device: Pretended, measurement: Measurement) -> dict[str, Any]:
    with device:
        return measure(measurement, states(measurement), DATASET, device.device.type)


def _kinds() -> set[type]:
    """All that can be asked for, however many there are."""
    public = vars(measurements).values()
    named = {each for each in public if isinstance(each, type) and each.__name__.endswith("Measurement")}
    return {each for each in named if dataclasses.is_dataclass(each)}


def test_every_kind_of_measurement_is_among_them() -> None:
    assert {type(each) for each in MEASUREMENTS} == _kinds()


@pytest.mark.parametrize("measurement", MEASUREMENTS, ids=lambda each: each.describe())
def test_a_device_without_float64_measures_the_same(measurement: Measurement) -> None:
    expected = measure(measurement, states(measurement), DATASET, "cpu")
    assert expected["status"] == "measured"
    assert not differences(measured_on(mps(), measurement), expected, **ROUNDING)


@pytest.mark.parametrize(
    ("measurement", "kernels", "waits"),
    [
        (pair(MLP_BN), 2800, 400),
        (pair(RESNET), 5000, 800),
        (ModelMeasurement(specs(RESNET)[0]), 1200, 310),
        (FlatnessMeasurement(specs(RESNET)[0], specs(RESNET)[1]), 3200, 370),
    ],
    ids=lambda each: each.describe() if hasattr(each, "describe") else str(each),
)
def test_what_a_measurement_costs_the_host(measurement: Measurement, kernels: int, waits: int) -> None:
    """Of a test set of two batches or fewer; most of it is one number of a layer at a time."""
    device = cuda()
    found = measured_on(device, measurement)
    assert not differences(found, measure(measurement, states(measurement), DATASET, "cpu"), **ROUNDING)
    assert device.kernels <= kernels
    assert device.waits.total() <= waits


def test_a_path_waits_no_more_the_more_points_it_has() -> None:
    """BatchNorm's statistics are reset at every one, which once waited for each layer and batch."""
    few, many = cuda(), cuda()
    a, b, _ = specs(RESNET)
    measured_on(few, PairMeasurement(a, b, layers=False))
    measured_on(many, PairMeasurement(a, b, FULL_PATH, layers=False))
    assert many.waits.total() - few.waits.total() <= 10
    assert not any("nets" in each for each in many.waits)


# -- Diagnosing. --


def _net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 8), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(8, 3)).eval()


def _numbers(found: Sequence[str]) -> list[str]:
    return [line for line in found if "device" not in line]


@pytest.mark.parametrize("device", [mps, cuda])
def test_a_diagnosis_says_the_same(device: Callable[[], Pretended]) -> None:
    inputs = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 3
    with torch.random.fork_rng():
        models = [_net(seed) for seed in range(2)]
    expected = lmc.diagnose(models, (inputs, labels), permutation="always", device="cpu")
    with device() as pretended:
        found = lmc.diagnose(models, (inputs, labels), permutation="always", device=pretended.device.type)
    assert _numbers(found.lines()) == _numbers(expected.lines())
