"""What a job is expected to take before it is made: a share of a GPU, memory of a GPU and of a machine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_claim import RECIPE

from lmc.executing.costs import (
    OWN_BYTES,
    PER_GPU,
    SHARED_BYTES,
    Processor,
    Work,
    cost_of_net,
    gpu_bytes,
    gpu_share,
    host_bytes,
    training_work,
)
from lmc.executing.measuring_costs import measuring_work
from lmc.measuring.inputs import BATCH
from lmc.measuring.measurements import FlatnessMeasurement, MergeMeasurement, PairMeasurement

WIDTHS = (1 / 16, 1 / 4, 1, 4, 8)
VGG = replace(RECIPE, dataset="cifar10", arch="vgg11", batch_size=100)


def training(width: float) -> Work:
    return training_work([replace(VGG, width=width)])


def test_narrow_nets_share_a_gpu_and_wide_ones_take_it_whole() -> None:
    shares = [gpu_share(training(width)) for width in WIDTHS]
    assert shares[0] == 1 / PER_GPU
    assert shares == sorted(shares)
    assert shares[-1] > 1 - 1 / PER_GPU, "no other job fits beside it"
    assert gpu_share(training(1 / 16), Processor(bytes=2 * gpu_bytes(training(1 / 16)))) == 0.5, (
        "memory decides, if short"
    )
    assert gpu_share(training(1 / 16), Processor(bytes=1.0)) == 1, "none takes more than a whole one"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_memory_rises_with_width(device: str) -> None:
    memory = [host_bytes([training(width)], device) for width in WIDTHS]
    assert memory == sorted(memory)
    assert memory[0] < memory[-1]
    on_gpu = [gpu_bytes(training(width)) for width in WIDTHS]
    assert on_gpu == sorted(on_gpu)
    assert on_gpu[0] < on_gpu[-1]


def test_memory_holds_what_training_does() -> None:
    """Weights, gradients and two moments in fp32, at least, for each of the models that are trained side by side."""
    wide = training(4)
    specs = [wide.spec.with_seed(seed) for seed in range(6)]
    weights = 4 * cost_of_net(wide.spec).parameters
    assert host_bytes([wide], "cpu") > SHARED_BYTES + OWN_BYTES + 4 * weights
    assert host_bytes([training_work(specs)], "cpu") > SHARED_BYTES + OWN_BYTES + 6 * 4 * weights
    pair = measuring_work([PairMeasurement(specs[0], specs[1])])
    assert host_bytes([pair], "cpu") > SHARED_BYTES + OWN_BYTES + 3 * weights


def test_memory_holds_what_comparing_layers_does() -> None:
    """A whole batch goes through both models and their average, and the layers of all three are held."""
    a, b, c = (replace(VGG, width=4).with_seed(seed) for seed in range(3))
    assert measuring_work([PairMeasurement(a, b)]).batch >= 3 * BATCH
    assert measuring_work([MergeMeasurement((a, b, c))]).batch >= 4 * BATCH
    pair, flatness = (measuring_work([each]) for each in (PairMeasurement(a, b), FlatnessMeasurement(a, b)))
    assert pair.batch - flatness.batch == 2 * BATCH, "flatness compares no layers"
    assert pair.bytes - flatness.bytes == 4 * 2 * BATCH * cost_of_net(a).activations


def test_libraries_count_once_on_a_machine() -> None:
    work = training(1)
    one, two, three = (host_bytes([work] * count, "cpu") for count in (1, 2, 3))
    assert two - one == three - two == one - SHARED_BYTES
    assert host_bytes([], "cpu") == SHARED_BYTES
