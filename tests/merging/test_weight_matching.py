"""Weight matching finds planted permutations, never gets worse, and is no worse than a textbook version."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as F

from lmc.architectures import architecture
from lmc.errors import MergeError
from lmc.merging import interpolate
from lmc.merging.permutation_spec import PermutationSpec, invert, permute, random_permutations
from lmc.merging.tracing import trace_permutation_spec
from lmc.merging.weight_matching import MatchingResult, assign, weight_matching
from lmc.nets import build

State = dict[str, Tensor]
quick = settings(deadline=None, max_examples=25, derandomize=True)
seeds = st.integers(0, 2**31 - 1)
ROUNDING = 1e-9

WIDTHS = {"mlp": 1 / 32, "mlp-bn": 1 / 32, "mlp-skip": 1 / 32, "vgg-small": 1 / 8, "vgg11": 1 / 16}
WIDTHS |= {"resnet8": 1 / 2, "resnet20": 1 / 4}


class Flattened(nn.Module):
    """A convolution read by a linear layer through a flatten, and a LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.dense, self.head = nn.Conv2d(3, 12, 3), nn.Linear(12 * 36, 16), nn.Linear(16, 10)
        self.norm = nn.LayerNorm(16)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.dense(F.relu(self.conv(images)).flatten(1)))))


def pair(name: str, seed: int = 0, side: int = 8) -> tuple[PermutationSpec, State, State]:
    """The specification of an architecture and two independent states of it, all vectors generic."""
    states: list[State] = []
    for number in (0, 1):
        torch.manual_seed(2 * seed + number)
        side = 32 if name == "vgg11" else side
        model = Flattened() if name == "flattened" else build(name, WIDTHS[name], (3, side, side), 10)
        for tensor in model.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
        states.append(dict(model.state_dict()))
    a, b = states
    return trace_permutation_spec(model, torch.zeros(2, 3, side, side)), a, b


def product(spec: PermutationSpec, a: State, b: State) -> float:
    names = set(spec.axes) - spec.buffers
    return sum(float((a[name].double() * b[name].double()).sum()) for name in names)


def distance(spec: PermutationSpec, a: State, b: State) -> float:
    return product(spec, a, a) + product(spec, b, b) - 2 * product(spec, a, b)


@pytest.mark.parametrize("name", [*WIDTHS, "flattened"])
def test_a_planted_permutation_is_recovered_exactly(name: str) -> None:
    spec, a, _ = pair(name)
    planted = random_permutations(spec, 7)
    found = weight_matching(spec, a, permute(a, spec, planted))
    expected = invert(planted)
    assert all(torch.equal(found.permutations[group], expected[group]) for group in spec.groups)
    assert found.objective == pytest.approx(product(spec, a, a), rel=ROUNDING)


@pytest.mark.parametrize("scale", [1e25, 1e-25])
@pytest.mark.parametrize("name", ["mlp", "resnet8"])
def test_it_is_recovered_where_float32_does_not_hold_the_products_of_weights(name: str, scale: float) -> None:
    spec, a, _ = pair(name)
    a = {key: tensor * scale if tensor.is_floating_point() else tensor for key, tensor in a.items()}
    planted = random_permutations(spec, 7)
    found = weight_matching(spec, a, permute(a, spec, planted))
    assert all(torch.equal(found.permutations[group], order) for group, order in invert(planted).items())
    assert found.objective == pytest.approx(product(spec, a, a), rel=ROUNDING)


@pytest.mark.parametrize("name", ["mlp-bn", "vgg-small", "resnet8"])
def test_a_planted_permutation_is_recovered_under_noise(name: str) -> None:
    spec, a, other = pair(name)
    noisy = {key: tensor + 0.1 * other[key] if tensor.is_floating_point() else tensor for key, tensor in a.items()}
    planted = random_permutations(spec, 3)
    found = weight_matching(spec, a, permute(noisy, spec, planted)).permutations
    assert all(torch.equal(found[group], order) for group, order in invert(planted).items())


