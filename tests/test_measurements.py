"""Layers and paths against plain float64 computations that share no code with lmc, and their invariances."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize, special
from torch import nn
from torch.nn import functional as F

from lmc.data import Normaliser
from lmc.measuring.evaluation import Evaluation, Inputs, evaluate_logits, logits_of
from lmc.measuring.layers import measure_layers, measure_layers_and_logits
from lmc.measuring.paths import barriers, interpolation_path, measure_path
from lmc.merging import interpolate, reset_bn_stats
from lmc.nets import MLP, VGG, ResNet

Array = np.ndarray
State = dict[str, Array]

CLASSES, PIXELS, UNITS = 4, 2 * 8 * 8, 24
PLAN = (1, None, 2, 2, None, 4)
LAMS = (0.0, 0.25, 0.5, 0.8, 1.0)
CLOSE = {"rel": 1e-6, "abs": 1e-9}  # float64 throughout; β is a numeric optimum on both sides
SAME = {"rel": 1e-10, "abs": 1e-12}  # two orders of summation


# -- The reference: plain networks that write down what every layer sees and gives. --


class Trace:
    """One forward pass in numpy; BatchNorm by its running statistics, or by the batch's and noting them."""

    def __init__(self, state: State, *, batch_statistics: bool = False) -> None:
        self.state, self.batch_statistics = state, batch_statistics
        self.inputs: dict[str, Array] = {}
        self.responses: dict[str, Array] = {}
        self.preactivations: dict[str, Array] = {}
        self.activations: dict[str, Array] = {}
        self.statistics: dict[str, tuple[Array, Array]] = {}
        self.maps: dict[str, Callable[[Array, Array], Array]] = {}
        """W, z -> W z, by layer."""

    def weigh(self, name: str, z: Array, apply: Callable[[Array, Array], Array]) -> Array:
        weight = self.state[f"{name}.weight"]
        self.inputs[name], self.maps[name], self.responses[name] = z, apply, apply(weight, z)
        return self.responses[name] + self.state.get(f"{name}.bias", 0.0)

    def linear(self, name: str, z: Array) -> Array:
        return self.weigh(name, z, lambda weight, z: z @ weight.T)

    def conv(self, name: str, z: Array, stride: int = 1, padding: int = 1) -> Array:
        def apply(weight: Array, z: Array) -> Array:
            return F.conv2d(torch.tensor(z), torch.tensor(weight), stride=stride, padding=padding).numpy()

        return self.weigh(name, z, apply)

    def norm(self, name: str, h: Array) -> Array:
        mean, variance = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        if self.batch_statistics:
            channels = np.moveaxis(h, 1, -1).reshape(-1, h.shape[1])
            mean, variance = channels.mean(0), channels.var(0)
            self.statistics[name] = (mean, variance * len(channels) / (len(channels) - 1))
        scale = self.state[f"{name}.weight"] / np.sqrt(variance + 1e-5)
        shape = (1, -1) + (1,) * (h.ndim - 2)
        return (h - mean.reshape(shape)) * scale.reshape(shape) + self.state[f"{name}.bias"].reshape(shape)

    def relu(self, name: str, h: Array) -> Array:
        self.preactivations[name], self.activations[name] = h, np.where(h > 0, h, 0.0)
        return self.activations[name]


def mlp(trace: Trace, x: Array) -> Array:
    features = x.reshape(len(x), -1)
    for index in range(3):
        h = trace.linear(f"hidden.{index}.linear", features)
        if f"hidden.{index}.norm.weight" in trace.state:
            h = trace.norm(f"hidden.{index}.norm", h)
        features = trace.relu(f"hidden.{index}.relu", h)
    return trace.linear("head", features)


def mlp_skip(trace: Trace, x: Array) -> Array:
    features = trace.relu("hidden.0.relu", trace.linear("hidden.0.linear", x.reshape(len(x), -1)))
    for index in (1, 2):
        h = trace.linear(f"hidden.{index}.linear", features)
        features = features + trace.relu(f"hidden.{index}.relu", h)
    return trace.linear("head", features)


