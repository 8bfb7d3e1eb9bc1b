"""Plain float64 computations of layers and paths that share no code with lmc, and models to compare them on."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize, special
from torch import nn
from torch.nn import functional as F

from lmc.data import Normaliser
from lmc.measuring.inputs import HeldInputs
from lmc.measuring.layers import measure_layers
from lmc.measuring.paths import interpolation_path, measure_path
from lmc.merging import interpolate, reset_bn_stats
from lmc.nets import MLP, VGG, ResNet

Array = np.ndarray
State = dict[str, Array]

CLASSES, PIXELS, UNITS = 4, 2 * 8 * 8, 24
PLAN = (1, None, 2, 2, None, 4)
LAMS = (0.0, 0.25, 0.5, 0.8, 1.0)
CLOSE: dict[str, Any] = {"rel": 1e-6, "abs": 1e-9}  # float64 throughout; β is a numeric optimum on both sides
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

    @property
    def plain(self) -> bool:
        """Whether nothing is normalised, and every layer but the first reads the activation before it as it is."""
        normalised = any(name.endswith("running_mean") for name in self.state)
        pairs = zip(list(self.inputs.values())[1:], self.activations.values(), strict=False)  # logits are read by none
        return not normalised and all(np.array_equal(z.ravel(), f.ravel()) for z, f in pairs)


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


def run(forward: Callable[[Trace, Array], Array], state: State, x: Array, *, batch_statistics: bool = False) -> Trace:
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
            merged[f"{norm}.running_mean"] = np.mean([each[norm][0] for each in seen], axis=0)
            merged[f"{norm}.running_var"] = np.mean([each[norm][1] for each in seen], axis=0)
    return merged


def length(x: Array) -> float:
    return math.sqrt(float(x.ravel() @ x.ravel()))


def cosine(x: Array, y: Array) -> float:
    return float(x.ravel() @ y.ravel()) / (length(x) * length(y))


def ratio(x: Array, y: Array) -> float:
    return length(x) / length(y)


def distance(x: Array, y: Array) -> float:
    return length(x - y) ** 2 / (length(x) * length(y))


def overlap(a: set[int], b: set[int]) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


def active_channels(h: Array) -> set[int]:
    """Channels whose root mean square over inputs and positions exceeds a twentieth of the largest."""
    sizes = [math.sqrt(float(np.mean(h[:, channel] ** 2))) for channel in range(h.shape[1])]
    return {channel for channel, size in enumerate(sizes) if size > 0.05 * max(sizes)}


def varying_share(h: Array) -> float:
    """Share of the channels whose variance over inputs, averaged over positions, is not 1e-6 of the largest moment."""
    spread = [float(np.mean(np.var(h[:, channel], axis=0))) for channel in range(h.shape[1])]
    largest = max(float(np.mean(h[:, channel] ** 2)) for channel in range(h.shape[1]))
    return float(np.mean(np.array(spread) > 1e-6 * largest))


def sign_disagreement(h_a: Array, h_b: Array, channels: set[int]) -> float:
    """Share of the entries of these channels that are positive in one of the two alone."""
    kept = sorted(channels)
    return float(np.mean((h_a[:, kept] > 0) ^ (h_b[:, kept] > 0)))


def centred(logits: Array) -> Array:
    return logits - logits.mean(1, keepdims=True)


def mean_over(pairs: Iterable[tuple[Array, ...]], quantity: Callable[..., float]) -> float:
    values = [quantity(*rows) for arrays in pairs for rows in zip(*arrays, strict=True)]
    return sum(values) / len(values)


def reference_layers(a: Trace, b: Trace, m: Trace) -> dict[str, Any]:
    found: dict[str, Any] = {"outputs": {}, "activations": {}, "weights": {}}
    for depth, name in enumerate(m.activations, start=1):
        f_m, f_a, f_b = m.activations[name], a.activations[name], b.activations[name]
        found["outputs"][name] = {
            "lewc_cosine": mean_over([(f_m, 0.5**depth * f_a + 0.5**depth * f_b)], cosine),
            "lewc_norm_ratio": mean_over([(f_m, 0.5**depth * (f_a + f_b))], ratio) if m.plain else None,
            "llfc_norm_ratio": mean_over([(f_m, (f_a + f_b) / 2)], ratio),
            "endpoint_cosine": mean_over([(f_a, f_b)], cosine),
            "norm_merged": mean_over([(f_m,)], length),
            "norm_endpoints": mean_over([(f_a,), (f_b,)], length),
        }
    logits, ensemble = (centred(each) for each in (m.activations["logits"], f_a + f_b))
    found["outputs"]["logits"] |= {
        "class_centred_lewc_cosine": mean_over([(logits, ensemble)], cosine),
        "centred_lewc_cosine": mean_over([(logits - logits.mean(0), ensemble - ensemble.mean(0))], cosine),
    }
    for name in m.preactivations:
        h_a, h_b = a.preactivations[name], b.preactivations[name]
        sides = np.maximum((h_a + h_b) / 2, 0), (np.maximum(h_a, 0) + np.maximum(h_b, 0)) / 2
        active_a, active_b, channels = active_channels(h_a), active_channels(h_b), h_a.shape[1]
        p, q = len(active_a) / channels, len(active_b) / channels
        h_other = h_b[:, torch.randperm(channels, generator=torch.Generator().manual_seed(0)).numpy()]
        shuffled = np.maximum((h_a + h_other) / 2, 0), (np.maximum(h_a, 0) + np.maximum(h_other, 0)) / 2
        found["activations"][name] = {
            "additivity_cosine": mean_over([sides], cosine),
            "additivity_shuffled": mean_over([shuffled], cosine),
            "function": "relu",
            "additivity_null": (3 / 4 + 1 / math.pi) / math.sqrt(1 + 1 / math.pi),
            "active_share": (p + q) / 2,
            "overlap_ratio": overlap(active_a, active_b),
            "overlap_chance": p * q / (p + q - p * q),
            "sign_disagreement": sign_disagreement(h_a, h_b, active_a | active_b),
            "varying_share_a": varying_share(h_a),
            "varying_share_b": varying_share(h_b),
        }
    for name, apply in m.maps.items():
        w_a, w_b = a.state[f"{name}.weight"], b.state[f"{name}.weight"]
        z_a, z_b, z_m = a.inputs[name], b.inputs[name], m.inputs[name]
        own_a, own_b, a_of_b, b_of_a = apply(w_a, z_a), apply(w_b, z_b), apply(w_a, z_b), apply(w_b, z_a)
        found["weights"][name] = {
            "orthogonality_ratio": mean_over([(b_of_a, own_a), (a_of_b, own_b)], ratio),
            "recovery_cosine": mean_over([(apply(w_a, z_m), own_a), (apply(w_b, z_m), own_b)], cosine),
            "commutativity_distance": distance(a_of_b, b_of_a),  # of whole matrices (Zhou et al. 2023)
            "relative_commutativity": length(a_of_b - b_of_a) ** 2 / (length(a_of_b) ** 2 + length(b_of_a) ** 2),
        }
    a_of_b, b_of_a = z_b @ (w_a - w_a.mean(0)).T, z_a @ (w_b - w_b.mean(0)).T  # of the last layer
    found["weights"][name] |= {
        "class_centred_commutativity_distance": distance(a_of_b, b_of_a),
        "class_centred_relative_commutativity": length(a_of_b - b_of_a) ** 2
        / (length(a_of_b) ** 2 + length(b_of_a) ** 2),
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
    """A net in float64 with He's variance; its BatchNorms have random affine maps and roughly right statistics.

    Some units hardly speak, so that active ones can be told from others.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build().double().eval()
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
        for parameter in net.parameters():
            parameter.data.mul_(math.sqrt(6))
        for norm in norms:
            norm.weight.data.uniform_(0.5, 2.0)
            norm.bias.data.uniform_(-0.3, 0.3)
        for layer in norms or [module for module in net.modules() if isinstance(module, nn.Linear)][:-1]:
            quiet = torch.rand(len(layer.weight)) < 0.15
            for parameter in layer.parameters():
                parameter.data[quiet] *= 0.01
        reset_bn_stats(net, [4 * torch.rand(40, 2, 8, 8).double() - 2])
        for norm in norms:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.mul_(torch.empty_like(norm.running_mean).uniform_(0.7, 1.4))
            norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.7, 1.4))
    return net


