"""Networks: shapes, parameter counts by formula, width, bias, and forward passes written out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmc.architectures import architecture, architecture_names
from lmc.errors import SpecError
from lmc.nets import MLP, ResNet, build
from lmc.nets.resnet import BasicBlock

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


NAMES = architecture_names()


def small(arch: str) -> float:
    """A width at which ``arch`` has 8 units or channels at its base, or one head."""
    return {"mlp": 1 / 64, "vgg": 1 / 8, "resnet": 1 / 2, "vit": 1 / 8}[architecture(arch).kind]


def parameters(net: nn.Module) -> int:
    return sum(value.numel() for value in net.parameters())


# --- every architecture -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "shape"),
    [
        (arch, shape)
        for arch in NAMES
        for shape in (MNIST, CIFAR, (2, 33, 40))
        if (arch, shape) not in (("vgg11", MNIST), ("vit", (2, 33, 40)))  # too small, and no whole patches
    ],
)
def test_every_architecture_maps_images_to_finite_logits(arch: str, shape: tuple[int, int, int]) -> None:
    net = build(arch, small(arch), shape, 7)
    assert net.training
    logits = net(torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (3, 7)
    assert logits.isfinite().all()
    assert (logits.std(0) > 0).all(), "the logits do not depend on the image"


@pytest.mark.parametrize("arch", NAMES)
def test_bias_off_leaves_no_bias_in_linear_and_convolutional_layers(arch: str) -> None:
    layers = [
        module
        for module in build(arch, small(arch), CIFAR, 10, bias=False).modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    assert len(layers) >= 4
    assert all(layer.bias is None for layer in layers)


@pytest.mark.parametrize("arch", NAMES)
def test_bias_on_gives_every_linear_layer_a_bias_and_convolutions_before_a_norm_none(arch: str) -> None:
    net = build(arch, small(arch), CIFAR, 10)
    assert all(module.bias is not None for module in net.modules() if isinstance(module, nn.Linear))
    if architecture(arch).normalised:
        assert all(module.bias is None for module in net.modules() if isinstance(module, nn.Conv2d))


@pytest.mark.parametrize("arch", NAMES)
def test_weights_come_from_the_global_generator(arch: str) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(torch.cat([value.flatten() for value in build(arch, small(arch), CIFAR, 10).parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


# --- parameter counts by hand -----------------------------------------------------------------------


def mlp_parameters(units: int, inputs: int = 784) -> int:
    """784-u-u-u-10, each layer with a bias (Appendix B.1)."""
    return (inputs * units + units) + 2 * (units * units + units) + (units * 10 + 10)


def vgg11_parameters(base: int) -> int:
    """Eight 3x3 convolutions without bias, two BatchNorm parameters per channel, one linear layer."""
    channels = [3, base, 2 * base, 4 * base, 4 * base, 8 * base, 8 * base, 8 * base, 8 * base]
    convolutions = sum(9 * inputs * outputs + 2 * outputs for inputs, outputs in pairwise(channels))
    return convolutions + 8 * base * 10 + 10


def resnet_parameters(base: int, blocks: int) -> int:
    """Stem, three stages of basic blocks, a 1x1 shortcut with BatchNorm at the start of stages 2 and 3."""
    total = 9 * 3 * base + 2 * base
    for stage in range(3):
        channels = base * 2**stage
        total += blocks * 2 * (9 * channels * channels + 2 * channels)
        if stage > 0:
            total -= 9 * channels * channels // 2  # the first convolution sees half the channels
            total += channels * channels // 2 + 2 * channels
    return total + 4 * base * 10 + 10


COUNTS: list[tuple[str, tuple[int, int, int], Callable[[float], int]]] = [
    ("mlp", MNIST, lambda width: mlp_parameters(round(512 * width))),
    ("mlp-skip", MNIST, lambda width: mlp_parameters(round(512 * width))),
    ("mlp-bn", MNIST, lambda width: mlp_parameters(round(512 * width)) + 3 * 2 * round(512 * width)),
    ("mlp", CIFAR, lambda width: mlp_parameters(round(512 * width), inputs=3072)),
    ("vgg11", CIFAR, lambda width: vgg11_parameters(round(64 * width))),
    ("resnet20", CIFAR, lambda width: resnet_parameters(round(16 * width), blocks=3)),
    ("resnet8", CIFAR, lambda width: resnet_parameters(round(16 * width), blocks=1)),
]


@pytest.mark.parametrize("width", [1 / 16, 1 / 4, 1, 2])
@pytest.mark.parametrize(("arch", "shape", "count"), COUNTS)
def test_parameter_counts(arch: str, shape: tuple[int, int, int], count: Callable[[float], int], width: float) -> None:
    with torch.device("meta"):
        assert parameters(build(arch, width, shape, 10)) == count(width)


@pytest.mark.parametrize(
    ("arch", "shape", "published"),
    [("mlp", MNIST, 932_362), ("vgg11", CIFAR, 9_228_362), ("resnet20", CIFAR, 272_474)],
)
def test_parameter_counts_at_width_one(arch: str, shape: tuple[int, int, int], published: int) -> None:
    with torch.device("meta"):
        assert parameters(build(arch, 1, shape, 10)) == published


@pytest.mark.parametrize(("arch", "layers"), [("resnet8", 8), ("resnet20", 20), ("vgg11", 9), ("mlp", 4)])
def test_layers_with_weights(arch: str, layers: int) -> None:
    """ResNet-8 and -20 count everything but the shortcuts; VGG-11's three linear layers became one."""
    with torch.device("meta"):
        names = [
            name
            for name, module in build(arch, 1, CIFAR, 10).named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d) and "shortcut" not in name
        ]
    assert len(names) == layers, names


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "width", "base"),
    [
        ("mlp", 1 / 1024, 512),
        ("mlp", 0.3, 512),
        ("mlp-bn", 1 + 1 / 1024, 512),
        ("vgg11", 1 / 128, 64),
        ("vgg-small", 0.1, 64),
        ("resnet20", 1 / 32, 16),
        ("resnet8", 0.7, 16),
        ("mlp", 0.0, 512),
        ("mlp", -1.0, 512),
        ("mlp", math.inf, 512),
        ("mlp", math.nan, 512),
    ],
)
def test_a_width_without_whole_layers_is_refused(arch: str, width: float, base: int) -> None:
    with pytest.raises(SpecError, match=f"base of {base}.*multiple of 1/{base}") as refused:
        build(arch, width, CIFAR, 10)
    assert f"width {width:g}" in str(refused.value)


