"""Write the table of docs/traced.md: ``python benchmarks/traced.py`` traces public nets with random weights.

The first table needs torchvision, the second timm (``tox -e traced`` has both); one that is missing stays as it is.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from lmc.errors import MergeError
from lmc.merging.tracing import trace_permutation_spec

PAGE = Path(__file__).resolve().parents[1] / "docs" / "traced.md"
SIDES = {"inception_v3": 96, "inception_v4": 96, "xception41": 96, "vit_b_16": 224, "maxvit_t": 224}
"""Of images, where 64 is too small."""

TORCHVISION = [
    "alexnet", "vgg11", "vgg11_bn", "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "squeezenet1_1",
    "densenet121", "googlenet", "inception_v3", "shufflenet_v2_x0_5", "mobilenet_v2", "mobilenet_v3_small",
    "efficientnet_b0", "efficientnet_v2_s", "mnasnet0_5", "regnet_x_400mf", "regnet_y_400mf", "convnext_tiny",
    "vit_b_16", "swin_t", "maxvit_t",
]  # fmt: skip
TIMM = [
    "vgg11", "resnet18", "densenet121", "inception_v4", "xception41", "dpn68", "dla34", "hrnet_w18_small",
    "res2net50_14w_8s", "seresnet50", "skresnet18", "mobilenetv3_small_050", "efficientnet_lite0", "ghostnet_050",
    "regnety_002", "repvgg_a0", "nf_resnet26", "cspresnet50", "convnext_atto", "convmixer_768_32",
    "vit_tiny_patch16_224", "deit_tiny_patch16_224", "mixer_s32_224", "swin_tiny_patch4_window7_224",
    "poolformer_s12", "eva02_tiny_patch14_224",
]  # fmt: skip


def torchvision_net(name: str) -> nn.Module:
    """With ten classes, without auxiliary heads."""
    from torchvision import models

    heads = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    net: nn.Module = models.get_model(name, weights=None, num_classes=10, **heads)
    return net


def timm_net(name: str) -> nn.Module:
    """With ten classes."""
    import timm

    net: nn.Module = timm.create_model(name, pretrained=False, num_classes=10)
    return net


def row(name: str, net: nn.Module, side: int) -> str:
    """What was found: groups of channels, share of the weights on a permutable axis, seconds."""
    started = time.perf_counter()
    try:
        spec = trace_permutation_spec(net, torch.randn(2, 3, side, side))
    except MergeError as error:
        return f"| {name} | not traced: {str(error)[:150]} | | |"
    free = sum(tensor.numel() for key, tensor in net.named_parameters() if any(spec.axes[key]))
    share = free / sum(tensor.numel() for tensor in net.parameters())
    return f"| {name} | {len(spec.groups)} | {share:.1%} | {time.perf_counter() - started:.1f} |"


def table(names: list[str], make: Callable[[str], nn.Module], side: Callable[[str], int]) -> str:
    """One row per net; the weights are random, seeded."""
    lines = ["| net | groups | permutable weights | seconds |", "|---|---|---|---|"]
    for name in names:
        torch.manual_seed(0)
        net = make(name).eval()
        lines.append(row(name, net, side(name)))
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    """Fill the page."""
    warnings.filterwarnings("ignore")
    text = PAGE.read_text("utf-8")
    found = {
        "torchvision": lambda: table(TORCHVISION, torchvision_net, lambda name: SIDES.get(name, 64)),
        "timm": lambda: table(TIMM, timm_net, lambda name: SIDES.get(name, 224 if name.endswith("224") else 64)),
    }
    for package, make in found.items():
        if find_spec(package) is not None and package in (sys.argv[1:] or found):
            begin, end = f"<!-- begin: {package} -->", f"<!-- end: {package} -->"
            head, _, rest = text.partition(begin)
            _, _, tail = rest.partition(end)
            text = f"{head}{begin}\n{make()}\n{end}{tail}"
            PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
