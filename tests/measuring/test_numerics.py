"""What diagnostics make of degenerate models and data: a refusal in words, or numbers that are finite or absent."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from numpy_nets import leaves
from torch import Tensor

import lmc
from lmc.data import Dataset
from lmc.errors import MergeError
from lmc.measuring.measurements import (
    FlatnessMeasurement,
    LayerFitMeasurement,
    Measurement,
    MergeMeasurement,
    ModelMeasurement,
    PairMeasurement,
    PruneMeasurement,
)
from lmc.measuring.mergeable import ALIGNMENTS
from lmc.measuring.records import measure
from lmc.nets import build
from lmc.specs import RunSpec
from lmc.training.engine import initial_model, train, train_stack

State = dict[str, Tensor]
BASE = RunSpec(dataset="digits", arch="mlp", width=1 / 32, epochs=2, batch_size=25, lr=0.1, weight_decay=1e-3)
ARCHS = {"mlp": BASE, "mlp-bn": dataclasses.replace(BASE, arch="mlp-bn")} | {
    arch: dataclasses.replace(BASE, arch=arch, width=width)
    for arch, width in (("vgg-small", 1 / 8), ("resnet8", 1 / 4))
}
every_arch = pytest.mark.parametrize("arch", ARCHS)


def dataset(images: Callable[[int], Tensor] | None = None, labels: Callable[[int], Tensor] | None = None) -> Dataset:
    """100 training and 60 test images of noise in three classes, or what the arguments make."""
    generator = torch.Generator().manual_seed(0)

    def noise(count: int) -> Tensor:
        return torch.randint(0, 256, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)

    made = images or noise
    named = labels or (lambda count: torch.arange(count) % 3)
    return Dataset("digits", made(100), named(100), made(60), named(60), ("a", "b", "c"), "test")


SOUND = dataset()
DATA = {
    "constant images": dataset(images=lambda count: torch.full((count, 1, 8, 8), 77, dtype=torch.uint8)),
    "black images": dataset(images=lambda count: torch.zeros((count, 1, 8, 8), dtype=torch.uint8)),
    "one class": dataset(labels=lambda count: torch.ones(count, dtype=torch.int64)),
    "constant images of one class": dataset(
        lambda count: torch.full((count, 1, 8, 8), 255, dtype=torch.uint8),
        lambda count: torch.zeros(count, dtype=torch.int64),
    ),
}


def scaled(state: State, factor: float) -> State:
    return {
        name: value * factor if "running" not in name and value.is_floating_point() else value
        for name, value in state.items()
    }


def spoilt(value: float) -> Callable[[State], State]:
    def spoil(state: State) -> State:
        name = next(name for name in state if name.endswith("weight"))
        changed = state[name].clone()
        changed.view(-1)[3] = value
        return {**state, name: changed}

    return spoil


DIVERGED: dict[str, Callable[[State], State]] = {"a NaN": spoilt(math.nan), "an infinity": spoilt(math.inf)}
EXTREME: dict[str, Callable[[State], State]] = {
    "zeros": lambda state: scaled(state, 0.0),
    "denormals": lambda state: scaled(state, 1e-41),
    "large": lambda state: scaled(state, 30.0),
    "overflowing": lambda state: scaled(state, 1e25),
}


def measurements(spec: RunSpec) -> list[Measurement]:
    a, b, c = (spec.with_seed(seed) for seed in range(3))
    aligned = [PairMeasurement(a, b, alignment=alignment) for alignment in ALIGNMENTS]
    return [
        *aligned,
        PairMeasurement(a, b, draw=1),
        ModelMeasurement(a),
        FlatnessMeasurement(a, b),
        MergeMeasurement((a, b, c)),
        MergeMeasurement((a, b, c), rule="sum", bn="summed"),
        PruneMeasurement(a, (0.1, 1.0)),
        LayerFitMeasurement(a, b, c),
    ]


KINDS = (*ALIGNMENTS, "draw", "model", "flatness", "merge", "sum", "pruned", "layer fit")
every_kind = pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)


def states_of(measurement: Measurement) -> list[State]:
    """Of untrained models, BatchNorm statistics those of the training images."""
    found = []
    for spec in measurement.specs:
        model = initial_model(spec, SOUND)
        lmc.reset_bn_stats(model, [SOUND.train_images.float() / 255])
        found.append(model.state_dict())
    return found


def assert_defined(record: Any) -> None:
    json.dumps(record, allow_nan=False)
    for where, value in leaves(record):
        assert value is None or not isinstance(value, float) or math.isfinite(value), where


@every_arch
@every_kind
@pytest.mark.parametrize("spoil", DIVERGED)
@pytest.mark.parametrize("which", [0, -1])
def test_a_diverged_model_is_refused_by_every_measurement(arch: str, kind: int, spoil: str, which: int) -> None:
    measurement = measurements(ARCHS[arch])[kind]
    states = states_of(measurement)
    states[which] = DIVERGED[spoil](states[which])
    with pytest.raises(MergeError, match="NaN or infinite"):
        measure(measurement, states, SOUND, "cpu")


@every_arch
@every_kind
@pytest.mark.parametrize("extreme", EXTREME)
def test_extreme_weights_are_measured_or_refused(arch: str, kind: int, extreme: str) -> None:
    """Where float32 overflows, the model counts as diverged; anything else has finite numbers."""
    measurement = measurements(ARCHS[arch])[kind]
    states = [EXTREME[extreme](state) for state in states_of(measurement)]
    refused = extreme == "overflowing"
    with pytest.raises(MergeError, match="NaN or infinite") if refused else contextlib.nullcontext():
        record = measure(measurement, states, SOUND, "cpu")
        assert record["status"] == "measured"
        assert_defined(record)


@every_arch
@every_kind
@pytest.mark.parametrize("data", DATA)
def test_degenerate_data_give_defined_numbers(arch: str, kind: int, data: str) -> None:
    measurement = measurements(ARCHS[arch])[kind]
    record = measure(measurement, states_of(measurement), DATA[data], "cpu")
    assert record["status"] == "measured"
    assert_defined(record)


@every_arch
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_on_degenerate_data_ends_with_finite_weights(arch: str, data: str, precision: str) -> None:
    spec = dataclasses.replace(ARCHS[arch], precision=precision)
    for trained in (train(spec, DATA[data]), *train_stack([spec, spec.with_seed(1)], DATA[data])):
        assert trained.log["status"] == "trained"
        assert all(bool(torch.isfinite(value).all()) for value in trained.state.values())


@pytest.mark.parametrize("arch", ["mlp", "vgg-small"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "sophia"])
def test_training_that_diverges_says_so(arch: str, precision: str, optimizer: str) -> None:
    """Also where bfloat16, whose range is that of float32, overflows."""
    spec = dataclasses.replace(ARCHS[arch], precision=precision, optimizer=optimizer, lr=1e30, schedule="constant")
    trained = train(spec, SOUND)
    assert trained.log["status"] == "diverged"
    json.dumps(trained.log, allow_nan=False)


def test_a_layer_that_strong_decay_kills_is_no_divergence() -> None:
    trained = train(dataclasses.replace(BASE, weight_decay=5.0, lr=0.2, epochs=30), SOUND)
    assert trained.log["status"] == "trained"
    states = [trained.state, trained.state]
    model = build(BASE.arch, BASE.width, (1, 8, 8), 3).eval()
    model.load_state_dict(trained.state)
    with torch.no_grad():
        logits = model(SOUND.test_images.float() / 255)
    spread = float((logits - logits[0]).abs().max())
    assert spread <= torch.finfo().eps * float(logits.abs().max()), "some of the input gets through every layer"
    record = measure(PairMeasurement(BASE.with_seed(0), BASE.with_seed(1)), states, SOUND, "cpu")
    assert record["status"] == "measured"
    assert_defined(record)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("arch", ARCHS)
def test_diagnose_on_degenerate_data(arch: str, data: str) -> None:
    spec = ARCHS[arch]
    models = [initial_model(spec.with_seed(seed), SOUND).eval() for seed in (0, 1)]
    chosen = DATA[data]
    pair = (chosen.test_images.float() / 255, chosen.test_labels)
    found = lmc.diagnose(
        models[0], models[1], pair, train_data=(chosen.train_images.float() / 255, chosen.train_labels)
    )
    assert_defined(found.to_json())
    assert found.lines()


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("extreme", [*EXTREME, *DIVERGED])
def test_diagnose_of_extreme_models(arch: str, extreme: str) -> None:
    spec = ARCHS[arch]
    models = []
    for seed in (0, 1):
        model = build(spec.arch, spec.width, (1, 8, 8), 3)
        model.load_state_dict((EXTREME | DIVERGED)[extreme](initial_model(spec.with_seed(seed), SOUND).state_dict()))
        models.append(model.eval())
    pair = (SOUND.test_images.float() / 255, SOUND.test_labels)
    train_data = (SOUND.train_images.float() / 255, SOUND.train_labels)
    refused = extreme in ("overflowing", *DIVERGED)
    with pytest.raises(MergeError, match="NaN or infinite") if refused else contextlib.nullcontext():
        assert_defined(lmc.diagnose(models[0], models[1], pair, train_data=train_data).to_json())
