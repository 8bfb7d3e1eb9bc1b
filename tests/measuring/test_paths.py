"""The path with few passes: the same numbers as model by model, within bounded memory."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmc.data import Normaliser
from lmc.errors import MergeError
from lmc.measuring import evaluation, paths
from lmc.measuring.evaluation import evaluate_all, evaluate_logits, logits_of
from lmc.measuring.first_layer import FirstLayer, find_first_layer
from lmc.measuring.inputs import HeldInputs
from lmc.measuring.paths import interpolation_path, load_interpolated, measure_path
from lmc.merging import State, interpolate, reset_bn_stats
from lmc.nets import MLP, VGG, ResNet, build

LAMS = (0.0, 0.2, 0.5, 0.7, 1.0)
CLASSES = 5


class Elementwise(nn.Module):
    """No weight layer at all: a scale per pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(64))

    def forward(self, images: Tensor) -> Tensor:
        return (images.flatten(1) * self.scale).unflatten(1, (-1, CLASSES - 1))[:, :CLASSES].amax(2)


class Twice(nn.Module):
    """The first layer runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(64, 64), nn.Linear(64, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(F.relu(self.layer(F.relu(self.layer(images.flatten(1))))))


class Scaled(nn.Module):
    """A parameter stands before the first layer, in place or not."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.scale, self.layer, self.in_place = nn.Parameter(torch.rand(64)), nn.Linear(64, CLASSES), in_place

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return self.layer(flat.mul_(self.scale) if self.in_place else flat * self.scale)


class Shortcut(nn.Module):
    """The logits read the images too, past the first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self.layer(images.flatten(1))) + images.flatten(1)[:, :CLASSES]


def normalised() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(64, 8)), nn.Linear(8, CLASSES))


def hooked() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, CLASSES))
    net[1].register_forward_hook(lambda *call: call[2].square())
    return net


FOUND = {
    "mlp": lambda: MLP(64, 24, CLASSES),
    "mlp-no-bias": lambda: MLP(64, 24, CLASSES, bias=False),
    "mlp-bn": lambda: MLP(64, 24, CLASSES, batch_norm=True),
    "mlp-skip": lambda: MLP(64, 24, CLASSES, skip=True),
    "vgg-small": lambda: VGG(1, 4, CLASSES, plan=(1, None, 2, None, 4, 4)),
    "resnet8": lambda: ResNet(1, 4, CLASSES, blocks=1),
    "strided": lambda: nn.Sequential(nn.Conv2d(1, 3, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(27, CLASSES)),
}
REFUSED = {
    "elementwise": Elementwise,
    "twice": Twice,
    "scaled": lambda: Scaled(in_place=False),
    "scaled in place": lambda: Scaled(in_place=True),
    "shortcut": Shortcut,
    "weight-norm": normalised,
    "hooked": hooked,
}


def setting(make: Any, seed: int = 0) -> tuple[list[nn.Module], HeldInputs]:
    """Models a, b and one to overwrite; 203 test images, 61 for training, in batches of 20."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        nets = [make().eval() for _ in range(3)]
        for net in nets:
            for module in net.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.track_running_stats:
                    module.weight.data.uniform_(0.5, 2.0)
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.5, 2.0)
    test, train = (torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8, generator=generator) for n in (203, 61))
    labels = torch.randint(0, CLASSES, (203,), generator=generator)
    return nets, HeldInputs(test, labels, train, Normaliser.fit(train), 20)