def inputs_for(a: nn.Module, b: nn.Module) -> HeldInputs:
    """Random images, labelled by chance as the two models and their merges find likely."""
    rng = np.random.default_rng(0)
    test, train = (torch.from_numpy(rng.integers(0, 256, (count, 2, 8, 8), dtype=np.uint8)) for count in (60, 81))
    scale, shift = torch.full((2, 1, 1), 1 / 64), torch.tensor([-2.0, -1.5]).view(2, 1, 1)  # exact in float32
    inputs = HeldInputs(test, torch.zeros(60).long(), train, Normaliser(scale, shift), 40, torch.float64)
    _, logits = interpolation_path(copy.deepcopy(a), a.state_dict(), b.state_dict(), LAMS, replace(inputs, batch=40))
    scores = sum(each / each.std() for each in logits).numpy()
    return replace(inputs, labels=torch.from_numpy((scores + rng.gumbel(size=scores.shape)).argmax(1)))


Setting = tuple[nn.Module, nn.Module, nn.Module, HeldInputs]


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


def merge_midpoint(merged: nn.Module, a: nn.Module, b: nn.Module, inputs: HeldInputs) -> nn.Module:
    merged.load_state_dict(interpolate(a.state_dict(), b.state_dict(), 0.5))
    reset_bn_stats(merged, inputs.train_batches(100))
    return merged


def measure(a: nn.Module, b: nn.Module, merged: nn.Module, inputs: HeldInputs, lams: tuple[float, ...] = LAMS) -> Any:
    layers, _ = measure_layers([a, b], merge_midpoint(merged, a, b, inputs), inputs)
    return {"layers": layers, "path": measure_path(merged, a.state_dict(), b.state_dict(), lams, inputs)}


def leaves(record: Any, where: str = "") -> Iterator[tuple[str, float | None]]:
    """Every number of a nested record, with its path."""
    if isinstance(record, Mapping | list):
        items = record.items() if isinstance(record, Mapping) else enumerate(record)
        for key, value in items:
            yield from leaves(value, f"{where}/{key}")
    else:
        yield where, record


def without(record: Any, name: str) -> Any:
    """A nested record less what has this name."""
    if not isinstance(record, Mapping):
        return record
    return {key: without(value, name) for key, value in record.items() if key != name}


def differences(found: Any, expected: Any, **tolerance: Any) -> dict[str, tuple[Any, Any]]:
    """Where two records differ: names that only one has, another order of names, numbers that are not close."""
    found_leaves, expected_leaves = dict(leaves(found)), dict(leaves(expected))
    if list(found_leaves) != list(expected_leaves):
        return {"names": (list(found_leaves), list(expected_leaves))}
    return {
        key: (found_leaves[key], value)
        for key, value in expected_leaves.items()
        if found_leaves[key] != (pytest.approx(value, **tolerance) if isinstance(value, int | float) else value)
    }
