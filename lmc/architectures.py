"""The table of architectures: what is known of each without building it. Imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lmc.errors import SpecError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A row of the table.

    Args:
        name: how specs refer to it. The store finds models by it, so a net that is changed needs another name.
        kind: ``"mlp"``, ``"vgg"``, ``"resnet"``, ``"vit"`` or one of your own; claims name the kinds they are made for.
        build: called as ``build(width, shape, classes, bias=..., **variant)`` with the width multiplier, the shape
            (C, H, W) of an image and the number of logits, and where ``any_depth`` with ``depth=...``; it gives an
            untrained module. Or ``"package.module:name"`` of such a function, imported when it is first needed.
            Tensors that are not in the module's state dict must be the same whenever it is built.
        variant: further arguments of ``build``.
        channels_last: whether it is fastest so; true of convolutions.
        normalised: whether every layer has running statistics, which a merge has to reset (B.1).
        stacked: on a CPU, widths up to the first are trained in stacks of six, up to the second in stacks of three.
            Zeros where stacks do not pay off.
        any_depth: whether the ``depth`` of a `lmc.specs.RunSpec` may be chosen.
        min_side: pixels that the shorter side of an image must have.
        chain: whether every layer lies on the only path from input to output, as where nothing is added beside it: then
            a layer that does not vary with the input leaves nothing of it.
    """

    name: str
    kind: str
    build: str | Callable[..., nn.Module]
    variant: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    channels_last: bool = False
    normalised: bool = False
    stacked: tuple[float, float] = (0.0, 0.0)
    any_depth: bool = False
    min_side: int = 1
    chain: bool = False

    def builder(self) -> Callable[..., nn.Module]:
        """The function that builds it; imports torch."""
        if callable(self.build):
            return self.build
        module, _, name = self.build.partition(":")
        try:
            found: Callable[..., nn.Module] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise SpecError(f"arch {self.name!r} is built by {self.build!r}: {error}; name a function") from error
        return found


def _mlp(name: str, **row: Any) -> Architecture:
    return Architecture(name=name, kind="mlp", build="lmc.nets.mlp:build", stacked=(1 / 4, 1), any_depth=True, **row)


def _convolutional(kind: str, name: str, **row: Any) -> Architecture:
    build = f"lmc.nets.{kind}:build"
    return Architecture(name=name, kind=kind, build=build, channels_last=True, normalised=True, **row)


# Of the nets for 32x32 images the narrowest pay off in stacks: six of ResNet-20 train 2 to 2.5 times as fast at x1/16
# and x1/8, three at x1/4 1.6 times, and three of VGG-11 at x1/16 1.6 times. Wider ones leave the cache.
_TABLE = {
    each.name: each
    for each in (
        _mlp("mlp", chain=True),
        _mlp("mlp-bn", variant={"batch_norm": True}, normalised=True, chain=True),
        _mlp("mlp-skip", variant={"skip": True}),
        _convolutional("vgg", "vgg11", min_side=32, stacked=(0.0, 1 / 16), chain=True),
        _convolutional("vgg", "vgg-small", variant={"small": True}, min_side=4, stacked=(3 / 4, 1), chain=True),
        _convolutional("resnet", "resnet20", variant={"blocks": 3}, stacked=(1 / 8, 1 / 4)),
        _convolutional("resnet", "resnet8", variant={"blocks": 1}, stacked=(2, 4)),
        Architecture(name="vit", kind="vit", build="lmc.nets.vit:build", min_side=2),
    )
}


def architecture(name: str) -> Architecture:
    """What is known of an architecture.

    Raises:
        SpecError: there is none of that name.
    """
    if not isinstance(name, str) or name not in _TABLE:
        raise SpecError(
            f"unknown arch {name!r}; choose one of {', '.join(_TABLE)}, or register it (lmc.register_architecture)"
        )
    return _TABLE[name]


def architecture_names() -> tuple[str, ...]:
    """Every architecture there is."""
    return tuple(_TABLE)


def kinds() -> tuple[str, ...]:
    """The kinds of architectures there are."""
    return tuple(dict.fromkeys(each.kind for each in _TABLE.values()))


def register_architecture(added: Architecture) -> None:
    """Add a row to the table, in this process.

    A run does so in its worker processes too, where the module that a tier or claims are named in registers it (or
    imports what does). To register the same row again changes nothing.

    Raises:
        SpecError: there is another architecture of that name.
    """
    if _TABLE.setdefault(added.name, added) != added:
        raise SpecError(f"there is an arch {added.name!r} already, built by {_TABLE[added.name].build}; rename yours")