def plain_logits(
    model: nn.Module, a: State, b: State, lams: tuple[float, ...], inputs: HeldInputs, *, reset: bool = True
) -> list[Tensor]:
    """Model by model, every pass in full."""
    found = []
    for lam in lams:
        model.load_state_dict(interpolate(a, b, lam))
        if reset and 0 < lam < 1:
            reset_bn_stats(model, inputs.train_batches(paths.BN_IMAGES))
        found.append(logits_of(model, inputs))
    return found


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first layer is interpolated wherever it can be, even where that takes longer."""
    monkeypatch.setattr(paths, "NUMBER_COST", -(10**9))


# -- The same numbers. --


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("kept", [1, 20 * 24 * 4 * 2 * 3, 2**26], ids=["a batch", "some batches", "all"])
@pytest.mark.parametrize("name", FOUND)
def test_the_path_agrees_with_plain_evaluation(name: str, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "KEPT_BYTES", kept)
    (a, b, merged), inputs = setting(FOUND[name])
    assert find_first_layer(a, next(inputs.test_batches())) is not None
    expected = plain_logits(copy.deepcopy(merged), a.state_dict(), b.state_dict(), LAMS, inputs)
    found, logits = interpolation_path(merged, a.state_dict(), b.state_dict(), LAMS, inputs)
    assert torch.equal(logits[0], logits_of(b, inputs))
    assert torch.equal(logits[-1], logits_of(a, inputs))
    for one, other in zip(logits, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * other.abs().max().item())
    assert not torch.equal(expected[1], expected[2])
    for point, other in zip(found, expected, strict=True):
        assert point.loss == pytest.approx(evaluate_logits(other, inputs.labels).loss, rel=1e-5)


@pytest.mark.usefixtures("always")
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", ["mlp-bn", "resnet8", "hooked"])
def test_without_a_reset_statistics_are_interpolated_as_weights_are(name: str) -> None:
    (a, b, model), inputs = setting((FOUND | REFUSED)[name])
    states = a.state_dict(), b.state_dict()
    expected = plain_logits(model, *states, LAMS, inputs, reset=False)
    found = interpolation_path(model, *states, LAMS, inputs, reset=False)[1]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    reset = interpolation_path(model, *states, LAMS, inputs)[1]
    assert torch.equal(torch.stack(reset), torch.stack(found)) == (name == "hooked")  # which has no statistics


def test_without_a_reset_norms_need_no_statistics() -> None:
    def made() -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, CLASSES)
        )

    (a, b, model), inputs = setting(made)
    states = a.state_dict(), b.state_dict()
    expected = plain_logits(model, *states, LAMS, inputs, reset=False)
    found = interpolation_path(model, *states, LAMS, inputs, reset=False)[1]
    torch.testing.assert_close(found, expected)
    with pytest.raises(MergeError, match="keeps no statistics to reset"):
        interpolation_path(model, *states, LAMS, inputs)


@pytest.mark.parametrize("name", REFUSED)
def test_where_the_layer_cannot_be_interpolated_the_path_is_the_plain_one(name: str) -> None:
    (a, b, merged), inputs = setting(REFUSED[name])
    assert find_first_layer(a, next(inputs.test_batches())) is None
    expected = plain_logits(copy.deepcopy(merged), a.state_dict(), b.state_dict(), LAMS, inputs)
    _, logits = interpolation_path(merged, a.state_dict(), b.state_dict(), LAMS, inputs)
    for one, other in zip(logits, expected, strict=True):
        assert torch.equal(one, other)


def test_the_layer_found_is_the_one_counted() -> None:
    (a, *_), inputs = setting(FOUND["mlp"])
    found = find_first_layer(a, next(inputs.test_batches()))
    assert found == FirstLayer(a.hidden[0].linear, torch.Size([64]), 24, 64, 64 * 24 + 2 * 24**2 + 24 * CLASSES)
    assert "forward" not in vars(a.hidden[0].linear)


def test_known_points_are_not_computed_again() -> None:
    (a, b, merged), inputs = setting(FOUND["mlp"])
    known = {0.0: torch.randn(203, CLASSES), 0.5: torch.randn(203, CLASSES)}
    _, logits = interpolation_path(merged, a.state_dict(), b.state_dict(), LAMS, inputs, known)
    expected = plain_logits(merged, a.state_dict(), b.state_dict(), (0.2, 0.7, 1.0), inputs)
    assert logits[0] is known[0.0]
    assert logits[2] is known[0.5]
    for index, other in zip((1, 3, 4), expected, strict=True):
        torch.testing.assert_close(logits[index], other, rtol=1e-4, atol=1e-5)


def test_the_first_layer_of_an_mlp_runs_for_the_endpoints_only() -> None:
    (a, b, merged), inputs = setting(lambda: MLP(64, 24, CLASSES))
    rows: list[int] = []
    states = a.state_dict(), b.state_dict()
    original = nn.Linear.forward
    layer = merged.hidden[0].linear

    def counting(self: nn.Linear, batch: Tensor) -> Tensor:
        if self is layer:
            rows.append(len(batch))
        return original(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Linear, "forward", counting)
        interpolation_path(merged, *states, tuple(step / 20 for step in range(21)), inputs)
    assert sum(rows) == 2 * 203 + paths.PROBED


@pytest.mark.parametrize(("arch", "shape"), [("vgg-small", (1, 8, 8)), ("resnet8", (1, 8, 8)), ("vgg11", (3, 32, 32))])
def test_a_first_layer_that_costs_little_is_left_alone(arch: str, shape: tuple[int, int, int]) -> None:
    net, images = build(arch, 1 / 8, shape, 10).eval(), torch.zeros(10_000, *shape, dtype=torch.uint8)
    inputs = HeldInputs(images, torch.zeros(10_000).long(), images[:5000], Normaliser(torch.ones(1), torch.ones(1)))
    layer = find_first_layer(net, torch.randn(4, *shape))
    assert layer is not None
    path = paths._ReplayedPath(net, net.state_dict(), net.state_dict(), inputs, layer, LAMS)
    assert not path.pays


def test_the_layer_answers_itself_again_after_an_error() -> None:
    (a, b, merged), inputs = setting(FOUND["mlp"])
    fine = merged.head.forward
    calls: list[int] = []

    def failing(batch: Tensor) -> Tensor:
        calls.append(len(batch))
        if len(calls) > 30:
            raise OSError("interrupted")
        return fine(batch)

    merged.head.forward = failing
    with pytest.raises(OSError, match="interrupted"):
        interpolation_path(merged, a.state_dict(), b.state_dict(), tuple(step / 20 for step in range(21)), inputs)
    assert "forward" not in vars(merged.hidden[0].linear)
    assert not merged.hidden[0].linear._forward_hooks


# -- Loading in place. --


@pytest.mark.parametrize("lam", [0, 0.25, 0.3, 0.5, 1])
@pytest.mark.parametrize("name", ["mlp", "mlp-bn", "resnet8"])
def test_loading_in_place_is_interpolating(name: str, lam: float) -> None:
    (a, b, merged), _ = setting(FOUND[name])
    places = {key: tensor.data_ptr() for key, tensor in merged.state_dict().items()}
    load_interpolated(merged, a.state_dict(), b.state_dict(), lam)
    found, expected = merged.state_dict(), interpolate(a.state_dict(), b.state_dict(), lam)
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())
    assert {key: tensor.data_ptr() for key, tensor in found.items()} == places


def test_states_of_another_dtype_are_converted_as_load_state_dict_does() -> None:
    (a, b, merged), _ = setting(FOUND["mlp-bn"])
    double_a, double_b = copy.deepcopy(a).double().state_dict(), copy.deepcopy(b).double().state_dict()
    load_interpolated(merged, double_a, double_b, 0.3)
    other = copy.deepcopy(merged)
    other.load_state_dict(interpolate(double_a, double_b, 0.3))
    assert all(torch.equal(tensor, other.state_dict()[key]) for key, tensor in merged.state_dict().items())


def test_what_does_not_fit_is_refused() -> None:
    (a, b, merged), _ = setting(FOUND["mlp"])
    one, other = a.state_dict(), b.state_dict()
    with pytest.raises(MergeError, match=r"lam is 1\.5"):
        load_interpolated(merged, one, other, 1.5)
    with pytest.raises(MergeError, match="model b is of another architecture"):
        load_interpolated(merged, one, {**other, "more": torch.zeros(1)}, 0.5)
    with pytest.raises(MergeError, match=r"model b is of another architecture: head\.bias"):
        load_interpolated(merged, one, {**other, "head.bias": torch.zeros(1)}, 0.5)
    with pytest.raises(MergeError, match="the model to overwrite is of another architecture"):
        load_interpolated(MLP(64, 24, CLASSES, bias=False), one, other, 0.5)
    with pytest.raises(MergeError, match=r"the model to overwrite .*: hidden\.0\.linear\.weight"):
        load_interpolated(MLP(64, 12, CLASSES), one, other, 0.5)
    with pytest.raises(MergeError, match="merge into a third model"):
        load_interpolated(a, one, other, 0.5)


# -- Memory. --


class Lazy(Mapping[str, Tensor]):
    """A state dict read from afar: every access is a new tensor, and only the latest may still be held."""

    def __init__(self, state: State) -> None:
        self.state = {key: tensor.clone() for key, tensor in state.items()}
        self.held: list[weakref.ref[Tensor]] = []
        self.most = 0

    def __getitem__(self, key: str) -> Tensor:
        tensor = self.state[key].clone()
        self.held = [each for each in self.held if each() is not None] + [weakref.ref(tensor)]
        self.most = max(self.most, len(self.held))
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.state)

    def __len__(self) -> int:
        return len(self.state)


def test_lazy_states_are_read_one_tensor_at_a_time() -> None:
    (a, b, merged), inputs = setting(FOUND["mlp-bn"])
    one, other = Lazy(a.state_dict()), Lazy(b.state_dict())
    gc.collect()
    expected = measure_path(copy.deepcopy(merged), a.state_dict(), b.state_dict(), LAMS, inputs)
    assert measure_path(merged, one, other, LAMS, inputs) == expected
    assert (one.most, other.most) == (1, 1)


def peak_bytes(work: Any) -> int:
    """Most bytes allocated on the CPU at once above what there was, as the allocator itself reports."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def test_the_path_of_a_wide_net_needs_no_state_dict_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "KEPT_BYTES", 2**20)
    (a, b, merged), inputs = setting(lambda: MLP(64, 1024, CLASSES))
    states = a.state_dict(), b.state_dict()
    model = sum(tensor.nbytes for tensor in states[0].values())
    assert peak_bytes(lambda: interpolate(*states, 0.5)) > model, "the measure sees what a third state takes"
    assert peak_bytes(lambda: load_interpolated(merged, *states, 0.5)) < 2**12
    whole = peak_bytes(lambda: interpolation_path(merged, *states, LAMS, inputs))
    # Kept pre-activations, as many again while they are joined, and the activations of a few batches.
    assert whole < 4 * 2**20 < model