@pytest.mark.parametrize("name", [*WIDTHS, "flattened"])
def test_matching_raises_the_objective_and_brings_the_models_closer(name: str) -> None:
    spec, a, b = pair(name)
    found = weight_matching(spec, a, b)
    matched = permute(b, spec, found.permutations)
    assert found.history[0] >= product(spec, a, b)
    assert found.objective == found.history[-1] == pytest.approx(product(spec, a, matched), rel=ROUNDING)
    assert found.sweeps == len(found.history) - 1
    assert all(later >= earlier - ROUNDING for earlier, later in itertools.pairwise(found.history))
    assert distance(spec, a, matched) < 0.99 * distance(spec, a, b)
    middle = interpolate(a, matched, 0.5)
    assert distance(spec, a, middle) < distance(spec, a, interpolate(a, b, 0.5))


@quick
@given(seeds, seeds)
def test_the_objective_never_decreases_and_is_reproducible(seed: int, order: int) -> None:
    spec, a, b = pair(["mlp-skip", "vgg-small", "resnet8"][seed % 3], seed % 1000)
    found = weight_matching(spec, a, b, seed=order)
    assert all(later >= earlier - ROUNDING for earlier, later in itertools.pairwise(found.history))
    again = weight_matching(spec, a, b, seed=order)
    assert again.history == found.history
    assert all(torch.equal(again.permutations[group], found.permutations[group]) for group in spec.groups)


@pytest.mark.parametrize("name", ["mlp-bn", "mlp-skip", "vgg-small", "resnet8"])
def test_swapping_the_models_inverts_the_permutation(name: str) -> None:
    spec, a, b = pair(name)
    forth, back = weight_matching(spec, a, b), weight_matching(spec, b, a)
    assert forth.objective == pytest.approx(back.objective, rel=ROUNDING)
    assert all(torch.equal(forth.permutations[group], order) for group, order in invert(back.permutations).items())


@pytest.mark.parametrize("name", ["mlp", "resnet8"])
def test_reordering_a_model_first_does_not_matter_to_the_best_distance(name: str) -> None:
    spec, a, b = pair(name)
    moved = permute(a, spec, random_permutations(spec, 1))
    found = weight_matching(spec, moved, permute(b, spec, random_permutations(spec, 1)))
    assert found.objective == pytest.approx(weight_matching(spec, a, b).objective, rel=ROUNDING)


@pytest.mark.parametrize("name", ["mlp-skip", "vgg-small", "resnet8"])
def test_restarts_keep_the_best(name: str) -> None:
    spec, a, b = pair(name)
    once, often = weight_matching(spec, a, b, seed=1), weight_matching(spec, a, b, seed=1, restarts=6)
    assert often.objective >= once.objective
    assert weight_matching(spec, a, b, seed=1, restarts=6).history == often.history


def test_running_statistics_do_not_count_but_move() -> None:
    spec, a, b = pair("mlp-bn")
    other = {key: tensor * 5 if key in spec.buffers else tensor for key, tensor in b.items()}
    one, two = weight_matching(spec, a, b), weight_matching(spec, a, other)
    assert one.history == two.history
    key = "hidden.0.norm.running_var"
    assert torch.equal(permute(b, spec, one.permutations)[key], b[key][one.permutations["hidden.0.linear"]])


# --- A textbook version (Algorithm 1 of Ainsworth et al.), on NumPy, with specifications written by hand ---

Hand = dict[str, tuple[str | None, ...]]


