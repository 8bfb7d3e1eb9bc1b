"""Layers are caught however a net is written, as they are at the time, and without copies where that is safe."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from numpy_nets import differences
from torch import Tensor, nn
from torch.nn import functional as F

from lmc.measuring.endpoints import Endpoint, compare
from lmc.measuring.inputs import HeldInputs
from lmc.measuring.layers import Records, measure_layers
from lmc.measuring.tapping import Seeing
from lmc.merging import merge


class Written(nn.Module):
    """Two convolutions and a linear layer, with an activation function called in some way."""

    def __init__(self, sigma: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 8, 3), nn.Linear(8, 4)
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        x = self.sigma(self.second(self.sigma(self.first(x))))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


class Modules(nn.Module):
    """The same with a module for every call."""

    def __init__(self, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 8, 3), nn.Linear(8, 4)
        self.one, self.two = activation(), activation()

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.second(self.one(self.first(x))))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


def inputs() -> HeldInputs:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(30, 1, 8, 8, generator=generator)
    return HeldInputs(images, torch.zeros(30).long(), images, torch.clone, 20)


def states(count: int) -> list[dict[str, Tensor]]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [Written(torch.relu).state_dict() for _ in range(count)]


def loaded(net: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    net.load_state_dict(state)
    return net.eval()


def layers(make: Callable[[], nn.Module], count: int = 2) -> Records:
    """Of so many models and their average; the names of activations are numbers."""
    each = states(count)
    models, merged = [loaded(make(), state) for state in each], loaded(make(), merge(each))
    records, _ = measure_layers(models, merged, inputs())
    for group in ("outputs", "activations"):
        records[group] = {str(index): record for index, record in enumerate(records[group].values())}
    return records


WAYS: dict[str, list[tuple[Callable[[], nn.Module], Callable[[Tensor], Tensor]]]] = {
    "relu": [(nn.ReLU, torch.relu_), (nn.ReLU, F.relu)],
    "gelu": [(nn.GELU, F.gelu)],
    "silu": [(nn.SiLU, F.silu), (nn.SiLU, lambda x: F.silu(x, inplace=True))],
}


@pytest.mark.parametrize("kind", WAYS)
def test_functions_give_the_records_of_modules(kind: str) -> None:
    for module, function in WAYS[kind]:
        expected = layers(lambda module=module: Modules(module))  # type: ignore[misc]
        found = layers(lambda function=function: Written(function))  # type: ignore[misc]
        assert found == expected
        assert [record["function"] for record in found["activations"].values()] == [kind] * 2
        assert len(found["weights"]) == 3


def test_a_layers_additivity_is_that_of_its_own_function() -> None:
    found = {kind: layers(lambda kind=kind: Modules(WAYS[kind][0][0]))["activations"]["0"] for kind in WAYS}  # type: ignore[misc]
    assert len({record["additivity_cosine"] for record in found.values()}) == 3
    assert [record["additivity_null"] is None for record in found.values()] == [False, True, True]


def test_two_of_k_models_are_the_pair() -> None:
    """The path of any number of models, at once or from kept activations, on two."""
    each = states(2)
    models, merged = [loaded(Modules(nn.GELU), state) for state in each], loaded(Modules(nn.GELU), merge(each))
    ends = [Endpoint(model, inputs()) for model in models]
    kept, logits = compare(ends, merged, (0.5, 0.5), inputs(), None)
    assert kept == measure_layers(models, merged, inputs())[0]
    assert torch.equal(logits, torch.cat([merged(batch) for batch in inputs().test_batches()]))
    uneven, _ = compare(ends, merged, (0.5 + 1e-12, 0.5 - 1e-12), inputs(), None)
    assert not differences(uneven, kept, rel=1e-5, abs=1e-6)


def test_three_models_have_the_outputs_of_their_law_and_nothing_of_pairs() -> None:
    found = layers(lambda: Modules(nn.ReLU), 3)
    assert found["activations"] == found["weights"] == {}
    assert all(record["llfc_norm_ratio"] > 0 for record in found["outputs"].values())


class Spoiling(nn.Module):
    """Changes what a layer gave after it was seen."""

    def __init__(self, change: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.layer, self.change = nn.Linear(3, 3), change

    def forward(self, x: Tensor) -> Tensor:
        answer = torch.relu(self.layer(x))
        self.change(answer)
        return answer


@pytest.mark.parametrize(
    "change",
    [lambda x: x.add_(1), lambda x: x.data.add_(1), lambda x: x[0].zero_(), lambda x: x.detach().mul_(2)],
    ids=["in place", "hidden in data", "a part", "detached"],
)
def test_what_is_changed_later_is_seen_as_it_was(change: Callable[[Tensor], object]) -> None:
    with torch.no_grad():
        net, x = Spoiling(change), torch.randn(4, 3)
        for _ in range(2):
            (call,) = Seeing(net)(x).tapped.activations.values()
            torch.testing.assert_close(call.after, net.layer(x).relu())


def test_inputs_that_a_net_changes_are_seen_and_left_as_they_were() -> None:
    with torch.no_grad():
        net, x = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 3)), torch.randn(4, 3)
        before = x.clone()
        (call,) = Seeing(net)(x).tapped.activations.values()
    assert torch.equal(x, before)
    assert torch.equal(call.before, before)
    assert torch.equal(call.after, before.relu())


def test_tensors_are_held_once_where_nothing_works_in_place() -> None:
    net = Modules(nn.ReLU)
    with torch.no_grad():
        tapped = Seeing(net)(torch.randn(2, 1, 8, 8)).tapped
    assert tapped.layers["second"].inputs is tapped.activations["one"].after
    held = {id(call.inputs): call.inputs for call in tapped.layers.values()}
    held |= {id(each): each for call in tapped.activations.values() for each in (call.before, call.after)}
    held |= {id(call.response): call.response for call in tapped.layers.values()}
    assert tapped.bytes == sum(each.numel() * 4 for each in held.values())