@pytest.mark.parametrize(("arch", "base"), [("mlp", 512), ("vgg-small", 64), ("resnet8", 16)])
def test_the_narrowest_width_is_one_unit(arch: str, base: int) -> None:
    net = build(arch, 1 / base, CIFAR, 10)
    assert next(iter(net.parameters())).shape[0] == 1


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(SpecError, match="unknown arch 'lenet'; choose one of mlp, "):
        build("lenet", 1, CIFAR, 10)


@pytest.mark.parametrize(
    ("arch", "shape", "side"),
    [("vgg11", MNIST, 28), ("vgg11", (3, 32, 31), 31), ("vgg11", (3, 8, 64), 8), ("vgg-small", (1, 3, 9), 3)],
)
def test_images_too_small_for_the_pools_are_refused(arch: str, shape: tuple[int, int, int], side: int) -> None:
    with pytest.raises(SpecError, match=f"{arch} needs images of at least (4|32) pixels a side, these have {side};"):
        build(arch, 1, shape, 10)


@pytest.mark.parametrize(("arch", "side"), [("vgg11", 32), ("vgg-small", 4)])
def test_the_smallest_image_is_accepted(arch: str, side: int) -> None:
    assert build(arch, 1 / 8, (1, side, side), 10).eval()(torch.zeros(1, 1, side, side)).shape == (1, 10)


# --- forward passes by hand, in float64 -------------------------------------------------------------


