"""Normalisation, augmentation and batch order as tensor operations on the images' device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

CROP_PADDING = 4


@dataclass(frozen=True)
class Normaliser:
    """uint8 images to float32 with the training set's mean and deviation per channel removed.

    Args:
        scale: float32 (C, 1, 1).
        shift: float32 (C, 1, 1); output = image * scale + shift.
    """

    scale: Tensor
    shift: Tensor

    @classmethod
    def fit(cls, images: Tensor) -> Normaliser:
        """Statistics of uint8 ``images`` (N, C, H, W); a constant channel is only centred."""
        channels = images.shape[1]
        counts = torch.stack([torch.bincount(images[:, c].flatten(), minlength=256) for c in range(channels)]).double()
        values = torch.arange(256, dtype=torch.float64, device=images.device)
        share = counts / counts.sum(1, keepdim=True)
        mean = share @ values
        deviation = ((values - mean[:, None]).square() * share).sum(1).sqrt()
        deviation = torch.where(deviation > 0, deviation, torch.full_like(deviation, 255.0))
        scale = (1 / deviation).float().view(channels, 1, 1)
        return cls(scale, (-mean / deviation).float().view(channels, 1, 1))

    def __call__(self, images: Tensor) -> Tensor:
        """Map uint8 (N, C, H, W) to float32 of the same shape and memory format."""
        return images.to(torch.float32).mul_(self.scale).add_(self.shift)


def epoch_order(size: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """A random order of ``size`` images, drawn on the CPU so that it is the same on every device."""
    return torch.randperm(size, generator=generator).to(device)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each image horizontally with probability ½ and crop it from a zero-padded copy.

    Args:
        images: uint8 (N, C, H, W).
        generator: CPU generator; the draws do not depend on the device.

    Returns:
        uint8 (N, C, H, W) on the same device.
    """
    n, channels, height, width = images.shape
    shifts = torch.randint(0, 2 * CROP_PADDING + 1, (2, n), generator=generator).to(images.device)
    flips = torch.randint(0, 2, (n,), generator=generator).to(images.device).bool()
    rows = shifts[0, :, None] + torch.arange(height, device=images.device)  # (N, H)
    columns = torch.arange(width, device=images.device).expand(n, width)
    columns = torch.where(flips[:, None], columns.flip(1), columns) + shifts[1, :, None]  # (N, W)
    padded = F.pad(images, (CROP_PADDING,) * 4)
    picked = padded.gather(2, rows[:, None, :, None].expand(n, channels, height, padded.shape[3]))
    return picked.gather(3, columns[:, None, None, :].expand(n, channels, height, width))
