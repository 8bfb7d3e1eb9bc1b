"""What is timed on a GPU, and what it must reach: read by the benchmarks, and by the README while none has run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from lmc.specs import RunSpec


@dataclass(frozen=True)
class Case:
    """One net and the ratio to a peer that is wanted of it; 0 is a record only."""

    spec: RunSpec
    target: float = 0.0

    @property
    def name(self) -> str:
        """For pytest's ids."""
        return f"{self.spec.arch}-x{self.spec.width:g}"


def label(spec: RunSpec) -> str:
    """What a row says was timed."""
    return f"{spec.arch} x{spec.width:g}, batch {spec.batch_size}, bf16, on the GPU"


MLP = RunSpec(dataset="mnist-like", arch="mlp", width=1, optimizer="adam", lr=1e-3, batch_size=500, precision="bf16")
VGG = RunSpec(
    dataset="cifar10-like", arch="vgg11", width=1, weight_decay=1e-3, batch_size=500, augment=True, precision="bf16"
)
RESNET = dataclasses.replace(VGG, arch="resnet20")


def _case(recipe: RunSpec, width: float, target: float = 0.0) -> Case:
    return Case(dataclasses.replace(recipe, width=width), target)


LIGHTNING = "Lightning, bf16"
AGAINST_LIGHTNING = (
    _case(MLP, 1 / 16),
    _case(MLP, 1),
    _case(MLP, 8),
    _case(VGG, 1),
    _case(VGG, 4),
    _case(RESNET, 1, 10.0),
    _case(RESNET, 8),
)

PRODUCTS = "matrix products of as many FLOP"
AGAINST_PRODUCTS = (_case(VGG, 4, 0.45), _case(RESNET, 8, 0.45))
"""The ratio is the share of their rate."""

RECORDED = (_case(MLP, 1 / 16), _case(VGG, 1), _case(RESNET, 1), _case(RESNET, 8))
"""Held to `HOST_SHARE`."""
HOST_SHARE = 0.05
"""Of an epoch, at most so much may pass without a kernel running."""


def targets() -> Iterator[tuple[str, str]]:
    """What is timed, and what is wanted of it, in words."""
    for cases, peer in ((AGAINST_LIGHTNING, LIGHTNING), (AGAINST_PRODUCTS, PRODUCTS)):
        for case in cases:
            if case.target:
                yield label(case.spec), f"at least {case.target:g} times as fast as {peer}"
    for case in RECORDED:
        yield label(case.spec), f"at most {HOST_SHARE:.0%} of an epoch on the host"