def double_inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("batch_norm", "skip"), [(False, False), (False, True), (True, False), (True, True)])
def test_mlp_by_hand(*, batch_norm: bool, skip: bool) -> None:
    """z_1 = σ(N(W_1 x + b_1)); z_l = σ(N(W_l z_(l-1) + b_l)) [+ z_(l-1)]; the logits are W_4 z_3 + b_4."""
    torch.manual_seed(0)
    net = MLP(6, 5, 3, batch_norm=batch_norm, skip=skip).double()
    state = net.state_dict()
    images = double_inputs(4, 2, 3, 1)
    z = images.reshape(4, 6)
    for layer in range(3):
        h = z @ state[f"hidden.{layer}.linear.weight"].T + state[f"hidden.{layer}.linear.bias"]
        if batch_norm:  # training mode: statistics of the batch
            h = (h - h.mean(0)) / (h.var(0, unbiased=False) + 1e-5).sqrt()
        z = h.clamp(min=0) + (z if skip and layer > 0 else 0)
    expected = z @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(net(images), expected, rtol=1e-12, atol=1e-12)


def test_build_gives_the_mlp_variants() -> None:
    inputs = double_inputs(4, 1, 2, 2)
    for arch, variant in (("mlp", {}), ("mlp-bn", {"batch_norm": True}), ("mlp-skip", {"skip": True})):
        torch.manual_seed(0)
        built = build(arch, 1 / 64, (1, 2, 2), 3).double()
        by_hand = MLP(4, 8, 3, **variant).double()
        by_hand.load_state_dict(built.state_dict())
        assert torch.equal(built(inputs), by_hand(inputs)), arch


@pytest.mark.parametrize(("in_channels", "channels", "stride"), [(3, 3, 1), (3, 6, 2), (3, 6, 1)])
def test_residual_block_by_hand(in_channels: int, channels: int, stride: int) -> None:
    torch.manual_seed(0)
    block = BasicBlock(in_channels, channels, stride).double()
    inputs = double_inputs(4, in_channels, 6, 6)

    def norm(h: Tensor) -> Tensor:
        variance, mean = torch.var_mean(h, (0, 2, 3), correction=0, keepdim=True)
        return (h - mean) / (variance + 1e-5).sqrt()

    weights = {name: value for name, value in block.named_parameters() if value.ndim == 4}
    branch = norm(F.conv2d(inputs, weights["conv1.weight"], stride=stride, padding=1)).clamp(min=0)
    branch = norm(F.conv2d(branch, weights["conv2.weight"], padding=1))
    shortcut = inputs
    if "shortcut.0.weight" in weights:
        shortcut = norm(F.conv2d(inputs, weights["shortcut.0.weight"], stride=stride))
    assert ("shortcut.0.weight" in weights) == (in_channels != channels)
    torch.testing.assert_close(block(inputs), (branch + shortcut).clamp(min=0), rtol=1e-12, atol=1e-12)


def test_resnet_halves_the_image_and_doubles_the_channels_twice() -> None:
    net = ResNet(3, 4, 10, blocks=2)
    shapes = []
    for block in net.stages:
        block.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    net(torch.zeros(2, *CIFAR))
    assert shapes == [(4, 32, 32)] * 2 + [(8, 16, 16)] * 2 + [(16, 8, 8)] * 2


@pytest.mark.parametrize(
    ("arch", "plan"),
    [("vgg11", [1, "M", 2, "M", 4, 4, "M", 8, 8, "M", 8, 8, "M"]), ("vgg-small", [1, "M", 2, "M", 4, 4])],
)
def test_vgg_by_hand(arch: str, plan: list[int | str]) -> None:
    """Convolution, BatchNorm, ReLU; 2x2 max-pools at M; mean over the image; one linear layer."""
    torch.manual_seed(0)
    net = build(arch, 1 / 16, CIFAR, 10).double()
    convolutions = [value for value in net.parameters() if value.ndim == 4]
    images = double_inputs(2, *CIFAR)
    z = images
    for multiple in plan:
        if multiple == "M":
            z = F.max_pool2d(z, 2)
            continue
        weight = convolutions.pop(0)
        assert weight.shape[0] == 4 * int(multiple)
        z = F.batch_norm(F.conv2d(z, weight, padding=1), None, None, training=True).clamp(min=0)
    assert not convolutions
    state = net.state_dict()
    expected = z.mean((2, 3)) @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(net(images), expected, rtol=1e-11, atol=1e-11)