def hand_spec(name: str) -> Hand:
    """Which permutation orders each axis of each parameter."""
    if name == "mlp":
        spec: Hand = {"head.weight": (None, "hidden.2.linear"), "head.bias": (None,)}
        for layer in range(3):
            spec[f"hidden.{layer}.linear.weight"] = (
                f"hidden.{layer}.linear",
                f"hidden.{layer - 1}.linear" if layer else None,
            )
            spec[f"hidden.{layer}.linear.bias"] = (f"hidden.{layer}.linear",)
        return spec
    if architecture(name).kind == "vgg":
        spec, before = {}, None
        for conv in {"vgg-small": (0, 4, 8, 11), "vgg11": (0, 4, 8, 11, 15, 18, 22, 25)}[name]:
            spec[f"features.{conv}.weight"] = (f"features.{conv}", before, None, None)
            spec |= {f"features.{conv + 1}.{part}": (f"features.{conv}",) for part in ("weight", "bias")}
            before = f"features.{conv}"
        return {**spec, "head.weight": (None, before), "head.bias": (None,)}
    # The first block of a stage but the first one has a convolution as its shortcut; all others add to the stream.
    blocks = {"resnet8": 1, "resnet20": 3}[name]
    streams = ["stem", f"stages.{blocks}.conv2", f"stages.{2 * blocks}.conv2"]
    spec = {"stem.weight": ("stem", None, None, None), "norm.weight": ("stem",), "norm.bias": ("stem",)}
    for block in range(3 * blocks):
        stage, before, inner = streams[block // blocks], streams[max(block - 1, 0) // blocks], f"stages.{block}.conv1"
        projected = block > 0 and block % blocks == 0
        spec |= {
            f"stages.{block}.conv1.weight": (inner, before, None, None),
            f"stages.{block}.conv2.weight": (stage, inner, None, None),
        }
        for part in ("weight", "bias"):
            spec |= {f"stages.{block}.norm1.{part}": (inner,), f"stages.{block}.norm2.{part}": (stage,)}
            if projected:
                spec[f"stages.{block}.shortcut.1.{part}"] = (stage,)
        if projected:
            spec[f"stages.{block}.shortcut.0.weight"] = (stage, before, None, None)
    return {**spec, "head.weight": (None, streams[2]), "head.bias": (None,)}


def reordered(array: np.ndarray, axes: tuple[str | None, ...], orders: dict[str, np.ndarray]) -> np.ndarray:
    for number, group in enumerate(axes):
        if group in orders:
            array = np.take(array, orders[group], axis=number)
    return array


def textbook(spec: Hand, a: State, b: State, orders: dict[str, np.ndarray] | None, seed: int) -> float:
    """The objective reached, starting from ``orders`` or the identity."""
    weights = {name: (a[name].double().numpy(), b[name].double().numpy()) for name in spec}
    sizes = {group: a[name].shape[k] for name, axes in spec.items() for k, group in enumerate(axes) if group}
    orders = {group: np.arange(size) for group, size in sizes.items()} if orders is None else orders
    rng, progress = np.random.default_rng(seed), True
    while progress:
        progress = False
        for group in rng.permutation(sorted(sizes)):
            others = {key: order for key, order in orders.items() if key != group}
            similarity = np.zeros((sizes[group], sizes[group]))
            for name, axes in spec.items():
                if group in axes:
                    k = axes.index(group)
                    rest = [number for number in range(len(axes)) if number != k]
                    moved = reordered(weights[name][1], axes, others)
                    similarity += np.tensordot(weights[name][0], moved, axes=(rest, rest))
            best = linear_sum_assignment(similarity, maximize=True)[1]
            rows = np.arange(sizes[group])
            if similarity[rows, best].sum() > similarity[rows, orders[group]].sum() + 1e-12:
                orders[group], progress = best, True
    return sum(float((one * reordered(other, spec[name], orders)).sum()) for name, (one, other) in weights.items())


@pytest.mark.parametrize("name", ["mlp", "vgg-small", "vgg11", "resnet8", "resnet20"])
@pytest.mark.parametrize("seed", range(4))
def test_a_textbook_step_finds_nothing_left_to_improve(name: str, seed: int) -> None:
    spec, a, b = pair(name, seed)
    hand = hand_spec(name)
    assert hand == {key: tuple(axis and axis.group for axis in spec.axes[key]) for key in hand}
    assert set(hand) == set(spec.axes) - spec.buffers
    found = weight_matching(spec, a, b, seed=seed)
    orders = {group: order.numpy() for group, order in found.permutations.items()}
    assert textbook(hand, a, b, orders, seed) == pytest.approx(found.objective, rel=1e-6)  # gains are float32


def test_it_ends_higher_than_a_textbook_version_on_average() -> None:
    """From another start, it walks to another optimum: for single pairs it may be the worse one."""
    ratios = []
    for name, seed in itertools.product(("vgg-small", "vgg11", "resnet8", "resnet20"), range(4)):
        spec, a, b = pair(name, seed)
        plain = textbook(hand_spec(name), a, b, None, seed)
        ratios.append(weight_matching(spec, a, b, seed=seed).objective / plain)
    assert np.mean(ratios) > 1
    assert min(ratios) > 0.995


class Residual(nn.Module):
    """Branches of two layers added to a stream; from the identity, ascent often misses a known permutation."""

    def __init__(self, stream: int, inner: int, blocks: int) -> None:
        super().__init__()
        self.inward, self.head = nn.Linear(12, stream), nn.Linear(stream, 10)
        self.up = nn.ModuleList(nn.Linear(stream, inner) for _ in range(blocks))
        self.down = nn.ModuleList(nn.Linear(inner, stream) for _ in range(blocks))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.inward(inputs)
        for up, down in zip(self.up, self.down, strict=True):
            hidden = hidden + down(F.relu(up(hidden)))
        return self.head(hidden)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sizes", [(16, 32, 2), (64, 128, 4)])
def test_a_known_permutation_of_a_residual_network_is_found(sizes: tuple[int, int, int], seed: int) -> None:
    torch.manual_seed(seed)
    net = Residual(*sizes)
    spec, a = trace_permutation_spec(net, torch.zeros(2, 12)), dict(net.state_dict())
    planted = random_permutations(spec, seed + 1)
    found = weight_matching(spec, a, permute(a, spec, planted)).permutations
    assert all(torch.equal(found[group], order) for group, order in invert(planted).items())


def test_concatenated_branches_are_matched_where_they_are_read() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(6, 8, bias=False), nn.Linear(6, 5, bias=False)
            self.join, self.head = nn.Linear(19, 7), nn.Linear(7, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            parts = [self.left(inputs).relu(), self.right(inputs).relu(), inputs]
            return self.head(self.join(torch.cat(parts, 1)).relu())

    torch.manual_seed(0)
    net = Branches()
    spec, a = trace_permutation_spec(net, torch.zeros(2, 6)), dict(net.state_dict())
    assert spec.groups == {"left": 8, "right": 5, "join": 7}
    planted = random_permutations(spec, 1)
    found = weight_matching(spec, a, permute(a, spec, planted))
    assert all(torch.equal(found.permutations[group], order) for group, order in invert(planted).items())
    assert found.objective == pytest.approx(product(spec, a, a), rel=ROUNDING)


def brute_force(spec: PermutationSpec, a: State, b: State) -> float:
    every = [[torch.tensor(order) for order in itertools.permutations(range(n))] for n in spec.groups.values()]
    choices = (dict(zip(spec.groups, orders, strict=True)) for orders in itertools.product(*every))
    return max(product(spec, a, permute(b, spec, choice)) for choice in choices)


@pytest.mark.parametrize("seed", range(5))
def test_one_hidden_layer_is_solved_exactly(seed: int) -> None:
    torch.manual_seed(seed)
    nets = [nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)) for _ in range(2)]
    spec = trace_permutation_spec(nets[0], torch.zeros(2, 3))
    a, b = (dict(net.state_dict()) for net in nets)
    assert weight_matching(spec, a, b).objective == pytest.approx(brute_force(spec, a, b), rel=ROUNDING)


