"""Recorded steps train what plain ones do; on a CPU, a stand-in for the graph runs the step on the kept tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_engine import ADAM, DATASET, MLP, RESNET, SGD, VGG
from torch import Tensor

from lmc.errors import DeviceError
from lmc.specs import RunSpec
from lmc.training import engine, optimisers
from lmc.training.engine import TrainedModel, recorder, train
from lmc.training.graphs import WARM_UP, RecordedStep, Recorder, cuda_graph

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TRAININGS = [
    pytest.param(MLP, SGD, id="mlp-sgd"),
    pytest.param(MLP, ADAM, id="mlp-adam"),
    pytest.param(VGG, SGD | {"augment": True, "epochs": 3}, id="vgg-augmented"),
    pytest.param(RESNET, ADAM | {"epochs": 2}, id="resnet-adam"),
    pytest.param(VGG, SGD | {"precision": "bf16", "epochs": 2}, id="vgg-bf16"),
    pytest.param(VGG, SGD | {"decay": "decoupled", "weight_decay": 1.0, "epochs": 3}, id="vgg-sgd-decoupled"),
    pytest.param(MLP, ADAM | {"decay": "decoupled", "weight_decay": 1.0}, id="mlp-adam-decoupled"),
    pytest.param(MLP, SGD | {"shared_epochs": 1, "data_seed": 1}, id="mlp-spawned"),
]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def assert_trained_alike(one: TrainedModel, other: TrainedModel, tolerance: float) -> None:
    torch.testing.assert_close(one.state, other.state, rtol=tolerance, atol=tolerance)
    assert one.log["loss"] == pytest.approx(other.log["loss"], rel=tolerance)


class Rerun:
    """Instead of a recording: what was recorded, run again; counts both."""

    def __init__(self) -> None:
        self.recordings = self.replays = 0

    def __call__(self, run: Callable[[], None]) -> Callable[[], None]:
        self.recordings += 1

        def replay() -> None:
            self.replays += 1
            run()

        return replay


@pytest.mark.parametrize(("spec", "changes"), TRAININGS)
def test_recorded_steps_train_the_same_model(
    spec: RunSpec, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every batch, crop and learning rate gets through; the rate only as float32."""
    spec = dataclasses.replace(spec, **changes)
    plain = train(spec, DATASET)
    record = Rerun()
    monkeypatch.setattr(engine, "recorder", lambda *_: record)
    recorded = train(spec, DATASET)
    assert (record.recordings, record.replays) == (1, plain.log["steps"] - WARM_UP)
    assert_trained_alike(recorded, plain, 1e-3 if spec.precision == "bf16" else 1e-4)
    assert_trained_alike(train(spec, DATASET, recorded=False), plain, 0.0)
    assert record.recordings == 1


def test_a_recording_sees_new_inputs_where_the_first_ones_stood() -> None:
    seen: list[tuple[int, list[float]]] = []

    def step(inputs: Tensor) -> None:
        seen.append((inputs.data_ptr(), inputs.tolist()))

    make_step = RecordedStep(step, lambda run: run, list)
    for number in range(WARM_UP + 3):
        make_step(torch.tensor([float(number)]))
    checked = [WARM_UP, WARM_UP]  # eagerly, and replayed
    assert [values for _, values in seen] == [[float(number)] for number in (*range(WARM_UP), *checked, 4, 5)]
    assert len({place for place, _ in seen[WARM_UP:]}) == 1


def test_the_check_of_a_record_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The eager step it compares with is taken back: statistics, momentum, sums and noise go on as without it."""
    spec = dataclasses.replace(RESNET, **SGD, epochs=2)
    monkeypatch.setattr(engine, "recorder", lambda *_: Rerun())
    recorded = train(spec, DATASET)
    monkeypatch.setattr(RecordedStep, "_believed", _unchecked)
    assert_trained_alike(recorded, train(spec, DATASET), 0.0)


def _unchecked(self: RecordedStep, device: torch.device) -> Callable[[], None]:
    self._step(*self._kept)
    return lambda: self._step(*self._kept)


def nothing(run: Callable[[], None]) -> Callable[[], None]:
    return lambda: None


def twice(run: Callable[[], None]) -> Callable[[], None]:
    def replay() -> None:
        run()
        run()

    return replay


@pytest.mark.parametrize(("record", "said"), [(nothing, "not at all: the graph is empty"), (twice, "otherwise")])
@pytest.mark.parametrize(("spec", "changes"), TRAININGS[:3])
def test_a_record_that_does_something_else_is_refused(
    spec: RunSpec, changes: dict[str, Any], record: Recorder, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty graph, as recorded on another device, would leave a model that looks trained."""
    monkeypatch.setattr(engine, "recorder", lambda *_: record)
    with pytest.raises(DeviceError, match=f"a recorded training step on cpu changes .* {said}"):
        train(dataclasses.replace(spec, **changes), DATASET)


def test_what_is_recorded() -> None:
    assert recorder(MLP, CUDA) is cuda_graph
    assert recorder(MLP, CPU) is None
    assert recorder(dataclasses.replace(MLP, optimizer="sophia"), CUDA) is None


@needs_cuda
@pytest.mark.parametrize(("spec", "changes"), TRAININGS)
def test_a_graph_trains_the_same_model(spec: RunSpec, changes: dict[str, Any]) -> None:
    spec = dataclasses.replace(spec, **changes)
    tolerance = 2e-2 if spec.precision == "bf16" else 2e-3  # TF32 in convolutions, other sums
    graph, plain = (train(spec, DATASET, "cuda", recorded=recorded) for recorded in (True, False))
    assert_trained_alike(graph, plain, tolerance)
    assert_trained_alike(graph, train(spec, DATASET), tolerance)


@needs_cuda
@pytest.mark.parametrize("recorded", [True, False])
def test_no_step_waits_for_the_device(monkeypatch: pytest.MonkeyPatch, *, recorded: bool) -> None:
    """Once the first ones are over, which let libraries set themselves up."""
    spec, steps = dataclasses.replace(VGG, augment=True, epochs=4), 0
    original = optimisers.learning_rate

    def watched(spec: RunSpec, step: int, total: int) -> float:
        nonlocal steps
        steps += 1
        torch.cuda.set_sync_debug_mode("error" if step > WARM_UP + 1 else "default")
        return original(spec, step, total)

    def end_of_epoch(done: int, epochs: int) -> None:
        torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(engine, "learning_rate", watched)
    monkeypatch.setattr(torch.Tensor, "tolist", _unwatched(torch.Tensor.tolist))
    try:
        train(spec, DATASET, "cuda", recorded=recorded, on_epoch=end_of_epoch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert steps == 16


def _unwatched(original: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """The losses of an epoch are read once it is over, and only then may one wait."""

    def read(tensor: Tensor) -> Any:
        torch.cuda.set_sync_debug_mode("default")
        return original(tensor)

    return read