# -- Many points at once. --


def test_points_evaluated_together_are_those_evaluated_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (157,), generator=generator)
    signal = torch.linspace(0, 4, 9)[:, None, None] * F.one_hot(labels, CLASSES)
    logits = torch.randn(9, 157, CLASSES, generator=generator) + signal
    alone = [evaluate_logits(each, labels) for each in logits]
    assert evaluate_all(logits, labels) == alone
    assert len(set(alone)) == 9
    monkeypatch.setattr(evaluation, "BLOCK", 2 * 157 * CLASSES)
    assert evaluate_all(logits, labels) == alone
    assert evaluate_all(logits[:0], labels) == []


def test_evaluating_many_points_agrees_with_torch() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, CLASSES, (100,), generator=generator)
    logits = torch.randn(3, 100, CLASSES, generator=generator, dtype=torch.float64)
    logits[1, :50] = 0  # ties count as wrong
    for point, each in zip(evaluate_all(logits, labels), logits, strict=True):
        assert point.loss == pytest.approx(F.cross_entropy(each, labels).item(), rel=1e-13)
        ordered = each.sort(1, descending=True)
        clear = ordered.values[:, 0] > ordered.values[:, 1]
        assert point.accuracy == ((ordered.indices[:, 0] == labels) & clear).double().mean().item()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_point_is_refused_wherever_the_image_is(value: float) -> None:
    for row in range(10):
        logits = torch.randn(2, 10, CLASSES)
        logits[1, row, 0] = value
        with pytest.raises(MergeError, match="diverged"):
            evaluate_all(logits, torch.zeros(10).long())