@quick
@given(seeds, st.integers(1, 40), st.integers(1, 8), st.booleans())
def test_an_assignment_that_is_skipped_was_the_best(seed: int, size: int, rank: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    gains = rng.standard_normal((size, rank)) @ rng.standard_normal((rank, size))
    gains = np.round(gains) if ties else gains
    rows, best = np.arange(size), linear_sum_assignment(gains, maximize=True)[1]
    starts = [None, best, rng.permutation(size), linear_sum_assignment(gains + 0.1, maximize=True)[1]]
    for near in starts:
        found = assign(gains, near)
        assert sorted(found) == list(rows)
        assert gains[rows, found].sum() == pytest.approx(gains[rows, best].sum(), rel=ROUNDING, abs=ROUNDING)


@quick
@given(seeds, st.integers(1, 30), st.integers(0, 30), st.integers(0, 30))
def test_leaving_out_dead_channels_is_exact(seed: int, size: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    gains = rng.standard_normal((size, size)).astype(np.float32) - 0.5
    gains[rng.permutation(size)[:rows]] = 0
    gains[:, rng.permutation(size)[:columns]] = 0
    found, best = assign(gains), linear_sum_assignment(gains, maximize=True)[1]
    assert sorted(found) == list(range(size))
    assert gains[np.arange(size), found].sum() == pytest.approx(gains[np.arange(size), best].sum(), abs=1e-4)


def test_dead_layers_and_half_precision_are_matched() -> None:
    spec, a, b = pair("vgg-small")
    for state in (a, b):
        state["features.4.weight"].zero_()
        state["features.5.weight"].zero_()
        state["features.5.bias"].zero_()
    found = weight_matching(spec, a, b)
    assert np.isfinite(found.objective)
    half = [{key: tensor.bfloat16() if tensor.ndim else tensor for key, tensor in state.items()} for state in (a, b)]
    assert weight_matching(spec, *half).objective == pytest.approx(found.objective, rel=0.02)  # 8-bit mantissas


def test_a_model_without_hidden_channels_needs_no_sweep() -> None:
    net = nn.Sequential(nn.Linear(3, 2))
    spec, state = trace_permutation_spec(net, torch.zeros(2, 3)), dict(net.state_dict())
    expected = product(spec, state, state)
    found = weight_matching(spec, state, state)
    assert found == MatchingResult({}, found.objective, 0, (found.objective,))
    assert found.objective == pytest.approx(expected, rel=ROUNDING)


def test_max_sweeps_ends_the_ascent() -> None:
    spec, a, b = pair("resnet20")
    assert weight_matching(spec, a, b, max_sweeps=1).sweeps == 1


def test_bad_input_is_refused() -> None:
    spec, a, b = pair("mlp")
    for bad in ({"max_sweeps": 0}, {"restarts": 0}):
        with pytest.raises(MergeError, match="must be at least 1"):
            weight_matching(spec, a, b, **bad)
    wider = dict(build("mlp", 1 / 16, (3, 8, 8), 10).state_dict())
    with pytest.raises(MergeError, match=r"model a has hidden.0.linear.weight of shape \(32, 192\)"):
        weight_matching(spec, wider, b)
    with pytest.raises(MergeError, match="model b is of another architecture"):
        weight_matching(spec, a, wider)
    with pytest.raises(MergeError, match="model b is of another architecture"):
        weight_matching(spec, a, {"head.weight": b["head.weight"]})
    with pytest.raises(MergeError, match=r"head.bias of model b holds NaN or infinite values; the model diverged"):
        weight_matching(spec, a, {**b, "head.bias": b["head.bias"] / 0})
    large = [{**state, "head.bias": state["head.bias"].double() * 1e160} for state in (a, b)]
    with pytest.raises(MergeError, match=r"‖a‖·‖b‖ overflows; scale them down"):
        weight_matching(spec, *large)


def test_modules_instead_of_state_dicts_are_refused() -> None:
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    spec, state = trace_permutation_spec(net, torch.zeros(2, 3)), net.state_dict()
    for a, b, what in ((net, net, "model a"), (state, net, "model b")):
        with pytest.raises(MergeError, match=rf"{what} is a Sequential, not a state dict; pass model.state_dict\(\)"):
            weight_matching(spec, a, b)  # type: ignore[arg-type]
    with pytest.raises(MergeError, match="specification is a OrderedDict; pass what trace_permutation_spec gives"):
        weight_matching(state, state, spec)  # type: ignore[arg-type]
