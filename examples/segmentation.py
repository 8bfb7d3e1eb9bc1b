"""Two small segmentation nets, trained from one start or two, and whether they can be averaged.

python examples/segmentation.py               # one common start
python examples/segmentation.py --starts 2    # two starts
"""

from __future__ import annotations

import argparse
import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lmc


def scenes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy images of a square and a bar (N, 1, 16, 16), and the class of every pixel (N, 16, 16); edges count not."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(count, 16, 16, dtype=torch.long)
    places = torch.randint(0, 10, (count, 4), generator=generator).tolist()
    for label, (top, left, row, column) in zip(labels, places, strict=True):
        label[row : row + 2, column : column + 6] = 2
        label[top : top + 5, left : left + 5] = 1
    images = torch.tensor([0.0, 1.0, -1.0])[labels] + 0.4 * torch.randn(count, 16, 16, generator=generator)
    labels[:, 0], labels[:, -1] = -100, -100
    return images[:, None], labels


class Segmenter(nn.Module):
    """Gives a dict, as torchvision's segmentation nets do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        )
        self.head = nn.Conv2d(16, 3, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits (N, 3, H, W) under ``out``."""
        return {"out": self.head(self.body(images))}


def fit(model: nn.Module, steps: int, seed: int) -> nn.Module:
    """Train a copy of ``model`` on batches drawn with ``seed``."""
    model = copy.deepcopy(model).train()
    generator = torch.Generator().manual_seed(seed)
    images, labels = scenes(300, 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        picked = torch.randint(len(images), (20,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(images[picked])["out"], labels[picked]).backward()
        optimizer.step()
    return model.eval()


def overlap(logits: Tensor, labels: Tensor) -> Tensor:
    """Intersection over union of the two shapes, mean per image."""
    found, counted = logits.argmax(1), labels >= 0
    shares = []
    for shape in (1, 2):
        mine, true = (found == shape) & counted, labels == shape
        union = (mine | true).flatten(1).sum(1)
        shares.append((mine & true).flatten(1).sum(1) / union.clamp_min(1) + (union == 0))
    return torch.stack(shares).mean(0)


def main() -> None:
    """Train two models and print the diagnosis."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="training steps of each model")
    parser.add_argument("--starts", type=int, choices=(1, 2), default=1, help="1: a common start, 2: independent")
    options = parser.parse_args()
    starts = []
    for seed in range(options.starts):
        torch.manual_seed(seed)
        starts.append(fit(Segmenter(), options.steps, 10 + seed))
    a, b = (fit(starts[seed % options.starts], options.steps, seed) for seed in (0, 1))
    metric = lmc.Metric(overlap, name="mean IoU", share=True)
    found = lmc.diagnose(a, b, scenes(100, 1), train_data=scenes(200, 0), metric=metric)
    print(*found.lines(), sep="\n")


if __name__ == "__main__":
    main()
