"""The table of architectures: ours, and what somebody else adds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from lmc import architectures
from lmc.architectures import Architecture, architecture, architecture_names, kinds, register_architecture
from lmc.errors import SpecError
from lmc.nets import build, memory_format_of
from lmc.nets.costs import net_cost
from lmc.specs import RunSpec, stack_seeds

SHAPE = (1, 8, 8)


def linear(width: float, shape: tuple[int, int, int], classes: int, *, bias: bool) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes, bias=bias))


OWN = Architecture(name="own", kind="own", build=linear)


@pytest.fixture(autouse=True)
def _table_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architectures, "_TABLE", dict(architectures._TABLE))


@pytest.mark.parametrize("name", architecture_names())
def test_a_row_says_what_is_true_of_the_net(name: str) -> None:
    row = architecture(name)
    net = build(name, 1, (3, 32, 32), 10)
    layers = list(net.modules())
    convolutions = sum(isinstance(each, nn.Conv2d) for each in layers) > 1  # one alone cuts patches
    assert row.channels_last == convolutions
    assert memory_format_of(name) == (torch.channels_last if convolutions else torch.contiguous_format)
    assert row.normalised == any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in layers)


@pytest.mark.parametrize("name", architecture_names())
def test_a_chain_is_cut_by_any_layer_that_does_not_vary(name: str) -> None:
    net = build(name, 1 / 4, (1, 8, 8) if architecture(name).min_side < 32 else (3, 32, 32), 10).eval()
    images = torch.rand(3, *((1, 8, 8) if architecture(name).min_side < 32 else (3, 32, 32)))
    cut = []
    for each in net.modules():
        if isinstance(each, nn.ReLU | nn.GELU):
            hook = each.register_forward_hook(lambda _, __, output: torch.zeros_like(output))
            logits = net(images)
            hook.remove()
            cut.append(bool((logits - logits[0]).abs().max() < 1e-6))
    assert cut
    assert architecture(name).chain == all(cut)


def test_the_least_side_is_the_least_that_works() -> None:
    for name in architecture_names():
        row = architecture(name)
        smallest = (1, row.min_side, row.min_side)
        assert build(name, 1, smallest, 10).eval()(torch.zeros(1, *smallest)).shape == (1, 10)
        if row.min_side > 1:
            with pytest.raises((RuntimeError, SpecError)):
                _built_and_run(row, (1, row.min_side - 1, row.min_side))


def _built_and_run(row: Architecture, shape: tuple[int, int, int]) -> None:
    row.builder()(1, shape, 10, bias=True, **row.variant).eval()(torch.zeros(1, *shape))


def test_a_registered_net_is_one_like_ours() -> None:
    register_architecture(replace(OWN, stacked=(1, 2)))
    spec = RunSpec(dataset="digits", arch="own", width=1)
    assert "own" in architecture_names()
    assert "own" in kinds()
    assert stack_seeds(spec) == range(6)
    assert stack_seeds(replace(spec, width=2)) == range(3)
    assert stack_seeds(replace(spec, width=3)) == range(1)
    assert net_cost("own", 1, SHAPE, 10).parameters == 650
    assert memory_format_of("own") == torch.contiguous_format
    with pytest.raises(SpecError, match="depth is 4, but own has its own depth"):
        replace(spec, depth=4)


def test_depth_is_passed_on_where_it_may_vary() -> None:
    def deep(width: float, shape: tuple[int, int, int], classes: int, *, bias: bool, depth: int, of: int) -> nn.Module:
        return nn.Sequential(*(nn.Identity() for _ in range(depth * of)))

    register_architecture(Architecture(name="deep", kind="own", build=deep, any_depth=True, variant={"of": 2}))
    assert len(build("deep", 1, SHAPE, 10, depth=4)) == 8  # type: ignore[arg-type]


def test_the_same_row_may_be_registered_again_but_no_other_of_its_name() -> None:
    register_architecture(OWN)
    register_architecture(replace(OWN))
    with pytest.raises(SpecError, match="there is an arch 'own' already"):
        register_architecture(replace(OWN, normalised=True))
    with pytest.raises(SpecError, match=r"there is an arch 'mlp' already, built by lmc\.nets\.mlp:build; rename yours"):
        register_architecture(replace(OWN, name="mlp"))


@pytest.mark.parametrize(
    ("made_by", "message"),
    [
        ("lmc.nets.absent:build", "No module named 'lmc.nets.absent'; name a function"),
        ("lmc.nets.mlp:absent", "has no attribute 'absent'; name a function"),
        (":build", "Empty module name; name a function"),
        (lambda *_, **__: "net", "which gives a str, no module"),
    ],
)
def test_what_builds_no_net_is_refused(made_by: object, message: str) -> None:
    register_architecture(replace(OWN, build=made_by))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="arch 'own' is built by") as refused:
        build("own", 1, SHAPE, 10)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["lenet", "", None, ["mlp"]])
def test_unknown_names_are_refused(name: object) -> None:
    with pytest.raises(SpecError, match=r"unknown arch .*; choose one of mlp, .*, or register it"):
        architecture(name)  # type: ignore[arg-type]
