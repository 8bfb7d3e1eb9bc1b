"""Two ResNet-18 from torchvision, fine-tuned on digits from one start or two, and whether they can be averaged.

python examples/resnet18.py                   # one common start: they can
python examples/resnet18.py --starts 2        # two starts: they cannot
python examples/resnet18.py --side 64 --images 1000 --steps 20
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

import lmc


def digits(side: int, images: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """scikit-learn's digits as (3, side, side) inputs: training and test inputs with labels."""
    data = lmc.load_dataset("digits", Path("data"))

    def prepared(pixels: Tensor) -> Tensor:
        enlarged = F.interpolate(pixels.float() / 255, size=(side, side), mode="bilinear")
        return ((enlarged - 0.3) / 0.35).expand(-1, 3, -1, -1).contiguous()

    train = prepared(data.train_images), data.train_labels
    return train, (prepared(data.test_images[:images]), data.test_labels[:images])


def fit(model: nn.Module, data: tuple[Tensor, Tensor], *, steps: int, seed: int, rate: float) -> nn.Module:
    """Train a copy of ``model`` on batches drawn with ``seed``."""
    model = copy.deepcopy(model).train()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        picked = torch.randint(len(data[0]), (50,), generator=generator)
        loss = F.cross_entropy(model(data[0][picked]), data[1][picked])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def main() -> None:
    """Train two models and print the diagnosis."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=32, help="pixels")
    parser.add_argument("--images", type=int, default=300, help="test inputs, at most 797")
    parser.add_argument("--steps", type=int, default=30, help="training steps of each model")
    parser.add_argument("--starts", type=int, choices=(1, 2), default=1, help="1: a common start, 2: independent")
    parser.add_argument("--permutation", default="auto", help="auto, always or never: weight matching")
    options = parser.parse_args()
    torch.set_num_threads(2)

    train, test = digits(options.side, options.images)
    starts = []
    for seed in range(options.starts):
        torch.manual_seed(seed)
        start = resnet18(weights=None, num_classes=10)
        starts.append(fit(start, train, steps=options.steps, seed=10 + seed, rate=0.05))
    a, b = (fit(starts[seed % options.starts], train, steps=options.steps, seed=seed, rate=0.01) for seed in (0, 1))

    began = time.perf_counter()
    found = lmc.diagnose(a, b, test, train_data=train, reset_inputs=options.images, permutation=options.permutation)
    for line in found.lines():
        print(line)
    print(f"diagnosed in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