def vgg(trace: Trace, x: Array) -> Array:
    index = 0
    for multiple in PLAN:
        if multiple is None:
            n, c, height, width = x.shape
            x, index = x.reshape(n, c, height // 2, 2, width // 2, 2).max((3, 5)), index + 1
            continue
        h = trace.norm(f"features.{index + 1}", trace.conv(f"features.{index}", x))
        x, index = trace.relu(f"features.{index + 2}", h), index + 3
    return trace.linear("head", x.mean((2, 3)))


def resnet(trace: Trace, x: Array) -> Array:
    x = trace.relu("relu", trace.norm("norm", trace.conv("stem", x)))
    for index, stride in enumerate((1, 2, 2)):
        block = f"stages.{index}"
        branch = trace.norm(f"{block}.norm1", trace.conv(f"{block}.conv1", x, stride))
        branch = trace.relu(f"{block}.relu1", branch)
        branch = trace.norm(f"{block}.norm2", trace.conv(f"{block}.conv2", branch))
        if stride > 1:
            x = trace.norm(f"{block}.shortcut.1", trace.conv(f"{block}.shortcut.0", x, stride, padding=0))
        x = trace.relu(f"{block}.relu2", branch + x)
    return trace.linear("head", x.mean((2, 3)))


Net = tuple[Callable[[], nn.Module], Callable[[Trace, Array], Array]]
NETS: dict[str, Net] = {
    "mlp": (lambda: MLP(PIXELS, UNITS, CLASSES), mlp),
    "mlp-no-bias": (lambda: MLP(PIXELS, UNITS, CLASSES, bias=False), mlp),
    "mlp-bn": (lambda: MLP(PIXELS, UNITS, CLASSES, batch_norm=True), mlp),
    "mlp-skip": (lambda: MLP(PIXELS, UNITS, CLASSES, skip=True), mlp_skip),
    "vgg": (lambda: VGG(2, 3, CLASSES, plan=PLAN), vgg),
    "resnet": (lambda: ResNet(2, 3, CLASSES, blocks=1), resnet),
}
every_net = pytest.mark.parametrize("name", NETS)


def run(
    forward: Callable[[Trace, Array], Array], state: State, x: Array, *, batch_statistics: bool = False
) -> Trace:
    trace = Trace(state, batch_statistics=batch_statistics)
    trace.activations["logits"] = forward(trace, x)
    return trace


def merged_state(
    forward: Callable[[Trace, Array], Array], a: State, b: State, lam: float, batches: list[Array]
) -> State:
    """λ a + (1-λ) b; between the endpoints, with the mean of the batches' BatchNorm statistics."""
    merged = {key: lam * a[key] + (1 - lam) * b[key] for key in a}
    if 0 < lam < 1:
        seen = [run(forward, merged, batch, batch_statistics=True).statistics for batch in batches]
        for norm in seen[0]:
            merged[f"{norm}.running_mean"] = sum(each[norm][0] for each in seen) / len(seen)
            merged[f"{norm}.running_var"] = sum(each[norm][1] for each in seen) / len(seen)
    return merged


def length(x: Array) -> float:
    return math.sqrt(float(x.ravel() @ x.ravel()))


def cosine(x: Array, y: Array) -> float:
    return float(x.ravel() @ y.ravel()) / (length(x) * length(y))


def ratio(x: Array, y: Array) -> float:
    return length(x) / length(y)


def distance(x: Array, y: Array) -> float:
    return length(x - y) ** 2 / (length(x) * length(y))


def mean_over(pairs: Iterable[tuple[Array, ...]], quantity: Callable[..., float]) -> float:
    values = [quantity(*rows) for arrays in pairs for rows in zip(*arrays, strict=True)]
    return sum(values) / len(values)


def reference_layers(a: Trace, b: Trace, m: Trace) -> dict[str, Any]:
    found: dict[str, Any] = {"outputs": {}, "relus": {}, "weights": {}}
    for depth, name in enumerate(m.activations, start=1):
        f_m, f_a, f_b = m.activations[name], a.activations[name], b.activations[name]
        found["outputs"][name] = {
            "lewc_cosine": mean_over([(f_m, 0.5**depth * f_a + 0.5**depth * f_b)], cosine),
            "llfc_norm_ratio": mean_over([(f_m, (f_a + f_b) / 2)], ratio),
            "endpoint_cosine": mean_over([(f_a, f_b)], cosine),
            "norm_merged": mean_over([(f_m,)], length),
            "norm_endpoints": mean_over([(f_a,), (f_b,)], length),
        }
    for name in m.preactivations:
        h_a, h_b = a.preactivations[name], b.preactivations[name]
        sides = np.maximum((h_a + h_b) / 2, 0), (np.maximum(h_a, 0) + np.maximum(h_b, 0)) / 2
        found["relus"][name] = {"additivity_cosine": mean_over([sides], cosine)}
    for name, apply in m.maps.items():
        w_a, w_b = a.state[f"{name}.weight"], b.state[f"{name}.weight"]
        z_a, z_b, z_m = a.inputs[name], b.inputs[name], m.inputs[name]
        own_a, own_b, a_of_b, b_of_a = apply(w_a, z_a), apply(w_b, z_b), apply(w_a, z_b), apply(w_b, z_a)
        found["weights"][name] = {
            "orthogonality_ratio": mean_over([(b_of_a, own_a), (a_of_b, own_b)], ratio),
            "recovery_cosine": mean_over([(apply(w_a, z_m), own_a), (apply(w_b, z_m), own_b)], cosine),
            "commutativity_distance": mean_over([(a_of_b, b_of_a)], distance),
        }
    return found


def reference_evaluation(logits: Array, labels: Array) -> dict[str, float]:
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)).numpy()
    fitted, judged = np.split(order, [len(labels) // 5])
    share = 1 / (len(fitted) + 2)
    targets = (1 - share) * np.eye(CLASSES)[labels] + share / CLASSES

    def loss(beta: float, rows: Array) -> float:
        return -float(special.log_softmax(beta * logits, axis=1)[rows, labels[rows]].mean())

    def slope(beta: float) -> float:
        return float(((special.softmax(beta * logits, axis=1) - targets) * logits)[fitted].sum())

    assert slope(1e-3) < 0 < slope(1e4), "the case must have an interior optimum"
    beta = optimize.brentq(slope, 1e-3, 1e4, xtol=1e-14, rtol=1e-14)
    right = sum(int(np.argmax(row) == label) for row, label in zip(logits, labels, strict=True))
    return {
        "accuracy": right / len(labels),
        "loss": loss(1.0, np.arange(len(labels))),
        "beta": beta,
        "calibrated_loss": loss(beta, judged),
    }


# -- The nets and data both sides read. --


def random_net(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A net in float64 with He's variance; its BatchNorms have random affine maps and roughly right statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build().double().eval()
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
        for parameter in net.parameters():
            parameter.data.mul_(math.sqrt(6))
        for norm in norms:
            norm.weight.data.uniform_(0.5, 2.0)
            norm.bias.data.uniform_(-0.3, 0.3)
        reset_bn_stats(net, [4 * torch.rand(40, 2, 8, 8).double() - 2])
        for norm in norms:
            norm.running_mean.mul_(torch.empty_like(norm.running_mean).uniform_(0.7, 1.4))
            norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.7, 1.4))
    return net


def inputs_for(a: nn.Module, b: nn.Module) -> Inputs:
    """Random images, labelled by chance as the two models and their merges find likely."""
    rng = np.random.default_rng(0)
    test, train = (torch.from_numpy(rng.integers(0, 256, (count, 2, 8, 8), dtype=np.uint8)) for count in (60, 81))
    scale, shift = torch.full((2, 1, 1), 1 / 64), torch.tensor([-2.0, -1.5]).view(2, 1, 1)  # exact in float32
    inputs = Inputs(test, torch.zeros(60).long(), train, Normaliser(scale, shift), 40, torch.float64)
    _, logits = interpolation_path(
        copy.deepcopy(a), a.state_dict(), b.state_dict(), LAMS, replace(inputs, batch=40)
    )
    scores = sum(each / each.std() for each in logits).numpy()
    return replace(inputs, labels=torch.from_numpy((scores + rng.gumbel(size=scores.shape)).argmax(1)))


Setting = tuple[nn.Module, nn.Module, nn.Module, Inputs]


@cache
def setting(name: str) -> Setting:
    """Two models not to be changed, a third to merge into, and data."""
    a, b, merged = (random_net(NETS[name][0], seed) for seed in (2, 3, 4))
    return a, b, merged, inputs_for(a, b)


def changeable(name: str) -> Setting:
    """The same, with models to be changed."""
    a, b, merged, inputs = setting(name)
    return copy.deepcopy(a), copy.deepcopy(b), merged, inputs


def images(uint8: torch.Tensor) -> Array:
    return uint8.numpy() / 64 - np.array([2.0, 1.5]).reshape(2, 1, 1)


def numpy_state(net: nn.Module) -> State:
    return {key: tensor.numpy().copy() for key, tensor in net.state_dict().items()}


def merge_midpoint(merged: nn.Module, a: nn.Module, b: nn.Module, inputs: Inputs) -> nn.Module:
    merged.load_state_dict(interpolate(a.state_dict(), b.state_dict(), 0.5))
    reset_bn_stats(merged, inputs.train_batches(100))
    return merged


def measure(a: nn.Module, b: nn.Module, merged: nn.Module, inputs: Inputs, lams: tuple[float, ...] = LAMS) -> Any:
    layers = measure_layers(a, b, merge_midpoint(merged, a, b, inputs), inputs)
    return {"layers": layers, "path": measure_path(merged, a.state_dict(), b.state_dict(), lams, inputs)}


def leaves(record: Any, where: str = "") -> Iterator[tuple[str, float | None]]:
    """Every number of a nested record, with its path."""
    if isinstance(record, Mapping | list):
        items = record.items() if isinstance(record, Mapping) else enumerate(record)
        for key, value in items:
            yield from leaves(value, f"{where}/{key}")
    else:
        yield where, record


def assert_records_close(found: Any, expected: Any, **tolerance: float) -> None:
    found_leaves, expected_leaves = dict(leaves(found)), dict(leaves(expected))
    assert list(found_leaves) == list(expected_leaves)
    wrong = {
        key: (found_leaves[key], value)
        for key, value in expected_leaves.items()
        if found_leaves[key] != (value if value is None else pytest.approx(value, **tolerance))
    }
    assert not wrong


# -- Agreement with the reference. --


@every_net
def test_layers_agree_with_plain_numpy(name: str) -> None:
    (a, b, merged, inputs), forward = setting(name), NETS[name][1]
    found = measure_layers(a, b, merge_midpoint(merged, a, b, inputs), inputs)
    state_a, state_b = numpy_state(a), numpy_state(b)
    state_m = merged_state(
        forward, state_a, state_b, 0.5, [images(inputs.train[:40]), images(inputs.train[40:80])]
    )
    traces = [run(forward, state, images(inputs.test)) for state in (state_a, state_b, state_m)]
    assert_records_close(found, reference_layers(*traces), **CLOSE)
    varied = [value for where, value in leaves(found) if "norm_" not in where]
    # Without BatchNorm, LEWC of layer 1 is its additivity; were more to coincide, the case would tell too little.
    assert len(set(varied)) >= len(varied) - 1


@every_net
def test_paths_agree_with_plain_numpy(name: str) -> None:
    (a, b, merged, inputs), forward = setting(name), NETS[name][1]
    found = measure_path(merged, a.state_dict(), b.state_dict(), LAMS, inputs)
    labels, state_a, state_b = inputs.labels.numpy(), numpy_state(a), numpy_state(b)
    batches = [images(inputs.train[:40]), images(inputs.train[40:80])]  # a last batch of one image is left out
    states = [merged_state(forward, state_a, state_b, lam, batches) for lam in LAMS]
    logits = [run(forward, state, images(inputs.test)).activations["logits"] for state in states]
    points = [reference_evaluation(each, labels) for each in logits]
    assert_records_close(found["points"], points, **CLOSE)
    assert found["lams"] == list(LAMS)
    assert_records_close(found["ensemble"], reference_evaluation(logits[0] + logits[-1], labels), **CLOSE)
    for quantity, sign in (("loss", 1), ("calibrated_loss", 1), ("accuracy", -1)):
        line = [lam * points[-1][quantity] + (1 - lam) * points[0][quantity] for lam in LAMS]
        excess = [sign * (point[quantity] - level) for point, level in zip(points, line, strict=True)]
        assert found["barriers"][f"{quantity}_barrier_midpoint"] == pytest.approx(excess[2], **CLOSE)
        assert found["barriers"][f"{quantity}_barrier_maximum"] == pytest.approx(max(excess), **CLOSE)
    assert abs(found["barriers"]["loss_barrier_midpoint"]) > 1e-3, "the case must have a barrier"


@every_net
def test_the_endpoints_of_the_path_are_the_models_as_trained(name: str) -> None:
    a, b, merged, inputs = setting(name)
    first, *_, last = measure_path(merged, a.state_dict(), b.state_dict(), LAMS, inputs)["points"]
    assert first == asdict(evaluate_logits(logits_of(b, inputs), inputs.labels))
    assert last == asdict(evaluate_logits(logits_of(a, inputs), inputs.labels))
    assert first != last


@every_net
def test_the_batch_size_does_not_matter(name: str) -> None:
    a, b, merged, inputs = setting(name)
    merge_midpoint(merged, a, b, inputs)
    whole, *others = (measure_layers(a, b, merged, replace(inputs, batch=batch)) for batch in (60, 23, 59, 1000))
    for other in others:
        assert_records_close(other, whole, **SAME)


def test_the_batch_size_of_a_path_without_batchnorm_does_not_matter() -> None:
    a, b, merged, inputs = setting("mlp")
    states = a.state_dict(), b.state_dict()
    whole, other = (measure_path(merged, *states, LAMS, replace(inputs, batch=batch)) for batch in (60, 7))
    assert_records_close(other, whole, **SAME)


@every_net
def test_logits_of_the_layer_pass_serve_the_path(name: str) -> None:
    a, b, merged, inputs = setting(name)
    _, logits = measure_layers_and_logits(a, b, merge_midpoint(merged, a, b, inputs), inputs)
    known = {0.0: logits["b"], 0.5: logits["m"], 1.0: logits["a"]}
    states = a.state_dict(), b.state_dict()
    found = measure_path(merged, *states, LAMS, inputs, known)
    assert_records_close(found, measure_path(merged, *states, LAMS, inputs), **SAME)


# -- Controls and invariances. --


@every_net
def test_a_model_merged_with_itself_has_no_barrier(name: str) -> None:
    net, _, merged, inputs = changeable(name)
    reset_bn_stats(net, inputs.train_batches(100))  # so that the merged model's reset changes nothing
    found = measure(net, net, merged, inputs)
    assert_records_close(found["path"]["barriers"], dict.fromkeys(found["path"]["barriers"], 0.0), abs=1e-10)
    exact = {"lewc_cosine": 1, "llfc_norm_ratio": 1, "endpoint_cosine": 1, "additivity_cosine": 1}
    exact |= {"orthogonality_ratio": 1, "recovery_cosine": 1, "commutativity_distance": 0}
    for where, value in leaves(found["layers"]):
        quantity = where.rsplit("/", 1)[-1]
        if quantity in exact:
            assert value == pytest.approx(exact[quantity], abs=1e-10), where


CHAINS = {  # weight layers in order, each with the BatchNorm behind it
    "mlp": [(f"hidden.{index}.linear", None) for index in range(3)],
    "mlp-bn": [(f"hidden.{index}.linear", f"hidden.{index}.norm") for index in range(3)],
    "vgg": [(f"features.{index}", f"features.{index + 1}") for index in (0, 4, 7, 11)],
}


def permute_hidden(net: nn.Module, chain: list[tuple[str, str | None]], seed: int) -> nn.Module:
    """Reorder every hidden layer's units; the function stays the same."""
    state, rng = dict(net.state_dict()), np.random.default_rng(seed)
    followers = [*(layer for layer, _ in chain[1:]), "head"]
    for (layer, norm), follower in zip(chain, followers, strict=True):
        order = torch.from_numpy(rng.permutation(len(state[f"{layer}.weight"])))
        for key in state:
            if key.rpartition(".")[0] in (layer, norm) and state[key].ndim:
                state[key] = state[key][order]
        state[f"{follower}.weight"] = state[f"{follower}.weight"][:, order]
    net.load_state_dict(state)
    return net


@pytest.mark.parametrize("name", CHAINS)
def test_the_order_of_hidden_units_does_not_matter(name: str) -> None:
    a, b, merged, inputs = changeable(name)
    before, logits = measure(a, b, merged, inputs), logits_of(a, inputs)
    permute_hidden(a, CHAINS[name], seed=5)
    assert (logits_of(a, inputs) - logits).abs().max() < 1e-12
    only_a = measure(a, b, merged, inputs)
    assert (
        abs(
            only_a["layers"]["outputs"]["logits"]["lewc_cosine"]
            - before["layers"]["outputs"]["logits"]["lewc_cosine"]
        )
        > 1e-3
    ), "one model's order does matter"
    permute_hidden(b, CHAINS[name], seed=5)
    assert_records_close(measure(a, b, merged, inputs), before, **SAME)


def test_the_scale_of_a_layer_does_not_matter_to_what_is_relative() -> None:
    a, b, merged, inputs = changeable("mlp-no-bias")
    before = dict(leaves(measure(a, b, merged, inputs)["layers"]))
    factors = (3.0, 0.01, 7.0, 0.5)
    for net in (a, b):
        for factor, parameter in zip(factors, net.parameters(), strict=True):
            parameter.data.mul_(factor)
    for where, value in leaves(measure(a, b, merged, inputs)["layers"]):
        scale = 1.0
        if "norm_merged" in where or "norm_endpoints" in where:
            scale = math.prod(factors[: list(merged_layers(merged)).index(where.split("/")[2]) + 1])
        assert value == pytest.approx(scale * before[where], rel=1e-10), where


def merged_layers(net: nn.Module) -> Iterator[str]:
    yield from (name for name, module in net.named_modules() if isinstance(module, nn.ReLU))
    yield "logits"


def test_swapping_the_models_mirrors_the_path() -> None:
    a, b, merged, inputs = setting("mlp-bn")
    lams = (0.0, 0.25, 0.5, 0.75, 1.0)
    one, other = measure(a, b, merged, inputs, lams), measure(b, a, merged, inputs, lams)
    assert_records_close(other["path"]["points"], one["path"]["points"][::-1], **SAME)
    assert_records_close(other["path"]["barriers"], one["path"]["barriers"], **SAME)
    assert_records_close(other["layers"], one["layers"], **SAME)


# -- Dead layers: strong decay can bring a whole layer to zero. --


def kill(net: nn.Module, layer: str) -> None:
    net.get_submodule(layer).weight.data.zero_()


DEAD = [
    *[("mlp-no-bias", "hidden.0.linear"), ("mlp-no-bias", "hidden.1.linear"), ("mlp-no-bias", "head")],
    *[("mlp-bn", "hidden.1.linear"), ("vgg", "features.4"), ("resnet", "stem"), ("resnet", "stages.1.conv2")],
]


@pytest.mark.parametrize("who", ["a", "b", "both"])
@pytest.mark.parametrize(("name", "layer"), DEAD)
def test_dead_layers_never_give_nan(name: str, layer: str, who: str) -> None:
    a, b, merged, inputs = changeable(name)
    for net in {"a": [a], "b": [b], "both": [a, b]}[who]:
        kill(net, layer)
    for where, value in leaves(measure(a, b, merged, inputs, (0.0, 0.5, 1.0))):
        assert value is None or math.isfinite(value), where


def dead_record(who: str) -> Any:
    a, b, merged, inputs = changeable("mlp-no-bias")
    for net in (a, b) if who == "both" else (a,):
        kill(net, "hidden.1.linear")
    return measure(a, b, merged, inputs)


def test_where_both_are_dead_they_agree() -> None:
    found = dead_record("both")
    for output in ("hidden.1.relu", "hidden.2.relu", "logits"):
        record = found["layers"]["outputs"][output]
        assert (record["lewc_cosine"], record["endpoint_cosine"]) == (1.0, 1.0)
        assert (record["norm_merged"], record["norm_endpoints"], record["llfc_norm_ratio"]) == (0.0, 0.0, None)
    assert found["layers"]["relus"]["hidden.1.relu"] == {"additivity_cosine": 1.0}
    expected = {"orthogonality_ratio": 0.0, "recovery_cosine": 1.0, "commutativity_distance": 0.0}
    assert found["layers"]["weights"]["hidden.1.linear"] == expected
    for point in found["path"]["points"]:
        assert point["beta"] == 1.0
        assert point["loss"] == pytest.approx(math.log(CLASSES), abs=1e-12)
        assert point["accuracy"] == 0.0, "a tie is no answer"


def test_where_one_is_dead_what_is_undefined_is_none() -> None:
    found = dead_record("a")["layers"]
    dead = found["weights"]["hidden.1.linear"]
    assert dead["commutativity_distance"] is None
    assert dead["orthogonality_ratio"] == 0.0  # W_a z_b = 0 where W_b z_b is not; the other direction is 1/0
    assert 0.5 < dead["recovery_cosine"] < 1.0  # half the rows are 0 = 0, half are model b's
    assert found["outputs"]["hidden.1.relu"]["endpoint_cosine"] == 0.0
    # The merged pre-activations are half of W_b z(merged): they point where b's do, as far as layer 1 let them.
    assert 0.0 < found["outputs"]["hidden.1.relu"]["lewc_cosine"] < 1.0
    assert found["relus"]["hidden.1.relu"]["additivity_cosine"] == pytest.approx(1.0, abs=1e-12)


# -- Barriers of paths made by hand. --


def path_of(values: list[float]) -> list[Evaluation]:
    return [Evaluation(accuracy=1 - value, loss=value, beta=1.0, calibrated_loss=2 * value) for value in values]


@pytest.mark.parametrize(
    ("lams", "values", "midpoint", "maximum"),
    [
        ((0, 0.5, 1), [1.0, 3.0, 2.0], 1.5, None),
        ((0, 0.25, 0.5, 0.75, 1), [0.0, 1.0, 2.0, 3.0, 4.0], 0.0, 0.0),  # straight, if λ weights the last model
        ((0, 0.25, 0.5, 0.75, 1), [0.0, 3.0, 2.5, 3.0, 4.0], 0.5, 2.0),
        ((0, 0.25, 0.5, 0.75, 1), [2.0, 1.0, 1.0, 1.0, 2.0], -1.0, 0.0),
        ((0, 0.2, 0.4, 0.6, 1), [0.0, 0.5, 0.0, 0.0, 0.0], None, 0.5),
        ((0, 0.1, 0.5, 1), [10.0, 9.0, 5.0, 0.0], 0.0, 0.0),
    ],
)
def test_barriers_by_hand(
    lams: tuple[float, ...], values: list[float], midpoint: float | None, maximum: float | None
) -> None:
    found = barriers(lams, path_of(values))
    for quantity, factor in (("loss", 1), ("calibrated_loss", 2), ("accuracy", 1)):
        for point, expected in (("midpoint", midpoint), ("maximum", maximum)):
            wanted = None if expected is None else pytest.approx(factor * expected, abs=1e-12)
            assert found.pop(f"{quantity}_barrier_{point}") == wanted
    assert not found


def test_a_path_and_its_lambdas_must_fit() -> None:
    with pytest.raises(ValueError, match="zip"):
        barriers((0, 0.5, 1), path_of([1.0, 2.0]))
